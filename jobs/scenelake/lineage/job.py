"""Lineage: collects the records of an attempt's stages, adds its own, and commits them as rows."""

import sys
import time
from dataclasses import replace

from scenelake.adapters.iceberg import committer
from scenelake.adapters.objects import read_json, read_table
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.stages import DatasetVersion, DrivePlan, Stage, StageOutcome, StageRecord
from scenelake.contracts.tables import GOLD
from scenelake.lineage.config import LineageConfig
from scenelake.lineage.rows import lineage_rows, raw_objects
from scenelake.runtime.job import StageContext, run_stage, stage_record

_EARLIER = (Stage.DECODE, Stage.SYNCHRONISE, Stage.QUALITY, Stage.SERIALISE)


def lineage(context: StageContext) -> StageOutcome:
    """Runs the stage on one attempt of a batch."""
    started_at_ns = time.time_ns()
    params = LineageConfig().model_dump()
    raw = _raw_objects(context)
    records = [_record(context, stage) for stage in _EARLIER]
    records = [replace(r, inputs=(*raw, *r.inputs)) if r.stage == Stage.DECODE else r for r in records]
    records.append(_own_record(context, params, records, started_at_ns))
    runs, edges = lineage_rows(records)
    owners = tuple(r.run_id for r in records)
    token = CommitToken(context.arguments.batch_id, context.arguments.attempt)
    writer = committer(context.settings)
    outputs = []
    for name, rows in (("lineage_run", runs), ("lineage_edge", edges)):
        pin = writer.commit(TableChange(GOLD[name], rows, "run_id", owners), token, None)
        if pin is not None:
            outputs.append(DatasetVersion(f"table/{name}", str(pin.snapshot_id)))
    result = {"nbr_runs": len(runs), "nbr_edges": len(edges)}
    return StageOutcome(result, params, inputs=_inputs(records[:-1]), outputs=tuple(outputs))


def _record(context: StageContext, stage: Stage) -> StageRecord:
    return StageRecord.from_json(read_json(context.objects, f"{context.stage_uri(stage)}/record.json"))


def _raw_objects(context: StageContext) -> tuple[DatasetVersion, ...]:
    plans = [DrivePlan(**p) for p in read_json(context.objects, f"{context.stage_uri(Stage.SYNCHRONISE)}/drives.json")]
    folders = [context.drive_uri(p.drive_id, Stage.SYNCHRONISE) for p in plans if p.decoded]
    return tuple(v for uri in folders for v in raw_objects(read_table(context.objects, f"{uri}/raw_object.parquet")))


def _inputs(records: list[StageRecord]) -> tuple[DatasetVersion, ...]:
    return tuple(DatasetVersion("lineage_run", r.run_id, r.params_hash) for r in records)


def _own_record(
    context: StageContext, params: dict[str, object], earlier: list[StageRecord], started_at_ns: int
) -> StageRecord:
    """This run, as it stands when its rows are committed: it cannot tell the snapshot that it is about to make."""
    return stage_record(context, StageOutcome({}, params, inputs=_inputs(earlier)), started_at_ns)


if __name__ == "__main__":
    sys.exit(run_stage(Stage.LINEAGE, lineage))
