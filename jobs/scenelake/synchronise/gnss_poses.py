"""Ego poses of a drive that recorded none: positions from GNSS, directions from the IMU or from the motion."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.tables import decoded_schema
from scenelake.geometry.arrow_poses import pose_array
from scenelake.geometry.arrow_vectors import list_matrix
from scenelake.geometry.poses import IDENTITY, invert, multiply, rotate, rotation_matrix
from scenelake.geometry.slerp import interpolate_slerp
from scenelake.geometry.transform_tree import TransformTree
from scenelake.geometry.wgs84 import enu_from_geodetic
from scenelake.geometry.world_anchor import WorldAnchor
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.streams import column_ns
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

ENU_FRAME = "enu"
"""World frame of poses made of GNSS: east, north, up at the first fix."""

_COURSE_HALF_WINDOW_NS = 1_000_000_000
_MIN_COURSE_M = 2.0
"""A course is read off the way made in 2 s, when that is at least 2 m: half a metre of noise turns it by 14 degrees
then, and by 2 at 30 km/h."""
_MAX_IMU_GAP_NS = 250_000_000
_MAX_HEADING_SPREAD_RAD = np.radians(15.0)
"""An IMU whose heading wanders more than this against the course, by median, gives no heading."""


@dataclass(frozen=True, slots=True)
class Fixes:
    """Valid fixes of one GNSS channel by time, one per stamp.

    Attributes:
        rows: (n,) into the ``gnss`` table.
        geodetic: (n, 3) latitude, longitude in degrees, height in m; height 0 throughout where one is not recorded.
        lever_m: (3,) the antenna in the ego frame; 0 where it is not known.
        has_lever, has_height: whether they are known.
    """

    channel: str
    rows: Int64Array
    stamps_ns: Int64Array
    geodetic: FloatArray
    lever_m: FloatArray
    has_lever: bool
    has_height: bool

    def __len__(self) -> int:
        return len(self.stamps_ns)


@dataclass(frozen=True, slots=True)
class GnssPoses:
    """``ego_pose`` rows made of a GNSS channel, and where their world frame lies."""

    channel: str
    source: str
    rows: pa.Table
    anchor: WorldAnchor


def valid_fixes(gnss: pa.Table, tree: TransformTree, config: SynchroniseConfig) -> Fixes | None:
    """The fixes of the GNSS channel that has most of them; ties by name. None without one."""
    names = ("latitude_deg", "longitude_deg", "altitude_m")
    geodetic = np.stack([gnss[n].to_numpy().astype(np.float64) for n in names], axis=1)
    has_fix = pc.greater_equal(pc.fill_null(gnss["fix_status"], 0), 0).to_numpy()
    in_range = (np.abs(geodetic[:, 0]) <= 90.0) & (np.abs(geodetic[:, 1]) <= 180.0)
    is_valid = has_fix & in_range & (geodetic[:, :2] != 0.0).any(axis=1)
    counts = gnss["channel"].filter(pa.array(is_valid)).value_counts().to_pylist()
    if not counts:
        return None
    channel = min(counts, key=lambda c: (-c["counts"], c["values"]))["values"]
    rows = np.flatnonzero(is_valid & pc.equal(gnss["channel"], channel).to_numpy())
    stamps_ns, first = np.unique(column_ns(gnss, "timestamp_ns")[rows], return_index=True)
    rows = rows[first]
    has_height = bool(np.isfinite(geodetic[rows, 2]).all())
    if not has_height:
        geodetic[:, 2] = 0.0
    lever = _placed(gnss["frame_id"][int(rows[0])].as_py(), tree, config)
    at = IDENTITY if lever is None else lever
    return Fixes(channel, rows, stamps_ns, geodetic[rows], at[:3], lever is not None, has_height)


def _placed(frame_id: str | None, tree: TransformTree, config: SynchroniseConfig) -> FloatArray | None:
    """``ego_from_sensor`` of a sensor that stands still against the ego; None when unknown."""
    chain = tree.resolve(config.ego_frame, frame_id).chain if frame_id else None
    if chain is None or chain.is_moving:
        return None
    found = chain.at(np.zeros(1, np.int64))
    return found.values[0] if found.is_valid[0] else None


def poses_from_gnss(
    gnss: pa.Table, imu: Callable[[], pa.Table], tree: TransformTree, config: SynchroniseConfig
) -> GnssPoses | str:
    """One pose per fix, in the east-north-up frame of the first, or why there are none.

    The direction is the IMU's orientation where it has one, turned about the vertical so that its heading agrees
    with the course over ground by median (many IMUs count their heading from wherever they woke up). Otherwise it is
    the course itself, level, and held while the ego stands: a vehicle that reverses is seen turned round.
    """
    fixes = valid_fixes(gnss, tree, config)
    if fixes is None:
        return "no GNSS fix"
    enu_m = enu_from_geodetic(fixes.geodetic, fixes.geodetic[0])
    course_rad, is_moving = _course(fixes.stamps_ns, enu_m)
    if not is_moving.any():
        return f"GNSS on {fixes.channel} never moves {_MIN_COURSE_M:.0f} m in 2 s, so the heading is not known"
    turned = _from_imu(imu(), fixes.stamps_ns, course_rad, is_moving, tree, config)
    if turned is None:
        moving = np.flatnonzero(is_moving)
        yaw = np.interp(np.arange(len(fixes)), moving, np.unwrap(course_rad[moving]))
        turned = _about_up(yaw)
        how = "level, heading from the course over ground"
    else:
        how = "orientation from the IMU, its heading set by the course over ground"
    position_m = enu_m - rotate(turned, fixes.lever_m)
    poses = np.hstack([position_m, turned])
    schema = decoded_schema("ego_pose")
    found = gnss.take(pa.array(fixes.rows))
    columns = {name: found[name] for name in ("sample_data_id", "channel", "timestamp_ns")} | {
        "world_from_ego": pose_array(poses),
        "frame_id": pa.repeat(ENU_FRAME, len(found)),
        "child_frame_id": pa.repeat(config.ego_frame, len(found)),
        "source": pa.repeat("gnss", len(found)),
    }
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(len(found), f.type) for f in schema]
    rows = pa.Table.from_arrays(arrays, schema=schema)
    rows = rows.filter(pc.is_valid(rows["world_from_ego"]))
    place = "" if fixes.has_lever else "; the antenna's place is not known and taken as the ego's"
    source = f"GNSS on {fixes.channel}, {how}{place}"
    return GnssPoses(fixes.channel, source, rows, WorldAnchor(fixes.geodetic[0], 90.0, 0.0, len(fixes)))


def _course(stamps_ns: Int64Array, enu_m: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Direction of motion at each fix, counter-clockwise from east, and where it moves enough to have one."""
    elapsed_s = (stamps_ns - stamps_ns[0]) / 1e9
    half_s = _COURSE_HALF_WINDOW_NS / 1e9
    ends = [
        np.stack([np.interp(elapsed_s + shift, elapsed_s, enu_m[:, axis]) for axis in range(2)], axis=1)
        for shift in (-half_s, half_s)
    ]
    way = ends[1] - ends[0]
    return np.arctan2(way[:, 1], way[:, 0]), np.asarray(np.linalg.norm(way, axis=1) >= _MIN_COURSE_M)


def _from_imu(
    imu: pa.Table,
    stamps_ns: Int64Array,
    course_rad: FloatArray,
    is_moving: BoolArray,
    tree: TransformTree,
    config: SynchroniseConfig,
) -> FloatArray | None:
    """``world_from_ego`` quaternions (n, 4) from the IMU with most orientations; None where none fits the course."""
    with_orientation = imu.filter(pc.is_valid(imu["orientation"]))
    counts = with_orientation["channel"].value_counts().to_pylist()
    if not counts:
        return None
    channel = min(counts, key=lambda c: (-c["counts"], c["values"]))["values"]
    rows = with_orientation.filter(pc.equal(with_orientation["channel"], channel)).sort_by("timestamp_ns")
    placed = _placed(rows["frame_id"][0].as_py(), tree, config)
    ego_from_imu = IDENTITY if placed is None else placed
    orientation = list_matrix(rows["orientation"], 4)
    found = interpolate_slerp(stamps_ns, column_ns(rows, "timestamp_ns"), orientation, _MAX_IMU_GAP_NS)
    world_from_ego = multiply(found.values, np.broadcast_to(invert(ego_from_imu)[3:], found.values.shape))
    matrix = rotation_matrix(world_from_ego)
    usable = is_moving & found.is_valid
    if not usable.any():
        return None
    difference = course_rad - np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])
    offset = float(np.angle(np.exp(1j * difference[usable]).mean()))
    spread = float(np.median(np.abs(np.angle(np.exp(1j * (difference[usable] - offset))))))
    if spread > _MAX_HEADING_SPREAD_RAD:
        return None
    return multiply(np.broadcast_to(_about_up(np.array([offset])), world_from_ego.shape), world_from_ego)


def _about_up(angle_rad: FloatArray) -> FloatArray:
    """Quaternions (n, 4) that turn about z."""
    zero = np.zeros_like(angle_rad)
    return np.stack([np.cos(angle_rad / 2), zero, zero, np.sin(angle_rad / 2)], axis=1)
