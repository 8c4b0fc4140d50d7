"""Our CDR reader against the recording writer's serialiser, and against garbage."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.targets import block_at

from scenelake.adapters.recording_writer import ros_typestore
from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.cdr import MAX_ELEMENTS, compile_plan, read_cdr
from scenelake.decode.formats.cdr_columns import read_columns
from scenelake.decode.formats.ros2msg import MAX_SCHEMA_FIELDS, parse_definitions, short_name

STORE = ros_typestore()
MIXED = """\
# leading comment
uint8 FLAG=1  # a constant
string NAME = "a # b"
bool flag
float64 wide 1.5
string<=20 word "x"
uint16[3] triple
float64[] wides
string[] words
test_msgs/Inner[] inners
Inner[2] pair
int64[<=4] few
char last
================================================================================
MSG: test_msgs/Inner
uint8 small
float64 wide
string word
"""


def _plan(name: str, text: str) -> Any:
    return compile_plan(parse_definitions(name, text.encode()), short_name(name))


def _mixed_store() -> Any:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.EMPTY)
    main, inner = MIXED.split("=" * 80 + "\nMSG: test_msgs/Inner\n")
    store.register({**get_types_from_msg(inner, "test_msgs/msg/Inner"), **get_types_from_msg(main, "test_msgs/msg/M")})
    return store


@pytest.mark.parametrize("little_endian", [True, False])
@pytest.mark.parametrize("size", [0, 1, 3])
def test_reads_what_another_library_wrote(little_endian: bool, size: int) -> None:
    store = _mixed_store()
    kind, inner = store.types["test_msgs/msg/M"], store.types["test_msgs/msg/Inner"]
    inners = [inner(i, i / 3, "w" * i) for i in range(size)]
    message = kind(
        flag=True, wide=0.1, word="wörd"[:size], triple=np.arange(3, dtype=np.uint16), wides=np.arange(float(size)),
        words=["a" * i for i in range(size)], inners=inners, pair=[inner(7, 0.7, "seven"), inner(8, 0.8, "")],
        few=np.arange(size, dtype=np.int64) - 2**62, last=200,
    )  # fmt: skip
    data = memoryview(bytes(store.serialize_cdr(message, "test_msgs/msg/M", little_endian=little_endian)))
    got = read_cdr(_plan("test_msgs/msg/M", MIXED), data)
    assert (got["flag"], got["wide"], got["word"], got["last"]) == (True, 0.1, message.word, 200)
    assert got["triple"].tolist() == [0, 1, 2]
    assert got["wides"].tolist() == list(range(size))
    assert got["words"] == message.words
    assert got["inners"] == [{"small": i.small, "wide": i.wide, "word": i.word} for i in inners]
    assert got["pair"] == [{"small": 7, "wide": 0.7, "word": "seven"}, {"small": 8, "wide": 0.8, "word": ""}]
    assert got["few"].tolist() == message.few.tolist()


def test_every_type_of_the_distribution_has_a_plan() -> None:
    assert len(STORE.types) > 150
    for name in STORE.types:
        definition, _ = STORE.generate_msgdef(name, ros_version=2)
        assert _plan(name, definition).steps


def test_a_type_may_not_grow_without_bound() -> None:
    doubling = "\n".join(
        f"{'=' * 80}\nMSG: p/L{i}\nL{i + 1} a\nL{i + 1} b" for i in range(30)
    )  # fmt: skip
    with pytest.raises(BadInputError, match=r"fields|too deep"):
        _plan("p/msg/Top", f"L0 a\n{doubling}\n{'=' * 80}\nMSG: p/L30\nuint8 x")


def test_counts_are_held_against_the_bytes_that_are_left() -> None:
    for schema in ("float64[] a", "string[] a", "I[] a\n" + "=" * 80 + "\nMSG: p/I\nuint8 x", "uint8[100000000000] a"):
        with pytest.raises(BadInputError, match="contradict"):
            read_cdr(_plan("p/msg/T", schema), memoryview(b"\0\1\0\0\xff\xff\xff\xff" + bytes(64)))


def test_the_number_of_nested_messages_is_bounded() -> None:
    count = MAX_ELEMENTS + 1
    data = memoryview(b"\0\1\0\0" + count.to_bytes(4, "little") + bytes(count))
    with pytest.raises(BadInputError, match="more than") as error:
        read_cdr(_plan("p/msg/T", "I[] a\n" + "=" * 80 + "\nMSG: p/I\nuint8 x"), data)
    assert error.value.reason == "message_too_large"


def test_the_fields_of_nested_messages_are_bounded() -> None:
    """A byte of a message must not become a hundred in memory."""
    inner = "\n".join(f"uint8 x{i}" for i in range(100))
    plan = _plan("p/msg/T", "I[] a\n" + "=" * 80 + f"\nMSG: p/I\n{inner}")
    for count, is_read in ((MAX_ELEMENTS // 100, True), (MAX_ELEMENTS // 100 + 1, False)):
        data = memoryview(b"\0\1\0\0" + count.to_bytes(4, "little") + bytes(100 * count))
        if is_read:
            assert len(read_cdr(plan, data)["a"]) == count
        else:
            with pytest.raises(BadInputError) as error:
                read_cdr(plan, data)
            assert error.value.reason == "message_too_large"


def test_the_fields_of_a_schema_are_bounded_and_a_refusal_is_remembered() -> None:
    text = "bool a\n" * (MAX_SCHEMA_FIELDS + 1)
    errors = []
    for _ in range(2):
        with pytest.raises(BadInputError, match="fields") as error:
            parse_definitions("p/msg/T", text.encode())
        errors.append(error.value)
    assert errors[0] is not errors[1]
    many = "bool a" + "".join(f"\n{'=' * 20}\nMSG: p/I{i}\nbool a" for i in range(MAX_SCHEMA_FIELDS + 1))
    with pytest.raises(BadInputError, match="fields"):
        parse_definitions("p/msg/T", many.encode())


def test_only_a_line_feed_ends_a_line() -> None:
    found = parse_definitions("p/msg/T", "bool a # one\u2028two\x0cthree\r\nfloat64 b\r\n".encode())
    assert [f.name for f in found["p/T"]] == ["a", "b"]


@pytest.mark.parametrize("step", [0, 1])
def test_messages_of_as_many_lengths_as_there_are_cost_no_more_each(step: int) -> None:
    plan = _plan("p/msg/T", "uint8[] a")
    seconds = []
    for nbr in (2_000, 16_000):
        sizes = 8 + np.arange(nbr) // 2 * step
        ends = np.cumsum(sizes)
        body = memoryview(bytes(int(ends[-1])))
        started = time.process_time()
        block = block_at(body, ends - sizes, ends)
        groups, alone = read_columns(plan, block, np.arange(nbr))
        seconds.append((time.process_time() - started) / nbr)
        assert len(alone) + sum(len(rows) for rows, _ in groups) == nbr
    assert seconds[1] < 3 * seconds[0] + 1e-6


@pytest.mark.parametrize("head", [b"", b"\0", b"\0\1\0", b"\0\3\0\0", b"\0\7\0\0", b"\1\0\0\0"])
def test_other_encapsulations_are_refused(head: bytes) -> None:
    with pytest.raises(BadInputError) as error:
        read_cdr(_plan("p/msg/T", "uint8 a"), memoryview(head + bytes(4)[: 4 if len(head) == 4 else 0]))
    assert error.value.reason == "cdr_encapsulation_unsupported"


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), has_head=st.booleans())
def test_random_bytes_are_read_or_refused(data: bytes, has_head: bool) -> None:
    plan = _plan("test_msgs/msg/M", MIXED)
    try:
        message = read_cdr(plan, memoryview((b"\0\1\0\0" if has_head else b"") + data))
    except BadInputError:
        return
    assert set(message) >= {"flag", "last"}


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=80),
        st.lists(
            st.sampled_from(
                ["uint8 a", "string b", "C c", "C[3] d", "=" * 80, "MSG: p/C", "float64[<=2] e", "x y z=1"]
            ),
            max_size=9,
        ).map("\n".join),
    )
)
def test_random_schemas_compile_or_are_refused(text: str) -> None:
    try:
        plan = _plan("p/msg/T", text)
    except BadInputError:
        return
    assert plan.min_bytes >= 1
