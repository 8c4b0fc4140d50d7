"""Splits of a release follow from its scenes, whatever order they came in, and nothing straddles them."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from scenelake.contracts import ids
from scenelake.contracts.releases import Release
from scenelake.contracts.splits import assign_splits, split_of
from scenelake.serialise.commit import BatchCommit, commit_batch
from scenelake.serialise.config import SerialiseConfig
from scenelake.serialise.drives import DriveRows, drive_rows

from .conftest import Lake

CONFIG = SerialiseConfig(nbr_threads=2, split_shares=(0.5, 0.25, 0.25))
SHOWN = ("drive_id", "scene_id", "split", "split_group", "cluster_id")


def drive_in(split: str, *others: str) -> str:
    """Name of a drive that is in a split by itself."""
    names = (f"d{i}" for i in itertools.count())
    return next(
        n for n in names if n not in others and split_of(ids.drive_id("fleet", "car", n), CONFIG.split_shares) == split
    )


TRAIN, TEST = drive_in("train"), drive_in("test")
FAR = drive_in("test", TEST)


def built(lake: Lake, name: str, clusters: tuple[str | None, ...] = ()) -> DriveRows:
    """A drive of one scene for each cluster, or of one without."""
    rows = drive_rows(lake.maker.drive(name, scenes=len(clusters) or 1), "s3://quarantine")
    kept = rows.rows["release_scene"]
    column = pa.array(clusters or (None,), pa.string())
    return replace(rows, rows={**rows.rows, "release_scene": kept.set_column(
        kept.column_names.index("cluster_id"), kept.schema.field("cluster_id"), column
    )})  # fmt: skip


def commit(lake: Lake, batch: str, *drives: DriveRows, config: SerialiseConfig = CONFIG) -> Release:
    given = BatchCommit(batch, 1, "recipe", drives, lambda: 1, lambda _: None)
    release = commit_batch(given, lake.committer(), lake.objects, lake.documents, config).release
    assert release is not None
    return release


def rows_of(lake: Lake, release: Release) -> list[dict[str, Any]]:
    found = lake.table(release, "release_scene").select(list(SHOWN)).to_pylist()
    return sorted(found, key=lambda r: str(r["scene_id"]))


def splits_of(lake: Lake, release: Release) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for row in rows_of(lake, release):
        found.setdefault(row["drive_id"], set()).add((row["split"], row["split_group"]))
    return found


def id_of(name: str) -> str:
    return ids.drive_id("fleet", "car", name)


def expected(drives: Mapping[str, tuple[str | None, ...]]) -> dict[str, set[tuple[str, str]]]:
    pairs = [(id_of(d), c) for d, clusters in drives.items() for c in (clusters or (None,))]
    splits, groups = assign_splits([d for d, _ in pairs], [c for _, c in pairs], CONFIG.split_shares)
    return {d: {(s, g)} for (d, _), s, g in zip(pairs, splits, groups, strict=True)}


DRIVES: dict[str, tuple[str | None, ...]] = {TEST: ("a",), TRAIN: (None, "b"), FAR: ("b", "a", None), "alone": ()}


@pytest.mark.parametrize("order", [*itertools.permutations(DRIVES)][::9], ids=repr)
def test_every_order_of_batches_ends_in_the_same_rows(lake: Lake, order: tuple[str, ...]) -> None:
    for number, name in enumerate(order):
        release = commit(lake, f"b{number}", built(lake, name, DRIVES[name]))
    assert splits_of(lake, release) == expected(DRIVES)
    assert len({group for name in (TEST, TRAIN, FAR) for group in splits_of(lake, release)[id_of(name)]}) == 1


def test_a_duplicate_moves_a_drive_of_an_earlier_release_and_the_old_release_stays(lake: Lake) -> None:
    first = commit(lake, "b1", built(lake, TEST, ("a", None)), built(lake, "alone"))
    before = rows_of(lake, first)
    assert splits_of(lake, first)[id_of(TEST)] == {("test", id_of(TEST))}
    second = commit(lake, "b2", built(lake, TRAIN, ("a",)))
    assert splits_of(lake, second) == expected({TEST: ("a", None), "alone": (), TRAIN: ("a",)})
    moved = {split for split, _ in splits_of(lake, second)[id_of(TEST)]}
    assert moved == {"train"}
    assert rows_of(lake, first) == before
    whole = lake.table(second, "release_scene").to_pylist()
    assert {r["release_id"] for r in whole if r["drive_id"] == id_of(TEST)} == {second.release_id}
    assert {r["release_id"] for r in whole if r["drive_id"] == id_of("alone")} == {first.release_id}
    assert {r["scene_id"]: r["revision"] for r in whole} == {s: h for s, (_, h) in second.scenes.items()}


def test_a_duplicate_that_is_gone_lets_its_drive_go_back(lake: Lake) -> None:
    commit(lake, "b1", built(lake, TEST, ("a",)), built(lake, TRAIN, ("a",)))
    release = commit(lake, "b2", built(lake, TRAIN, (None,)))
    assert splits_of(lake, release) == expected({TEST: ("a",), TRAIN: ()})


def test_a_batch_that_loses_the_race_follows_the_winner(lake: Lake) -> None:
    """The other batch brings the duplicate in the moment before this one writes its release."""
    others = iter([built(lake, TRAIN, ("a",))])

    def overtaken(_: str) -> None:
        for other in others:
            commit(lake, "b1", other)

    given = BatchCommit("b2", 1, "recipe", (built(lake, TEST, ("a",)),), lambda: 1, overtaken)
    release = commit_batch(given, lake.committer(), lake.objects, lake.documents, CONFIG).release
    assert release is not None
    assert release.number == 2
    assert splits_of(lake, release) == expected({TEST: ("a",), TRAIN: ("a",)})


def test_another_seed_tears_nothing_apart_and_leaves_single_drives_alone(lake: Lake) -> None:
    singles = [f"single-{i}" for i in range(6)]
    first = commit(lake, "b1", built(lake, TEST, ("a",)), *(built(lake, s) for s in singles))
    other = CONFIG.model_copy(update={"split_seed": 7})
    second = commit(lake, "b2", built(lake, TRAIN, ("a",)), config=other)
    found = splits_of(lake, second)
    assert {d: s for d, s in found.items() if d in map(id_of, singles)} == {
        d: s for d, s in splits_of(lake, first).items() if d != id_of(TEST)
    }
    assert found[id_of(TEST)] == found[id_of(TRAIN)]


@pytest.mark.parametrize("values", [{"split_shares": (0.5, 0.4, 0.2)}, {"split_seed": -1}, {"split_share": 1}])
def test_shares_and_seed_are_checked(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        SerialiseConfig(**values)
