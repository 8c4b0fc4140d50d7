"""The demo's exit code says what happened to the drops, and nothing else."""

from dataclasses import replace

import pytest

from scenelake.cli.summary import human_bytes, judge
from scenelake.contracts.drops import Drop, DropState

BUILT = Drop("id", "landing", "f/v/d/x.mcap", "1", 1, "e", 0, "f", "v", "d", "drive", state=DropState.BUILT)


def test_good_is_every_drop_ended_none_rejected_and_a_scene_in_gold() -> None:
    assert judge([BUILT, replace(BUILT, state=DropState.DUPLICATE)], nbr_scenes=1).is_good


@pytest.mark.parametrize(
    ("drops", "scenes", "says"),
    [
        ([BUILT], 0, "no scene"),
        ([BUILT, None], 1, "no terminal state"),
        ([replace(BUILT, state=DropState.CLAIMED)], 1, "no terminal state"),
        ([BUILT, replace(BUILT, state=DropState.REJECTED, reason="not_mcap at byte 0")], 1, "not_mcap at byte 0"),
    ],
)
def test_anything_else_is_not_good_and_says_why(drops: list[Drop | None], scenes: int, says: str) -> None:
    verdict = judge(drops, scenes)
    assert not verdict.is_good
    assert any(says in reason for reason in verdict.reasons)


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**4, "5.0 TiB")])
def test_sizes_read_well(size: int, text: str) -> None:
    assert human_bytes(size) == text
