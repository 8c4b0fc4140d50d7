"""The decode stage as a job: a Spark task for each part of a large drop, or for each pack of small ones.

Run as ``python -m scenelake.decode.job`` or through ``spark-submit``, with the arguments of every stage.
"""

import heapq
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from scenelake.adapters.objects import Objects, read_json, shared_s3_objects, write_json
from scenelake.adapters.spark import effective_conf, spark_session
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.errors import ConfigurationError, TransientError
from scenelake.contracts.ids import MERKLE_BLOCK_BYTES, merkle_root
from scenelake.contracts.manifests import CHECKSUM_MISMATCH
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
from scenelake.decode.fetch import nbr_blocks
from scenelake.decode.manifests import Listing, judged_by_manifests, listing
from scenelake.decode.parts import PartOutcome
from scenelake.decode.privacy.config import PrivacyPolicy
from scenelake.decode.privacy.loading import library_versions, loaded_detector
from scenelake.decode.task import BlockRange, DecodeTask, PartOfDrop, SplitPlan, Storage
from scenelake.ledger.protocol import Ledger
from scenelake.runtime.job import StageContext, run_stage
from scenelake.runtime.policy import PRIVACY

log = logging.getLogger(__name__)

DROPS_FILE = "drops.json"
PACK_BYTES = 64 * 1024**2
PACKS_PER_CORE = 3
DROP_OVERHEAD_BYTES = 1024**2
"""A drop of a few kilobytes takes about as long as a megabyte of a large one."""


def decode_params(config: DecodeConfig, privacy: PrivacyPolicy | None = None) -> JsonObject:
    """The resolved configuration of the stage, and the library that writes its bytes; its hash is the recipe."""
    params = {"stage": str(Stage.DECODE), "version": DECODE_VERSION, "pyarrow": pa.__version__, **config.model_dump()}
    return params if privacy is None else {**params, "privacy": {**privacy.params(), **library_versions()}}


def decode_drops(session: SparkSession, drops: Sequence[Drop], task: DecodeTask) -> list[DropOutcome]:
    """Decodes every drop and returns the outcomes in the drops' order.

    Large objects are read by several tasks: their parts are planned from their indexes, their blocks are hashed (their
    rows carry the hash, so it must be known first), and then the parts are decoded.

    Raises:
        TransientError, ConfigurationError: when that is what a task ended with, every time that Spark tried it.
    """
    spark = session.sparkContext
    large = [drop for drop in drops if drop.size_bytes > 2 * task.config.part_bytes]
    plans = _run(spark, [[drop] for drop in large], partial(_each, task.plan))
    outcomes = {plan.drop_id: plan for plan in plans if isinstance(plan, DropOutcome)}
    split = [plan for plan in plans if isinstance(plan, SplitPlan) and len(plan.parts) > 1]
    whole = [drop for drop in drops if drop.drop_id not in outcomes.keys() | {plan.drop.drop_id for plan in split}]
    done, contradicted = _decode_split(spark, split, task)
    packs = pack_drops([*whole, *contradicted], spark.defaultParallelism)
    outcomes |= {outcome.drop_id: outcome for outcome in [*done, *_run(spark, packs, task.decode_pack)]}
    return [outcomes[drop.drop_id] for drop in drops]


def _decode_split(
    spark: SparkContext, plans: Sequence[SplitPlan], task: DecodeTask
) -> tuple[list[DropOutcome], list[Drop]]:
    """Outcomes of split objects, and the drops that turned out to need one reader."""
    per_range = max(task.config.part_bytes // MERKLE_BLOCK_BYTES, 1)
    ranges = [
        BlockRange(plan.drop, plan.size_bytes, first, min(first + per_range, nbr_blocks(plan.size_bytes)))
        for plan in plans
        for first in range(0, nbr_blocks(plan.size_bytes), per_range)
    ]
    hashed = _run(spark, [[r] for r in ranges], partial(_each, task.hash_blocks))
    digests: dict[str, list[bytes]] = {}
    for blocks, found in zip(ranges, hashed, strict=True):
        digests.setdefault(blocks.drop.drop_id, []).extend(found)
    hashes = {drop_id: merkle_root(found) for drop_id, found in digests.items()}
    items = [PartOfDrop(p.drop, p.size_bytes, hashes[p.drop.drop_id], part) for p in plans for part in p.parts]
    parts: dict[str, list[PartOutcome | None]] = {}
    for item, outcome in zip(items, _run(spark, [[i] for i in items], partial(_each, task.decode_part)), strict=True):
        parts.setdefault(item.drop.drop_id, []).append(outcome)
    done, contradicted = [], []
    for plan in plans:
        found_parts = [part for part in parts[plan.drop.drop_id] if part is not None]
        if len(found_parts) == len(plan.parts) and any(part.start_ns is not None for part in found_parts):
            done.append(task.merge(plan, hashes[plan.drop.drop_id], found_parts))
        else:
            contradicted.append(plan.drop)
    return done, contradicted


def _each(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    return [function(item) for item in items]


def _run(spark: SparkContext, packs: Sequence[Sequence[Any]], function: Callable[[Any], Iterable[Any]]) -> list[Any]:
    """One Spark task for each pack; what they return, in the packs' order."""
    if not packs:
        return []
    # The RDD interface starts about a second faster than a data frame: no query to plan, no code to generate.
    tasks = spark.parallelize(packs, len(packs)).flatMap(function)
    try:
        return list(tasks.collect())
    except (Py4JError, PySparkException) as error:
        # Spark hands on a worker's exception as text.
        for kind in (TransientError, ConfigurationError):
            name = f"{kind.__module__}.{kind.__qualname__}: "
            said = next((line for line in str(error).splitlines() if line.strip().startswith(name)), None)
            if said is not None:
                raise kind(said.strip().removeprefix(name)) from error
        raise


def pack_drops(drops: Sequence[Drop], nbr_cores: int) -> list[list[Drop]]:
    """Drops by task, the most work first: alone when large, with others when small.

    A pack holds at most about ``PACK_BYTES``; there are packs enough for every core to have ``PACKS_PER_CORE``, so
    that none waits long for the last one.
    """
    nbr_packs = max(nbr_cores * PACKS_PER_CORE, -(-sum(map(_work, drops)) // PACK_BYTES))
    packs: list[list[Drop]] = [[] for _ in range(min(nbr_packs, len(drops)))]
    loads = [(0, number) for number in range(len(packs))]
    for drop in sorted(drops, key=lambda d: (-d.size_bytes, d.drop_id)):
        load, number = heapq.heappop(loads)
        packs[number].append(drop)
        heapq.heappush(loads, (load + _work(drop), number))
    return sorted(packs, key=lambda pack: -sum(map(_work, pack)))


def _work(drop: Drop) -> int:
    """Bytes of a drop, and those that its requests and files cost the time of."""
    return drop.size_bytes + DROP_OVERHEAD_BYTES


def decode_batch(context: StageContext) -> StageOutcome:
    """Decodes the batch's drops and leaves ``drops.json`` in the stage's folder."""
    config = DecodeConfig()
    storage: Callable[[], Storage] = partial(shared_s3_objects, context.settings)
    privacy = context.optional_policy(PrivacyPolicy, PRIVACY)
    params = decode_params(config, privacy)
    task = DecodeTask(storage, context.paths, config, ids.recipe(params), privacy)
    drops_uri = f"{context.stage_uri()}/{DROPS_FILE}"
    if not context.drops:
        write_json(context.objects, drops_uri, [])
        return StageOutcome(result={"drops": 0}, params=params)
    if privacy is not None:
        # A detector that is not what the policy says stops the stage here, before there are tasks to stop.
        loaded_detector(privacy, context.objects)
    outcomes, conf = _outcomes(context, task)
    lines = drop_lines(context, outcomes)
    write_json(context.objects, drops_uri, [asdict(line) for line in lines])
    return StageOutcome(
        result={**_counts(lines, outcomes), "drops_uri": drops_uri},
        params=params,
        inputs=stage_inputs(context.drops, outcomes),
        outputs=tuple(
            DatasetVersion(file.uri, file.sha256, file.sha256) for outcome in outcomes for file in outcome.payload_files
        ),
        spark_conf=conf,
    )


def stage_inputs(drops: Sequence[Drop], outcomes: Sequence[DropOutcome]) -> tuple[DatasetVersion, ...]:
    """Object versions that the outcomes depend on: the drops, and what else of their drives was read for them."""
    found = {(drop.uri, drop.version_id): outcome.object_sha256 for drop, outcome in zip(drops, outcomes, strict=True)}
    for sibling in (sibling for outcome in outcomes for sibling in outcome.siblings):
        if sibling.etag is not None:
            found.setdefault((sibling.uri, sibling.version_id or ""), None)
    return tuple(DatasetVersion(uri, version, sha256) for (uri, version), sha256 in found.items())


def _outcomes(context: StageContext, task: DecodeTask) -> tuple[list[DropOutcome], JsonObject | None]:
    """Outcomes in the drops' order. A manifest is too little work to wait for Spark."""
    recordings = [drop for drop in context.drops if not drop.is_manifest]
    by_id = {drop.drop_id: task(drop) for drop in context.drops if drop.is_manifest}
    conf: JsonObject | None = None
    if recordings:
        session = spark_session(context.settings, f"scenelake decode {context.arguments.batch_id}")
        try:
            by_id |= {outcome.drop_id: outcome for outcome in decode_drops(session, recordings, task)}
            conf = dict(effective_conf(session))
        finally:
            session.stop()
    return [by_id[drop.drop_id] for drop in context.drops], conf


def drop_lines(context: StageContext, outcomes: Sequence[DropOutcome]) -> list[DecodedDrop]:
    """One line per drop: its outcome, as the manifest of its recording judges it.

    An earlier attempt may have committed what it found, so what it said of a drop stays said, even if a manifest
    came since.
    """
    lines = [_line(drop, outcome, context.paths) for drop, outcome in zip(context.drops, outcomes, strict=True)]
    listings = ruling_listings(context.drops, context.ledger, context.objects)
    built = built_before(context.drops, context.ledger) if listings else []
    judged = judged_by_manifests(lines, context.drops, listings, built)
    said = _said_before(context)
    return [_as_before(said[new.drop_id], line, new) if new.drop_id in said else new
            for line, new in zip(lines, judged, strict=True)]  # fmt: skip


def _as_before(said: DecodedDrop, line: DecodedDrop, judged: DecodedDrop) -> DecodedDrop:
    if said.reason != CHECKSUM_MISMATCH:
        return line
    return replace(judged, verdict=said.verdict, reason=said.reason, detail=said.detail)


def _said_before(context: StageContext) -> dict[str, DecodedDrop]:
    """Lines of the newest earlier attempt at this batch that came as far."""
    batch_id, attempt = context.arguments.batch_id, context.arguments.attempt
    for earlier in range(attempt - 1, 0, -1):
        uri = f"{context.paths.stage(batch_id, earlier, Stage.DECODE)}/{DROPS_FILE}"
        try:
            return {line["drop_id"]: DecodedDrop(**line) for line in read_json(context.objects, uri)}
        except FileNotFoundError:
            continue
    return {}


def ruling_listings(drops: Sequence[Drop], ledger: Ledger, objects: Objects) -> dict[tuple[str, str], Listing]:
    """What the manifests say that rule the recordings of these drops, each read once."""
    recordings: defaultdict[str, set[str]] = defaultdict(lambda: {""})
    for drop in drops:
        recordings[drop.drive_id].add(drop.recording)
    found = {}
    for drive_id, names in recordings.items():
        for parts in ledger.parts_of(drive_id, sorted(names)):
            manifest = ledger.get(parts.drop_id)
            content = _content(manifest, objects) if manifest else None
            found[drive_id, parts.recording] = listing(parts, manifest, content)
    return found


def _content(manifest: Drop, objects: Objects) -> bytes | None:
    """The manifest's bytes; None when its version is gone, and the ledger's sizes are all that is left of it."""
    version_id = manifest.version_id if manifest.version_id not in ("", "null") else None
    try:
        return objects.read(manifest.uri, version_id=version_id)
    except FileNotFoundError:
        log.warning("the manifest is gone, only sizes are compared", extra={"drop_id": manifest.drop_id})
        return None


def built_before(drops: Sequence[Drop], ledger: Ledger) -> list[Drop]:
    """Drops that earlier batches built, of the drives that got a manifest in this one."""
    mine = {drop.drop_id for drop in drops}
    drives = sorted({drop.drive_id for drop in drops if drop.is_manifest})
    siblings = (sibling for drive_id in drives for sibling in ledger.drops(drive_id=drive_id))
    return [s for s in siblings if s.state in (DropState.BUILT, DropState.DUPLICATE) and s.drop_id not in mine]


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


def _counts(lines: Sequence[DecodedDrop], outcomes: Sequence[DropOutcome]) -> JsonObject:
    verdicts = Counter(line.verdict for line in lines)
    channels = [channel for outcome in outcomes for channel in outcome.channels]
    return {
        "drops": len(lines),
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
