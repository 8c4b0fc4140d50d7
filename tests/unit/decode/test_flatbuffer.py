"""FlatBuffer messages by their binary schema: both are made here by the FlatBuffers library itself."""

import struct
from typing import Any

import flatbuffers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import MessageStatus
from scenelake.decode.channels import ChannelDecoder
from scenelake.decode.formats.blocks import Block, Channel, Definition, Schema
from scenelake.decode.formats.flatbuffer import MAX_ITEMS, FlatFields, flatbuffer_parser

UBYTE, UINT, FLOAT, DOUBLE, STRING, VECTOR, OBJECT = 4, 8, 11, 12, 13, 14, 15
OBJECTS: dict[str, tuple[bool, int, list[tuple[Any, ...]]]] = {
    "foxglove.Time": (True, 8, [("sec", UINT, 0, -1), ("nsec", UINT, 0, -1)]),
    "foxglove.PackedElementField": (
        False,
        0,
        [("name", STRING, 0, -1), ("offset", UINT, 0, -1), ("type", UBYTE, 0, -1)],
    ),
    "foxglove.PointCloud": (
        False,
        0,
        [("timestamp", OBJECT, 0, 0), ("frame_id", STRING, 0, -1), ("pose", OBJECT, 0, 3),
         ("point_stride", UINT, 0, -1), ("fields", VECTOR, OBJECT, 1), ("data", VECTOR, UBYTE, -1)],
    ),
    "foxglove.Pose": (False, 0, []),
    "foxglove.LaserScan": (
        False,
        0,
        [("timestamp", OBJECT, 0, 0), ("frame_id", STRING, 0, -1), ("pose", OBJECT, 0, 3),
         ("start_angle", DOUBLE, 0, -1), ("end_angle", DOUBLE, 0, -1), ("ranges", VECTOR, DOUBLE, -1),
         ("intensities", VECTOR, DOUBLE, -1), ("tags", VECTOR, STRING, -1), ("gain", FLOAT, 0, -1)],
    ),
}  # fmt: skip


def binary_schema() -> bytes:
    """The objects above as ``flatc --schema -b`` writes them (reflection.fbs)."""
    builder = flatbuffers.Builder(1024)
    tables = [_object(builder, name, *entry) for name, entry in OBJECTS.items()]
    objects = _vector(builder, tables)
    builder.StartObject(8)
    builder.PrependUOffsetTRelativeSlot(0, objects, 0)
    builder.Finish(builder.EndObject(), b"BFBS")
    return bytes(builder.Output())


def _object(builder: flatbuffers.Builder, name: str, is_struct: bool, size: int, fields: list[tuple[Any, ...]]) -> int:
    listed = _vector(builder, [_field(builder, i, is_struct, *f) for i, f in enumerate(fields)])
    text = builder.CreateString(name)
    builder.StartObject(8)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependUOffsetTRelativeSlot(1, listed, 0)
    builder.PrependBoolSlot(2, is_struct, False)
    builder.PrependInt32Slot(3, 4, 0)
    builder.PrependInt32Slot(4, size, 0)
    return builder.EndObject()


def _field(
    builder: flatbuffers.Builder, number: int, in_struct: bool, name: str, kind: int, element: int, index: int
) -> int:
    text = builder.CreateString(name)
    builder.StartObject(6)
    builder.PrependInt8Slot(0, kind, 0)
    builder.PrependInt8Slot(1, element, 0)
    builder.PrependInt32Slot(2, index, -1)
    kind_table = builder.EndObject()
    builder.StartObject(13)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependUOffsetTRelativeSlot(1, kind_table, 0)
    builder.PrependUint16Slot(2, number, 0)
    builder.PrependUint16Slot(3, 4 * number if in_struct else 4 + 2 * number, 0)
    if name == "gain":
        builder.PrependFloat64Slot(5, 2.5, 0.0)
    return builder.EndObject()


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def laser_scan() -> bytes:
    builder = flatbuffers.Builder(256)
    frame, tags = builder.CreateString("laser"), _vector(builder, [builder.CreateString(t) for t in ("a", "é")])
    ranges, strengths = (builder.CreateNumpyVector(np.array(v)) for v in ([1.0, 2.0], [3.0, 4.0]))
    builder.StartObject(9)
    builder.Prep(4, 8)
    builder.PrependUint32(9)
    builder.PrependUint32(1_700_000_000)
    builder.PrependStructSlot(0, builder.Offset(), 0)
    builder.PrependUOffsetTRelativeSlot(1, frame, 0)
    builder.PrependFloat64Slot(4, 1.0, 0.0)
    builder.PrependUOffsetTRelativeSlot(5, ranges, 0)
    builder.PrependUOffsetTRelativeSlot(6, strengths, 0)
    builder.PrependUOffsetTRelativeSlot(7, tags, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def point_cloud() -> bytes:
    builder = flatbuffers.Builder(256)
    fields = []
    for number, name in enumerate("xyz"):
        text = builder.CreateString(name)
        builder.StartObject(3)
        builder.PrependUOffsetTRelativeSlot(0, text, 0)
        builder.PrependUint32Slot(1, 4 * number, 0)
        builder.PrependUint8Slot(2, 7, 0)
        fields.append(builder.EndObject())
    listed, data = _vector(builder, fields), builder.CreateByteVector(np.arange(6, dtype="<f4").tobytes())
    builder.StartObject(6)
    builder.PrependUint32Slot(3, 12, 0)
    builder.PrependUOffsetTRelativeSlot(4, listed, 0)
    builder.PrependUOffsetTRelativeSlot(5, data, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


SCHEMA, SCAN, CLOUD = binary_schema(), laser_scan(), point_cloud()


def decoded(name: str, data: bytes, schema: bytes = SCHEMA) -> tuple[MessageStatus, str | None, dict[str, Any] | None]:
    definition = Definition(Channel(1, 1, "/t", "flatbuffer", {}), Schema(1, name, "flatbuffer", schema))
    zeros = np.zeros(1, np.int64)
    times = zeros.astype(np.uint64)
    end = np.array([len(data)])
    block = Block(memoryview(data), {}, zeros.astype(np.int32), zeros, times, times, zeros, zeros, zeros, end)
    (piece,) = ChannelDecoder(definition).decode(block, np.arange(1))
    row = piece.large[0] if piece.large and piece.status is MessageStatus.DECODED else None
    return piece.status, piece.reason.get(0), row


def test_messages_go_through_the_handlers_of_their_protobuf_twins() -> None:
    status, _, row = decoded("foxglove.LaserScan", SCAN)
    assert (status, row["nbr_points"] if row else None) == (MessageStatus.DECODED, 2)
    np.testing.assert_allclose(row["x_m"], [1.0, 2 * np.cos(1)], atol=1e-6)  # type: ignore[index]
    status, _, row = decoded("foxglove.PointCloud", CLOUD)
    assert status is MessageStatus.DECODED
    assert row["z_m"].tolist() == [2.0, 5.0]  # type: ignore[index]


def test_fields_of_every_kind_and_their_defaults() -> None:
    message: Any = flatbuffer_parser("foxglove.LaserScan", SCHEMA)(memoryview(SCAN))
    assert isinstance(message, FlatFields)
    assert (message.timestamp.seconds, message.timestamp.nanos) == (1_700_000_000, 9)
    assert (message.frame_id, message.start_angle, message.end_angle) == ("laser", 0, 1.0)
    assert (message.tags, message.gain, message.pose) == (["a", "é"], 2.5, None)
    assert (message.HasField("timestamp"), message.HasField("pose"), message.HasField("nothing")) == (
        True,
        False,
        False,
    )
    with pytest.raises(AttributeError):
        _ = message.nothing


def test_a_schema_that_cannot_be_used_leaves_its_channel_raw() -> None:
    for schema in (b"", b"\xff" * 40, SCHEMA[: len(SCHEMA) // 2]):
        assert decoded("foxglove.LaserScan", SCAN, schema)[:2] == (MessageStatus.RAW, "schema_invalid")
    assert decoded("foxglove.Log", SCAN)[:2] == (MessageStatus.RAW, "schema_invalid")
    assert decoded("other.Thing", SCAN)[:2] == (MessageStatus.RAW, "no_table")


@pytest.mark.parametrize("count", [MAX_ITEMS + 1, 2**32 - 1])
def test_counts_are_checked_before_they_are_believed(count: int) -> None:
    data = bytearray(CLOUD)
    at = data.index(struct.pack("<I", 3) + data[data.index(struct.pack("<I", 3)) + 4 :][:4])
    data[at : at + 4] = struct.pack("<I", count)
    status, reason, _ = decoded("foxglove.PointCloud", bytes(data) + bytes(4 * (MAX_ITEMS + 2)))
    assert status is MessageStatus.UNDECODABLE
    assert reason in ("message_too_large", "flatbuffer_invalid", "points_layout_invalid")


@settings(max_examples=600, deadline=2000)
@given(
    of_schema=st.booleans(),
    is_scan=st.booleans(),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6),
    cut=st.integers(0, 60),
)
def test_changed_bytes_give_a_row_or_a_verdict(
    of_schema: bool, is_scan: bool, edits: list[tuple[int, bytes]], cut: int
) -> None:
    name, whole = ("foxglove.LaserScan", SCAN) if is_scan else ("foxglove.PointCloud", CLOUD)
    data = bytearray(SCHEMA if of_schema else whole)
    for at, patch in edits:
        at %= len(data)
        data[at : at + len(patch)] = patch
    changed = bytes(data[: len(data) - cut])
    status, reason, _ = decoded(name, whole, changed) if of_schema else decoded(name, changed)
    assert status is MessageStatus.DECODED or reason


def test_bytes_that_are_no_flatbuffer() -> None:
    parse = flatbuffer_parser("foxglove.PointCloud", SCHEMA)
    for data in (b"", b"\x01", b"\xff" * 12):
        with pytest.raises(BadInputError) as caught:
            _ = parse(memoryview(data)).point_stride
        assert caught.value.reason == "flatbuffer_invalid"
