"""Messages of the dataset encodings: many at once as one by one, and hostile schemas."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import MessageStatus, Modality
from scenelake.decode.channels import ChannelDecoder
from scenelake.decode.formats import dataset_blocks as blocks
from scenelake.decode.formats.blocks import Block, Channel, Definition, Findings, Schema
from scenelake.decode.formats.dataset_blocks import DatasetChannels, EpisodeClock
from scenelake.decode.handlers.datasets import DTYPES, MAX_ROW_NAME_BYTES


def block_of(definition: Definition, messages: list[bytes], gap: int = 0) -> Block:
    """Messages one behind the other, some bytes between them."""
    body = b"".join(m + b"\xee" * gap for m in messages)
    sizes = np.array([len(m) for m in messages], np.int64)
    start = np.cumsum(sizes + gap) - sizes - gap
    times = np.arange(1, len(messages) + 1)
    return blocks.make_block(definition, memoryview(body), start, start + sizes, times, times)


def decoded(decoder: ChannelDecoder, block: Block, rows: list[int]) -> dict[int, tuple[str, Any]]:
    found: dict[int, tuple[str, Any]] = {}
    for piece in decoder.decode(block, np.array(rows)):
        if piece.batch is not None:
            assert piece.stamp_ns is None or not np.any(piece.has_stamp)
            for row, values in zip(piece.rows.tolist(), piece.batch.to_pylist(), strict=True):
                found[row] = (str(piece.modality), values)
        else:
            for at, row in enumerate(piece.rows.tolist()):
                found[row] = (str(piece.status), piece.reason.get(at))
    return found


@settings(deadline=None)
@given(
    dtype=st.sampled_from(sorted(DTYPES)),
    width=st.integers(1, 9),
    sizes=st.lists(st.sampled_from([0, 0, 0, 0, -1, 1]), min_size=5, max_size=40),
    gap=st.integers(0, 5),
    has_units=st.booleans(),
    topic=st.sampled_from(["/state", "/action"]),
    seed=st.integers(0, 2**16),
)
def test_arrays_at_once_are_arrays_one_by_one(
    dtype: str, width: int, sizes: list[int], gap: int, has_units: bool, topic: str, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    names = [f"joint_{i}" for i in range(width)]
    schema = blocks.signal_schema(dtype, names, ["rad"] * width if has_units else None)
    definition = DatasetChannels(Findings()).define(topic, blocks.ARRAY, schema)
    width_bytes = np.dtype(dtype).itemsize * width
    messages = [generator.bytes(max(width_bytes + d, 0)) for d in sizes]
    block = block_of(definition, messages, gap)
    together = decoded(ChannelDecoder(definition), block, list(range(len(block))))
    alone: dict[int, tuple[str, Any]] = {}
    for row in range(len(block)):
        alone |= decoded(ChannelDecoder(definition), block, [row])
    assert together.keys() == alone.keys()
    for row, (kind, values) in together.items():
        assert kind == alone[row][0]
        np.testing.assert_equal(values, alone[row][1])
    is_whole = [d == 0 for d in sizes]
    expected = "action" if topic == "/action" else "robot_state"
    assert [together[i][0] == expected for i in range(len(sizes))] == is_whole


HOSTILE_SCHEMAS: list[Any] = [
    None,
    [],
    {},
    {"dtype": ["float32"], "names": []},
    {"dtype": "object", "names": ["a"]},
    {"dtype": "float32", "names": "abc"},
    {"dtype": "float32", "names": [1]},
    {"dtype": "float32", "names": ["\ud800"]},
    {"dtype": "float32", "names": ["a"], "units": ["m", "m"]},
    {"dtype": "int8", "names": ["n" * (MAX_ROW_NAME_BYTES + 1)]},
    {"dtype": "int8", "names": [""] * 100_000},
    {"codec": ["h264"]},
    {"codec": "h264", "width_px": -1, "height_px": 2},
    {"codec": "h264", "width_px": 64, "height_px": 48, "nal_length_bytes": 3},
    {"codec": "h264", "width_px": 64, "height_px": 48, "nal_length_bytes": [4]},
    {"codec": "h264", "width_px": 64, "height_px": 48, "parameter_sets": ["%%%"]},
    {"codec": "mp4v", "width_px": 64, "height_px": 48},
]


@pytest.mark.parametrize("kind", [blocks.ARRAY, blocks.VIDEO])
@pytest.mark.parametrize("schema", HOSTILE_SCHEMAS, ids=range(len(HOSTILE_SCHEMAS)))
def test_hostile_schemas_leave_the_messages_as_bytes(kind: str, schema: Any) -> None:
    encoding = kind.rsplit(".", 1)[-1].lower()
    data = json.dumps(schema).encode()
    definition = Definition(Channel(1, 1, "/x", encoding, {}), Schema(1, kind, encoding, data))
    block = block_of(definition, [b"", b"\x00", b"abcd"] * 3)
    for piece in ChannelDecoder(definition).decode(block, np.arange(len(block))):
        assert piece.status in (MessageStatus.RAW, MessageStatus.UNDECODABLE)
        assert piece.reason


@settings(deadline=None)
@given(
    data=st.binary(max_size=64), codec=st.sampled_from(["h264", "h265", "av1"]), length=st.sampled_from([None, 1, 2, 4])
)
def test_any_bytes_as_a_frame(data: bytes, codec: str, length: int | None) -> None:
    schema = {"codec": codec, "width_px": 8, "height_px": 8, "nal_length_bytes": length}
    definition = DatasetChannels(Findings()).define("/v", blocks.VIDEO, schema)
    pieces = list(ChannelDecoder(definition).decode(block_of(definition, [data]), np.array([0])))
    assert sum(len(p.rows) for p in pieces) == 1


def test_texts_are_language_only_where_the_topic_says_so() -> None:
    for topic, modality in (("/language", Modality.LANGUAGE), ("/file_path", Modality.TEXT_LOG)):
        definition = DatasetChannels(Findings()).define(topic, blocks.TEXT)
        (piece,) = ChannelDecoder(definition).decode(block_of(definition, [b"go"]), np.array([0]))
        assert (piece.modality, piece.batch.to_pylist()[0]["text"] if piece.batch else None) == (modality, "go")
        (bad,) = ChannelDecoder(definition).decode(block_of(definition, [b"\xff"]), np.array([0]))
        assert (bad.status, bad.reason) == (MessageStatus.UNDECODABLE, {0: "text_invalid"})


def test_names_do_not_outgrow_their_portion() -> None:
    """65,536 one-byte messages whose names take 4 KiB would be 256 MiB at once."""
    schema = blocks.signal_schema("int8", ["n" * MAX_ROW_NAME_BYTES])
    definition = DatasetChannels(Findings()).define("/x", blocks.ARRAY, schema)
    block = block_of(definition, [b"a"] * 20_000)
    sizes = [p.batch.nbytes for p in ChannelDecoder(definition).decode(block, np.arange(20_000)) if p.batch]
    assert len(sizes) > 1
    assert max(sizes) < 20 * 1024 * 1024


def test_episodes_have_their_place() -> None:
    clock = EpisodeClock(1000)
    assert clock.placed(2, np.array([0, 999])).tolist() == [3000, 3999]
    for index, since in ((0, [1000]), (-1, [0]), (2**31, [0]), (2**61, [0])):
        with pytest.raises(BadInputError):
            clock.placed(index, np.array(since, np.int64))


def test_portions_hold_every_message_once() -> None:
    definition = DatasetChannels(Findings()).define("/x", blocks.TEXT)
    block = block_of(definition, [b"x" * (i % 7) for i in range(1000)])
    parts = list(blocks.portions(block, 500))
    assert len(parts) > 4
    assert max(int((p.exclusive_end - p.start).sum()) for p in parts) < 600
    assert np.concatenate([p.start for p in parts]).tolist() == block.start.tolist()
    assert np.concatenate([p.chunk_offset_bytes for p in parts]).tolist() == list(range(1, 1001))


def test_the_names_column_is_text() -> None:
    definition = DatasetChannels(Findings()).define("/x", blocks.ARRAY, blocks.signal_schema("float32", ["a", "ü"]))
    (piece,) = ChannelDecoder(definition).decode(block_of(definition, [b"\x00" * 8] * 5), np.arange(5))
    assert piece.batch is not None
    assert piece.batch["names"].to_pylist() == [["a", "ü"]] * 5
