"""Synchronises the drives that a batch touches. Reads decode's output, writes one folder per drive."""

import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from scenelake.adapters.objects import Objects, read_json, read_to_file, write_json
from scenelake.adapters.table_files import TableFiles
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
from scenelake.synchronise.build import made_schemas, synchronise_into
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import READ_TABLES, DriveInput, DriveObject, plan_drive, recording_sequence
from scenelake.synchronise.row_sources import ParquetRows
from scenelake.timebase.scratch import Scratch

log = logging.getLogger(__name__)

NBR_READERS = 8
"""Small objects read at once; each costs a round trip to S3 and next to no time besides."""

NBR_DRIVES_AT_ONCE = 3
"""So many drives are worked on at once."""

_COUNTED = {"scenes": "scene", "samples": "sample", "messages": "sample_data", "unassigned": "unassigned"}


def synchronise(context: StageContext) -> StageOutcome:
    """The stage's function."""
    config = context.policy(SynchroniseConfig)
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
    context: StageContext, config: SynchroniseConfig, members: list[DriveObject]
) -> tuple[DrivePlan, dict[str, int]]:
    """Reads one drive, leaves its folder, and returns its plan and what was made of it."""
    drive_id = members[0].drop.drive_id
    with naming_drive(drive_id):
        plan, nbr_rows = synchronise_files(context.objects, members, context.drive_uri(drive_id), config)
    made = {"drives": 1} | {name: nbr_rows[table] for name, table in _COUNTED.items()}
    log.info("drive synchronised", extra={"drive_id": drive_id, **made})
    return plan, made


def synchronise_files(
    objects: Objects, members: list[DriveObject], folder_uri: str, config: SynchroniseConfig
) -> tuple[DrivePlan, Mapping[str, int]]:
    """Reads the objects of a drive, leaves its tables and clocks in a folder, and returns its plan and rows by table.

    Decode's files, arrays as long as a channel and unfinished tables lie on this machine's disk: about 200 bytes a
    message together.
    """
    with tempfile.TemporaryDirectory(prefix="scenelake-synchronise-") as name:
        folder = Path(name)
        drive = read_drive(objects, members, folder)
        with TableFiles(objects, folder_uri, folder, made_schemas()) as files:
            clocks = synchronise_into(drive, config, files.write, Scratch(folder))
    write_json(objects, f"{folder_uri}/clocks.json", [asdict(clock) for clock in clocks])
    return drive.plan, files.nbr_rows


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


def read_drive(objects: Objects, members: list[DriveObject], folder: Path | None = None) -> DriveInput:
    """Opens the indexes and the tables of the objects that survive.

    Args:
        folder: where their files are put; None holds their bytes in memory.
    """
    plan = plan_drive(members)
    schemas = {name: CALIBRATION.schema if name == CALIBRATION.name else decoded_schema(name) for name in READ_TABLES}
    schemas[MESSAGE_INDEX.name] = MESSAGE_INDEX.schema
    wanted = [
        (name, file)
        for name in schemas
        for o in recording_sequence(members, plan)
        if name == MESSAGE_INDEX.name or name in o.outcome.tables
        for file in o.outcome.files(o.decoded_uri, name)
    ]

    def fetch(number: int) -> Path | pa.Buffer:
        uri = wanted[number][1]
        if folder is None:
            return pa.py_buffer(objects.read(uri))
        return read_to_file(objects, uri, folder / f"{number}.parquet")

    files: dict[str, list[Path | pa.Buffer]] = {name: [] for name in schemas}
    with ThreadPoolExecutor(NBR_READERS) as pool:
        for (name, _), file in zip(wanted, pool.map(fetch, range(len(wanted))), strict=True):
            files[name].append(file)
    rows = {name: ParquetRows(tuple(files[name]), schema) for name, schema in schemas.items()}
    index = rows.pop(MESSAGE_INDEX.name)
    return DriveInput(plan, tuple(members), index, rows)


def main() -> int:
    return run_stage(Stage.SYNCHRONISE, synchronise)


if __name__ == "__main__":
    sys.exit(main())
