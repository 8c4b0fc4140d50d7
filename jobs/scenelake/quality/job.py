"""Judges the scenes of a batch. Reads synchronise's output, writes two tables per drive."""

import sys
from collections import Counter

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


def judge(context: StageContext) -> StageOutcome:
    """The stage's function."""
    policy = QualityPolicy()
    verdicts: Counter[str] = Counter()
    inputs, outputs = [], []
    version = str(context.arguments.attempt)
    for line in read_json(context.objects, f"{context.stage_uri(Stage.SYNCHRONISE)}/drives.json"):
        plan = DrivePlan(**line)
        source = context.drive_uri(plan.drive_id, Stage.SYNCHRONISE)
        with naming_drive(plan.drive_id):
            facts = read_facts(context.objects, source, plan)
            findings = find(facts, policy)
            scene_verdicts = verdict_table(facts, findings)
        folder = context.drive_uri(plan.drive_id)
        write_table(context.objects, f"{folder}/qc_result.parquet", result_table(findings))
        write_table(context.objects, f"{folder}/scene_verdict.parquet", scene_verdicts)
        verdicts.update(scene_verdicts["verdict"].to_pylist())
        inputs.append(DatasetVersion(source, version))
        outputs.append(DatasetVersion(folder, version))
    result = {"scenes": verdicts.total(), **verdicts}
    return StageOutcome(result, policy.model_dump(mode="json"), tuple(inputs), tuple(outputs))


def read_facts(objects: Objects, source: str, plan: DrivePlan) -> DriveFacts:
    """Reads what the checks look at of one drive."""
    clocks = [ChannelClock(**clock) for clock in read_json(objects, f"{source}/clocks.json")]
    outcomes = [DropOutcome.from_json(read_json(objects, f"{uri}/outcome.json")) for uri in plan.decoded.values()]
    scenes, sample_data, sync_index, sync_error = (
        read_table(objects, f"{source}/{name}.parquet") for name in ("scene", "sample_data", "sync_index", "sync_error")
    )
    by_channel = {clock.channel: clock for clock in clocks}
    return DriveFacts(scene_facts(scenes, sample_data), by_channel, sync_index, sync_error, tuple(outcomes))


def main() -> int:
    return run_stage(Stage.QUALITY, judge)


if __name__ == "__main__":
    sys.exit(main())
