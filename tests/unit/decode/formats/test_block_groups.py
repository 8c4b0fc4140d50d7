"""Blocks taken together give what they give one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.targets import block_at

from scenelake.decode.formats import block_groups
from scenelake.decode.formats.block_groups import grouped
from scenelake.decode.formats.blocks import Block, Channel, Definition


def _definition(topic: str) -> Definition:
    return Definition(Channel(0, 0, topic, "cdr", {}))


def _block(messages: list[bytes], topic: str, number: int) -> Block:
    ends = np.cumsum([len(m) for m in messages], dtype=np.int64)
    starts = ends - np.array([len(m) for m in messages], np.int64)
    block = block_at(memoryview(b"".join(messages)), starts, ends)
    block.definitions[0] = _definition(topic)
    block.chunk_offset_bytes[:] = number
    return block


MESSAGES = st.lists(st.binary(max_size=40), max_size=6)


@settings(deadline=None)
@given(
    parts=st.lists(st.tuples(MESSAGES, st.sampled_from(["a", "a", "b"])), max_size=12),
    max_bytes=st.integers(1, 400),
)
def test_grouping_changes_no_message(parts: list[tuple[list[bytes], str]], max_bytes: int) -> None:
    blocks = [_block(messages, topic, number) for number, (messages, topic) in enumerate(parts)]
    groups = list(grouped(blocks, max_bytes))
    found = [
        (g.definitions[0].channel.topic, int(g.chunk_offset_bytes[row]), bytes(g.data(row)))
        for g in groups
        for row in range(len(g))
    ]
    expected = [(topic, n, m) for n, (messages, topic) in enumerate(parts) for m in messages]
    assert found == expected
    for group in groups:
        rows = np.arange(len(group))
        assert len(group.members()) == 1 or sum(len(m.body) for m in group.members()) <= max_bytes
        by_member = [(bytes(body), own.tolist()) for body, own in group.by_member(rows)]
        assert [row for _, own in by_member for row in own] == rows.tolist()
        for body, own in by_member:
            for row in own:
                assert body[group.start[row] : group.exclusive_end[row]] == bytes(group.data(row))


def test_blocks_of_next_to_nothing_do_not_add_up() -> None:
    blocks = [_block([b"m"], "a", number) for number in range(block_groups.GROUP_BLOCKS + 10)]
    assert [len(group.members()) for group in grouped(blocks)] == [block_groups.GROUP_BLOCKS, 10]


def test_a_recording_gives_the_same_rows_in_groups_of_any_size(
    decode: Callable[..., Any],
    record: Callable[..., Path],
    ros: Any,
    jpeg: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channels = {"/camera": "sensor_msgs/msg/CompressedImage", "/imu": "sensor_msgs/msg/Imu"}
    times_ns = [1_714_564_800_000_000_000 + i * 10_000_000 for i in range(400)]
    sent = [
        ("/camera", ros.image(jpeg, t), t) if i % 5 == 0 else ("/imu", ros.imu(t), t) for i, t in enumerate(times_ns)
    ]
    path = record(channels, sent)
    together = decode(path)
    monkeypatch.setattr(block_groups.grouped, "__defaults__", (1,))
    alone = decode(path)
    assert together.outcome.channels == alone.outcome.channels
    for name in ("message_index", *together.outcome.tables):
        rows = [sorted(r.table(name).to_pylist(), key=lambda row: row["sample_data_id"]) for r in (together, alone)]
        assert rows[0] == rows[1], name
