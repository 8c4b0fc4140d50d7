"""Every check there is, and the functions that measure them."""

from collections.abc import Callable, Iterator

from scenelake.quality import clock_checks, clock_fault_checks, decode_checks, presence_checks, sync_checks
from scenelake.quality.checks import Check, Measurement
from scenelake.quality.evidence import DriveFacts

_MODULES = (presence_checks, clock_checks, clock_fault_checks, sync_checks, decode_checks)

CATALOGUE: dict[str, Check] = {check.name: check for module in _MODULES for check in module.CHECKS}
"""By name."""

Measure = Callable[[DriveFacts], Iterator[Measurement]]

MEASURES: tuple[Measure, ...] = (
    presence_checks.measure_keyframes,
    presence_checks.measure_missing_sensors,
    presence_checks.measure_completeness,
    presence_checks.measure_coverage,
    presence_checks.measure_gaps,
    presence_checks.measure_rates,
    clock_checks.measure_clocks,
    clock_fault_checks.measure_clock_faults,
    sync_checks.measure_match_share,
    sync_checks.measure_sync_error,
    decode_checks.measure_channels_read,
    decode_checks.measure_bad_bytes,
)
