"""From keyframes (a sweep and the images taken with it) to estimates over a rolling window of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from scenelake.geometry.motion_compensation import compensate_points
from scenelake.geometry.trajectory import Trajectory
from scenelake.quality.calibration.alignment import Estimate, estimate
from scenelake.quality.calibration.depth_edges import DepthEdges, depth_edges
from scenelake.quality.calibration.image_edges import CameraView, GreyImage, Profiles, edge_profiles
from scenelake.timebase.arrays import FloatArray, Int64Array

WINDOW_FRAMES = 100
"""Two minutes of every fourth keyframe: enough for 0.05°; a calibration does not come and go within it."""
MAX_OUTLINES = 400
"""Of one image: more add little, because they lie on the same objects; a window of a camera then holds 10 MB."""

NO_RING = "the points have no ring"

_VECTOR = pa.list_(pa.field("element", pa.float64()))
ALIGNMENT_SCHEMA = pa.schema(
    [
        ("channel", pa.string()),
        ("lidar_channel", pa.string()),
        ("start_ns", pa.int64()),
        ("exclusive_end_ns", pa.int64()),
        ("nbr_frames", pa.int64()),
        ("nbr_outlines", pa.int64()),
        ("rotation_deg", _VECTOR),
        ("rotation_sigma_deg", _VECTOR),
        ("joint_rotation_deg", _VECTOR),
        ("translation_m", _VECTOR),
        ("translation_sigma_m", _VECTOR),
        ("contrast", pa.float64()),
        ("width_deg", pa.float64()),
        ("reason", pa.string()),
    ]
)
"""One row per camera and window. ``reason``: why there is no estimate; the estimate's columns are null then.

Rotations and translations are ``true_camera_from_given``, about and along the camera's x, y and z.
"""
ALIGNMENT = "camera_lidar_alignment"
"""Name of that table among ``DriveFacts.tables``."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep as recorded.

    Attributes:
        points_m: (n, 3) in the sensor's frame.
        ring: (n,); None where the recording has none.
        offset_ns: (n,) since ``stamp_ns``; None where the recording has none.
        is_compensated: the points are as seen at the stamp already.
    """

    channel: str
    stamp_ns: int
    points_m: FloatArray
    ring: Int64Array | None
    offset_ns: Int64Array | None
    ego_from_lidar: FloatArray
    is_compensated: bool = False


@dataclass(frozen=True, slots=True)
class TakenImage:
    """One image, grey and reduced; ``view`` is of the reduced image."""

    channel: str
    stamp_ns: int
    grey: GreyImage
    view: CameraView


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A sweep and the images taken with it."""

    sweep: Sweep
    images: tuple[TakenImage, ...]


@dataclass(slots=True)
class _Rolling:
    """The last frames of one camera.

    Attributes:
        nbr_missing: frames until the next estimate.
        start_ns, last_ns: what no estimate covers yet; nothing where ``last_ns`` is before ``start_ns``.
    """

    lidar: str
    nbr_missing: int
    start_ns: int
    last_ns: int = 0
    frames: list[Profiles] = field(default_factory=list)
    reason: str | None = None


def alignment_table(
    keyframes: Iterable[Keyframe], trajectory: Trajectory, window_frames: int = WINDOW_FRAMES
) -> pa.Table:
    """Estimates of every camera over a rolling window that moves on by half its length.

    A row's interval is what the window added: the rows of a camera follow each other without a gap. Holds one keyframe
    and a window of edge strengths per camera in memory.

    Args:
        keyframes: in order of time, of one drive.
        trajectory: ``world_from_ego``; what the poses do not cover is left out, with the reason.

    Returns:
        ``ALIGNMENT_SCHEMA``.
    """
    cameras: dict[str, _Rolling] = {}
    rows: list[dict[str, object]] = []
    for keyframe in keyframes:
        found = None if keyframe.sweep.ring is None else depth_edges(keyframe.sweep.points_m, keyframe.sweep.ring)
        for image in keyframe.images:
            rolling = cameras.setdefault(image.channel, _Rolling(keyframe.sweep.channel, window_frames, image.stamp_ns))
            seen = NO_RING if found is None else _profiles(keyframe.sweep, found, image, trajectory)
            if isinstance(seen, str):
                rolling.reason, rolling.last_ns = seen, image.stamp_ns
                continue
            rolling.frames = [*rolling.frames[-(window_frames - 1) :], seen]
            rolling.last_ns, rolling.nbr_missing = image.stamp_ns, rolling.nbr_missing - 1
            if rolling.nbr_missing <= 0:
                rows.append(_row(image.channel, rolling))
                rolling.start_ns, rolling.nbr_missing = image.stamp_ns + 1, window_frames // 2
    rows += [_row(channel, rolling) for channel, rolling in cameras.items() if rolling.start_ns <= rolling.last_ns]
    return pa.Table.from_pylist(rows, schema=ALIGNMENT_SCHEMA)


def _profiles(sweep: Sweep, edges: DepthEdges, image: TakenImage, trajectory: Trajectory) -> Profiles | str:
    """Edge strengths of one image across the sweep's outlines as they lay when it was taken, or why there are none."""
    both = np.concatenate([edges.points_m, edges.aside_m])
    offset_ns = None if sweep.offset_ns is None else np.tile(sweep.offset_ns[edges.rows], 2)
    moved = compensate_points(
        both, offset_ns, sweep.stamp_ns, trajectory, sweep.ego_from_lidar,
        target_ns=image.stamp_ns, is_compensated=sweep.is_compensated,
    )  # fmt: skip
    if moved.points_m is None:
        return moved.problem or ""
    here, aside = np.split(moved.points_m, 2)
    found = edge_profiles(image.grey, replace(edges, points_m=here, aside_m=aside), sweep.ego_from_lidar, image.view)
    return found.thinned(MAX_OUTLINES)


def _row(channel: str, rolling: _Rolling) -> dict[str, object]:
    nbr_outlines = sum(map(len, rolling.frames))
    row: dict[str, object] = {
        "channel": channel,
        "lidar_channel": rolling.lidar,
        "start_ns": rolling.start_ns,
        "exclusive_end_ns": rolling.last_ns + 1,
        "nbr_frames": len(rolling.frames),
        "nbr_outlines": nbr_outlines,
    }
    found = estimate(rolling.frames)
    if found is None:
        few = f"{nbr_outlines} outlines in {len(rolling.frames)} frames are too few"
        return row | {"reason": few if rolling.reason is None else f"{few}; {rolling.reason}"}
    return row | _columns(found)


def _columns(found: Estimate) -> dict[str, object]:
    return {
        "rotation_deg": np.degrees(found.rotation_rad).tolist(),
        "rotation_sigma_deg": np.degrees(found.rotation_sigma_rad).tolist(),
        "joint_rotation_deg": np.degrees(found.joint[:3]).tolist(),
        "translation_m": found.joint[3:].tolist(),
        "translation_sigma_m": found.joint_sigma[3:].tolist(),
        "contrast": found.contrast,
        "width_deg": float(np.degrees(found.width_rad)),
    }
