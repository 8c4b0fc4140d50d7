"""The usual pose of a sensor is the median of its earlier ones."""

import numpy as np

from scenelake.geometry.poses import normalised
from scenelake.quality.calibration.rig_history import STATISTICS, pose_statistics, usual_pose
from scenelake.quality.calibration.validity import difference


def test_medians_of_the_statistics_give_the_usual_pose_and_ignore_one_bad_drive() -> None:
    random = np.random.default_rng(1)
    # A sensor that looks back has a qw about 0, whose sign flips from drive to drive.
    base = normalised(np.array([1.5, 0.2, 1.6, 0.0, 0.5, -0.5, np.sqrt(0.5)]))
    drives = [normalised(base + random.normal(0, 1e-3, 7)) for _ in range(20)]
    drives[3] = normalised(np.array([0.0, 0, 0, 1, 0, 0, 0]))
    drives[4][3:] *= -1
    values = [dict(pose_statistics(pose)) for pose in drives]
    usual = usual_pose(lambda name: float(np.median([v[name] for v in values])))
    assert usual is not None
    angle_deg, distance_m = difference(usual, base)
    assert angle_deg < 0.15
    assert distance_m < 0.002


def test_without_history_nothing_is_usual() -> None:
    assert usual_pose({name: 0.0 for name in STATISTICS[1:]}.get) is None
