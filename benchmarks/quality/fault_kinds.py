"""All kinds of faults, and the checks that are tried elsewhere."""

from benchmarks.quality import camera_faults, depth, motion_faults, point_faults, robot_faults, time_faults
from benchmarks.quality.kinds import Kind
from benchmarks.quality.rigs import ACTIONS, DEPTH, EPISODES, HEAD, JOINTS

_MODULES = (camera_faults, depth, point_faults, motion_faults, robot_faults, time_faults)
KINDS: dict[str, Kind] = {kind.name: kind for module in _MODULES for kind in module.KINDS}
"""By name."""

OF_ROBOTS = frozenset({JOINTS, ACTIONS, EPISODES, HEAD, DEPTH})
"""Topics that robots have and cars lack."""

ELSEWHERE = {
    "calibration.": "the trial of calibration checks plants miscalibrations of graded size",
    "camera.dead": "it is there or it is not, for a whole drive: tests/unit/quality/test_camera_checks.py",
}
"""Checks, by the beginning of their names, that this trial leaves to another, and which."""
