"""Measures and judges the scenes of a batch. Reads synchronise's output, writes three tables per drive."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from scenelake.adapters.baselines import read_baselines
from scenelake.adapters.calibration_keyframes import camera_lidar_alignment
from scenelake.adapters.objects import Objects, read_json, read_table, write_table
from scenelake.contracts.stages import (
    ChannelClock,
    DatasetVersion,
    DrivePlan,
    DropOutcome,
    Stage,
    StageOutcome,
)
from scenelake.quality.baseline import BASELINE_SCHEMA, Baselines, baselines_of
from scenelake.quality.calibration.keyframes import ALIGNMENT
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import FACT_TABLES, UNUSED_COLUMNS, DriveFacts, in_scenes, scene_facts
from scenelake.quality.judge import findings_of, measure, measurement_table, result_table, verdict_table
from scenelake.runtime.job import StageContext, naming_drive, run_stage

NBR_READERS = 8
"""Small objects read at once; each costs a round trip to S3 and next to no time besides."""

NBR_DRIVES_AT_ONCE = 3
"""Index rows of so many drives are held in memory at once."""


def judge(context: StageContext) -> StageOutcome:
    """The stage's function."""
    policy = context.policy(QualityPolicy)
    verdicts: Counter[str] = Counter()
    lines = read_json(context.objects, f"{context.stage_uri(Stage.SYNCHRONISE)}/drives.json")
    plans = [plan for plan in (DrivePlan(**line) for line in lines) if plan.decoded]
    usual = read_baselines(context.objects, context.paths, max((d.received_at_ns for d in context.drops), default=0))
    uri, baselines = usual or (None, BASELINE_SCHEMA.empty_table())
    with ThreadPoolExecutor(NBR_DRIVES_AT_ONCE) as pool:
        for found in pool.map(lambda plan: _judge_drive(context, policy, plan, baselines), plans):
            verdicts.update(found)
    version = str(context.arguments.attempt)
    inputs = tuple(DatasetVersion(context.drive_uri(p.drive_id, Stage.SYNCHRONISE), version) for p in plans)
    outputs = tuple(DatasetVersion(context.drive_uri(p.drive_id), version) for p in plans)
    params = policy.model_dump(mode="json") | {"baselines": uri}
    return StageOutcome({"scenes": verdicts.total(), **verdicts}, params, inputs, outputs)


def _judge_drive(context: StageContext, policy: QualityPolicy, plan: DrivePlan, baselines: pa.Table) -> list[str]:
    """Leaves the three tables of one drive and returns the verdicts of its scenes."""
    with naming_drive(plan.drive_id):
        source = context.drive_uri(plan.drive_id, Stage.SYNCHRONISE)
        usual = baselines_of(baselines, f"{plan.fleet}/{plan.vehicle}")
        facts = read_facts(context.objects, source, plan, policy, usual)
        measurements = measurement_table(measure(facts))
        results = result_table(measurements, policy)
        scene_verdicts = verdict_table([scene.scene_id for scene in facts.scenes], results)
    folder = context.drive_uri(plan.drive_id)
    write_table(context.objects, f"{folder}/qc_measurement.parquet", measurements)
    write_table(context.objects, f"{folder}/qc_result.parquet", findings_of(results))
    write_table(context.objects, f"{folder}/scene_verdict.parquet", scene_verdicts)
    verdicts: list[str] = scene_verdicts["verdict"].to_pylist()
    return verdicts


def read_facts(
    objects: Objects,
    source: str,
    plan: DrivePlan,
    policy: QualityPolicy,
    baselines: Baselines | None = None,
) -> DriveFacts:
    """Reads what the checks look at of one drive."""
    clocks = [ChannelClock(**clock) for clock in read_json(objects, f"{source}/clocks.json")]
    with ThreadPoolExecutor(NBR_READERS) as pool:
        alive = {drop: uri for drop, uri in plan.decoded.items() if drop not in plan.duplicates}
        documents = pool.map(lambda uri: read_json(objects, f"{uri}/outcome.json"), alive.values())
        outcomes = {uri: DropOutcome.from_json(d) for uri, d in zip(alive.values(), documents, strict=True)}
        names = ("scene", "sample_data", "sync_index", "sync_error", "sample", "clock_fault", "calibrated_sensor")
        read = {name: pool.submit(read_table, objects, f"{source}/{name}.parquet") for name in names}
        files = {
            table: [
                pool.submit(read_table, objects, file, UNUSED_COLUMNS)
                for uri, outcome in outcomes.items()
                if table in outcome.tables
                for file in outcome.files(uri, table)
            ]
            for table in FACT_TABLES
        }
    found = {name: table.result() for name, table in read.items()}
    parts = {
        table: in_scenes([f.result() for f in read], found["sample_data"]) for table, read in files.items() if read
    }
    tables = {name: rows for name, rows in parts.items() if rows is not None}
    tables[ALIGNMENT] = camera_lidar_alignment(
        objects, source, found | tables, policy.max_calibration_keyframes, policy.calibration_share
    )
    return DriveFacts(
        scene_facts(found["scene"], found["sample_data"]),
        {clock.channel: clock for clock in clocks},
        found["sync_index"],
        found["sync_error"],
        tuple(outcomes.values()),
        found["sample"],
        found["clock_fault"],
        tables | {"calibrated_sensor": found["calibrated_sensor"]},
        plan.vehicle,
        baselines or Baselines(),
    )


def main() -> int:
    return run_stage(Stage.QUALITY, judge)


if __name__ == "__main__":
    sys.exit(main())
