"""Builds a release on the newest one, and starts over on the winner when another batch takes its number."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.commits import Committer, CommitToken, TableChange
from scenelake.contracts.errors import TransientError
from scenelake.contracts.modalities import SLOTTED_TABLES
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release, TablePin, release_id
from scenelake.contracts.tables import GOLD
from scenelake.serialise.config import SerialiseConfig
from scenelake.serialise.drives import DRIVE_TABLES, SCENE_TABLES, DriveRows
from scenelake.serialise.merkle import release_root
from scenelake.serialise.releases import (
    ReleaseObjects,
    latest_release,
    read_release,
    release_of_batch,
    scene_delta,
    write_release,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchCommit:
    """One attempt's commit of a batch.

    Attributes:
        recipe: see ``contracts.releases.Release``.
        now_ns: clock for ``committed_at_ns``.
        fence: raises FencedError when a later attempt holds the batch; called right before the release is written.
    """

    batch_id: str
    attempt: int
    recipe: str
    drives: tuple[DriveRows, ...]
    now_ns: Callable[[], int]
    fence: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit came to, the first time or when it was found done.

    Attributes:
        release: the release that holds the batch; None when the batch changes nothing.
        parent: the newest release before it.
        touched: tables that the batch gave a new snapshot.
    """

    release: Release | None
    parent: Release | None
    touched: dict[str, TablePin] = field(default_factory=dict)


def commit_batch(
    batch: BatchCommit, committer: Committer, objects: ReleaseObjects, paths: LakePaths, config: SerialiseConfig
) -> Committed:
    """Commits every table of a batch and then the release that makes them one version.

    Tables are committed as candidates on top of the parent release's snapshots. The conditional put of the
    release is the one moment at which the batch becomes part of the lake: before it nothing is visible, after
    it only ``main`` is moved, which any later try repeats.

    Raises:
        TransientError: other batches won every number tried for.
        CommitStateUnknownError, FencedError: see ``Committer.commit`` and ``BatchCommit.fence``.
    """
    with ThreadPoolExecutor(config.nbr_threads) as pool:
        for _ in range(config.max_rebases):
            parent = latest_release(objects, paths)
            if parent is not None and parent.batch_id == batch.batch_id:
                return _already_there(batch, committer, objects, paths, parent, config)
            number = parent.number + 1 if parent else 1
            token = CommitToken(batch.batch_id, batch.attempt, release_id(number))
            pins = parent.tables if parent else {}
            changes = batch_changes(batch.drives, parent, token)
            commits = list(pool.map(lambda c: committer.commit(c, token, pins.get(c.table.name)), changes))  # noqa: B023
            touched = {c.table.name: pin for c, pin in zip(changes, commits, strict=True) if pin is not None}
            if not touched:
                return _already_there(batch, committer, objects, paths, parent, config)
            release = _release(batch, parent, number, {**pins, **touched})
            batch.fence()
            if write_release(objects, paths, release):
                list(pool.map(lambda item: committer.publish(dict([item]), number), touched.items()))  # noqa: B023
                return Committed(release, parent, touched)
            log.info("another batch took the release number, starting over", extra={"release_id": release.release_id})
    raise TransientError(f"batch {batch.batch_id}: other batches took {config.max_rebases} release numbers in a row")


def _already_there(
    batch: BatchCommit,
    committer: Committer,
    objects: ReleaseObjects,
    paths: LakePaths,
    parent: Release | None,
    config: SerialiseConfig,
) -> Committed:
    release = release_of_batch(objects, paths, parent, batch.batch_id, config.lookback_releases)
    if release is None or parent is None:
        return Committed(None, parent)
    committer.publish(parent.tables, parent.number)
    before = read_release(objects, paths, release.number - 1).tables if release.number > 1 else {}
    return Committed(release, parent, {t: p for t, p in release.tables.items() if before.get(t) != p})


def batch_changes(drives: Sequence[DriveRows], parent: Release | None, token: CommitToken) -> list[TableChange]:
    """What each gold table shall hold for the batch's drives, given what the parent release holds.

    Scenes whose content hash is the parent's stay as they are.
    """
    owners = tuple(sorted(d.drive_id for d in drives))
    before = {s: h for s, (drive, h) in parent.scenes.items() if drive in owners} if parent else {}
    kept = frozenset(s for d in drives for s, h in d.scenes.items() if before.get(s) == h)
    changes = []
    for name in SCENE_TABLES:
        rows = _rows(drives, name)
        changed = rows.filter(pc.invert(pc.is_in(rows["scene_id"], value_set=_strings(kept))))
        if len(changed) or set(before) - kept:
            changes.append(TableChange(GOLD[name], changed, owners=owners, kept_scenes=kept))
    for name in DRIVE_TABLES:
        rows = _rows(drives, name)
        if name == "release_scene":
            at = rows.column_names.index("release_id")
            rows = rows.set_column(at, rows.schema.field(at), pa.array([token.release_id] * len(rows), pa.string()))
        changes.append(TableChange(GOLD[name], rows, owners=owners))
    files = [f for d in drives for f in d.payload_files]
    for name in SLOTTED_TABLES:
        wanted = {f.uri: f for f in files if f.table == name}
        if wanted:
            objects = _objects(drives)
            change = TableChange(
                GOLD[name], GOLD[name].schema.empty_table(), "object_sha256", objects,
                payload_files=tuple(wanted[uri] for uri in sorted(wanted)),
            )  # fmt: skip
            changes.append(change)
    return changes


def _rows(drives: Sequence[DriveRows], name: str) -> pa.Table:
    empty = GOLD[name].schema.empty_table()
    return pa.concat_tables([empty, *(d.rows[name] for d in drives if name in d.rows)])


def _objects(drives: Sequence[DriveRows]) -> tuple[str, ...]:
    return tuple(sorted({o for d in drives for o in d.rows["sample_data"]["object_sha256"].unique().to_pylist()}))


def _strings(values: frozenset[str]) -> pa.Array:
    return pa.array(sorted(values), pa.string())


def _release(batch: BatchCommit, parent: Release | None, number: int, tables: Mapping[str, TablePin]) -> Release:
    rebuilt = {d.drive_id for d in batch.drives}
    before = parent.scenes if parent else {}
    scenes = {s: v for s, v in before.items() if v[0] not in rebuilt}
    scenes |= {s: (d.drive_id, h) for d in batch.drives for s, h in d.scenes.items()}
    return Release(
        release_id=release_id(number),
        number=number,
        parent=parent.release_id if parent else None,
        batch_id=batch.batch_id,
        attempt=batch.attempt,
        recipe=batch.recipe,
        committed_at_ns=batch.now_ns(),
        merkle_root=release_root(scenes),
        tables=dict(sorted(tables.items())),
        delta=scene_delta(before, scenes),
        scenes=dict(sorted(scenes.items())),
    )
