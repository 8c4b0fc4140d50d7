"""The decode stage as a job: one Spark task per drop of the batch.

Run as ``python -m scenelake.decode.job`` or through ``spark-submit``, with the arguments of every stage.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from scenelake.adapters.objects import s3_objects, write_json
from scenelake.adapters.spark import effective_conf, spark_session
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import (
    DatasetVersion,
    DecodedDrop,
    DropOutcome,
    DropVerdict,
    JsonObject,
    Stage,
    StageOutcome,
)
from scenelake.decode.config import DECODE_VERSION, DecodeConfig
from scenelake.decode.task import DecodeTask, Storage
from scenelake.runtime.job import StageContext, run_stage

DROPS_FILE = "drops.json"


def decode_params(config: DecodeConfig) -> JsonObject:
    """The resolved configuration of the stage, and the library that writes its bytes; its hash is the recipe."""
    return {"stage": str(Stage.DECODE), "version": DECODE_VERSION, "pyarrow": pa.__version__, **config.model_dump()}


def decode_drops(session: SparkSession, drops: Sequence[Drop], task: DecodeTask) -> list[DropOutcome]:
    """Runs the task for every drop, the largest first, and returns the outcomes in the drops' order.

    Raises:
        TransientError: when that is what a task ended with, every time that Spark tried it.
    """
    largest_first = sorted(drops, key=lambda drop: drop.size_bytes, reverse=True)
    # The RDD interface starts about a second faster than a data frame: no query to plan, no code to generate.
    tasks = session.sparkContext.parallelize(largest_first, len(largest_first)).map(task)
    try:
        outcomes = tasks.collect()
    except (Py4JError, PySparkException) as error:
        # Spark hands on a worker's exception as text.
        name = f"{TransientError.__module__}.{TransientError.__qualname__}: "
        said = next((line for line in str(error).splitlines() if line.strip().startswith(name)), None)
        if said is None:
            raise
        raise TransientError(said.strip().removeprefix(name)) from error
    by_id = {outcome.drop_id: outcome for outcome in outcomes}
    return [by_id[drop.drop_id] for drop in drops]


def decode_batch(context: StageContext) -> StageOutcome:
    """Decodes the batch's drops and leaves ``drops.json`` in the stage's folder."""
    config = DecodeConfig()
    storage: Callable[[], Storage] = partial(s3_objects, context.settings)
    params = decode_params(config)
    task = DecodeTask(storage, context.paths, config, ids.recipe(params))
    if not context.drops:
        write_json(context.objects, f"{context.stage_uri()}/{DROPS_FILE}", [])
        return StageOutcome(result={"drops": 0}, params=params)
    session = spark_session(context.settings, f"scenelake decode {context.arguments.batch_id}")
    try:
        outcomes = decode_drops(session, context.drops, task)
        conf: JsonObject = dict(effective_conf(session))
    finally:
        session.stop()
    lines = [_line(drop, outcome, context.paths) for drop, outcome in zip(context.drops, outcomes, strict=True)]
    drops_uri = f"{context.stage_uri()}/{DROPS_FILE}"
    write_json(context.objects, drops_uri, [asdict(line) for line in lines])
    return StageOutcome(
        result={**_counts(outcomes), "drops_uri": drops_uri},
        params=params,
        inputs=tuple(
            DatasetVersion(drop.uri, drop.version_id, outcome.object_sha256)
            for drop, outcome in zip(context.drops, outcomes, strict=True)
        ),
        outputs=tuple(
            DatasetVersion(file.uri, file.sha256, file.sha256) for outcome in outcomes for file in outcome.payload_files
        ),
        spark_conf=conf,
    )


def _line(drop: Drop, outcome: DropOutcome, paths: LakePaths) -> DecodedDrop:
    return DecodedDrop(
        drop_id=drop.drop_id,
        drive_id=drop.drive_id,
        decoded_uri=paths.decoded(outcome.recipe, drop.drop_id),
        verdict=outcome.verdict,
        reason=outcome.reason,
        detail=outcome.detail,
        object_sha256=outcome.object_sha256,
    )


def _counts(outcomes: Sequence[DropOutcome]) -> JsonObject:
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    channels = [channel for outcome in outcomes for channel in outcome.channels]
    return {
        "drops": len(outcomes),
        **{str(verdict): verdicts[verdict] for verdict in DropVerdict},
        "messages": sum(channel.read for channel in channels),
        "undecodable": sum(channel.undecodable for channel in channels),
        "payload_files": sum(len(outcome.payload_files) for outcome in outcomes),
        "payload_bytes": sum(channel.payload_bytes for channel in channels),
    }


def main() -> int:
    return run_stage(Stage.DECODE, decode_batch)


if __name__ == "__main__":
    sys.exit(main())
