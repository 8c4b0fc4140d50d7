"""The frames that calibration is measured on, and real edges."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks.calibration.evaluate import (
    CLEAN_PER_POOR,
    FIRST_POOR_SEED,
    FIRST_SEED,
    TUNING_SEEDS,
    jobs,
    run,
    summary,
)
from benchmarks.calibration.kept import KeptWindows
from benchmarks.calibration.real import nuscenes_peaks
from benchmarks.calibration.scenes import POOR, clean_drive, error_pose, keyframes, trajectory_of
from benchmarks.calibration.windows import CONDITIONS, TRUE

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
    assert [conditions[name]["held back"]["hits"] for name in (TRUE, "0.5°", "10 cm")] == [0, 1, 0]


def test_real_edges_lie_where_the_calibration_puts_them(real_data: Callable[[str], Path]) -> None:
    peaks = nuscenes_peaks(real_data("nuscenes_one_keyframe"))
    assert len(peaks) == 12
    near = [peak for peak in peaks if abs(peak["peak_deg"]) <= 0.25]
    assert len(near) >= 11, peaks


def test_no_window_is_of_a_seed_that_limits_were_chosen_on() -> None:
    assert not {seed for seed, _ in jobs(1_000)} & set(TUNING_SEEDS)


def test_more_windows_only_append_and_bring_poor_ones_with_them() -> None:
    few, many = jobs(CLEAN_PER_POOR), jobs(10 * CLEAN_PER_POOR)
    assert many[: len(few)] == few
    assert few[:CLEAN_PER_POOR] == [(FIRST_SEED + number, "") for number in range(CLEAN_PER_POOR)]
    assert few[CLEAN_PER_POOR:] == [(FIRST_POOR_SEED, kind) for kind in POOR]
    assert [sum(kind == poor for _, kind in many) for poor in POOR] == [10] * len(POOR)


def test_windows_that_are_done_are_kept_for_the_same_code(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "windows.jsonl"
    kept = KeptWindows(path, "a")
    assert kept.rows() == {}
    kept.add((1, ""), [{"channel": TRUE, "rotation_sigma_deg": [float("inf")]}])
    with path.open("a") as file:
        file.write('{"code": "a", "job": [2, ""], "ro')
    kept.add((3, "empty road"), [])
    KeptWindows(path, "b").add((4, ""), [])
    assert kept.rows() == {
        (1, ""): [{"channel": TRUE, "rotation_sigma_deg": [float("inf")]}],
        (3, "empty road"): [],
    }


def test_a_run_goes_on_where_it_was_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.calibration.evaluate.code_digest", lambda: "a")
    monkeypatch.setattr("benchmarks.calibration.evaluate.nuscenes_peaks", list)
    rows = [{"channel": name, "reason": "too few outlines", "cpu_s": 0.01} for name in CONDITIONS]
    KeptWindows(tmp_path / "calibration_windows.jsonl", "a").add((FIRST_SEED, ""), rows)
    found = run(lambda _: None, windows=1, cache=tmp_path, processes=1)
    assert (found["windows"], found["nbr_resumed"]) == (1, 1)
    assert found["conditions"][TRUE]["not observable"]["hits"] == 1
