"""Synchronises the drives that a batch touches. Reads decode's output, writes one folder per drive."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pyarrow as pa

from scenelake.adapters.objects import Objects, read_json, read_table, write_json, write_table
from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.manifests import CHECKSUM_MISMATCH
from scenelake.contracts.stages import (
    DatasetVersion,
    DecodedDrop,
    DrivePlan,
    DropOutcome,
    DropVerdict,
    Stage,
    StageOutcome,
)
from scenelake.contracts.tables import CALIBRATION, MESSAGE_INDEX, decoded_schema
from scenelake.ledger.protocol import Ledger
from scenelake.runtime.job import StageContext, naming_drive, run_stage
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import READ_TABLES, DriveInput, DriveObject, plan_drive, recording_sequence

log = logging.getLogger(__name__)

NBR_READERS = 8
"""Small objects read at once; each costs a round trip to S3 and next to no time besides."""

NBR_DRIVES_AT_ONCE = 3
"""Index rows of so many drives are held in memory at once."""

_COUNTED = {"scenes": "scene", "samples": "sample", "messages": "sample_data", "unassigned": "unassigned"}


def synchronise(context: StageContext) -> StageOutcome:
    """The stage's function."""
    config = SynchroniseConfig()
    decoded = [
        DecodedDrop(**line) for line in read_json(context.objects, f"{context.stage_uri(Stage.DECODE)}/drops.json")
    ]
    drives = drives_of(decoded, context.drops, context.ledger, context.objects)
    names = {drop.drive_id: drop for drop in context.drops}
    plans: list[DrivePlan] = []
    inputs: list[DatasetVersion] = []
    outputs: list[DatasetVersion] = []
    counts: Counter[str] = Counter()

    def make(item: tuple[str, list[DriveObject]]) -> tuple[DrivePlan, dict[str, int]]:
        drive_id, objects = item
        return _synchronise_drive(context, config, objects) if objects else (_empty_plan(names[drive_id]), {})

    with ThreadPoolExecutor(NBR_DRIVES_AT_ONCE) as pool:
        for (drive_id, objects), (plan, made) in zip(
            sorted(drives.items()), pool.map(make, sorted(drives.items())), strict=True
        ):
            plans.append(plan)
            inputs += [DatasetVersion(o.decoded_uri, o.outcome.recipe, o.outcome.object_sha256) for o in objects]
            outputs += [DatasetVersion(context.drive_uri(drive_id), str(context.arguments.attempt))] if objects else []
            counts.update(made)
    write_json(context.objects, f"{context.stage_uri()}/drives.json", [asdict(plan) for plan in plans])
    result = {name: counts[name] for name in ("drives", *_COUNTED)}
    return StageOutcome(result, config.model_dump(mode="json"), tuple(inputs), tuple(outputs))


def _synchronise_drive(
    context: StageContext, config: SynchroniseConfig, objects: list[DriveObject]
) -> tuple[DrivePlan, dict[str, int]]:
    """Reads one drive, leaves its folder, and returns its plan and what was made of it."""
    drive_id = objects[0].drop.drive_id
    with naming_drive(drive_id):
        drive = read_drive(context.objects, objects)
        done = synchronise_drive(drive, config)
    folder = context.drive_uri(drive_id)
    for name, table in done.tables.items():
        write_table(context.objects, f"{folder}/{name}.parquet", table)
    write_json(context.objects, f"{folder}/clocks.json", [asdict(clock) for clock in done.clocks])
    made = {"drives": 1} | {name: len(done.tables[table]) for name, table in _COUNTED.items()}
    log.info("drive synchronised", extra={"drive_id": drive_id, **made})
    return drive.plan, made


def drives_of(
    decoded: Iterable[DecodedDrop], drops: Iterable[Drop], ledger: Ledger, objects: Objects
) -> dict[str, list[DriveObject]]:
    """Objects of every drive that the batch changes: its own drops, and those that earlier batches built.

    Manifests are no part of a drive: they hold no message, and the ledger keeps what they say. Drops that decode
    rejected are left out; a drive with nothing else is not touched, unless such a drop may be in gold already.

    Raises:
        ScenelakeError: when a built drop does not say where its decoded output is.
    """
    by_id = {drop.drop_id: drop for drop in drops}
    touched: dict[str, list[tuple[Drop, str]]] = {}
    for line in decoded:
        drop = by_id[line.drop_id]
        if drop.is_manifest:
            continue
        if line.verdict != DropVerdict.REJECTED:
            touched.setdefault(line.drive_id, []).append((drop, line.decoded_uri))
        elif _may_be_in_gold(line, drop):
            touched.setdefault(line.drive_id, [])
    with ThreadPoolExecutor(NBR_READERS) as pool:
        siblings = pool.map(lambda drive_id: _built_before(ledger, drive_id, by_id), touched)
        members = [own + others for own, others in zip(touched.values(), siblings, strict=True)]
        found = pool.map(lambda member: _object(objects, *member), (m for drive in members for m in drive))
        return {drive_id: [next(found) for _ in drive] for drive_id, drive in zip(touched, members, strict=True)}


def _built_before(ledger: Ledger, drive_id: str, batch: Mapping[str, Drop]) -> list[tuple[Drop, str]]:
    """A drive's drops that are in gold and not in the batch, and where their decoded output is."""
    found = []
    for sibling in ledger.drops(drive_id=drive_id):
        is_part = sibling.state in (DropState.BUILT, DropState.DUPLICATE) and not sibling.is_manifest
        if sibling.drop_id in batch or not is_part:
            continue
        uri = sibling.outcome.get("decoded_uri")
        if not isinstance(uri, str):
            raise ScenelakeError(f"drop {sibling.drop_id}: expected outcome['decoded_uri'] in the ledger, got {uri!r}")
        found.append((sibling, uri))
    return found


def _may_be_in_gold(line: DecodedDrop, drop: Drop) -> bool:
    """A rejected drop that an earlier build took in, or an earlier attempt that knew no manifest may have."""
    was_taken = drop.outcome.get("verdict") in (DropVerdict.DECODED, DropVerdict.SALVAGED)
    return was_taken or line.reason == CHECKSUM_MISMATCH


def _empty_plan(drop: Drop) -> DrivePlan:
    return DrivePlan(drop.drive_id, drop.fleet, drop.vehicle, drop.drive, {})


def _object(objects: Objects, drop: Drop, decoded_uri: str) -> DriveObject:
    return DriveObject(drop, decoded_uri, DropOutcome.from_json(read_json(objects, f"{decoded_uri}/outcome.json")))


def read_drive(objects: Objects, members: list[DriveObject]) -> DriveInput:
    """Reads the indexes and the small tables of the objects that survive."""
    plan = plan_drive(members)
    sequence = recording_sequence(members, plan)
    schemas = {name: CALIBRATION.schema if name == CALIBRATION.name else decoded_schema(name) for name in READ_TABLES}
    schemas[MESSAGE_INDEX.name] = MESSAGE_INDEX.schema
    wanted = [
        (name, file)
        for name in schemas
        for o in sequence
        if name == MESSAGE_INDEX.name or name in o.outcome.tables
        for file in o.outcome.files(o.decoded_uri, name)
    ]

    def read(item: tuple[str, str]) -> pa.Table:
        name, uri = item
        return read_table(objects, uri).select(schemas[name].names).cast(schemas[name])

    parts = {name: [schema.empty_table()] for name, schema in schemas.items()}
    with ThreadPoolExecutor(NBR_READERS) as pool:
        for (name, _), rows in zip(wanted, pool.map(read, wanted), strict=True):
            parts[name].append(rows)
    tables = {name: pa.concat_tables(rows) for name, rows in parts.items()}
    index = tables.pop(MESSAGE_INDEX.name)
    return DriveInput(plan, tuple(members), index, tables)


def main() -> int:
    return run_stage(Stage.SYNCHRONISE, synchronise)


if __name__ == "__main__":
    sys.exit(main())
