"""Definitions of ROS types: a recording's own in three languages, common ones where it has none, never a guess."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_idl, get_typestore

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Channel, Definition, Schema
from scenelake.decode.formats.cdr import compile_plan, read_cdr
from scenelake.decode.formats.ros2idl import parse_idl
from scenelake.decode.formats.ros2msg import Definitions, parse_definitions, short_name
from scenelake.decode.formats.ros_registry import EXTRA_ROS_TYPES, common_definition
from scenelake.decode.formats.ros_types import defined, ros_plan

LINE = "=" * 80
IDL = f"""\
{LINE}
IDL: acme_msgs/msg/All
// generated from rosidl_adapter/resource/msg.idl.em
#include "std_msgs/msg/Header.idl"
/* a comment
   {"{"} over two lines */
module acme_msgs {{
  module msg {{
    typedef double double__9[9];
    typedef acme_msgs::msg::Inner Inner__2[2];
    typedef sequence<int16, 4> few;
    module All_Constants {{
      const uint8 FLAG = 1;
      @verbatim (language="comment", text="a \\"quoted\\" ; }}" "and (more")
      const string NAME = "a ; b }}";
    }};
    @verbatim (language="comment", text=
      "what it is (really) " "\\n")
    @extensibility(APPENDABLE)
    struct All {{
      std_msgs::msg::Header header;
      @default (value=TRUE)
      @unit (value="m")
      boolean flag;
      octet one; char two; uint8 three, four;
      long long big; unsigned long long huge; unsigned short small; float low; double high;
      string text; string<20> short_text;
      double__9 matrix;
      Inner__2 pair;
      few some;
      sequence<double> many; sequence<string, 3> words; sequence<acme_msgs::msg::Inner> inners;
      int32 fixed[3];
    }};
  }};
}};
{LINE}
IDL: acme_msgs/msg/Inner
module acme_msgs {{ module msg {{ struct Inner {{ int64 a; string b; }}; }}; }};
{LINE}
IDL: std_msgs/msg/Header
module std_msgs {{ module msg {{
  struct Header {{ builtin_interfaces::msg::Time stamp; string frame_id; }};
}}; }};
{LINE}
IDL: builtin_interfaces/msg/Time
module builtin_interfaces {{ module msg {{ struct Time {{ int32 sec; uint32 nanosec; }}; }}; }};
"""
MSG = """\
std_msgs/Header header
bool flag true
byte one
char two
uint8 three
uint8 four
int64 big
uint64 huge
uint16 small
float32 low
float64 high
string text
string<=20 short_text
float64[9] matrix
Inner[2] pair
int16[<=4] some
float64[] many
string[<=3] words
acme_msgs/Inner[] inners
int32[3] fixed
""" + f"{LINE}\nMSG: acme_msgs/Inner\nint64 a\nstring b\n"  # fmt: skip


def _definition(
    name: str, encoding: str, data: bytes = b"", message_encoding: str = "cdr", md5sum: str = ""
) -> Definition:
    metadata = {"md5sum": md5sum} if md5sum else {}
    return defined(Channel(1, 1, "/t", message_encoding, metadata), Schema(1, name, encoding, data))


def _reason(definition: Definition) -> str:
    with pytest.raises(BadInputError) as error:
        ros_plan(definition)
    return error.value.reason


def test_idl_gives_what_the_message_language_gives() -> None:
    from_idl, from_msg = parse_idl("acme_msgs/msg/All", IDL.encode()), parse_definitions("acme_msgs/All", MSG.encode())
    for name in ("acme_msgs/All", "acme_msgs/Inner", "std_msgs/Header", "builtin_interfaces/Time"):
        assert from_idl[name] == from_msg[name]


def test_messages_of_a_type_defined_in_idl_are_read() -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_idl("module acme_msgs { module msg { struct Inner { int64 a; string b; }; }; };"))
    name = "acme_msgs/msg/Inner"
    written = bytes(store.serialize_cdr(store.types[name](a=-5, b="wörd"), name))
    assert read_cdr(ros_plan(_definition(name, "ros2idl", IDL.encode())), memoryview(written)) == {"a": -5, "b": "wörd"}


def _as_idl(definitions: Definitions) -> str:
    """IDL of parsed definitions, written the way ROS 2 does."""
    bases = {"bool": "boolean", "byte": "octet", "float32": "float", "float64": "double"}
    parts = []
    for number, (name, fields) in enumerate(definitions.items()):
        package, kind = name.split("/")
        typedefs, members = [], []
        for field in fields:
            base = bases.get(field.type, field.type.replace("/", "::msg::"))
            if field.is_array and field.length is not None:
                typedefs.append(f"typedef {base} t{number}__{len(typedefs)}[{field.length}];")
                base = f"t{number}__{len(typedefs) - 1}"
            elif field.is_array:
                base = f"sequence<{base}>"
            members.append(f"{base} {field.name};")
        body = "\n".join([*typedefs, f"struct {kind} {{", *members, "};"])
        parts.append(f"{LINE}\nIDL: {package}/msg/{kind}\nmodule {package} {{ module msg {{\n{body}\n}}; }};\n")
    return "".join(parts)


@pytest.mark.parametrize("stores", [Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY])
def test_every_common_type_survives_the_way_through_idl(stores: Stores) -> None:
    store = get_typestore(stores)
    seen = 0
    for name in store.fielddefs:
        text = store.generate_msgdef(name, ros_version=2)[0].encode()
        definitions = parse_definitions(name, text)
        assert parse_idl(name, _as_idl(definitions).encode()) == definitions
        seen += 1
    assert seen > 100


UNSUPPORTED = {
    "union A switch (long) { case 1: long a; };": "schema_unsupported",
    "enum A { B, C };": "schema_unsupported",
    "struct A { wchar a; };": "schema_unsupported",
    "struct A { wstring a; };": "schema_unsupported",
    "struct A { long double a; };": "schema_unsupported",
    "struct A { sequence<sequence<long>> a; };": "schema_unsupported",
    "struct A { long a[2][2]; };": "schema_unsupported",
    "struct A { sequence<long> a[2]; };": "schema_unsupported",
    "struct A { @optional long a; };": "schema_unsupported",
    "@mutable struct A { long a; };": "schema_unsupported",
    "struct A : B { long a; };": "schema_unsupported",
    "struct A { long a[N]; };": "schema_unsupported",
    "typedef long two[2]; struct A { two a[2]; };": "schema_unsupported",
    "typedef A B; typedef B A; struct C { A a; };": "schema_invalid",
    "struct A { A a; };": "schema_invalid",
    "struct A { Missing a; };": "schema_invalid",
    "struct A { long a };": "schema_invalid",
    "struct A { long a;": "schema_invalid",
    "struct A { long 3; };": "schema_invalid",
    'struct A { @unit (value="m long a; };': "schema_invalid",
    "struct A { long a; }; /* open": "schema_invalid",
    "}": "schema_invalid",
    "module m { " * 20 + "};" * 20: "schema_invalid",
    "struct A { " + "sequence<" * 50_000 + "long": "schema_unsupported",
    "struct A { " + "long a; " * 20_000 + "};": "schema_invalid",
    "struct A { long " + "a" * 5000 + "; };": "schema_invalid",
    '"\\' * 200_000: "schema_invalid",
    "/*" * 200_000: "schema_invalid",
    "@a(" * 100_000: "schema_invalid",
    "": "schema_invalid",
}


@pytest.mark.parametrize("text", UNSUPPORTED, ids=lambda text: text[:40])
def test_what_idl_is_not_read_is_refused_with_a_reason_and_at_once(text: str) -> None:
    started = time.perf_counter()
    assert _reason(_definition("A", "ros2idl", text.encode() or b"// nothing")) == UNSUPPORTED[text]
    assert time.perf_counter() - started < 2


def test_deep_and_recursive_message_definitions_are_refused() -> None:
    deep = "".join(f"{LINE}\nMSG: a/T{i}\nT{i + 1} x\n" for i in range(100)) + f"{LINE}\nMSG: a/T100\nint8 x\n"
    wide = "".join(f"{LINE}\nMSG: a/T{i}\n" + "".join(f"T{i + 1} x{j}\n" for j in range(9)) for i in range(20))
    wide += f"{LINE}\nMSG: a/T20\nint8 x\n"
    for text in ("A a\n", "B b\n" + f"{LINE}\nMSG: a/B\nA a\n", "T0 x\n" + deep, "T0 x\n" + wide):
        for message_encoding, encoding in (("cdr", "ros2msg"), ("ros1", "ros1msg")):
            assert _reason(_definition("a/A", encoding, text.encode(), message_encoding)) == "schema_invalid"


def test_wide_strings_are_refused() -> None:
    for text in ("wstring a\n", "wstring<=5 a\n", "wstring[] a\n"):
        assert _reason(_definition("a/A", "ros2msg", text.encode())) == "schema_unsupported"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_idl_is_read_or_refused(data: st.DataObject) -> None:
    at, length = data.draw(st.integers(0, len(IDL) - 1)), data.draw(st.integers(0, 40))
    words = st.sampled_from(["", "{", "}", ";", '"', "(", "@x", "sequence<", "[9]", "typedef long x;", "::", LINE])
    text = IDL[:at] + data.draw(words) + IDL[at + length :]
    try:
        compile_plan(parse_idl("acme_msgs/msg/All", text.encode()), "acme_msgs/All")
    except BadInputError:
        return


@pytest.mark.parametrize("encoding", ["cdr", "ros1"])
def test_common_types_are_known_by_either_name(encoding: str) -> None:
    for name in ("sensor_msgs/Imu", "sensor_msgs/msg/Imu", "can_msgs/msg/Frame", "tf2_msgs/TFMessage"):
        definition = _definition(name, "", b" \n", encoding)
        assert definition.problem is None
        assert ros_plan(definition).is_aligned == (encoding == "cdr")


@pytest.mark.parametrize("name", sorted(EXTRA_ROS_TYPES))
def test_types_outside_the_distributions_are_common_too(name: str) -> None:
    assert ros_plan(_definition(name, "ros2msg")).steps


def test_every_common_type_makes_a_plan() -> None:
    seen = 0
    for stores, encoding in ((Stores.ROS2_HUMBLE, "cdr"), (Stores.ROS2_JAZZY, "cdr"), (Stores.ROS1_NOETIC, "ros1")):
        for name in get_typestore(stores).fielddefs:
            if common_definition(name, is_ros1=encoding == "ros1") is not None:
                assert ros_plan(_definition(short_name(name), "", b"", encoding)).steps
                seen += 1
    assert seen > 450


def test_a_type_that_distributions_define_differently_is_not_guessed() -> None:
    assert common_definition("sensor_msgs/msg/Range", is_ros1=False) is None
    assert common_definition("sensor_msgs/Range", is_ros1=True) is not None
    assert common_definition("tf/tfMessage", is_ros1=True, md5sum="94810edda583a504dfda3829e70d7eec") is not None
    assert common_definition("sensor_msgs/msg/NavSatFix", is_ros1=False) is not None


@pytest.mark.parametrize("name", ["acme_msgs/msg/Secret", "", "/", "sensor_msgs", "a/b/c/d"])
def test_a_type_nowhere_defined_is_labelled(name: str) -> None:
    definition = _definition(name, "ros2msg")
    assert definition.problem == "definition_missing"
    assert _reason(definition) == "definition_missing"


def test_the_bag_wins_over_the_common_definition() -> None:
    own = _definition("sensor_msgs/Imu", "ros1msg", b"int8 a", "ros1", md5sum="6a62c6daae103f4ff57a132d6f95cec2")
    assert read_cdr(ros_plan(own), memoryview(b"\x05")) == {"a": 5}
    for md5sum, problem in (("6a62c6daae103f4ff57a132d6f95cec2", None), ("*", None), ("0" * 32, "definition_missing")):
        assert _definition("sensor_msgs/Imu", "ros1msg", b"", "ros1", md5sum=md5sum).problem == problem


def test_a_schema_of_another_language_is_not_read() -> None:
    assert _reason(_definition("a/A", "ros1msg", b"int8 a")) == "schema_encoding_unsupported"
    assert _reason(_definition("a/A", "ros2idl", b"int8 a", "ros1")) == "schema_encoding_unsupported"
    assert _reason(Definition(Channel(1, 0, "/t", "cdr", {}))) == "schema_encoding_unsupported"
