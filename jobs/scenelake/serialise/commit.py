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
    noted_release,
    read_release,
    release_of_batch,
    scene_delta,
    write_release,
)
from scenelake.serialise.splits import with_splits

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchCommit:
    """One attempt's commit of a batch.

    Attributes:
        recipe: see ``contracts.releases.Release``.
        now_ns: clock for ``committed_at_ns``.
        fence: called with a release's id right before it is written. Notes it in the ledger, for a process that dies
            in between must not leave a release that nobody knows of; raises FencedError when a later attempt holds
            the batch.
        noted_release_id: the release that an earlier try noted so.
    """

    batch_id: str
    attempt: int
    recipe: str
    drives: tuple[DriveRows, ...]
    now_ns: Callable[[], int]
    fence: Callable[[str], None]
    noted_release_id: str | None = None


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
    noted = batch.noted_release_id
    with ThreadPoolExecutor(config.nbr_threads) as pool:
        for _ in range(config.max_rebases):
            parent = latest_release(objects, paths)
            is_own = parent is not None and parent.batch_id == batch.batch_id
            made = parent if is_own else noted_release(objects, paths, noted, batch.batch_id)
            if made is not None:
                return _already_there(made, parent, committer, objects, paths)
            number = parent.number + 1 if parent else 1
            token = CommitToken(batch.batch_id, batch.attempt, release_id(number))
            pins = parent.tables if parent else {}
            changes = batch_changes(batch.drives, parent, token, committer, config)
            commits = list(pool.map(lambda c: committer.commit(c, token, pins.get(c.table.name)), changes))  # noqa: B023
            touched = {c.table.name: pin for c, pin in zip(changes, commits, strict=True) if pin is not None}
            if not touched:
                made = release_of_batch(objects, paths, parent, batch.batch_id, config.lookback_releases)
                return _already_there(made, parent, committer, objects, paths)
            release = _release(batch, parent, number, {**pins, **touched})
            batch.fence(release.release_id)
            if write_release(objects, paths, release):
                list(pool.map(lambda item: committer.publish(dict([item]), number), touched.items()))  # noqa: B023
                return Committed(release, parent, touched)
            noted = release.release_id
            log.info("the release number was taken, starting over", extra={"release_id": release.release_id})
    raise TransientError(f"batch {batch.batch_id}: other batches took {config.max_rebases} release numbers in a row")


def _already_there(
    release: Release | None, parent: Release | None, committer: Committer, objects: ReleaseObjects, paths: LakePaths
) -> Committed:
    if release is None or parent is None:
        return Committed(None, parent)
    committer.publish(parent.tables, parent.number)
    before = read_release(objects, paths, release.number - 1).tables if release.number > 1 else {}
    return Committed(release, parent, {t: p for t, p in release.tables.items() if before.get(t) != p})


def batch_changes(
    drives: Sequence[DriveRows],
    parent: Release | None,
    token: CommitToken,
    committer: Committer,
    config: SerialiseConfig,
) -> list[TableChange]:
    """What each gold table shall hold for the batch's drives, given what the parent release holds.

    Scenes whose content hash is the parent's stay as they are. Of ``release_scene``, other drives are stated too
    where a duplicate in the batch moves them to another split.
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
        if name == "release_scene":
            changes.append(_release_scenes(_rows(drives, name), owners, parent, token, committer, config))
        else:
            changes.append(TableChange(GOLD[name], _rows(drives, name), owners=owners))
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


def _release_scenes(
    stated: pa.Table,
    owners: tuple[str, ...],
    parent: Release | None,
    token: CommitToken,
    committer: Committer,
    config: SerialiseConfig,
) -> TableChange:
    table = GOLD["release_scene"]
    pin = parent.tables.get(table.name) if parent else None

    def parent_rows(columns: Sequence[str], where: str, values: Sequence[str] | None = None) -> pa.Table:
        if pin is None:
            return table.schema.empty_table().select(list(columns))
        return committer.rows(table, pin, columns, where, values)

    rows = with_splits(stated, owners, parent_rows, config)
    at = rows.column_names.index("release_id")
    rows = rows.set_column(at, rows.schema.field(at), pa.array([token.release_id] * len(rows), pa.string()))
    return TableChange(table, rows, owners=tuple(sorted({*owners, *rows["drive_id"].unique().to_pylist()})))


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
