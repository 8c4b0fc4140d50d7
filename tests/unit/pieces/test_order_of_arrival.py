"""Whatever order the parts of a drive come in, and however they fall into batches, gold is the same (I5)."""

import random
from collections.abc import Sequence

import pytest

from scenelake.contracts.drops import DropState

from .drive import SLOT_NS, START_NS
from .pipeline import Lake

DRIVE = "fleet/car/monday"


def put_and_build(lake: Lake, parts: dict[str, bytes], batches: Sequence[Sequence[str]]) -> Lake:
    for names in batches:
        for name in names:
            lake.put(f"{DRIVE}/{name.replace('/', '-')}", parts[name])
        lake.build_all()
    return lake


def chopped(names: Sequence[str], seed: int) -> list[list[str]]:
    """The names in random order, cut into batches of random sizes."""
    dice = random.Random(seed)
    shuffled = dice.sample(list(names), len(names))
    cuts = sorted(dice.sample(range(1, len(names)), dice.randint(1, 5)))
    return [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(names)], strict=True)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, parts: dict[str, bytes]) -> Lake:
    return put_and_build(Lake(tmp_path_factory.mktemp("whole")), parts, [sorted(parts)])


def test_the_drive_has_three_scenes_and_every_sensor(whole: Lake, parts: dict[str, bytes]) -> None:
    assert len(parts) > 15
    assert [r["start_ns"] // SLOT_NS for r in sorted(whole.rows("scene"), key=lambda r: r["start_ns"])] == [
        START_NS // SLOT_NS + i for i in range(3)
    ]
    assert {d.state for d in whole.drops()} == {DropState.BUILT}
    assert {len(whole.rows(t)) > 0 for t in ("sample", "sync_index", "imu", "gnss", "calibrated_sensor")} == {True}


@pytest.mark.parametrize("seed", range(4))
def test_any_order_in_any_batches_ends_in_the_same_gold(
    whole: Lake, lake: Lake, parts: dict[str, bytes], seed: int
) -> None:
    other = put_and_build(lake, parts, chopped(sorted(parts), seed))
    first, second = whole.release(), other.release()
    assert first is not None
    assert second is not None
    assert second.number > 1
    assert second.merkle_root == first.merkle_root
    assert other.gold() == whole.gold()


@pytest.mark.parametrize("late", ["gnss/part_000.mcap", "camera_front/part_000.mcap", "radar/part_002.mcap"])
def test_a_late_part_renews_only_the_scenes_it_touches(
    whole: Lake, lake: Lake, parts: dict[str, bytes], late: str
) -> None:
    """The scene two slots away shares neither a message nor a match with the part."""
    lake = put_and_build(lake, parts, [sorted(set(parts) - {late})])
    before, rows_before = lake.release(), lake.rows("sample_data")
    put_and_build(lake, parts, [[late]])
    after = lake.release()
    assert before is not None
    assert after is not None
    starts = {r["scene_id"]: (r["start_ns"] - START_NS) // SLOT_NS for r in lake.rows("scene")}
    far = 2 if late.endswith("000.mcap") else 0
    renewed = {starts[s] for s in after.delta.replaced}
    assert 2 - far in renewed
    assert far not in renewed
    assert after.parent == before.release_id
    assert {s: old for s, (old, _) in after.delta.replaced.items()} == {
        s: before.scenes[s][1] for s in after.delta.replaced
    }
    assert {s: new for s, (_, new) in after.delta.replaced.items()} == {
        s: after.scenes[s][1] for s in after.delta.replaced
    }
    kept = [r for r in rows_before if starts[r["scene_id"]] == far]
    assert kept
    assert [r for r in lake.rows("sample_data") if starts[r["scene_id"]] == far] == kept
    assert lake.gold() == whole.gold()
