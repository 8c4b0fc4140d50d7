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

from scenelake.contracts.columns import POSE
from scenelake.contracts.errors import BadInputError

matplotlib.use("Agg")

Floats = NDArray[np.float64]

_MATCHES = """
SELECT s.channel, s.modality, s.sample_data_id, s.delta_ns, d.payload_table, d.calibrated_sensor_id
FROM sync_index s LEFT JOIN sample_data d ON d.sample_data_id = s.sample_data_id AND d.drive_id = s.drive_id
WHERE s.sample_id = ? ORDER BY s.channel
"""
_CALIBRATION = """
SELECT calibrated_sensor_id, ego_from_sensor, intrinsics, distortion FROM calibrated_sensor
WHERE calibrated_sensor_id IN (SELECT unnest(?))
"""
_POSE = "SELECT value FROM sync_index WHERE sample_id = ? AND modality = 'ego_pose' AND is_match LIMIT 1"
_POSE_FIELDS = tuple(f.name for f in POSE)
_EGO_FRAMES = ("base_link", "ego")
_WORLD_FRAMES = ("map", "odom", "world")
_MAX_CAMERAS = 3
_COLUMNS = 6
_RADAR_IMAGE = "SELECT image FROM radar_sweep WHERE sample_data_id = ? AND image IS NOT NULL"
_NEAREST_DEPTH_M = 0.5


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
    """Extrinsics as a 4x4 ``ego_from_sensor`` and a pinhole camera, where the sensor has them."""

    ego_from_sensor: Floats | None
    intrinsics: Floats | None
    distortion: Floats | None


def matrix(pose: dict[str, float]) -> Floats:
    """4x4 transform of a POSE struct (translation in metres, unit quaternion)."""
    w, x, y, z = (pose[k] for k in ("qw", "qx", "qy", "qz"))
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = [pose["tx_m"], pose["ty_m"], pose["tz_m"]]
    return out


def project(points_m: Floats, camera: Calibration, size_px: tuple[int, int]) -> tuple[Floats, Floats]:
    """Projects camera-frame points (n, 3) into pixels.

    Points behind the camera and points far outside its field of view are left out before the distortion
    model is applied: the polynomial folds them back into the picture.

    Returns:
        Pixels (m, 2) and depths (m,) in metres of the points that fall inside ``size_px`` (width, height).
    """
    width, height = size_px
    k = camera.intrinsics
    if k is None:
        raise BadInputError("the camera has no intrinsics", reason="no_intrinsics")
    ahead = points_m[points_m[:, 2] > _NEAREST_DEPTH_M]
    pinhole = ahead @ k.T
    pixels = pinhole[:, :2] / pinhole[:, 2:]
    near = (np.abs(pixels - [width / 2, height / 2]) < np.array([width, height])).all(axis=1)
    ahead = ahead[near]
    if not len(ahead):
        return np.empty((0, 2)), np.empty(0)
    distorted, _ = cv2.projectPoints(ahead, np.zeros(3), np.zeros(3), k, camera.distortion)
    pixels = distorted.reshape(-1, 2).astype(np.float64)
    inside = ((pixels >= 0) & (pixels < [width, height])).all(axis=1)
    return pixels[inside], ahead[inside, 2]


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

    def _one(self, sql: str, parameters: list[Any]) -> dict[str, Any] | None:
        cursor = self._connection.execute(sql, parameters)
        row = cursor.fetchone()
        return None if row is None else dict(zip([c[0] for c in cursor.description or []], row, strict=True))

    def _load_calibrations(self) -> dict[str, Calibration]:
        wanted = [m.calibrated_sensor_id for m in self._matches if m.calibrated_sensor_id]
        found = {}
        for key, pose, intrinsics, distortion in self._connection.execute(_CALIBRATION, [wanted]).fetchall():
            found[key] = Calibration(
                matrix(pose) if pose else None,
                np.reshape(intrinsics, (3, 3)).astype(np.float64) if intrinsics else None,
                np.asarray(distortion, np.float64) if distortion else None,
            )
        return found

    def _of(self, modality: str) -> list[Match]:
        return [m for m in self._matches if m.modality == modality and m.sample_data_id]

    def _calibration(self, match: Match) -> Calibration:
        return self._calibrations.get(match.calibrated_sensor_id or "", Calibration(None, None, None))

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
            xyz = xyz @ pose[:3, :3].T + pose[:3, 3]
        return [xyz, *others]

    def draw(self, path: Path) -> None:
        """Writes the picture as PNG."""
        cameras = self._of("camera")[:_MAX_CAMERAS]
        figure = Figure(figsize=(15, 10 if cameras else 7), layout="constrained")
        grid = figure.add_gridspec(2 if cameras else 1, _COLUMNS, height_ratios=[2, 3] if cameras else [1])
        sweeps = [self._points_in_ego("lidar_sweep", m)[0] for m in self._of("lidar")]
        cloud = np.concatenate([s for s in sweeps if s is not None]) if any(s is not None for s in sweeps) else None
        width = _COLUMNS // max(len(cameras), 1)
        for position, match in enumerate(cameras):
            axes = figure.add_subplot(grid[0, position * width : (position + 1) * width])
            self._draw_camera(axes, match, cloud)
        scans = [(m, row["image"]) for m in self._of("radar") if (row := self._one(_RADAR_IMAGE, [m.sample_data_id]))]
        split = _COLUMNS - 2 if scans else _COLUMNS
        self._draw_from_above(figure.add_subplot(grid[-1, :split]), cloud)
        if scans:
            self._draw_scan(figure.add_subplot(grid[-1, split:]), *scans[0])
        sample = self._sample or {}
        figure.suptitle(
            f"sample {sample['sample_id']} · scene {sample['scene_id']} · frame {sample['frame_index']}\n"
            f"{self._deltas()}",
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
        if cloud is None or pose is None or calibration.intrinsics is None:
            return
        in_camera = (cloud - pose[:3, 3]) @ pose[:3, :3]
        pixels, depth = project(in_camera, calibration, (image.shape[1], image.shape[0]))
        axes.scatter(pixels[:, 0], pixels[:, 1], c=depth, s=1.5, cmap="turbo_r", vmin=0, vmax=60, alpha=0.7)
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
        """Transform from a box's frame: the ego itself, or a world frame through the pose at the sample."""
        if frame_id in _EGO_FRAMES:
            return np.eye(4)
        if frame_id not in _WORLD_FRAMES:
            return None
        row = self._one(_POSE, [(self._sample or {}).get("sample_id")])
        if row is None or not row["value"]:
            return None
        world_from_ego = matrix(dict(zip(_POSE_FIELDS, row["value"], strict=False)))
        return np.linalg.inv(world_from_ego).astype(np.float64)

    def _draw_boxes(self, axes: Axes) -> None:
        sql = "SELECT category, sensor_from_box AS pose, size_m, frame_id FROM annotation WHERE sample_data_id = ?"
        for match in self._of("annotation"):
            for category, pose, size, frame_id in self._connection.execute(sql, [match.sample_data_id]).fetchall():
                ego_from_frame = self._ego_from(frame_id)
                if pose is None or size is None or ego_from_frame is None:
                    continue
                ego_from_box = ego_from_frame @ matrix(pose)
                half = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1], [1, 1]]) * np.asarray(size[:2]) / 2
                corners = np.column_stack([half, np.zeros(5)]) @ ego_from_box[:3, :3].T + ego_from_box[:3, 3]
                axes.plot(corners[:, 0], corners[:, 1], color="darkorange", linewidth=1.2)
                axes.annotate(
                    category or "", (corners[0, 0], corners[0, 1]), fontsize=7, color="darkorange", annotation_clip=True
                )
