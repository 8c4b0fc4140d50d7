"""Messages with changed bytes and schemas with changed types: rows that fit their table, or a verdict."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.targets import block_at

from scenelake.adapters.recording_writer import ros_typestore
from scenelake.contracts.modalities import PAYLOAD_TABLE, MessageStatus
from scenelake.contracts.tables import GOLD
from scenelake.decode.channels import ChannelDecoder
from scenelake.decode.formats.blocks import Block, Channel, Definition, Schema
from scenelake.decode.formats.ros2msg import short_name
from scenelake.decode.message_types import MESSAGE_TYPES
from scenelake.decode.row_columns import rows_to_batch

STORE = ros_typestore()
ROS_TYPES = sorted(
    name for name in STORE.types if ("ros", short_name(name)) in MESSAGE_TYPES and not name.endswith("msg/String")
)


def _example(name: str) -> Any:
    """A message with one element in every sequence and small numbers everywhere."""
    _, fields = STORE.fielddefs[name]
    return STORE.types[name](**{field: _value(kind) for field, kind in fields})


def _value(kind: Any, length: int | None = None) -> Any:
    node, detail = int(kind[0]), kind[1]
    if node == 1:
        base = detail[0]
        if length is not None:
            return (
                ["x"] * length
                if base == "string"
                else np.ones(length, "uint8" if base in ("bool", "byte", "char") else base)
            )
        return "x" if base == "string" else (1.0 if base.startswith("float") else 1)
    if node == 2:
        return _example(detail) if length is None else [_example(detail) for _ in range(length)]
    return _value(detail[0], detail[1] if node == 3 and detail[1] else 1)


EXAMPLES = {name: bytes(STORE.serialize_cdr(_example(name), name)) for name in ROS_TYPES}
DEFINITIONS = {name: STORE.generate_msgdef(name, ros_version=2)[0] for name in ROS_TYPES}


def _decode(name: str, definition: str, data: bytes, topic: str = "/topic") -> str:
    """Decodes and builds the Arrow rows, as the stage does; returns what became of the message."""
    schema = Schema(1, name, "ros2msg", definition.encode())
    decoder = ChannelDecoder(Definition(Channel(1, 1, topic, "cdr", {}), schema))
    outcomes, rows = [], []
    # Alone, and so often that columns are tried: the same must become of it.
    for copies in (1, 5):
        pieces = list(decoder.decode(_block(data, copies), np.arange(copies)))
        assert sorted(r for piece in pieces for r in piece.rows.tolist()) == list(range(copies))
        for piece in pieces:
            if piece.status is MessageStatus.DECODED and piece.large is not None:
                assert rows_to_batch(piece.large, GOLD[PAYLOAD_TABLE[piece.modality]].schema).num_rows == copies
        (found,) = {p.reason[0] if p.status is not MessageStatus.DECODED else "decoded" for p in pieces}
        outcomes.append(found)
        batches = [p.batch for p in pieces if p.batch is not None]
        rows.append([repr(row) for batch in batches for row in batch.to_pylist()])
    assert outcomes[0] == outcomes[1]
    assert rows[1] == rows[0] * 5
    return outcomes[0]


def _block(data: bytes, copies: int) -> Block:
    starts = np.arange(copies) * len(data)
    return block_at(memoryview(data * copies), starts, starts + len(data))


def test_the_examples_cover_the_ros_types() -> None:
    assert len(ROS_TYPES) == 35


@pytest.mark.parametrize("name", ROS_TYPES)
def test_an_unchanged_example_is_understood(name: str) -> None:
    expected = {
        "sensor_msgs/msg/CompressedImage": "image_format_unsupported",
        "sensor_msgs/msg/PointCloud2": "points_layout_invalid",
    }
    assert _decode(name, DEFINITIONS[name], EXAMPLES[name]) == expected.get(name, "decoded")


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(ROS_TYPES),
    edits=st.lists(st.tuples(st.integers(4, 2000), st.binary(min_size=1, max_size=8)), max_size=5),
    cut=st.integers(0, 30),
)
def test_changed_bytes(name: str, edits: list[tuple[int, bytes]], cut: int) -> None:
    data = bytearray(EXAMPLES[name])
    for at, patch in edits:
        at %= len(data)
        data[at : at + len(patch)] = patch[: len(data) - at]
    assert _decode(name, DEFINITIONS[name], bytes(data[: len(data) - cut]))


TYPES = [
    "uint64",
    "string",
    "float64",
    "uint8[]",
    "string[]",
    "float64[]",
    "std_msgs/Header",
    "std_msgs/Header[]",
    "bool",
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(ROS_TYPES),
    swaps=st.lists(st.tuples(st.integers(0, 60), st.sampled_from(TYPES)), min_size=1, max_size=3),
    data=st.binary(max_size=400),
)
def test_changed_schemas(name: str, swaps: list[tuple[int, str]], data: bytes) -> None:
    lines = DEFINITIONS[name].splitlines()
    fields = [i for i, line in enumerate(lines) if line and not line.startswith(("=", "MSG")) and "=" not in line]
    for position, kind in swaps:
        at = fields[position % len(fields)]
        lines[at] = f"{kind} {lines[at].split()[1]}"
    assert _decode(name, "\n".join(lines), b"\0\1\0\0" + data + bytes(400))
    assert _decode(name, "\n".join(lines), b"\0\1\0\0" + bytes(200))
