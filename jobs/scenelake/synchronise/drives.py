"""What makes up a drive: its objects, which of them are copies, and what their metadata says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.stages import ChannelClock, DrivePlan, DropOutcome
from scenelake.synchronise.row_sources import Rows

DRIVE_METADATA = "scenelake.drive"
COMPENSATED_METADATA = "motion_compensated"
"""Key of the drive's metadata: channels, parted by spaces, whose points are motion compensated already."""

READ_TABLES = ("imu", "ego_pose", "robot_state", "transform", "gnss", "calibration", "episode", "language")
"""Decoded tables whose values synchronise needs; the others it leaves alone."""


@dataclass(frozen=True, slots=True)
class DriveObject:
    """One drop that decoded, with decode's answer."""

    drop: Drop
    decoded_uri: str
    outcome: DropOutcome


@dataclass(frozen=True, slots=True)
class DriveInput:
    """Everything known of one drive.

    Attributes:
        objects: every drop that decoded, copies included.
        index: ``contracts.tables.MESSAGE_INDEX`` of the objects that survive, object by object in recording order.
        tables: the tables of ``READ_TABLES``, each with its decoded schema, without rows where nobody has any.
    """

    plan: DrivePlan
    objects: tuple[DriveObject, ...]
    index: Rows
    tables: Mapping[str, Rows]


@dataclass(frozen=True, slots=True)
class SynchronisedDrive:
    """A drive's answer: gold and hand-over tables by name, and its clocks."""

    tables: Mapping[str, pa.Table]
    clocks: tuple[ChannelClock, ...]


_SENIORITY = {DropState.BUILT: 0, DropState.DUPLICATE: 2}
"""What the ledger says already stays: a BUILT drop of an earlier batch survives, a DUPLICATE remains a copy."""


def plan_drive(objects: Sequence[DriveObject]) -> DrivePlan:
    """Names the objects that make a drive and their copies.

    Of equal objects the one that an earlier batch built survives, else the earliest received; ties by drop id.

    Raises:
        ValueError: without objects.
    """
    if not objects:
        raise ValueError("objects: expected at least one")
    by_age = sorted(objects, key=lambda o: (_SENIORITY.get(o.drop.state, 1), o.drop.received_at_ns, o.drop.drop_id))
    survivors: dict[str | None, DriveObject] = {}
    for item in by_age:
        survivors.setdefault(item.outcome.object_sha256, item)
    first = by_age[0].drop
    return DrivePlan(
        drive_id=first.drive_id,
        fleet=first.fleet,
        vehicle=first.vehicle,
        drive=first.drive,
        decoded={o.drop.drop_id: o.decoded_uri for o in survivors.values()},
        duplicates={
            o.drop.drop_id: survivors[o.outcome.object_sha256].drop.drop_id
            for o in by_age
            if survivors[o.outcome.object_sha256] is not o
        },
    )


def recording_sequence(objects: Sequence[DriveObject], plan: DrivePlan) -> list[DriveObject]:
    """The surviving objects in the order in which they were recorded: by first message, then by content."""
    surviving = [o for o in objects if o.drop.drop_id in plan.decoded]
    return sorted(surviving, key=lambda o: (o.outcome.start_ns or 0, o.outcome.object_sha256 or ""))


def drive_metadata(objects: Sequence[DriveObject]) -> dict[str, str]:
    """Merged ``scenelake.drive`` records; of two values for a key the first object's stands."""
    merged: dict[str, str] = {}
    for item in objects:
        for key, value in item.outcome.metadata.get(DRIVE_METADATA, {}).items():
            if value:
                merged.setdefault(key, value)
    library = objects[0].outcome.metadata.get("header", {}).get("library") if objects else None
    if library:
        merged.setdefault("software_version", library)
    return merged
