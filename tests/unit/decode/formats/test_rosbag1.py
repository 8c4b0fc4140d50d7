"""ROS 1 bags: what another library reads is read, and what belongs to the format is taken from where it stands."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag1 import Reader, Writer
from rosbags.typesys import Stores, get_typestore
from tests.unit.decode.formats import rosbag1_bytes as rb

from scenelake.contracts.errors import BadInputError
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Part, PlanContradictedError
from scenelake.decode.formats.cdr import read_cdr
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.ros_types import ros_plan
from scenelake.decode.formats.rosbag1_reader import Rosbag1Reader
from scenelake.decode.formats.sources import FileSource, MemorySource

MIB = 1024 * 1024
T0_NS = 1_700_000_000_123_456_789
NOETIC = get_typestore(Stores.ROS1_NOETIC)


def read(data: bytes, max_chunk_bytes: int = MIB) -> tuple[Rosbag1Reader, list[tuple[Any, ...]]]:
    reader = Rosbag1Reader(MemorySource(data), max_chunk_bytes=max_chunk_bytes, max_record_bytes=MIB)
    messages = [
        (m.channel.topic, m.log_time_ns, bytes(m.data), m.chunk_offset_bytes, m.message_offset_bytes)
        for block in reader.blocks()
        for m in block.messages()
    ]
    return reader, messages


def reasons(reader: Rosbag1Reader) -> list[str]:
    return [problem.reason for problem in reader.findings.problems]


def _theirs(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(c.topic, time_ns, bytes(data)) for c, time_ns, data in reader.messages()]


@pytest.mark.parametrize("name", ["test1.bag", "test2.bag"])
def test_real_bags_hold_what_another_library_finds(real_data: Callable[[str], Path], name: str) -> None:
    path = real_data("ros1_robot_localization") / name
    theirs = _theirs(path)
    assert theirs
    with FileSource(path) as source:
        reader = open_reader(source, DecodeConfig())
        mine = [(m.channel.topic, m.log_time_ns, bytes(m.data)) for b in reader.blocks() for m in b.messages()]
    assert reader.findings.problems == []
    assert Counter(mine) == Counter(theirs)
    by_topic = Counter(topic for topic, _, _ in theirs)
    recorded = reader.findings.recorded or {}
    assert {reader.findings.definitions[c].channel.topic: n for c, n in recorded.items()} == by_topic


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if hasattr(value, "__dataclass_fields__"):
        found: dict[str, Any] = {}
        for name in value.__dataclass_fields__:
            if not name.startswith("__"):
                found |= _flat(f"{prefix}.{name}" if prefix else name, getattr(value, name))
        return found
    return {prefix: value}


def test_real_messages_decode_to_the_values_that_another_library_finds(real_data: Callable[[str], Path]) -> None:
    """Inertial measurements and odometry, every 25th."""
    seen: Counter[str] = Counter()
    for name in ("test1.bag", "test2.bag"):
        with FileSource(real_data("ros1_robot_localization") / name) as source:
            reader = open_reader(source, DecodeConfig())
            plans: dict[int, Any] = {}
            for block in reader.blocks():
                plans |= {c: ros_plan(block.definitions[c]) for c in block.definitions.keys() - plans.keys()}
                for message in list(block.messages())[::25]:
                    assert message.schema is not None
                    mine = read_cdr(plans[message.channel.channel_id], message.data)
                    full_name = message.schema.name.replace("/", "/msg/")
                    theirs = _flat("", NOETIC.deserialize_ros1(bytes(message.data), full_name))
                    assert mine.keys() == theirs.keys()
                    for field, value in theirs.items():
                        np.testing.assert_array_equal(mine[field], value)
                    seen[full_name] += 1
    assert min(seen["sensor_msgs/msg/Imu"], seen["nav_msgs/msg/Odometry"]) > 100


@pytest.mark.parametrize("compression", [None, Writer.CompressionFormat.BZ2, Writer.CompressionFormat.LZ4])
def test_what_another_library_writes_is_read(tmp_path: Path, compression: Any) -> None:
    path = tmp_path / "a.bag"
    writer = Writer(path)
    if compression:
        writer.set_compression(compression)
    writer.chunk_threshold = 2000
    rng = np.random.default_rng(0)
    with writer:
        connections = [
            writer.add_connection(f"/{i}", "std_msgs/msg/String", typestore=NOETIC, callerid="/n", latching=1)
            for i in range(3)
        ]
        for i in range(200):
            writer.write(connections[i % 3], T0_NS + i, rng.bytes(i))
    reader, messages = read(path.read_bytes())
    assert reader.findings.problems == []
    assert [m[:3] for m in messages] == _theirs(path)
    assert reader.findings.recorded == {0: 67, 1: 67, 2: 66}
    definition = reader.findings.definitions[1]
    assert definition.channel.metadata["callerid"] == "/n"
    assert definition.schema is not None
    assert (definition.schema.name, definition.schema.encoding, definition.problem) == (
        "std_msgs/String", "ros1msg", None,
    )  # fmt: skip
    assert reader.compressions == {compression.name.lower() if compression else "none"}


def test_a_message_is_known_by_its_chunk_and_its_place_in_it() -> None:
    data, starts = rb.bag([[(0, T0_NS, b"abc"), (0, T0_NS + 1, b"d")], [(0, T0_NS + 2, b"e")]], ["/a"], "lz4")
    _, messages = read(data)
    first = len(rb.connection(0, "/a"))
    assert [m[3:] for m in messages] == [
        (starts[1], first),
        (starts[1], first + len(rb.message(0, 0, b"abc"))),
        (starts[3], 0),
    ]


def test_publish_times_and_sequences_are_absent_and_blocks_are_typed() -> None:
    data, _ = rb.bag([[(0, T0_NS, b"abc")]], ["/a"])
    (block,) = Rosbag1Reader(MemorySource(data), max_chunk_bytes=MIB, max_record_bytes=MIB).blocks()
    assert (block.publish_time_ns.tolist(), block.sequence.tolist()) == ([0], [0])
    assert [c.dtype for c in (block.channel_id, block.sequence, block.log_time_ns, block.start)] == [
        np.int32, np.uint32, np.uint64, np.int64,
    ]  # fmt: skip


def test_headers_with_their_fields_in_another_order_or_more_of_them_are_read() -> None:
    odd = [
        rb.record(rb.MESSAGE, b"1", time=rb.stamp(T0_NS + 1), conn=rb.u32(0)),
        rb.record(rb.MESSAGE, b"2", conn=rb.u32(0), time=rb.stamp(T0_NS + 2), more=b"x"),
        rb.message(0, T0_NS + 3, b"3"),
    ]
    body = rb.connection(0, "/a") + rb.message(0, T0_NS, b"0") + b"".join(odd) * 3
    _, messages = read(rb.MAGIC + rb.bag_header() + rb.chunk(body))
    assert [m[2] for m in messages] == [b"0", *[b"1", b"2", b"3"] * 3]
    assert [m[1] - T0_NS for m in messages] == [0, *[1, 2, 3] * 3]


def test_messages_and_connections_outside_chunks_are_read() -> None:
    loose = [rb.message(0, T0_NS + i, bytes([i])) for i in range(3)]
    head = rb.MAGIC + rb.bag_header() + rb.connection(0, "/a")
    reader, messages = read(head + b"".join(loose))
    assert [m[2] for m in messages] == [b"\0", b"\1", b"\2"]
    assert [m[3:] for m in messages] == [(len(head) + i * len(loose[0]), 0) for i in range(3)]
    assert reasons(reader) == ["truncated"]


def test_a_connection_that_changes_its_meaning_splits_the_block() -> None:
    body = rb.connection(0, "/a") + rb.message(0, T0_NS, b"1") + rb.connection(0, "/b") + rb.message(0, T0_NS, b"2")
    reader, messages = read(rb.MAGIC + rb.bag_header() + rb.chunk(body))
    assert [(m[0], m[2]) for m in messages] == [("/a", b"1"), ("/b", b"2")]
    assert "channel_redefined" in reasons(reader)


def test_an_index_may_point_to_the_connection_in_front_of_a_message() -> None:
    first = rb.connection(0, "/a")
    body = first + rb.message(0, T0_NS, b"1") + rb.connection(1, "/b") + rb.message(1, T0_NS, b"2")
    at_second = len(first + rb.message(0, T0_NS, b"1"))
    index = rb.index_data(0, [(T0_NS, 0)]) + rb.index_data(1, [(T0_NS, at_second)])
    reader, messages = read(rb.MAGIC + rb.bag_header() + rb.chunk(body) + index)
    assert len(messages) == 2
    assert "index_contradicted" not in reasons(reader)


def test_connection_ids_above_int32_stay_apart() -> None:
    ids = (0, 2**31, 2**32 - 1)
    body = b"".join(rb.connection(i, f"/{i}") + rb.message(i, T0_NS, rb.u32(i)) for i in ids)
    _, messages = read(rb.MAGIC + rb.bag_header() + rb.chunk(body))
    assert [(m[0], m[2]) for m in messages] == [(f"/{i}", rb.u32(i)) for i in ids]


def test_a_type_without_definition_comes_from_the_common_ones_or_is_labelled() -> None:
    body = b"".join(
        rb.connection(i, f"/{i}", name, "") + rb.message(i, T0_NS, b"1")
        for i, name in enumerate(("sensor_msgs/Imu", "acme_msgs/Secret"))
    )
    reader, _ = read(rb.MAGIC + rb.bag_header() + rb.chunk(body))
    assert [reader.findings.definitions[i].problem for i in range(2)] == [None, "definition_missing"]
    assert ros_plan(reader.findings.definitions[0]).steps


def test_a_bag_is_one_part() -> None:
    data, _ = rb.bag([[(0, T0_NS, b"abc")]], ["/a"])
    reader = Rosbag1Reader(MemorySource(data), max_chunk_bytes=MIB, max_record_bytes=MIB)
    (part,) = reader.parts(10)
    assert sum(map(len, reader.blocks(part))) == 1
    with pytest.raises(PlanContradictedError):
        list(reader.blocks(Part(0, 0, 50)))


def test_encrypted_and_foreign_files_are_refused_with_a_reason() -> None:
    with pytest.raises(BadInputError) as encrypted:
        read(rb.MAGIC + rb.bag_header(encryptor=b"rosbag/AesCbcEncryptor"))
    assert encrypted.value.reason == "bag_encrypted"
    with pytest.raises(BadInputError) as foreign:
        read(b"#ROSBAG V1.2\n")
    assert foreign.value.reason == "not_rosbag1"
