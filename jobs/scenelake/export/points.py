"""Sweeps of LiDARs and radars as arrays, and in the files that nuScenes has for them.

Formats: ``nuscenes-devkit``, ``utils/data_classes.py`` (``LidarPointCloud.from_file``, ``RadarPointCloud.from_file``).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Float32Array = npt.NDArray[np.float32]

LIDAR_COLUMNS = ("x_m", "y_m", "z_m", "intensity", "ring")
RADAR_COLUMNS = (
    "x_m", "y_m", "z_m", "radial_velocity_m_s", "radial_velocity_compensated_m_s", "radar_cross_section_dbsm",
)  # fmt: skip

VELOCITY, COMPENSATED = 3, 4
"""Columns of the radial velocities among ``RADAR_COLUMNS``."""

_RADAR_POINT = np.dtype(
    [
        ("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("dyn_prop", "i1"), ("id", "<i2"), ("rcs", "<f4"), ("vx", "<f4"),
        ("vy", "<f4"), ("vx_comp", "<f4"), ("vy_comp", "<f4"), ("is_quality_valid", "i1"), ("ambig_state", "i1"),
        ("x_rms", "i1"), ("y_rms", "i1"), ("invalid_state", "i1"), ("pdh0", "i1"), ("vx_rms", "i1"), ("vy_rms", "i1"),
    ]
)  # fmt: skip
_UNKNOWN_MOTION, _UNAMBIGUOUS = 4, 3
_MAX_ID = 32_767


def sweeps(rows: pa.Table, names: tuple[str, ...]) -> Iterator[Float32Array]:
    """(n, len(names)) float32 of each payload row's list columns; NaN where the recording has none."""
    columns = [rows[name].combine_chunks() for name in names]
    starts = [np.asarray(column.offsets, np.int64) for column in columns]
    values = [np.asarray(column.values.to_numpy(zero_copy_only=False), np.float32) for column in columns]
    for row in range(len(rows)):
        parts = [v[at[row] : at[row + 1]] for v, at in zip(values, starts, strict=True)]
        count = max(len(part) for part in parts)
        points = np.full((count, len(names)), np.nan, np.float32)
        for i, part in enumerate(parts):
            if len(part) == count:
                points[:, i] = part
        yield points


def finite(points: Float32Array) -> Float32Array:
    """Points that have a place."""
    return points[np.isfinite(points[:, :3]).all(axis=1)]


def lidar_file(points: Float32Array) -> bytes:
    """``.pcd.bin`` of points (n, 5) in the order of ``LIDAR_COLUMNS``; what is not known is 0."""
    return np.nan_to_num(points, nan=0.0, posinf=0.0, neginf=0.0).astype("<f4").tobytes()


def radar_file(points: Float32Array) -> bytes:
    """``.pcd`` of points (n, 6) in the order of ``RADAR_COLUMNS``.

    A radial velocity becomes vx and vy along the line of sight in the sensor's x-y plane. What the recording does not
    say is 0, but for ``dyn_prop`` (unknown) and ``ambig_state`` (unambiguous), whose 0 the devkit filters out. A sweep
    without a point has one that is NaN, as in nuScenes; the byte at the end is one that its reader insists on.
    """
    count = max(len(points), 1)
    rows = np.zeros(count, _RADAR_POINT)
    rows["dyn_prop"], rows["ambig_state"] = _UNKNOWN_MOTION, _UNAMBIGUOUS
    if not len(points):
        rows["x"] = np.nan
    else:
        known = np.nan_to_num(points, nan=0.0, posinf=0.0, neginf=0.0)
        rows["x"], rows["y"], rows["z"], rows["rcs"] = known[:, 0], known[:, 1], known[:, 2], known[:, 5]
        rows["id"] = np.arange(count) % (_MAX_ID + 1)
        rows["is_quality_valid"] = 1
        reach = np.hypot(known[:, 0], known[:, 1])
        along = known[:, :2] / np.where(reach > 0, reach, 1.0)[:, None]
        rows["vx"], rows["vy"] = along[:, 0] * known[:, 3], along[:, 1] * known[:, 3]
        rows["vx_comp"], rows["vy_comp"] = along[:, 0] * known[:, 4], along[:, 1] * known[:, 4]
    names = _RADAR_POINT.names or ()
    kinds = ["F" if _RADAR_POINT[name].kind == "f" else "I" for name in names]
    sizes = [_RADAR_POINT[name].itemsize for name in names]
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {' '.join(names)}\nSIZE {' '.join(map(str, sizes))}\nTYPE {' '.join(kinds)}\n"
        f"COUNT {' '.join('1' for _ in names)}\nWIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {count}\nDATA binary\n"
    )
    return header.encode() + rows.tobytes() + b"\n"
