"""Judges the scenes of a batch. Reads synchronise's output, writes two tables per drive."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from scenelake.adapters.objects import Objects, read_json, read_table, write_table
from scenelake.contracts.stages import (
    ChannelClock,
    DatasetVersion,
    DrivePlan,
    DropOutcome,
    Stage,
    StageOutcome,
)
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import DriveFacts, scene_facts
from scenelake.quality.judge import find, result_table, verdict_table
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
    with ThreadPoolExecutor(NBR_DRIVES_AT_ONCE) as pool:
        for found in pool.map(lambda plan: _judge_drive(context, policy, plan), plans):
            verdicts.update(found)
    version = str(context.arguments.attempt)
    inputs = tuple(DatasetVersion(context.drive_uri(p.drive_id, Stage.SYNCHRONISE), version) for p in plans)
    outputs = tuple(DatasetVersion(context.drive_uri(p.drive_id), version) for p in plans)
    return StageOutcome({"scenes": verdicts.total(), **verdicts}, policy.model_dump(mode="json"), inputs, outputs)


def _judge_drive(context: StageContext, policy: QualityPolicy, plan: DrivePlan) -> list[str]:
    """Leaves the two tables of one drive and returns the verdicts of its scenes."""
    with naming_drive(plan.drive_id):
        facts = read_facts(context.objects, context.drive_uri(plan.drive_id, Stage.SYNCHRONISE), plan)
        findings = find(facts, policy)
        scene_verdicts = verdict_table(facts, findings)
    folder = context.drive_uri(plan.drive_id)
    write_table(context.objects, f"{folder}/qc_result.parquet", result_table(findings))
    write_table(context.objects, f"{folder}/scene_verdict.parquet", scene_verdicts)
    verdicts: list[str] = scene_verdicts["verdict"].to_pylist()
    return verdicts


def read_facts(objects: Objects, source: str, plan: DrivePlan) -> DriveFacts:
    """Reads what the checks look at of one drive."""
    clocks = [ChannelClock(**clock) for clock in read_json(objects, f"{source}/clocks.json")]
    with ThreadPoolExecutor(NBR_READERS) as pool:
        documents = pool.map(lambda uri: read_json(objects, f"{uri}/outcome.json"), plan.decoded.values())
        outcomes = [DropOutcome.from_json(document) for document in documents]
    names = ("scene", "sample_data", "sync_index", "sync_error", "sample", "clock_fault")
    scenes, sample_data, *rest = (read_table(objects, f"{source}/{name}.parquet") for name in names)
    sync_index, sync_error, samples, clock_faults = rest
    by_channel = {clock.channel: clock for clock in clocks}
    return DriveFacts(
        scene_facts(scenes, sample_data), by_channel, sync_index, sync_error, tuple(outcomes), samples, clock_faults
    )


def main() -> int:
    return run_stage(Stage.QUALITY, judge)


if __name__ == "__main__":
    sys.exit(main())
