"""Serialise: reads what the earlier stages left, commits, and says what became of every drop."""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from scenelake.adapters.iceberg import committer
from scenelake.adapters.objects import read_json, read_table, write_json
from scenelake.contracts import ids
from scenelake.contracts.modalities import BATCHED_TABLES, NOTE_TABLES, MessageStatus
from scenelake.contracts.stages import (
    DatasetVersion,
    DecodedDrop,
    DrivePlan,
    DropOutcome,
    Stage,
    StageOutcome,
)
from scenelake.contracts.tables import MESSAGE_INDEX, decoded_schema
from scenelake.runtime.faults import now_ns
from scenelake.runtime.job import StageContext, run_stage
from scenelake.serialise.canonical import conform
from scenelake.serialise.commit import BatchCommit, Committed, commit_batch
from scenelake.serialise.config import SerialiseConfig
from scenelake.serialise.drives import DriveInput, DriveRows, drive_rows
from scenelake.serialise.outcomes import drop_outcomes, scene_counts

_OF_STAGE = {
    Stage.SYNCHRONISE: (
        "drive", "raw_object", "scene", "sample", "sample_data", "sync_index", "calibrated_sensor",
        "ego_pose", "unassigned", "clock_fault",
    ),
    Stage.QUALITY: ("qc_measurement", "qc_result", "scene_verdict"),
}  # fmt: skip


def serialise(context: StageContext) -> StageOutcome:
    """Runs the stage on one attempt of a batch."""
    config = context.policy(SerialiseConfig)
    plans = [DrivePlan(**p) for p in read_json(context.objects, f"{context.stage_uri(Stage.SYNCHRONISE)}/drives.json")]
    drops = [DecodedDrop(**d) for d in read_json(context.objects, f"{context.stage_uri(Stage.DECODE)}/drops.json")]
    arguments = context.arguments
    held = context.ledger.batch(arguments.batch_id)
    with ThreadPoolExecutor(config.nbr_threads) as pool:
        inputs = [_drive_input(context, plan, pool) for plan in plans]
        drives = tuple(drive_rows(i, context.settings.quarantine_uri, context.ledger.reviews) for i in inputs)
        documents = [item for d in drives for item in d.evidence.items()]
        list(pool.map(lambda item: write_json(context.objects, *item), documents))
    batch = BatchCommit(
        batch_id=arguments.batch_id,
        attempt=arguments.attempt,
        recipe=_recipe(context, config),
        drives=drives,
        now_ns=now_ns,
        fence=lambda release_id: _fence(context, release_id),
        noted_release_id=held.release_id if held else None,
    )
    committed = commit_batch(batch, committer(context.settings), context.objects, context.paths, config)
    return _answer(context, config, drops, inputs, drives, committed)


def _fence(context: StageContext, release_id: str) -> None:
    arguments = context.arguments
    context.ledger.renew(arguments.batch_id, arguments.attempt, now_ns())
    context.ledger.note_release(arguments.batch_id, arguments.attempt, release_id)


def _drive_input(context: StageContext, plan: DrivePlan, pool: ThreadPoolExecutor) -> DriveInput:
    if not plan.decoded:
        return DriveInput(plan, {}, {}, {})
    objects = context.objects

    def tables_at(uris: Sequence[str]) -> list[pa.Table]:
        return list(pool.map(lambda uri: read_table(objects, uri), uris))

    names = [(stage, name) for stage, tables in _OF_STAGE.items() for name in tables]
    found = tables_at([f"{context.drive_uri(plan.drive_id, stage)}/{name}.parquet" for stage, name in names])
    documents = pool.map(lambda uri: read_json(objects, f"{uri}/outcome.json"), plan.decoded.values())
    outcomes = {drop: DropOutcome.from_json(d) for drop, d in zip(plan.decoded, documents, strict=True)}
    alive = {drop: uri for drop, uri in plan.decoded.items() if drop not in plan.duplicates}
    return DriveInput(
        plan,
        {name: table for (_, name), table in zip(names, found, strict=True)},
        outcomes,
        _batched(alive, outcomes, tables_at),
        _undecodable(alive, outcomes, tables_at),
        context.drive_uri(plan.drive_id, Stage.SYNCHRONISE),
    )


def _batched(
    alive: Mapping[str, str], outcomes: Mapping[str, DropOutcome], tables_at: Callable[[Sequence[str]], list[pa.Table]]
) -> dict[str, pa.Table]:
    wanted = [
        (name, file)
        for drop, uri in alive.items()
        for name in outcomes[drop].tables
        if name in (*BATCHED_TABLES, *NOTE_TABLES)
        for file in outcomes[drop].files(uri, name)
    ]
    parts = tables_at([file for _, file in wanted])
    found: dict[str, list[pa.Table]] = {}
    for (name, _), table in zip(wanted, parts, strict=True):
        found.setdefault(name, []).append(conform(table, decoded_schema(name)))
    return {name: pa.concat_tables(tables) for name, tables in found.items()}


def _undecodable(
    alive: Mapping[str, str], outcomes: Mapping[str, DropOutcome], tables_at: Callable[[Sequence[str]], list[pa.Table]]
) -> pa.Array:
    broken = [
        file
        for drop, uri in alive.items()
        if any(c.undecodable for c in outcomes[drop].channels)
        for file in outcomes[drop].files(uri, MESSAGE_INDEX.name)
    ]
    rows = [
        index.filter(pc.equal(index["status"], MessageStatus.UNDECODABLE))["sample_data_id"].cast(pa.string())
        for index in tables_at(broken)
    ]
    return pa.chunked_array([chunk for column in rows for chunk in column.chunks], pa.string()).combine_chunks()


def _recipe(context: StageContext, config: SerialiseConfig) -> str:
    """Hash of every stage's resolved configuration and code version."""
    stages = {}
    for stage in (Stage.DECODE, Stage.SYNCHRONISE, Stage.QUALITY):
        record = read_json(context.objects, f"{context.stage_uri(stage)}/record.json")
        stages[str(stage)] = {k: record[k] for k in ("params", "git_commit", "image_digest")}
    return ids.recipe({**stages, str(Stage.SERIALISE): config.model_dump()})


def _answer(
    context: StageContext,
    config: SerialiseConfig,
    drops: Sequence[DecodedDrop],
    inputs: Sequence[DriveInput],
    drives: Sequence[DriveRows],
    committed: Committed,
) -> StageOutcome:
    release = committed.release
    latest = release or committed.parent
    outcomes = drop_outcomes(drops, inputs, drives, latest.release_id if latest else None)
    folder = context.stage_uri()
    write_json(context.objects, f"{folder}/release.json", release.to_json() if release else {})
    write_json(context.objects, f"{folder}/outcomes.json", outcomes)
    outputs = tuple(DatasetVersion(f"table/{t}", str(p.snapshot_id)) for t, p in sorted(committed.touched.items()))
    if release is not None:
        outputs += (DatasetVersion("release", release.release_id, release.merkle_root),)
    read = {uri: o.object_sha256 for i in inputs for d, uri in i.plan.decoded.items() if (o := i.outcomes.get(d))}
    decoded = tuple(DatasetVersion(uri, o or "", o) for uri, o in sorted(read.items()))
    honoured = sorted((r for d in drives for r in d.reviews), key=lambda r: r.question)
    decided = tuple(
        DatasetVersion(f"review/{r.scene_id}", f"{r.decision} by {r.reviewer} at {r.decided_at_ns}", r.review_hash)
        for r in honoured
    )
    result = {
        "release_id": release.release_id if release else None,
        "nbr_drops": len(drops),
        **scene_counts(drives),
        "nbr_tables": len(committed.touched),
    }
    return StageOutcome(result, config.model_dump(), inputs=decoded + decided, outputs=outputs)


if __name__ == "__main__":
    sys.exit(run_stage(Stage.SERIALISE, serialise))
