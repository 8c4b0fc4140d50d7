"""Commits what another policy says as a release of its own."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa

from scenelake.adapters.iceberg import IcebergCommitter
from scenelake.adapters.table_parts import TableParts
from scenelake.contracts import ids
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.errors import BadInputError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release, TablePin, release_id
from scenelake.contracts.stages import DatasetVersion, StageRecord
from scenelake.contracts.tables import GOLD
from scenelake.lineage.rows import lineage_rows
from scenelake.quality.checks import Verdict
from scenelake.quality.config import QualityPolicy
from scenelake.rejudge.verdicts import Rejudged, rejudge, restated_scenes
from scenelake.runtime.job import code_version
from scenelake.serialise.releases import ReleaseObjects, latest_release, load_release, scene_delta, write_release

BATCH_PREFIX = "judge-"
"""Of the batch id of such a release: no batch of drops made it."""

_MAX_REBASES = 10
_READ = ("qc_measurement", "release_scene")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a policy.

    Attributes:
        parent: the release that was judged.
        release: the one made of it; None when nothing changes, or for a look without a commit.
        changes: ``{(verdict before, verdict now): scenes}`` of scenes in gold.
        waiting: scenes in quarantine that would pass now.
    """

    parent: Release
    release: Release | None
    nbr_scenes: int
    changes: dict[tuple[str, str], int]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Restated:
    rejudged: Rejudged
    before: pa.Table
    released: frozenset[str]
    waiting: tuple[str, ...]

    @property
    def changes(self) -> dict[tuple[str, str], int]:
        now = dict(zip(*(self.rejudged.verdicts[n].to_pylist() for n in ("scene_id", "verdict")), strict=True))
        pairs = zip(*(self.before[n].to_pylist() for n in ("scene_id", "verdict")), strict=True)
        found: dict[tuple[str, str], int] = {}
        for scene_id, was in pairs:
            found[was, now[scene_id]] = found.get((was, now[scene_id]), 0) + 1
        return found


def judge_release(
    policy: QualityPolicy,
    committer: IcebergCommitter,
    objects: ReleaseObjects,
    paths: LakePaths,
    *,
    is_dry: bool = False,
    now_ns: Callable[[], int] = time.time_ns,
) -> Judgement:
    """Judges the newest release by a policy, and makes the release that follows from it.

    Nothing is written where no verdict changes. Other commits may come in between: then the newest release is judged
    again.

    Raises:
        BadInputError: there is no release, or none with measurements.
        TransientError: other batches took every release number.
    """
    started_at_ns = now_ns()
    for _ in range(_MAX_REBASES):
        parent = latest_release(objects, paths)
        if parent is None:
            raise BadInputError("there is no release to judge: drop a recording first", reason="not_found")
        restated = _restate(parent, committer, policy)
        nbr_scenes = len(restated.rejudged.worst)
        if is_dry or not restated.rejudged.scene_ids:
            # A judgement that was killed after its release was written is ended by the next one.
            if not is_dry:
                committer.publish(parent.tables, parent.number)
                _record_late(parent, policy, committer, objects, paths)
            return Judgement(parent, None, nbr_scenes, restated.changes, restated.waiting)
        release = _commit(parent, restated, policy, committer, now_ns)
        if write_release(objects, paths, release):
            touched = {name: pin for name, pin in release.tables.items() if parent.tables.get(name) != pin}
            committer.publish(touched, release.number)
            _record(release, parent, policy, committer, started_at_ns, now_ns())
            return Judgement(parent, release, nbr_scenes, restated.changes, restated.waiting)
    raise TransientError(f"other batches took {_MAX_REBASES} release numbers in a row: try again")


def _restate(parent: Release, committer: IcebergCommitter, policy: QualityPolicy) -> _Restated:
    missing = [name for name in _READ if name not in parent.tables]
    if missing:
        text = f"{parent.release_id} has no table {', '.join(missing)}: build a drive with this version first"
        raise BadInputError(text, reason="not_found")
    measurements, results = (_parts(committer, parent, name) for name in ("qc_measurement", "qc_result"))
    rejudged = rejudge(measurements, results, policy)
    states = _held_back(parent, committer)
    waiting = (s for s, v in states.items() if v == "QUARANTINED" and _passes(rejudged.worst.get(s)))
    return _Restated(
        rejudged,
        _release_scenes(parent, committer, rejudged.scene_ids),
        frozenset(s for s, state in states.items() if state == "RELEASED"),
        tuple(sorted(waiting)),
    )


def _held_back(parent: Release, committer: IcebergCommitter) -> dict[str, str]:
    """State of every scene that quality held back at some time."""
    table = GOLD["quarantine"]
    if table.name not in parent.tables:
        return {}
    rows = committer.rows(table, parent.tables[table.name], ("scene_id", "state"), "scene_id")
    return dict(zip(rows["scene_id"].to_pylist(), rows["state"].to_pylist(), strict=True))


def _passes(rank: int | None) -> bool:
    return rank is not None and rank <= Verdict.WARN.rank


def _parts(committer: IcebergCommitter, parent: Release, name: str) -> TableParts:
    pin = parent.tables.get(name)
    table = committer.load(name) if pin is not None else None
    if pin is not None and table is None:
        raise BadInputError(f"table {name} is in {parent.release_id} and not in the catalog", reason="not_found")
    return TableParts(table, pin)


def _release_scenes(parent: Release, committer: IcebergCommitter, scene_ids: list[str]) -> pa.Table:
    table = GOLD["release_scene"]
    live = [s for s in scene_ids if s in parent.scenes]
    if not live:
        return table.schema.empty_table()
    drives = sorted({parent.scenes[s][0] for s in live})
    rows = committer.rows(table, parent.tables[table.name], table.columns, "drive_id", drives)
    wanted = set(live)
    return rows.filter(pa.array([s in wanted for s in rows["scene_id"].to_pylist()], pa.bool_()))


def _commit(
    parent: Release,
    restated: _Restated,
    policy: QualityPolicy,
    committer: IcebergCommitter,
    now_ns: Callable[[], int],
) -> Release:
    number = parent.number + 1
    token = CommitToken(_batch_id(policy, parent.release_id), 1, release_id(number))
    verdicts = restated.rejudged.verdicts
    is_live = pa.array([s in parent.scenes for s in verdicts["scene_id"].to_pylist()], pa.bool_())
    scenes = restated_scenes(restated.before, verdicts.filter(is_live), restated.released, token.release_id or "")
    rows = {"qc_result": restated.rejudged.results, "release_scene": scenes}
    pins: dict[str, TablePin] = {}
    for name, changed in rows.items():
        owners = tuple(restated.rejudged.scene_ids if name == "qc_result" else changed["scene_id"].to_pylist())
        change = TableChange(GOLD[name], changed, "scene_id", owners)
        pin = committer.commit(change, token, parent.tables.get(name))
        if pin is not None:
            pins[name] = pin
    return replace(
        parent,
        release_id=release_id(number),
        number=number,
        parent=parent.release_id,
        batch_id=token.batch_id,
        attempt=1,
        recipe=ids.recipe({"parent": parent.recipe, "policy": policy.model_dump(mode="json")}),
        committed_at_ns=now_ns(),
        tables=dict(sorted({**parent.tables, **pins}.items())),
        delta=scene_delta(parent.scenes, parent.scenes),
    )


def _batch_id(policy: QualityPolicy, parent_id: str | None) -> str:
    said = ids.recipe({"policy": policy.model_dump(mode="json"), "parent": parent_id})
    return f"{BATCH_PREFIX}{said[:16]}"


def _run_id(release: Release) -> str:
    return f"{release.batch_id}.1.judge"


def _record_late(
    release: Release, policy: QualityPolicy, committer: IcebergCommitter, objects: ReleaseObjects, paths: LakePaths
) -> None:
    """Records the judgement that made a release, where it was this policy's and died before it could."""
    if release.parent is None or release.batch_id != _batch_id(policy, release.parent):
        return
    runs = committer.load("lineage_run")
    if runs is None or not len(runs.scan(f"run_id = '{_run_id(release)}'", selected_fields=("run_id",)).to_arrow()):
        parent = load_release(objects, paths, release.parent)
        _record(release, parent, policy, committer, release.committed_at_ns, release.committed_at_ns)


def _record(
    release: Release,
    parent: Release,
    policy: QualityPolicy,
    committer: IcebergCommitter,
    started_at_ns: int,
    ended_at_ns: int,
) -> None:
    """The run as lineage tells it."""
    commit, is_dirty = code_version()
    params = policy.model_dump(mode="json")
    record = StageRecord(
        run_id=_run_id(release),
        batch_id=release.batch_id,
        attempt=1,
        stage="judge",
        git_commit=commit,
        is_dirty=is_dirty,
        image_digest=None,
        spark_conf=None,
        params_hash=ids.recipe(params),
        params=params,
        seed=None,
        dag_run_id=None,
        started_at_ns=started_at_ns,
        ended_at_ns=ended_at_ns,
        inputs=(DatasetVersion("release", parent.release_id, parent.merkle_root),),
        outputs=(DatasetVersion("release", release.release_id, release.merkle_root),),
    )
    token = CommitToken(release.batch_id, 1)
    for name, rows in zip(("lineage_run", "lineage_edge"), lineage_rows([record]), strict=True):
        committer.commit(TableChange(GOLD[name], rows, "run_id", (record.run_id,)), token, None)
