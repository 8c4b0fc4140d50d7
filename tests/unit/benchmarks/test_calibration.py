"""The frames that calibration is measured on, and real edges."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks.calibration.evaluate import CONDITIONS, POOR, TRUE, summary
from benchmarks.calibration.real import nuscenes_peaks
from benchmarks.calibration.scenes import clean_drive, error_pose, keyframes, trajectory_of

from scenelake.geometry.poses import rotation_vector
from scenelake.quality.calibration.depth_edges import depth_edges
from scenelake.quality.calibration.keyframes import alignment_table


def test_simulated_outlines_lie_on_the_edges_of_the_images() -> None:
    drive = clean_drive(7)
    (row,) = alignment_table(keyframes(drive, 3), trajectory_of(drive)).to_pylist()
    assert row["reason"] == f"{row['nbr_outlines']} outlines in 3 frames are too few"
    assert row["nbr_outlines"] > 100


@pytest.mark.parametrize("kind", POOR)
def test_a_poor_drive_lacks_outlines_or_edges(kind: str) -> None:
    drive = POOR[kind](clean_drive(7))
    (keyframe,) = keyframes(drive, 1)
    (image,) = keyframe.images
    contrast = float(np.abs(np.diff(cv2.GaussianBlur(image.grey.astype(float), (0, 0), 2.0), axis=1)).max())
    nbr = len(depth_edges(keyframe.sweep.points_m, keyframe.sweep.ring))
    assert nbr < 20 or contrast < 4 or drive.seen is not drive.world


def test_an_error_is_as_large_as_it_says() -> None:
    pose = error_pose(np.radians([0.3, 0.0, -0.4]), np.array([0.0, 0.1, 0.0]))
    assert np.degrees(np.linalg.norm(rotation_vector(pose[3:]))) == pytest.approx(0.5)
    assert np.linalg.norm(pose[:3]) == pytest.approx(0.1)


def test_verdicts_follow_the_limits_of_the_checks() -> None:
    known = {"reason": None, "nbr_frames": 100, "rotation_sigma_deg": [0.02] * 3, "translation_sigma_m": [0.005] * 3}
    good = {"rotation_deg": [0.05, 0.0, 0.0], "translation_m": [0.01, 0.0, 0.0], "contrast": 20.0, "width_deg": 0.55}
    known |= {"cpu_s": 0.01}
    rows = [
        {"channel": TRUE, **known, **good},
        {"channel": TRUE, **known, **good, "contrast": 2.0},
        {"channel": "0.5°", **known, **good, "rotation_deg": [0.0, 0.5, 0.0]},
        {"channel": "10 cm", **known, **good, "translation_m": [0.0, 0.1, 0.0]},
    ]
    found = summary(rows)
    assert found["windows"] == 2
    conditions = found["conditions"]
    assert list(conditions) == list(CONDITIONS)
    assert (conditions[TRUE]["verified"]["hits"], conditions[TRUE]["not observable"]["hits"]) == (1, 1)
    assert conditions["0.5°"]["suspect"]["hits"] == conditions["10 cm"]["suspect"]["hits"] == 1


def test_real_edges_lie_where_the_calibration_puts_them(real_data: Callable[[str], Path]) -> None:
    peaks = nuscenes_peaks(real_data("nuscenes_one_keyframe"))
    assert len(peaks) == 12
    near = [peak for peak in peaks if abs(peak["peak_deg"]) <= 0.25]
    assert len(near) >= 11, peaks
