"""One sample as a picture: its cameras with the LiDAR projected into them, and LiDAR, radar and boxes from above."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import duckdb
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scenelake.contracts.errors import BadInputError
from scenelake.geometry.camera import is_known_model, project
from scenelake.geometry.motion_compensation import compensate_points
from scenelake.geometry.poses import IDENTITY, compose, invert, pose_from_struct, transform
from scenelake.geometry.trajectory import Trajectory

matplotlib.use("Agg")

Floats = NDArray[np.float64]

_MATCHES = """
SELECT s.channel, s.modality, s.sample_data_id, s.delta_ns, d.payload_table, d.calibrated_sensor_id
FROM sync_index s LEFT JOIN sample_data d ON d.sample_data_id = s.sample_data_id AND d.drive_id = s.drive_id
WHERE s.sample_id = ? ORDER BY s.channel
"""
_CALIBRATION = "SELECT * FROM calibrated_sensor WHERE calibrated_sensor_id IN (SELECT unnest(?))"
_POSES = """
SELECT timestamp_ns, world_from_ego FROM ego_pose
WHERE drive_id = ? AND timestamp_ns BETWEEN ? AND ? AND channel =
    (SELECT min(channel) FROM sync_index WHERE sample_id = ? AND modality = 'ego_pose' AND is_match)
"""
_AROUND_NS = 1_000_000_000
_POSE = "SELECT value FROM sync_index WHERE sample_id = ? AND modality = 'ego_pose' AND is_match LIMIT 1"
_EGO_FRAMES = ("base_link", "ego")
_WORLD_FRAMES = ("map", "odom", "world")
_MAX_CAMERAS = 3
_COLUMNS = 6
_RADAR_IMAGE = "SELECT image FROM radar_sweep WHERE sample_data_id = ? AND image IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Match:
    """One sensor's message at the sample; ``sample_data_id`` None is a miss."""

    channel: str
    modality: str
    sample_data_id: str | None
    delta_ns: int | None
    calibrated_sensor_id: str | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Extrinsics as a pose (7,) and a camera's matrix and lens, where the sensor has them."""

    ego_from_sensor: Floats | None = None
    intrinsics: Floats | None = None
    distortion: Floats | None = None
    camera_model: str | None = None
    is_motion_compensated: bool = False


class SampleView:
    """Reads one sample of an attached release and draws it.

    Args:
        connection: a DuckDB connection with the release's tables attached as views.
        sample_id: the sample to draw.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, sample_id: str) -> None:
        self._connection = connection
        self._sample = self._one("SELECT * FROM sample WHERE sample_id = ?", [sample_id])
        if self._sample is None:
            raise BadInputError(f"sample {sample_id}: not in this release", reason="not_found")
        rows = connection.execute(_MATCHES, [sample_id]).fetchall()
        self._matches = [Match(r[0], r[1], r[2], r[3], r[5]) for r in rows]
        self._calibrations = self._load_calibrations()
        self._trajectory = self._load_trajectory()
        self._problems: set[str] = set()

    def _one(self, sql: str, parameters: list[Any]) -> dict[str, Any] | None:
        cursor = self._connection.execute(sql, parameters)
        row = cursor.fetchone()
        return None if row is None else dict(zip([c[0] for c in cursor.description or []], row, strict=True))

    def _load_calibrations(self) -> dict[str, Calibration]:
        wanted = [m.calibrated_sensor_id for m in self._matches if m.calibrated_sensor_id]
        found = {}
        cursor = self._connection.execute(_CALIBRATION, [wanted])
        names = [c[0] for c in cursor.description or []]
        for row in (dict(zip(names, values, strict=True)) for values in cursor.fetchall()):
            pose, intrinsics, distortion = (row[n] for n in ("ego_from_sensor", "intrinsics", "distortion"))
            found[row["calibrated_sensor_id"]] = Calibration(
                pose_from_struct(pose) if pose else None,
                np.reshape(intrinsics, (3, 3)).astype(np.float64) if intrinsics else None,
                np.asarray(distortion, np.float64) if distortion else None,
                row["camera_model"],
                # Releases of before 0015-motion-is-compensated-by-the-reader.md have no such column.
                bool(row.get("is_motion_compensated")),
            )
        return found

    def _load_trajectory(self) -> Trajectory:
        """The ego's poses around the sample."""
        sample = self._sample or {}
        around = (sample["timestamp_ns"] - _AROUND_NS, sample["timestamp_ns"] + _AROUND_NS)
        rows = self._connection.execute(_POSES, [sample["drive_id"], *around, sample["sample_id"]]).fetchall()
        poses = np.array([pose_from_struct(pose) for _, pose in rows if pose]).reshape(-1, 7)
        return Trajectory.of(np.array([stamp for stamp, pose in rows if pose], np.int64), poses)

    def _of(self, modality: str) -> list[Match]:
        return [m for m in self._matches if m.modality == modality and m.sample_data_id]

    def _calibration(self, match: Match) -> Calibration:
        return self._calibrations.get(match.calibrated_sensor_id or "", Calibration())

    def _points(self, table: str, match: Match, *columns: str) -> list[Floats | None]:
        names = ", ".join(("x_m", "y_m", "z_m", *columns))
        row = self._one(f"SELECT {names} FROM {table} WHERE sample_data_id = ?", [match.sample_data_id])
        if row is None or row["x_m"] is None:
            return [None] * (1 + len(columns))
        xyz = np.stack([np.asarray(row[n], np.float64) for n in ("x_m", "y_m", "z_m")], axis=1)
        keep = np.isfinite(xyz).all(axis=1)
        others = [None if row[c] is None else np.asarray(row[c], np.float64)[keep] for c in columns]
        return [xyz[keep], *others]

    def _points_in_ego(self, table: str, match: Match, *columns: str) -> list[Floats | None]:
        xyz, *others = self._points(table, match, *columns)
        pose = self._calibration(match).ego_from_sensor
        if xyz is not None and pose is not None:
            xyz = transform(pose, xyz)
        return [xyz, *others]

    def _cloud(self, target_ns: int) -> Floats | None:
        """All LiDAR points as seen at one time, in the ego frame there; as recorded where that is not possible."""
        clouds = []
        for match in self._of("lidar"):
            row = self._one("SELECT * FROM lidar_sweep WHERE sample_data_id = ?", [match.sample_data_id])
            if row is None or row["x_m"] is None:
                continue
            points = np.stack([np.asarray(row[n], np.float64) for n in ("x_m", "y_m", "z_m")], axis=1)
            known = self._calibration(match)
            moved = compensate_points(
                points,
                None if row["offset_ns"] is None else np.asarray(row["offset_ns"], np.int64),
                row["timestamp_ns"],
                self._trajectory,
                known.ego_from_sensor,
                target_ns=target_ns,
                is_compensated=known.is_motion_compensated,
            )
            if moved.points_m is not None:
                points = moved.points_m
            if moved.problem is not None:
                self._problems.add(f"{match.channel} is drawn as recorded, {moved.problem.partition(':')[0]}")
            points = points[np.isfinite(points).all(axis=1)]
            clouds.append(points if known.ego_from_sensor is None else transform(known.ego_from_sensor, points))
        return np.concatenate(clouds) if clouds else None

    def draw(self, path: Path) -> None:
        """Writes the picture as PNG, with the LiDAR points as seen at each camera's own time."""
        cameras = self._of("camera")[:_MAX_CAMERAS]
        sample = self._sample or {}
        figure = Figure(figsize=(15, 10 if cameras else 7), layout="constrained")
        grid = figure.add_gridspec(2 if cameras else 1, _COLUMNS, height_ratios=[2, 3] if cameras else [1])
        width = _COLUMNS // max(len(cameras), 1)
        for position, match in enumerate(cameras):
            axes = figure.add_subplot(grid[0, position * width : (position + 1) * width])
            self._draw_camera(axes, match, self._cloud(sample["timestamp_ns"] + (match.delta_ns or 0)))
        scans = [(m, row["image"]) for m in self._of("radar") if (row := self._one(_RADAR_IMAGE, [m.sample_data_id]))]
        split = _COLUMNS - 2 if scans else _COLUMNS
        self._draw_from_above(figure.add_subplot(grid[-1, :split]), self._cloud(sample["timestamp_ns"]))
        if scans:
            self._draw_scan(figure.add_subplot(grid[-1, split:]), *scans[0])
        figure.suptitle(
            f"sample {sample['sample_id']} · scene {sample['scene_id']} · frame {sample['frame_index']}\n"
            f"{self._deltas()}" + "".join(f"\n{problem}" for problem in sorted(self._problems)),
            fontsize=9,
        )
        figure.savefig(path, dpi=110)

    def _draw_scan(self, axes: Axes, match: Match, data: bytes) -> None:
        """A radar that records pictures is shown as it recorded them."""
        axes.set_axis_off()
        axes.set_title(f"{match.channel}, as recorded", fontsize=9)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if image is None:
            axes.text(0.5, 0.5, "no still image", ha="center")
            return
        axes.imshow(image, cmap="inferno")

    def _deltas(self) -> str:
        shown = [m for m in self._matches if m.modality in ("camera", "lidar", "radar", "imu", "ego_pose")]
        parts = [
            f"{m.channel} {m.delta_ns / 1e6:+.1f} ms" + ("" if m.sample_data_id else " (miss)")
            for m in shown
            if m.delta_ns is not None
        ]
        lines = [" · ".join(parts[i : i + 4]) for i in range(0, len(parts), 4)]
        return "\n".join(lines)

    def _draw_camera(self, axes: Axes, match: Match, cloud: Floats | None) -> None:
        row = self._one("SELECT image FROM camera_frame WHERE sample_data_id = ?", [match.sample_data_id])
        axes.set_axis_off()
        axes.set_title(match.channel, fontsize=9)
        image = None if row is None else cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            axes.text(0.5, 0.5, "no still image", ha="center")
            return
        axes.imshow(image[:, :, ::-1])
        calibration = self._calibration(match)
        pose = calibration.ego_from_sensor
        if not is_known_model(calibration.camera_model):
            axes.set_title(f"{match.channel} (lens model {calibration.camera_model!r} is not known)", fontsize=9)
            return
        if cloud is None or pose is None or calibration.intrinsics is None:
            return
        size_px = (image.shape[1], image.shape[0])
        in_camera = transform(invert(pose), cloud)
        seen = project(in_camera, calibration.intrinsics, calibration.distortion, calibration.camera_model, size_px)
        u, v = seen.pixels[seen.is_visible].T
        axes.scatter(u, v, c=seen.depth_m[seen.is_visible], s=1.5, cmap="turbo_r", vmin=0, vmax=60, alpha=0.7)
        axes.set_xlim(0, image.shape[1])
        axes.set_ylim(image.shape[0], 0)

    def _draw_from_above(self, axes: Axes, cloud: Floats | None) -> None:
        axes.set_title("from above, ego frame (x forward, y left), metres", fontsize=9)
        axes.set_aspect("equal")
        axes.set_xlabel("x_m")
        axes.set_ylabel("y_m")
        if cloud is not None:
            axes.scatter(cloud[:, 0], cloud[:, 1], c=cloud[:, 2], s=0.8, cmap="viridis", vmin=-2, vmax=3)
        for match in self._of("radar"):
            xyz, speed = self._points_in_ego("radar_sweep", match, "radial_velocity_compensated_m_s")
            if xyz is not None:
                colour = "red" if speed is None else speed
                axes.scatter(
                    xyz[:, 0], xyz[:, 1], c=colour, s=26, cmap="coolwarm", vmin=-10, vmax=10, marker="D",
                    edgecolors="black", linewidths=0.4, label=match.channel,
                )  # fmt: skip
        self._draw_boxes(axes)
        axes.plot([0], [0], marker=(3, 0, -90), markersize=12, color="black", label="ego")
        axes.set_xlim(-40, 80)
        axes.set_ylim(-30, 30)
        axes.legend(loc="upper left", fontsize=8)

    def _ego_from(self, frame_id: str) -> Floats | None:
        """Pose of a box's frame: the ego itself, or a world frame through the pose at the sample."""
        if frame_id in _EGO_FRAMES:
            return IDENTITY
        if frame_id not in _WORLD_FRAMES:
            return None
        row = self._one(_POSE, [(self._sample or {}).get("sample_id")])
        if row is None or not row["value"]:
            return None
        return invert(np.array(row["value"], np.float64))

    def _draw_boxes(self, axes: Axes) -> None:
        sql = "SELECT category, sensor_from_box AS pose, size_m, frame_id FROM annotation WHERE sample_data_id = ?"
        for match in self._of("annotation"):
            for category, pose, size, frame_id in self._connection.execute(sql, [match.sample_data_id]).fetchall():
                ego_from_frame = self._ego_from(frame_id)
                if pose is None or size is None or ego_from_frame is None:
                    continue
                ego_from_box = compose(ego_from_frame, pose_from_struct(pose))
                half = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1], [1, 1]]) * np.asarray(size[:2]) / 2
                corners = transform(ego_from_box, np.column_stack([half, np.zeros(5)]))
                axes.plot(corners[:, 0], corners[:, 1], color="darkorange", linewidth=1.2)
                axes.annotate(
                    category or "", (corners[0, 0], corners[0, 1]), fontsize=7, color="darkorange", annotation_clip=True
                )
