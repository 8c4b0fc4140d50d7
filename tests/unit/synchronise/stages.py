"""A recording taken through decode and synchronise as the pipeline does it, in a folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.adapters.objects import LocalObjects, read_table
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DropOutcome
from scenelake.decode.config import DecodeConfig
from scenelake.decode.task import DecodeTask
from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.poses import pose_from_struct
from scenelake.geometry.trajectory import Trajectory
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import DriveInput, DriveObject
from scenelake.synchronise.job import read_drive
from scenelake.synchronise.row_sources import read_all


@dataclass(frozen=True)
class Synchronised:
    """What a reader of the lake would have of one recording."""

    objects: LocalObjects
    outcome: DropOutcome
    input: DriveInput
    tables: dict[str, pa.Table]

    @property
    def drive(self):
        return self.tables["drive"].to_pylist()[0]

    def payload(self, table: str) -> list[dict]:
        """Payload rows in order of time, with the calibration that their ``sample_data`` row points to."""
        files = [f.uri for f in self.outcome.payload_files if f.table == table]
        rows = [row for uri in files for row in _rows(read_table(self.objects, uri))]
        sensors = {s["calibrated_sensor_id"]: s for s in self.tables["calibrated_sensor"].to_pylist()}
        of = {r["sample_data_id"]: r["calibrated_sensor_id"] for r in self.tables["sample_data"].to_pylist()}
        found = [
            row | {"sensor": sensors.get(of[row["sample_data_id"]])} for row in rows if row["sample_data_id"] in of
        ]
        return sorted(found, key=lambda row: row["timestamp_ns"])

    def trajectory(self) -> Trajectory:
        """The poses that the drive's row names, recorded or derived."""
        every = pa.concat_tables(
            [read_all(self.input.tables["ego_pose"]).select(["channel", "timestamp_ns", "world_from_ego"]),
             self.tables["ego_pose"].select(["channel", "timestamp_ns", "world_from_ego"])]
        )  # fmt: skip
        rows = every.filter(pc.equal(every["channel"], self.drive["ego_pose_channel"]))
        return Trajectory.of(rows["timestamp_ns"].to_numpy(), pose_matrix(rows["world_from_ego"]))

    def sensor(self, channel: str) -> dict:
        """The only calibration of a channel."""
        (found,) = [s for s in self.tables["calibrated_sensor"].to_pylist() if s["channel"] == channel]
        return found


def _rows(table: pa.Table) -> list[dict]:
    """Rows whose lists are arrays."""
    names, columns = table.column_names, [table.column(n) for n in table.column_names]
    values = [
        [v.values.to_numpy(zero_copy_only=False) if pa.types.is_list(c.type) and v.is_valid else v.as_py() for v in c]
        for c in columns
    ]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def points_of(row: dict) -> np.ndarray:
    """(n, 3) in the sensor's frame."""
    return np.stack([row[n].astype(np.float64) for n in ("x_m", "y_m", "z_m")], axis=1)


def mount(sensor: dict):
    return pose_from_struct(sensor["ego_from_sensor"])


def synchronise_recording(recording: Path, folder: Path) -> Synchronised:
    objects = LocalObjects(folder)
    key = f"fleet/car/drive/{recording.name}"
    objects.write_file(f"s3://landing/{key}", recording)
    drop = Drop(
        ids.drop_id("landing", key, "1"), "landing", key, "1", recording.stat().st_size, "e", 1,
        "fleet", "car", "drive", ids.drive_id("fleet", "car", "drive"),
    )  # fmt: skip
    paths = LakePaths("s3://lake")
    outcome = DecodeTask(lambda: objects, paths, DecodeConfig(), "r")(drop)
    found = read_drive(objects, [DriveObject(drop, paths.decoded("r", drop.drop_id), outcome)])
    return Synchronised(objects, outcome, found, dict(synchronise_drive(found, SynchroniseConfig()).tables))
