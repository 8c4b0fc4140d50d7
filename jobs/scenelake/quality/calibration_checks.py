"""Are the transforms, camera matrices and clocks of the sensors those that the data shows?"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.modalities import Modality
from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.arrow_vectors import list_matrix
from scenelake.geometry.poses import normalised, pose_from_struct
from scenelake.geometry.trajectory import Trajectory
from scenelake.quality.calibration import validity
from scenelake.quality.calibration.keyframes import ALIGNMENT, WINDOW_FRAMES
from scenelake.quality.calibration.least_error import least_error
from scenelake.quality.calibration.motion import ImuMotion, compare_turning
from scenelake.quality.calibration.rig_history import STATISTICS, pose_statistics, usual_pose
from scenelake.quality.checks import Bound, Check, Measurement, Verdict
from scenelake.quality.evidence import DriveFacts, SceneFacts
from scenelake.quality.usual import statistics
from scenelake.timebase.arrays import FloatArray

_MS = 1_000_000

EXTRINSICS_MISSING = Check(
    "calibration.extrinsics_missing", "1", "1", Bound.MAX, 0.0,
    "1 where it is not known where on the ego a camera, LiDAR, radar or IMU sits, in a drive that knows it of another.",
    "Without it nothing can be projected, fused or compensated.",
)  # fmt: skip
TRANSFORM_INVALID = Check(
    "calibration.transform_invalid", "1", "1", Bound.MAX, 0.0,
    "Number of faults of a sensor's transform: not finite, no rotation, too far away, axes of the wrong frame.",
    "Limits of each fault: quality/calibration/validity.py.",
    consequence=Verdict.QUARANTINE,
)  # fmt: skip
SAME_PLACE = Check(
    "calibration.same_place", "1", "1", Bound.MAX, 0.0,
    "1 where a sensor sits where another of its kind with another frame does: a transform that was copied.",
    "No two housings fit in 5 mm; topics of one sensor share its frame.",
)  # fmt: skip
INTRINSICS_INVALID = Check(
    "calibration.intrinsics_invalid", "1", "1", Bound.MAX, 0.0,
    "Number of faults of a camera's matrix and distortion: not finite, another size than the images, focal length or"
    " principal point that no lens has, a distortion that folds over within the image.",
    "Limits of each fault: quality/calibration/validity.py.",
    consequence=Verdict.QUARANTINE,
)  # fmt: skip
CHANGES = Check(
    "calibration.changes", "1", "1", Bound.MAX, 0.0,
    "How often a sensor's calibration changes within the drive.",
    "A rig is calibrated between drives; a change within one is a reconfiguration or a mix of recordings.",
)  # fmt: skip
DRIFT_ROTATION = Check(
    "calibration.rig_drift_rotation", "1", "deg", Bound.MAX, 0.5,
    "Angle between the drive's rotation of a sensor and the median over the rig's earlier drives.",
    "A recalibration of a camera repeats within about 0.1° to 0.2°; 0.5° is the error that this project promises to"
    " find.",
)  # fmt: skip
DRIFT_TRANSLATION = Check(
    "calibration.rig_drift_translation", "1", "m", Bound.MAX, 0.05,
    "Distance between the drive's place of a sensor and the median over the rig's earlier drives.",
    "Recalibrations repeat within 1 cm to 3 cm; brackets do not grow.",
)  # fmt: skip
CAMERA_LIDAR_ROTATION = Check(
    "calibration.camera_lidar_rotation", "3", "deg", Bound.MAX, 0.075,
    "How far a camera is turned at least from where its calibration says, by the outlines that the LiDAR sees and the"
    " edges in the image: the least turn that the estimate's uncertainty leaves room for.",
    "Simulated drives, other than those in benchmarks/results/calibration.md, which has the false alarms and what is"
    " missed.",
)  # fmt: skip
CAMERA_LIDAR_TURNED = Check(
    "calibration.camera_lidar_turned", "2", "deg", Bound.MAX, 0.18,
    "The angle of calibration.camera_lidar_rotation, held to what no calibration that was done well leaves.",
    "Simulated drives as above: most cameras that are off by 0.5° are off by this much at least. Calibrating a camera"
    " again repeats within about 0.1° to 0.2°.",
    consequence=Verdict.QUARANTINE,
)  # fmt: skip
CAMERA_LIDAR_TRANSLATION = Check(
    "calibration.camera_lidar_translation", "3", "m", Bound.MAX, 0.025,
    "How far a camera is at least from where its calibration says, estimated together with its rotation: the least"
    " distance that the estimate's uncertainty leaves room for. Only near structure shows it.",
    "Simulated drives, other than those in benchmarks/results/calibration.md, which has the false alarms and what is"
    " missed.",
)  # fmt: skip
IMU_ROTATION = Check(
    "calibration.imu_rotation", "1", "deg", Bound.MAX, 2.0,
    "How far an IMU is turned from where its calibration says, by its angular rates and those of the poses, about the"
    " axes that the robot's turning shows.",
    "MEMS IMUs have axes aligned to the housing within 1° (Bosch BMI088 and TDK ICM-20948 datasheets: cross-axis"
    " sensitivity 0.5% to 2%).",
)  # fmt: skip
IMU_LAG = Check(
    "calibration.imu_lag", "1", "ns", Bound.MAX, 25.0 * _MS,
    "How far an IMU's stamps lie beside those of the poses, by the angular rates of both.",
    "At 0.5 rad/s a lag of 25 ms turns a point by 0.7°.",
)  # fmt: skip

CHECKS = (
    EXTRINSICS_MISSING, TRANSFORM_INVALID, SAME_PLACE, INTRINSICS_INVALID, CHANGES, DRIFT_ROTATION, DRIFT_TRANSLATION,
    CAMERA_LIDAR_ROTATION, CAMERA_LIDAR_TURNED, CAMERA_LIDAR_TRANSLATION, IMU_ROTATION, IMU_LAG,
)  # fmt: skip

_PLACED = frozenset({Modality.CAMERA, Modality.DEPTH, Modality.LIDAR, Modality.RADAR, Modality.IMU})
_CAMERAS = frozenset({Modality.CAMERA, Modality.DEPTH})

MIN_CONTRAST = 6.5
"""Standard errors that the edges' agreement rises above its mean over all rotations searched. The best of 289 chance
agreements reaches 3 to 4, and 6 where streets look alike; drives with structure reach 15 to 45."""
MAX_WIDTH_DEG = 0.65
"""Of the edges about the outlines: below 0.6° in sharp images, above 0.7° where a camera has some hundred pixels or a
LiDAR few beams (there 30 outlines a frame agreed by chance on turns of 0.6°), above 1° through fog on the lens."""
MAX_SIGMA_DEG, MAX_SIGMA_M = 0.125, 0.025
"""An estimate that is less sure would not tell 0.5° or 10 cm from nothing; only larger errors are believed of it."""
SHARED_DEG, SHARED_M = (0.045, 0.022, 0.055), (0.014, 0.028, 0.016)
"""About and along the camera's axes: errors that all frames of a window share, so that their disagreement cannot show
them (few roofs, each between the same two beams; few cars that travel along). They explain what was off on tuning seeds
beyond the uncertainty. The optical axis is last: only outlines far from the image's middle show a roll. Up and down
is least sure of the places: a pitch makes up for it in all but near outlines."""
CONFIDENCE = 2.5
"""Half axes of the ellipsoid of errors that are believed possible, in standard errors: it holds 90% of three normal
ones (the square, 6.25, is that quantile of chi-square); the limits stand off from it by the rest."""
MIN_EXTENT_M = 10.0
"""Of the places that a window is seen from. Views from one place share all their errors, which frames that agree cannot
show: cars that stood at the lights were up to 2° off for certain."""
MAX_IMU_SIGMA_DEG = 0.7
MAX_LAG_SIGMA_NS = 8.0 * _MS


def measure_transforms(facts: DriveFacts) -> Iterator[Measurement]:
    """Missing, faulty and copied transforms, and changes within the drive, of every sensor."""
    twins = _twins(facts)
    sensors = list(_sensors(facts))
    is_calibrated = any(row["ego_from_sensor"] is not None for _, _, rows in sensors for row in rows)
    for channel, modality, rows in sensors:
        if modality in _PLACED:
            missing = sum(row["ego_from_sensor"] is None and "moving" not in (row["source"] or "") for row in rows)
            text = f"{channel}: where it sits is {'not known' if missing else 'known'}"
            evidence = {"source": rows[0]["source"], "nbr_missing": missing, "nbr_calibrations": len(rows)}
            measured = float(missing > 0) if is_calibrated else None
            yield from _of_scenes(facts, channel, EXTRINSICS_MISSING, measured, text, evidence, modality)
        if any(row["ego_from_sensor"] is not None for row in rows):
            found = [p for row in rows for p in validity.transform_problems(row["ego_from_sensor"], modality)]
            yield from _faults(facts, channel, TRANSFORM_INVALID, found, "the transform", modality)
            twin = [f"it sits where {twins[channel]} does"] if channel in twins else []
            yield from _faults(facts, channel, SAME_PLACE, twin, "the place", modality)
        text = f"{channel}: its calibration changes {len(rows) - 1} times within the drive"
        starts = [row["valid_from_ns"] for row in rows]
        yield from _of_scenes(
            facts, channel, CHANGES, float(len(rows) - 1), text, {"valid_from_ns": starts[:8]}, modality
        )


def measure_intrinsics(facts: DriveFacts) -> Iterator[Measurement]:
    """Faulty camera matrices and distortions."""
    sizes = _image_sizes(facts)
    for channel, modality, rows in _sensors(facts):
        given = [row for row in rows if row["intrinsics"] is not None]
        if modality in _CAMERAS and given:
            found = [p for row in given for p in validity.intrinsics_problems(row, sizes.get(channel))]
            yield from _faults(facts, channel, INTRINSICS_INVALID, found, "the camera matrix", modality)


def measure_rig_drift(facts: DriveFacts) -> Iterator[Measurement]:
    """How far each sensor is from where it usually sits on this rig."""
    for channel, modality, rows in _sensors(facts):
        poses = [_pose(row) for row in rows]
        given = [pose for pose in poses if pose is not None]
        if not given:
            continue
        usual = usual_pose(_medians(facts, channel))
        angle_deg, distance_m = (None, None) if usual is None else validity.difference(usual, given[-1])
        evidence = {"statistics": statistics(STATISTICS, np.array([v for _, v in pose_statistics(given[-1])]))}
        for check, value, unit in ((DRIFT_ROTATION, angle_deg, "°"), (DRIFT_TRANSLATION, distance_m, " m")):
            text = "no earlier drive of this rig to compare with" if value is None else (
                f"{value:.3f}{unit} from where it usually sits"
            )  # fmt: skip
            yield from _of_scenes(facts, channel, check, value, f"{channel}: {text}", evidence, modality)
            evidence = {}


def measure_camera_lidar(facts: DriveFacts) -> Iterator[Measurement]:
    """How far each camera is from the LiDAR's outlines, by the window that covers most of each scene."""
    table = facts.tables.get(ALIGNMENT)
    if table is None:
        return
    poses = facts.tables.get("ego_pose")
    trajectory = None if poses is None or not len(poses) else _longest(poses)
    windows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        windows.setdefault(row["channel"], []).append(row)
    for channel, rows in windows.items():
        for scene in _scenes(facts, channel):
            row = max(rows, key=lambda r: _overlap_ns(scene, r))
            rotation_deg, translation_m, reason = judged(row)
            if trajectory is not None and _extent_m(trajectory, row) < MIN_EXTENT_M:
                rotation_deg, translation_m, reason = None, None, "all of its views are from one place"
            for check, value, unit in (
                (CAMERA_LIDAR_ROTATION, rotation_deg, "°"),
                (CAMERA_LIDAR_TURNED, rotation_deg, "°"),
                (CAMERA_LIDAR_TRANSLATION, translation_m, " m"),
            ):
                text = f"not observable: {reason}" if value is None else f"{value:.3f}{unit} off against the LiDAR"
                yield Measurement(
                    scene, channel, check, value, f"{channel}: {text}", _rounded(row), modality=Modality.CAMERA
                )


def judged(window: Mapping[str, Any]) -> tuple[float | None, float | None, str]:
    """Rotation in degrees and translation in metres that a window shows beyond its uncertainty, or why it shows none.

    A shorter window than those that the limits were measured on has fewer objects in view, and fewer runs to take its
    uncertainty from, which is widened for that once more.

    Args:
        window: a row of ``ALIGNMENT_SCHEMA``.
    """
    if window["reason"] is not None:
        return None, None, window["reason"]
    if window["contrast"] < MIN_CONTRAST:
        return None, None, f"edges and outlines do not agree anywhere (contrast {window['contrast']:.1f})"
    if not window["width_deg"] <= MAX_WIDTH_DEG:
        return None, None, f"edges about the outlines are blurred over {window['width_deg']:.1f}°"
    short = float(np.sqrt(max(WINDOW_FRAMES / window["nbr_frames"], 1.0)))
    angles, places = (short * np.array(window[name]) for name in ("rotation_sigma_deg", "translation_sigma_m"))
    rotation, reason = _beyond(window["rotation_deg"], angles, short * np.array(SHARED_DEG), MAX_SIGMA_DEG, "°")
    translation, other = _beyond(window["translation_m"], places, short * np.array(SHARED_M), MAX_SIGMA_M, " m")
    return rotation, translation, " and ".join(r for r in (reason, other) if r)


def _beyond(
    values: list[float], sigmas: FloatArray, shared: FloatArray, most: float, unit: str
) -> tuple[float | None, str]:
    """The least error that the estimate leaves room for; None where it is too uncertain to say that it is small."""
    beyond = least_error(np.array(values), CONFIDENCE * np.hypot(sigmas, shared))
    if sigmas.max() > most and beyond < most:
        return None, f"uncertain by {sigmas.max():.3f}{unit}"
    return beyond, ""


def measure_imu_motion(facts: DriveFacts) -> Iterator[Measurement]:
    """How each IMU's turning compares with the poses'."""
    poses = facts.tables.get("ego_pose")
    readings = facts.tables.get("imu")
    if poses is None or readings is None:
        return
    trajectory = _longest(poses)
    for channel, modality, rows in _sensors(facts):
        pose = _pose(rows[0])
        mine = readings.filter(pc.equal(readings["channel"], channel)).sort_by("timestamp_ns")
        if modality != Modality.IMU or not len(mine):
            continue
        found: ImuMotion | str = "its transform is not known"
        if pose is not None:
            stamps, first = np.unique(np.asarray(mine["timestamp_ns"], np.int64), return_index=True)
            rates = list_matrix(mine["angular_velocity_rad_s"], 3)[first]
            found = compare_turning(stamps, rates, pose, trajectory)
        yield from _imu(facts, channel, found)


def _imu(facts: DriveFacts, channel: str, found: ImuMotion | str) -> Iterator[Measurement]:
    modality = Modality.IMU
    if isinstance(found, str):
        for check in (IMU_ROTATION, IMU_LAG):
            yield from _of_scenes(facts, channel, check, None, f"{channel}: not observable: {found}", {}, modality)
        return
    sigma = np.degrees(found.sigma_rad)
    shows = sigma < MAX_IMU_SIGMA_DEG
    evidence = {
        "rotation_deg": np.round(np.degrees(found.rotation_rad), 3).tolist(),
        "sigma_deg": [round(s, 3) if np.isfinite(s) else None for s in sigma.tolist()],
        "lag_ns": found.lag_ns,
        "turning_rad_s": round(found.turning_rad_s, 4),
    }
    angle = float(np.degrees(np.linalg.norm(found.rotation_rad[shows]))) if np.count_nonzero(shows) >= 2 else None
    axes = "".join(axis for axis, is_shown in zip("xyz", shows.tolist(), strict=True) if is_shown)
    text = "not observable: the turning shows too few axes" if angle is None else f"{angle:.2f}° off about {axes}"
    yield from _of_scenes(facts, channel, IMU_ROTATION, angle, f"{channel}: {text}", evidence, modality)
    is_sure = found.lag_sigma_ns < MAX_LAG_SIGMA_NS
    lag = float(abs(found.lag_ns)) if is_sure else None
    text = f"{found.lag_ns / _MS:.1f} ms after the poses" if is_sure else "not observable: the turning is too even"
    yield from _of_scenes(facts, channel, IMU_LAG, lag, f"{channel}: {text}", evidence, modality)


def _sensors(facts: DriveFacts) -> Iterator[tuple[str, str | None, list[dict[str, Any]]]]:
    """Channel, modality and ``calibrated_sensor`` rows by start of validity."""
    table = facts.tables.get("calibrated_sensor")
    by_channel: dict[str, list[dict[str, Any]]] = {}
    for row in [] if table is None else table.sort_by("valid_from_ns").to_pylist():
        by_channel.setdefault(row["channel"], []).append(row)
    for channel, rows in sorted(by_channel.items()):
        clock = facts.clocks.get(channel)
        yield channel, None if clock is None else clock.modality, rows


def _twins(facts: DriveFacts) -> dict[str, str]:
    placed = [
        (channel, modality, rows[0]["frame_id"], pose)
        for channel, modality, rows in _sensors(facts)
        if modality is not None and modality in _PLACED and (pose := _pose(rows[0])) is not None
    ]
    return validity.same_places(placed)


def _pose(row: Mapping[str, Any]) -> FloatArray | None:
    """(7,) with a unit quaternion; None where there is none."""
    if row["ego_from_sensor"] is None:
        return None
    pose = normalised(pose_from_struct({k: np.nan if v is None else v for k, v in row["ego_from_sensor"].items()}))
    return pose if np.isfinite(pose).all() else None


def _medians(facts: DriveFacts, channel: str) -> Callable[[str], float | None]:
    def median_of(statistic: str) -> float | None:
        known = facts.baselines.of(channel, f"{DRIFT_ROTATION.name}:{statistic}")
        return None if known is None else known.median

    return median_of


def _image_sizes(facts: DriveFacts) -> dict[str, tuple[int, int]]:
    """The size that most images of each channel have, by decode's statistics."""
    table = facts.tables.get("image_statistic")
    if table is None:
        return {}
    counted = table.group_by(["channel", "width_px", "height_px"]).aggregate([([], "count_all")]).to_pylist()
    best: dict[str, tuple[int, int]] = {}
    for row in sorted(counted, key=lambda r: r["count_all"]):
        if row["width_px"] and row["height_px"]:
            best[row["channel"]] = row["width_px"], row["height_px"]
    return best


def _longest(poses: pa.Table) -> Trajectory:
    """The trajectory of the channel with the most poses."""
    counts = poses["channel"].value_counts().to_pylist()
    channel = max(counts, key=lambda c: c["counts"])["values"]
    mine = poses.filter(pc.equal(poses["channel"], channel))
    return Trajectory.of(np.asarray(mine["timestamp_ns"], np.int64), pose_matrix(mine["world_from_ego"]))


def _extent_m(trajectory: Trajectory, window: Mapping[str, Any]) -> float:
    """Diagonal of the box around the positions within a window; infinite where none are known."""
    stamps_ns = trajectory.stamps_ns
    inside = trajectory.poses[(stamps_ns >= window["start_ns"]) & (stamps_ns < window["exclusive_end_ns"]), :3]
    return float(np.linalg.norm(np.ptp(inside, axis=0))) if len(inside) > 1 else float("inf")


def _scenes(facts: DriveFacts, channel: str) -> list[SceneFacts]:
    return [scene for scene in facts.scenes if channel in scene.channels]


def _overlap_ns(scene: SceneFacts, window: Mapping[str, Any]) -> int:
    """Time that they share; negative for the distance between them."""
    end = min(scene.exclusive_end_ns, window["exclusive_end_ns"])
    return int(end - max(scene.start_ns, window["start_ns"]))


def _rounded(window: Mapping[str, Any]) -> dict[str, Any]:
    def small(value: Any) -> Any:
        if isinstance(value, list):
            return [small(v) for v in value]
        if isinstance(value, float):
            return round(value, 4) if np.isfinite(value) else None
        return value

    return {name: small(value) for name, value in window.items() if value is not None and name != "channel"}


def _faults(
    facts: DriveFacts, channel: str, check: Check, found: list[str], what: str, modality: str | None
) -> Iterator[Measurement]:
    distinct = list(dict.fromkeys(found))
    text = f"{channel}: {'; '.join(distinct[:3])}" if distinct else f"{channel}: {what} is possible"
    yield from _of_scenes(facts, channel, check, float(len(distinct)), text, {"faults": distinct[:8]}, modality)


def _of_scenes(
    facts: DriveFacts, channel: str, check: Check, measured: float | None, text: str, evidence: Mapping[str, Any],
    modality: str | None,
) -> Iterator[Measurement]:  # fmt: skip
    """The same finding for every scene that has the channel: a calibration is of the whole drive."""
    for scene in _scenes(facts, channel):
        yield Measurement(scene, channel, check, measured, text, evidence, modality=modality)


MEASURES = (measure_transforms, measure_intrinsics, measure_rig_drift, measure_camera_lidar, measure_imu_motion)
