"""ROS 2 bags in SQLite: what another library reads is read, damage is reported, hostile databases do no harm."""

import sqlite3
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader
from rosbags.typesys import Stores, get_typestore

from scenelake.contracts.errors import BadInputError
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Part, PlanContradictedError
from scenelake.decode.formats.cdr import read_cdr
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.ros_types import ros_plan
from scenelake.decode.formats.rosbag2_reader import Rosbag2Reader
from scenelake.decode.formats.sources import FileSource, MemorySource, local_path

MIB = 1024 * 1024
T0_NS = 1_700_000_000_123_456_789
PAGE = 4096
TABLES = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT NOT NULL,
    offered_qos_profiles TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
    encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema VALUES (4, 'jazzy');
INSERT INTO metadata VALUES (1, 9, 'rosbag2_bagfile_information: {}');
"""  # fmt: skip
TOPICS = [(1, "/imu", "sensor_msgs/msg/Imu", "cdr", "qos", "h1"), (2, "/secret", "acme_msgs/msg/S", "cdr", "", "h2")]
Message = tuple[str, int, bytes, int]


def make(
    path: Path, messages: list[tuple[Any, ...]], *statements: str, topics: Any = TOPICS, tables: str = TABLES
) -> Path:
    """A bag of (id, topic id, timestamp, data)."""
    connection = sqlite3.connect(path)
    connection.executescript(f"PRAGMA page_size={PAGE};PRAGMA synchronous=OFF;{tables}")
    connection.executemany("INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?)", topics)
    if messages:
        connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", messages)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def read(path: Path, max_chunk_bytes: int = MIB) -> tuple[Rosbag2Reader, list[Message]]:
    with FileSource(path) as source:
        reader = Rosbag2Reader(source, max_chunk_bytes=max_chunk_bytes, max_record_bytes=MIB)
        messages = [
            (m.channel.topic, m.log_time_ns, bytes(m.data), m.message_offset_bytes)
            for block in reader.blocks()
            for m in block.messages()
        ]
    return reader, messages


def reasons(reader: Rosbag2Reader) -> list[str]:
    return [problem.reason for problem in reader.findings.problems]


def some(nbr_messages: int = 200, nbr_bytes: int = 300) -> list[tuple[int, int, int, bytes]]:
    rng = np.random.default_rng(3)
    return [(i + 1, 1 + i % 2, T0_NS + i, rng.bytes(nbr_bytes + i)) for i in range(nbr_messages)]


def expected(messages: list[tuple[int, int, int, bytes]]) -> list[Message]:
    return [(TOPICS[topic - 1][1], at, data, row) for row, topic, at, data in messages]


@pytest.mark.parametrize("folder", ["rosbag2_testbags", "nebula_raw_sensor_bags"])
def test_real_bags_hold_what_another_library_finds(real_data: Callable[[str], Path], folder: str) -> None:
    paths = sorted(real_data(folder).rglob("*.db3"))
    assert len(paths) >= 3
    for path in paths:
        theirs = Sqlite3Reader(path)
        theirs.open()
        found = Counter((c.topic, at, bytes(data)) for c, at, data in theirs.messages(theirs.connections))
        theirs.close()
        with FileSource(path) as source:
            reader = open_reader(source, DecodeConfig())
            mine = Counter(
                (m.channel.topic, m.log_time_ns, bytes(m.data)) for b in reader.blocks() for m in b.messages()
            )
        assert mine == found
        assert reader.findings.problems == []
        if folder.startswith("nebula"):
            assert {d.problem for d in reader.findings.definitions.values()} == {"definition_missing"}


def test_a_bag_is_read_with_its_definitions_and_metadata(tmp_path: Path) -> None:
    defined = "INSERT INTO message_definitions VALUES (1, 'acme_msgs/msg/S', 'ros2msg', 'int8 a', 'h2')"
    path = make(tmp_path / "a.db3", some(), defined)
    reader, messages = read(path)
    assert messages == expected(some())
    assert reader.findings.problems == []
    assert reader.findings.metadata["rosbag2_schema"] == {"schema_version": "4", "ros_distro": "jazzy"}
    assert reader.findings.metadata["rosbag2_metadata"]["metadata"].startswith("rosbag2_bagfile")
    imu, secret = reader.findings.definitions[1], reader.findings.definitions[2]
    assert (imu.problem, imu.channel.metadata) == (None, {"offered_qos_profiles": "qos"})
    assert ros_plan(imu).steps
    assert read_cdr(ros_plan(secret), memoryview(b"\0\1\0\0\7")) == {"a": 7}


def test_an_object_that_is_no_file_is_copied_to_one_while_it_is_read(tmp_path: Path) -> None:
    data = make(tmp_path / "a.db3", some()).read_bytes()
    reader = Rosbag2Reader(MemorySource(data), max_chunk_bytes=MIB, max_record_bytes=MIB)
    assert sum(map(len, reader.blocks())) == 200
    with local_path(MemorySource(data)) as path:
        assert path.read_bytes() == data
    assert not path.exists()
    with pytest.raises(BadInputError) as error, local_path(MemorySource(data), max_bytes=10):
        pass
    assert error.value.reason == "object_too_large"


def test_blocks_are_bounded_and_typed(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db3", [(i, 1, i, bytes(MIB)) for i in range(-10, 10)])
    with FileSource(path) as source:
        blocks = list(Rosbag2Reader(source, max_chunk_bytes=2 * MIB, max_record_bytes=MIB).blocks())
    assert [len(b) for b in blocks] == [8, 8, 4]
    assert [c.dtype for c in (blocks[0].channel_id, blocks[0].log_time_ns, blocks[0].message_offset_bytes)] == [
        np.int32, np.uint64, np.int64,
    ]  # fmt: skip


def test_a_bag_is_one_part(tmp_path: Path) -> None:
    with FileSource(make(tmp_path / "a.db3", some())) as source:
        reader = Rosbag2Reader(source, max_chunk_bytes=MIB, max_record_bytes=MIB)
        (part,) = reader.parts(10)
        assert sum(map(len, reader.blocks(part))) == 200
        with pytest.raises(PlanContradictedError):
            list(reader.blocks(Part(0, 0, 50)))


def test_rows_that_are_no_messages_are_reported_and_the_others_read(tmp_path: Path) -> None:
    odd = [
        (201, 1, "noon", b"a"),
        (202, "one", 5, b"b"),
        (203, 1, 5, "text"),
        (204, 1, 5, bytes(2 * MIB)),
        (205, 9, 5, b"c"),
    ]
    reader, messages = read(make(tmp_path / "a.db3", [*some(), *odd]))
    assert messages == [*expected(some()), ("unknown_channel_9", 5, b"c", 205)]
    assert [(p.reason, p.detail.partition(":")[0]) for p in reader.findings.problems][:2] == [
        ("row_invalid", "messages, rows 201 to 203"),
        ("message_too_large", "messages, rows 204 to 204"),
    ]


def test_a_claimed_gigabyte_is_not_believed(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db3", some(20, 30))
    data = bytearray(path.read_bytes())
    # The record header of row 10: its size, no id, topic and time, then the serial type of a blob of 39 bytes.
    head = bytes([0x00, 0x01, 0x06, 39 * 2 + 12]) if 39 * 2 + 12 < 128 else b""
    at = data.find(head)
    assert at > 0
    claim = 2 * 10**9 + 12
    varint = bytes([0x80 | claim >> s & 0x7F for s in (28, 21, 14, 7)] + [claim & 0x7F])
    data[at + 3 : at + 8] = varint
    path.write_bytes(bytes(data))
    tracemalloc.start()
    reader, messages = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB
    assert reader.findings.problems
    assert set(messages) <= set(expected(some(20, 30)))
    assert len(messages) >= 18


def test_a_database_cut_at_any_page_gives_what_is_left_of_it(tmp_path: Path) -> None:
    data = make(tmp_path / "a.db3", some()).read_bytes()
    path = tmp_path / "cut.db3"
    most = 0
    for cut in range(PAGE, len(data), PAGE):
        path.write_bytes(data[:cut])
        started = time.perf_counter()
        try:
            reader, messages = read(path)
        except BadInputError:
            continue
        assert time.perf_counter() - started < 2
        assert "truncated" in reasons(reader)
        assert set(messages) <= set(expected(some()))
        most = max(most, len(messages))
    assert most > 150


def test_a_lost_page_costs_its_rows_and_no_others(tmp_path: Path) -> None:
    data = bytearray(make(tmp_path / "a.db3", some()).read_bytes())
    victim = data.index(some()[100][3]) // PAGE * PAGE
    lost = [row for row, _, _, content in some() if content in data[victim : victim + PAGE]]
    data[victim : victim + PAGE] = bytes(PAGE)
    path = tmp_path / "a.db3"
    path.write_bytes(bytes(data))
    reader, messages = read(path)
    assert set(messages) == {m for m in expected(some()) if m[3] not in lost}
    (rows, index) = reader.findings.problems
    assert (rows.reason, f"rows {lost[0]} to {lost[-1]}" in rows.detail) == ("rows_unreadable", True)
    assert (index.reason, "200 messages, " in index.detail) == ("index_contradicted", True)


def test_lost_overflow_pages_cost_single_messages(tmp_path: Path) -> None:
    sent = some(40, 9000)
    data = bytearray(make(tmp_path / "a.db3", sent).read_bytes())
    content = sent[20][3][2000:3000]
    at = data.index(content) // PAGE * PAGE
    data[at : at + 4] = b"\xff" * 4
    path = tmp_path / "a.db3"
    path.write_bytes(bytes(data))
    reader, messages = read(path)
    assert set(messages) == set(expected(sent)) - {expected(sent)[20]}
    assert reasons(reader) == ["rows_unreadable", "index_contradicted"]


def test_a_changed_time_is_found_by_the_index(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db3", some())
    data = bytearray(path.read_bytes())
    at = data.index((T0_NS + 50).to_bytes(8, "big") + some()[50][3])
    data[at + 7] ^= 1
    path.write_bytes(bytes(data))
    reader, messages = read(path)
    assert len(messages) == 200
    assert reasons(reader) == ["index_contradicted"]


def range_messages(distribution: Stores, count: int = 20) -> list[tuple[int, int, int, bytes]]:
    store = get_typestore(distribution)
    types = store.types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1, 2), "sonar")
    values = [1, 0.5, 0.25, 8.0, 2.0, 0.125]
    kind = types["sensor_msgs/msg/Range"]
    nbr_values = len(kind.__dataclass_fields__) - 2
    made = [kind(header, *values[:nbr_values]) for _ in range(count)]
    return [(i + 1, 1, T0_NS + i, bytes(store.serialize_cdr(m, "sensor_msgs/msg/Range"))) for i, m in enumerate(made)]


RANGE = [(1, "/sonar", "sensor_msgs/msg/Range", "cdr", "", "")]


@pytest.mark.parametrize(
    ("distribution", "named"),
    [(Stores.ROS2_HUMBLE, "humble"), (Stores.ROS2_JAZZY, "jazzy"), (Stores.ROS2_FOXY, "foxy"),
     (Stores.ROS2_HUMBLE, "rolling"), (Stores.ROS2_JAZZY, "rolling"), (Stores.ROS2_JAZZY, "")],
)  # fmt: skip
def test_a_type_that_distributions_define_differently(tmp_path: Path, distribution: Stores, named: str) -> None:
    """The bag names its distribution; where it does not, the length of the messages tells."""
    sent = range_messages(distribution)
    path = make(tmp_path / "a.db3", sent, f"UPDATE schema SET ros_distro = '{named}'", topics=RANGE)
    reader, messages = read(path)
    assert len(messages) == 20
    (definition,) = reader.findings.definitions.values()
    assert definition.problem is None
    for row in (0, 19):
        message = read_cdr(ros_plan(definition), memoryview(messages[row][2]))
        assert (message["range"], message["header.frame_id"]) == (2.0, "sonar")
        assert ("variance" in message) == (distribution == Stores.ROS2_JAZZY)


def test_a_type_of_which_the_messages_do_not_tell_stays_raw(tmp_path: Path) -> None:
    both = [*range_messages(Stores.ROS2_HUMBLE, 3), *range_messages(Stores.ROS2_JAZZY, 3)]
    mixed = [(row, *rest) for row, (_, *rest) in enumerate(both, 1)]
    for sent in (mixed, [(1, 1, T0_NS, b"\0\1\0\0")], [(1, 1, T0_NS, b"")]):
        (tmp_path / "a.db3").unlink(missing_ok=True)
        path = make(tmp_path / "a.db3", sent, "UPDATE schema SET ros_distro = 'rolling'", topics=RANGE)
        reader, messages = read(path)
        assert len(messages) == len(sent)
        assert [d.problem for d in reader.findings.definitions.values()] == ["definition_missing"]


HOSTILE = {
    "a view": TABLES.replace("CREATE TABLE messages(", "CREATE TABLE m(").replace("ON messages", "ON m")
    + "CREATE VIEW messages AS WITH RECURSIVE r(rowid, topic_id, timestamp, data) AS"
    " (SELECT 1, 1, 1, x'00' UNION ALL SELECT rowid + 1, 1, 1, x'00' FROM r) SELECT * FROM r;",
    "computed columns": TABLES.replace("data BLOB NOT NULL)", "data BLOB AS (zeroblob(1000000000)))"),
    "no row ids": TABLES.replace("data BLOB NOT NULL);", "data BLOB NOT NULL) WITHOUT ROWID;"),
    "a virtual table": TABLES.replace("CREATE TABLE messages(", "CREATE TABLE m(").replace("ON messages", "ON m")
    + "CREATE VIRTUAL TABLE messages USING fts4(topic_id, timestamp, data);",
    "a column that hides row ids": TABLES.replace("messages(id INTEGER", "messages(rowid TEXT, id INTEGER"),
    "no messages": TABLES.replace("messages", "massages"),
}  # fmt: skip


@pytest.mark.parametrize("tables", HOSTILE.values(), ids=HOSTILE)
def test_a_database_that_is_no_bag_is_refused(tmp_path: Path, tables: str) -> None:
    path = make(tmp_path / "a.db3", [], tables=tables)
    started = time.perf_counter()
    if "WITHOUT ROWID" in tables:
        assert read(path)[1] == []
        return
    with pytest.raises(BadInputError) as error:
        read(path)
    assert error.value.reason == "not_rosbag2"
    assert time.perf_counter() - started < 2


def test_triggers_and_odd_index_names_do_no_harm(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db3", some(), "CREATE TRIGGER t AFTER INSERT ON messages BEGIN DELETE FROM messages; END",
                "DROP INDEX timestamp_idx", "CREATE INDEX timestamp_idx ON messages (timestamp + 1)")  # fmt: skip
    before = path.read_bytes()
    reader, messages = read(path)
    assert (len(messages), reader.findings.problems, path.read_bytes()) == (200, [], before)


def test_topics_and_definitions_beyond_the_bounds_are_left_out(tmp_path: Path) -> None:
    topics = [*TOPICS, (3, "x" * (2 * MIB), "t", "cdr", "", ""), (4, b"\xff\xfe", 7, "cdr", "", "")]
    path = make(tmp_path / "a.db3", [(1, 3, 5, b"a"), (2, 4, 6, b"b")], topics=topics)
    _, messages = read(path)
    assert [m[0] for m in messages] == ["unknown_channel_3", "��"]


def test_garbage_behind_the_magic_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db3"
    for size in (16, 100, 5000):
        path.write_bytes(b"SQLite format 3\0" + np.random.default_rng(0).bytes(size))
        with pytest.raises(BadInputError):
            read(path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("mutated") / "a.db3", some(60, 200))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_databases_differ_in_nothing_that_is_not_reported(sound: Path, data: st.DataObject) -> None:
    """Except for the content of messages, and texts of topics, which have no checksum."""
    original = sound.read_bytes()
    mutated = bytearray(original)
    at = data.draw(st.one_of(st.integers(0, 8 * PAGE), st.integers(0, len(original) - 4)))
    if data.draw(st.booleans()):
        mutated[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        word = data.draw(st.sampled_from((0, 1, 2**31 - 1, 2**31, 2**32 - 1)))
        mutated[at : at + 4] = word.to_bytes(4, "big")
    path = sound.with_name("b.db3")
    path.write_bytes(bytes(mutated[: len(original)]))
    started = time.perf_counter()
    try:
        reader, messages = read(path)
    except BadInputError:
        return
    assert time.perf_counter() - started < 2
    if not reader.findings.problems:
        assert [(at, row) for _, at, _, row in messages] == [(T0_NS + i, i + 1) for i in range(60)]
