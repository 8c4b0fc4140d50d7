"""Every check there is, and the functions that measure them."""

from collections.abc import Callable, Iterator

from scenelake.quality import (
    calibration_checks,
    camera_checks,
    clock_checks,
    clock_fault_checks,
    decode_checks,
    imu_checks,
    lidar_checks,
    motion_checks,
    path_checks,
    presence_checks,
    radar_checks,
    robot_checks,
    sync_checks,
)
from scenelake.quality.checks import Check, Measurement
from scenelake.quality.evidence import DriveFacts

Measure = Callable[[DriveFacts], Iterator[Measurement]]

_MODULES = (
    presence_checks, clock_checks, clock_fault_checks, sync_checks, decode_checks, camera_checks, lidar_checks,
    radar_checks, imu_checks, motion_checks, path_checks, robot_checks, calibration_checks,
)  # fmt: skip

CATALOGUE: dict[str, Check] = {check.name: check for module in _MODULES for check in module.CHECKS}
"""By name."""

MEASURES: tuple[Measure, ...] = tuple(function for module in _MODULES for function in module.MEASURES)
