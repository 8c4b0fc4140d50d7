"""Synchronises the drives that a batch touches. Reads decode's output, writes one folder per drive."""

import logging
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict

import pyarrow as pa

from scenelake.adapters.objects import Objects, read_json, read_table, write_json, write_table
from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.stages import DatasetVersion, DecodedDrop, DropOutcome, DropVerdict, Stage, StageOutcome
from scenelake.contracts.tables import CALIBRATION, MESSAGE_INDEX, decoded_schema
from scenelake.ledger.protocol import Ledger
from scenelake.runtime.job import StageContext, naming_drive, run_stage
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import READ_TABLES, DriveInput, DriveObject, plan_drive, recording_sequence

log = logging.getLogger(__name__)


def synchronise(context: StageContext) -> StageOutcome:
    """The stage's function."""
    config = SynchroniseConfig()
    decoded = [
        DecodedDrop(**line) for line in read_json(context.objects, f"{context.stage_uri(Stage.DECODE)}/drops.json")
    ]
    drives = drives_of(decoded, context.drops, context.ledger, context.objects)
    plans, inputs, outputs = [], [], []
    counts = {"drives": 0, "scenes": 0, "samples": 0, "messages": 0, "unassigned": 0}
    for drive_id, objects in sorted(drives.items()):
        with naming_drive(drive_id):
            drive = read_drive(context.objects, objects)
            done = synchronise_drive(drive, config)
        folder = context.drive_uri(drive_id)
        for name, table in done.tables.items():
            write_table(context.objects, f"{folder}/{name}.parquet", table)
        write_json(context.objects, f"{folder}/clocks.json", [asdict(clock) for clock in done.clocks])
        plans.append(asdict(drive.plan))
        inputs += [DatasetVersion(o.decoded_uri, o.outcome.recipe, o.outcome.object_sha256) for o in objects]
        outputs.append(DatasetVersion(folder, str(context.arguments.attempt)))
        made = {"scenes": "scene", "samples": "sample", "messages": "sample_data", "unassigned": "unassigned"}
        found = {"drives": 1} | {name: len(done.tables[table]) for name, table in made.items()}
        counts = {name: counts[name] + found[name] for name in counts}
        log.info("drive synchronised", extra={"drive_id": drive_id, **found})
    write_json(context.objects, f"{context.stage_uri()}/drives.json", plans)
    return StageOutcome(counts, config.model_dump(mode="json"), tuple(inputs), tuple(outputs))


def drives_of(
    decoded: Iterable[DecodedDrop], drops: Iterable[Drop], ledger: Ledger, objects: Objects
) -> dict[str, list[DriveObject]]:
    """Objects of every drive that the batch adds to: its own drops, and those that earlier batches built.

    Drops that decode rejected are left out; a drive with nothing else is not touched.

    Raises:
        ScenelakeError: when a built drop does not say where its decoded output is.
    """
    by_id = {drop.drop_id: drop for drop in drops}
    touched: defaultdict[str, list[DriveObject]] = defaultdict(list)
    for line in decoded:
        if line.verdict != DropVerdict.REJECTED:
            touched[line.drive_id].append(_object(objects, by_id[line.drop_id], line.decoded_uri))
    for drive_id, members in touched.items():
        for sibling in ledger.drops(drive_id=drive_id):
            if sibling.drop_id in by_id or sibling.state not in (DropState.BUILT, DropState.DUPLICATE):
                continue
            uri = sibling.outcome.get("decoded_uri")
            if not isinstance(uri, str):
                raise ScenelakeError(
                    f"drop {sibling.drop_id}: expected outcome['decoded_uri'] in the ledger, got {uri!r}"
                )
            members.append(_object(objects, sibling, uri))
    return dict(touched)


def _object(objects: Objects, drop: Drop, decoded_uri: str) -> DriveObject:
    return DriveObject(drop, decoded_uri, DropOutcome.from_json(read_json(objects, f"{decoded_uri}/outcome.json")))


def read_drive(objects: Objects, members: list[DriveObject]) -> DriveInput:
    """Reads the indexes and the small tables of the objects that survive."""
    plan = plan_drive(members)
    sequence = recording_sequence(members, plan)
    indexes = [read_table(objects, f"{o.decoded_uri}/message_index.parquet") for o in sequence]
    tables = {}
    for name in READ_TABLES:
        schema = CALIBRATION.schema if name == CALIBRATION.name else decoded_schema(name)
        present = [o for o in sequence if name in o.outcome.tables]
        parts = [
            read_table(objects, f"{o.decoded_uri}/{name}.parquet").select(schema.names).cast(schema) for o in present
        ]
        tables[name] = pa.concat_tables([schema.empty_table(), *parts])
    index = pa.concat_tables(
        [
            MESSAGE_INDEX.schema.empty_table(),
            *(i.select(MESSAGE_INDEX.schema.names).cast(MESSAGE_INDEX.schema) for i in indexes),
        ]
    )
    return DriveInput(plan, tuple(members), index, tables)


def main() -> int:
    return run_stage(Stage.SYNCHRONISE, synchronise)


if __name__ == "__main__":
    sys.exit(main())
