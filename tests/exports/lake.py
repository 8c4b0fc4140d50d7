"""Small lakes to export from, and a reader of their releases: the stages run in this process, over files."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tests.unit.pieces.pipeline import Lake

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import SLOTTED_TABLES
from scenelake.contracts.releases import Release
from scenelake.contracts.tables import GOLD
from scenelake.simulate.config import (
    DEFAULT_START_NS,
    SECOND_NS,
    Annotator,
    Camera,
    DriveConfig,
    Lidar,
    Mount,
    Odometry,
    Radar,
)
from scenelake.simulate.drive import simulate_drive
from scenelake.simulate.robot import simulate_robot_session
from scenelake.simulate.robot_config import RobotConfig


class LakeReader:
    """``contracts.release_reader.ReleaseReader`` over a lake of ``tests/unit/pieces``."""

    def __init__(self, lake: Lake) -> None:
        release = lake.release()
        assert release is not None
        self.release: Release = release
        self._tables = lake.tables
        self._objects = lake.objects
        self._files: dict[str, pa.Table] = {}

    def scenes(self) -> pa.Table:
        kept = self._table("release_scene")
        kept = kept.filter(pc.equal(kept["is_kept"], True)).drop_columns(["drive_id", "drive_date"])
        return self._table("scene").join(kept, "scene_id", join_type="inner")

    def rows(
        self, table: str, scene_ids: Sequence[str] | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        if table not in GOLD or table in SLOTTED_TABLES:
            raise ValueError(table)
        rows = self._table(table)
        if scene_ids is not None and "scene_id" in rows.column_names:
            rows = rows.filter(pc.is_in(rows["scene_id"], pa.array(scene_ids, pa.string())))
        elif scene_ids is not None:
            drives = {self.release.scenes[s][0] for s in scene_ids}
            rows = rows.filter(pc.is_in(rows["drive_id"], pa.array(sorted(drives))))
        return rows if columns is None else rows.select(list(columns))

    def payloads(self, sample_data: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
        parts = []
        for row in sample_data.to_pylist():
            found = self._file(row["payload_file"]).slice(row["row_index"], 1)
            if found["sample_data_id"].to_pylist() != [row["sample_data_id"]]:
                raise BadInputError(f"{row['payload_file']}: no {row['sample_data_id']}", reason="payload_missing")
            parts.append(found if columns is None else found.select(list(columns)))
        return pa.concat_tables(parts)

    def _table(self, name: str) -> pa.Table:
        pin = self.release.tables.get(name)
        return GOLD[name].schema.empty_table() if pin is None else self._tables.held(pin)

    def _file(self, uri: str) -> pa.Table:
        if uri not in self._files:
            self._files[uri] = pq.read_table(pa.BufferReader(self._objects.read(uri)))
        return self._files[uri]


def vehicle_config(seed: int = 5) -> DriveConfig:
    """26 s over two scenes: two cameras, a LiDAR, a radar, poses and boxes."""
    mounts = {"front": Mount(x_m=1.7, z_m=1.5), "rear": Mount(x_m=-1.0, z_m=1.5, yaw_deg=180.0)}
    return DriveConfig(
        seed=seed, start_ns=DEFAULT_START_NS + 10 * SECOND_NS, duration_ns=26 * SECOND_NS, vehicles=10, pedestrians=6,
        ego_speed_m_s=8.0,
        cameras=tuple(
            Camera(
                topic=f"/camera/{name}/image", frame_id=f"camera_{name}", mount=mount, rate_hz=5.0,
                phase_ns=7_000_000, jitter_ns=300_000, width_px=96, height_px=64,
            )
            for name, mount in mounts.items()
        ),
        lidars=(
            Lidar(
                topic="/lidar/top/points", frame_id="lidar", mount=Mount(x_m=0.9, z_m=1.9, yaw_deg=20.0), rate_hz=5.0,
                rings=16, azimuths=180, phase_ns=3_000_000, jitter_ns=200_000,
            ),
        ),
        radars=(
            Radar(
                topic="/radar/front/points", frame_id="radar", mount=Mount(x_m=3.6, z_m=0.5), rate_hz=6.0, rays=40,
                jitter_ns=500_000,
            ),
        ),
        odometry=Odometry(topic="/odometry", frame_id="base_link", rate_hz=20.0),
        annotations=Annotator(topic="/annotations/boxes", frame_id="map", rate_hz=5.0, phase_ns=3_000_000),
    )  # fmt: skip


def robot_config(seed: int = 5) -> RobotConfig:
    """Two short episodes at 10 Hz with two small cameras."""
    plan = RobotConfig()
    small = {"rate_hz": 10.0, "width_px": 64, "height_px": 48}
    return RobotConfig(
        seed=seed, episodes=2, episode_ns=4 * SECOND_NS, failed_episodes=(1,),
        head_camera=plan.head_camera.model_copy(update=small),
        wrist_camera=plan.wrist_camera.model_copy(update=small),
    )  # fmt: skip


def vehicle_lake(folder: Path) -> Lake:
    simulate_drive(vehicle_config(), folder / "drive.mcap")
    return _built(folder, "fleet/car/loop", "drive.mcap")


def robot_lake(folder: Path) -> Lake:
    simulate_robot_session(robot_config(), folder / "session.mcap")
    return _built(folder, "fleet/humanoid/table", "session.mcap")


def _built(folder: Path, drive: str, name: str) -> Lake:
    lake = Lake(folder / "lake")
    lake.put(f"{drive}/{name}", (folder / name).read_bytes())
    lake.build_all()
    return lake
