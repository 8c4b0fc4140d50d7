"""A recording as decode would hand it over, built message by message."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.stages import DropOutcome, DropVerdict, Problem
from scenelake.contracts.tables import CALIBRATION, MESSAGE_INDEX, decoded_schema
from scenelake.simulate.channels import SensorPlan
from scenelake.simulate.clock import Schedule
from scenelake.simulate.config import DEFAULT_START_NS, SECOND_NS, Camera, Gnss, Imu, Lidar, Radar, Sensor
from scenelake.simulate.faults import parse_fault
from scenelake.synchronise.drives import READ_TABLES, DriveInput, DriveObject, plan_drive
from scenelake.synchronise.row_sources import TableRows

SHA = "ab" * 32


class Recording:
    """Messages in recording order; ``drive()`` makes what the stage takes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.tables: dict[str, list[dict[str, Any]]] = {name: [] for name in READ_TABLES}

    def add(
        self,
        channel: str,
        modality: str,
        stamps_ns: Sequence[int],
        *,
        frame_id: str | None = None,
        status: str = "decoded",
        object_sha256: str = SHA,
        payload: tuple[str, Callable[[int], dict[str, Any]]] | None = None,
        logged_ns: Sequence[int] | None = None,
    ) -> list[str]:
        """Appends messages; ``payload`` names a table and gives the values of message i.

        ``logged_ns`` are their log times; the stamps themselves where they are not given.
        """
        made = []
        for number, (stamp, logged) in enumerate(
            zip(stamps_ns, stamps_ns if logged_ns is None else logged_ns, strict=True)
        ):
            position = len(self.rows)
            name = str(uuid.uuid5(ids.NAMESPACE, f"{object_sha256} {channel} {position}"))
            made.append(name)
            self.rows.append(
                {
                    "sample_data_id": name,
                    "channel": channel,
                    "modality": modality,
                    "schema_name": f"test/{modality}",
                    "status": status,
                    "timestamp_ns": int(stamp),
                    "log_time_ns": int(logged),
                    "publish_time_ns": int(logged),
                    "timestamp_basis": "sensor",
                    "frame_id": frame_id,
                    "object_sha256": object_sha256,
                    "chunk_offset_bytes": position,
                    "message_offset_bytes": 0,
                    "payload_bytes": 1,
                }
            )
            if payload is not None:
                table, values = payload
                common = {"sample_data_id": name, "channel": channel, "timestamp_ns": int(stamp)}
                self.tables[table].append(common | values(number))
        return made

    def drive(self, metadata: dict[str, str] | None = None, problems: tuple[Problem, ...] = ()) -> DriveInput:
        objects = tuple(make_object(sha, metadata=metadata, problems=problems) for sha in self._objects())
        tables = {}
        for name, rows in self.tables.items():
            schema = CALIBRATION.schema if name == "calibration" else decoded_schema(name)
            tables[name] = TableRows(pa.Table.from_pylist(rows, schema=schema))
        index = TableRows(pa.Table.from_pylist(self.rows, schema=MESSAGE_INDEX.schema))
        return DriveInput(plan_drive(objects), objects, index, tables)

    def _objects(self) -> list[str]:
        return list(dict.fromkeys(row["object_sha256"] for row in self.rows)) or [SHA]


def make_object(
    sha: str,
    *,
    name: str | None = None,
    received_at_ns: int = 1,
    metadata: dict[str, str] | None = None,
    problems: tuple[Problem, ...] = (),
) -> DriveObject:
    key = f"fleet/car/drive/{name or sha[:6]}.mcap"
    drop = Drop(
        drop_id=ids.drop_id("landing", key, "1"),
        bucket="landing",
        key=key,
        version_id="1",
        size_bytes=10,
        etag="e",
        received_at_ns=received_at_ns,
        fleet="fleet",
        vehicle="car",
        drive="drive",
        drive_id=ids.drive_id("fleet", "car", "drive"),
    )
    outcome = DropOutcome(
        drop_id=drop.drop_id,
        verdict=DropVerdict.SALVAGED if problems else DropVerdict.DECODED,
        reason=None,
        detail=None,
        format="mcap",
        object_sha256=sha,
        size_bytes=10,
        recipe="r",
        start_ns=0,
        exclusive_end_ns=1,
        problems=problems,
        metadata={"scenelake.drive": metadata or {}, "header": {"library": "recorder 1"}},
    )
    return DriveObject(drop, f"s3://lake/decoded/{drop.drop_id}", outcome)


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
def make_recording() -> Callable[[], Recording]:
    return Recording


@pytest.fixture
def drive_object() -> Callable[..., DriveObject]:
    return make_object


MODALITY: dict[type[Sensor], str] = {Camera: "camera", Lidar: "lidar", Radar: "radar", Imu: "imu", Gnss: "gnss"}


@pytest.fixture
def simulated(recording: Recording) -> Callable[..., dict[str, Schedule]]:
    """Fills the recording with what the simulator's sensors and faults would write; gives the truth by channel."""

    def simulate(sensors: Sequence[Sensor], *faults: str, seconds: int = 60, seed: int = 1) -> dict[str, Schedule]:
        written = {}
        for sensor in sensors:
            plan = SensorPlan.of(
                sensor, [parse_fault(f) for f in faults], (seed,), DEFAULT_START_NS, seconds * SECOND_NS
            )
            written[sensor.topic] = plan.written
            recording.add(
                sensor.topic, MODALITY[type(sensor)], plan.written.stamp_ns, logged_ns=plan.written.log_ns.tolist()
            )
        return written

    return simulate
