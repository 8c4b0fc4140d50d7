"""Injected faults: what they are, how a person writes them, and what they do to messages.

Intervals are half-open, in nanoseconds of true time since the start of the recording.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from scenelake.contracts.errors import ConfigurationError
from scenelake.simulate.geometry import Floats, Integers, Transform, rotation_from_rpy

_GPS_EPOCH_S, _GPS_AHEAD_S = 315_964_800, 18
"""1980-01-06 in seconds of UTC, and the leap seconds that GPS time has not counted since, as of 2017."""
_BOOTED_NS = 2_000_123_456_789
"""Half an hour and some after the boot."""

BLACK = -1
"""Source index of a frame that is black instead of rendered."""


class _Fault(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: str
    start_offset_ns: Annotated[int, Field(ge=0)] = 0
    exclusive_end_offset_ns: int | None = None

    @model_validator(mode="after")
    def _interval_is_not_empty(self) -> Self:
        end = self.exclusive_end_offset_ns
        if end is not None and end <= self.start_offset_ns:
            raise ValueError(f"end must be after start, got {self.start_offset_ns} ns to {end} ns")
        return self

    def covers(self, offset_ns: Integers) -> npt.NDArray[np.bool_]:
        """Which times (n,) since the recording's start lie in the fault's interval."""
        after_start: npt.NDArray[np.bool_] = offset_ns >= self.start_offset_ns
        if self.exclusive_end_offset_ns is None:
            return after_start
        return after_start & (offset_ns < self.exclusive_end_offset_ns)


class DroppedFrames(_Fault):
    """The sensor's messages never reach the file: all of them in the interval, or a random fraction."""

    kind: Literal["dropped_frames"] = "dropped_frames"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0


class FrozenCamera(_Fault):
    """The camera repeats the last image before the interval, byte for byte, with stamps that go on."""

    kind: Literal["frozen_camera"] = "frozen_camera"


class BlackFrames(_Fault):
    """The camera sends black images."""

    kind: Literal["black_frames"] = "black_frames"


class ClockOffset(_Fault):
    """The sensor's clock is ahead by offset_ms in the interval (negative: behind); log time stays true."""

    kind: Literal["clock_offset"] = "clock_offset"
    offset_ns: int


class ClockDrift(_Fault):
    """The sensor's clock gains drift_ppm microseconds a second from the interval's start; set right at its end."""

    kind: Literal["clock_drift"] = "clock_drift"
    drift_ppm: float


class StampJitter(_Fault):
    """The sensor's stamps scatter in the interval by a standard deviation of jitter_ms, clipped at three of it."""

    kind: Literal["stamp_jitter"] = "stamp_jitter"
    jitter_ns: Annotated[int, Field(gt=0)]


class RepeatedStamps(_Fault):
    """Every so-many-th message of the interval carries the stamp of the one before it."""

    kind: Literal["repeated_stamps"] = "repeated_stamps"
    every: Annotated[int, Field(ge=2)] = 2


class WrongEpoch(_Fault):
    """Stamps count from elsewhere (boot_time, gps_epoch, gps_time_of_week) or are milliseconds or microseconds."""

    kind: Literal["wrong_epoch"] = "wrong_epoch"
    epoch: Literal["boot_time", "gps_epoch", "gps_time_of_week", "milliseconds", "microseconds"]


class Miscalibration(_Fault):
    """The sensor sits askew in the interval: its true mount is turned and shifted, the published one is not."""

    kind: Literal["miscalibration"] = "miscalibration"
    roll_deg: float = 0.0
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0
    dx_m: float = 0.0
    dy_m: float = 0.0
    dz_m: float = 0.0

    def ego_from_ego(self) -> tuple[Floats, Floats]:
        """Rotation about the sensor's own origin (ego axes) and shift in the ego frame."""
        angles = np.radians([self.roll_deg, self.pitch_deg, self.yaw_deg])
        return rotation_from_rpy(*angles), np.array([self.dx_m, self.dy_m, self.dz_m])


Fault = Annotated[
    DroppedFrames
    | FrozenCamera
    | BlackFrames
    | ClockOffset
    | ClockDrift
    | StampJitter
    | RepeatedStamps
    | WrongEpoch
    | Miscalibration,
    Field(discriminator="kind"),
]
FAULT_TYPES: dict[str, type[_Fault]] = {
    str(fault.model_fields["kind"].default): fault
    for fault in (
        DroppedFrames, FrozenCamera, BlackFrames, ClockOffset, ClockDrift, StampJitter, RepeatedStamps, WrongEpoch,
        Miscalibration,
    )
}  # fmt: skip
CAMERA_FAULTS = frozenset({"frozen_camera", "black_frames"})
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Fault)


def _nanoseconds(scale: int) -> Callable[[str], int]:
    return lambda text: int((Decimal(text) * scale).to_integral_value())


_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "sensor": ("sensor", str),
    "start": ("start_offset_ns", _nanoseconds(1_000_000_000)),
    "end": ("exclusive_end_offset_ns", _nanoseconds(1_000_000_000)),
    "offset_ms": ("offset_ns", _nanoseconds(1_000_000)),
    "jitter_ms": ("jitter_ns", _nanoseconds(1_000_000)),
    "every": ("every", int),
    "epoch": ("epoch", str),
    **{n: (n, float) for n in ("fraction", "drift_ppm", "roll_deg", "pitch_deg", "yaw_deg", "dx_m", "dy_m", "dz_m")},
}
"""Option on the command line: field of the model and how its text is read."""


def fault_options(kind: str) -> tuple[str, ...]:
    """Options that a fault of this kind takes on the command line."""
    names = FAULT_TYPES[kind].model_fields
    return tuple(option for option, (name, _) in _OPTIONS.items() if name in names)


def fault_help() -> str:
    """One line per kind of fault, for ``--help``."""
    lines = ["KIND:sensor=TOPIC[,start=SECONDS][,end=SECONDS][,OPTION=VALUE…]"]
    for kind, fault in FAULT_TYPES.items():
        own = [o for o in fault_options(kind) if o not in ("sensor", "start", "end")]
        options = f" ({', '.join(own)})" if own else ""
        lines.append(f"{kind}{options}: {' '.join((fault.__doc__ or '').split())}")
    return "\n".join(lines)


def parse_fault(text: str) -> Any:
    """Reads ``kind:sensor=/topic,start=5,end=9,…`` (seconds since the recording's start).

    Raises:
        ConfigurationError: for an unknown kind or option, a value that is no number, or one out of range.
    """
    kind, _, rest = text.partition(":")
    if kind not in FAULT_TYPES:
        raise ConfigurationError(f"fault {text!r}: unknown kind {kind!r}, expected one of {', '.join(FAULT_TYPES)}")
    values: dict[str, Any] = {"kind": kind}
    for part in filter(None, rest.split(",")):
        option, equals, value = part.partition("=")
        if not equals or option not in fault_options(kind):
            expected = ", ".join(fault_options(kind))
            raise ConfigurationError(f"fault {text!r}: {part!r} is no option=value of {kind}, options are {expected}")
        name, read = _OPTIONS[option]
        try:
            values[name] = read(value)
        except (ValueError, InvalidOperation, OverflowError):
            raise ConfigurationError(f"fault {text!r}: {option} must be a number, got {value!r}") from None
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc'][1:])) or kind}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"fault {text!r}: {reasons}") from None


def clock_error_ns(faults: Sequence[Any], offset_ns: Integers) -> Integers:
    """What the clock faults of one sensor add to its stamps at true times (n,) since the start."""
    error = np.zeros_like(offset_ns)
    for fault in faults:
        if isinstance(fault, ClockOffset):
            error[fault.covers(offset_ns)] += fault.offset_ns
        elif isinstance(fault, ClockDrift):
            inside = fault.covers(offset_ns)
            error[inside] += drift_ns(offset_ns[inside] - fault.start_offset_ns, fault.drift_ppm)
    return error


def faulty_stamps(faults: Sequence[Any], offset_ns: Integers, stamp_ns: Integers) -> Integers:
    """What the stamp faults of one sensor make of its stamps at true times (n,) since the start."""
    stamps = stamp_ns.copy()
    for position, fault in enumerate(faults):
        inside = np.flatnonzero(fault.covers(offset_ns))
        if isinstance(fault, StampJitter):
            # Seeded by the fault itself, so that nothing else that the sensor draws changes.
            draws = np.random.default_rng((position, fault.start_offset_ns, fault.jitter_ns)).normal(size=len(inside))
            stamps[inside] += np.rint(np.clip(draws, -3.0, 3.0) * fault.jitter_ns).astype(np.int64)
        elif isinstance(fault, RepeatedStamps):
            repeats = inside[1:][np.arange(1, len(inside)) % fault.every == 0]
            stamps[repeats] = stamps[repeats - 1]
        elif isinstance(fault, WrongEpoch):
            stamps[inside] = _in_epoch(fault.epoch, stamps[inside])
    return stamps


def _in_epoch(epoch: str, utc_ns: Integers) -> Integers:
    if epoch == "milliseconds":
        return utc_ns // 1_000_000
    if epoch == "microseconds":
        return utc_ns // 1_000
    if epoch == "boot_time":
        return utc_ns - utc_ns[:1] + _BOOTED_NS
    since_gps_ns: Integers = utc_ns - (_GPS_EPOCH_S - _GPS_AHEAD_S) * 1_000_000_000
    return since_gps_ns % (604_800 * 1_000_000_000) if epoch == "gps_time_of_week" else since_gps_ns


def drift_ns(elapsed_ns: Integers, drift_ppm: float) -> Integers:
    """What a clock that gains ``drift_ppm`` has gained after ``elapsed_ns``, in integers (drift to 1e-6 ppm)."""
    parts_per_trillion = round(drift_ppm * 1_000_000)
    seconds, rest = np.divmod(elapsed_ns, 1_000_000_000)
    gained: Integers = (seconds * parts_per_trillion) // 1000 + (rest * parts_per_trillion) // 1_000_000_000_000
    return gained


def dropped(faults: Sequence[Any], offset_ns: Integers, draws: Floats) -> dict[int, npt.NDArray[np.bool_]]:
    """Which messages (n,) each drop fault takes; ``draws`` are uniform in [0, 1). Keys are positions in ``faults``."""
    return {
        i: fault.covers(offset_ns) & (draws < fault.fraction)
        for i, fault in enumerate(faults)
        if isinstance(fault, DroppedFrames)
    }


def image_sources(faults: Sequence[Any], offset_ns: Integers) -> Integers:
    """Which frame's image each message (n,) carries: its own index, an earlier one when frozen, or ``BLACK``."""
    sources = np.arange(len(offset_ns))
    for fault in faults:
        inside = fault.covers(offset_ns)
        if isinstance(fault, FrozenCamera) and inside.any():
            sources[inside] = max(int(np.argmax(inside)) - 1, 0)
        elif isinstance(fault, BlackFrames):
            sources[inside] = BLACK
    return sources


def true_mount(nominal: Transform, faults: Sequence[Any], offset_ns: int) -> Transform:
    """Where the sensor truly sits at a time since the start, given the published ``ego_from_sensor``."""
    mount = nominal
    for fault in faults:
        if isinstance(fault, Miscalibration) and fault.covers(np.array([offset_ns]))[0]:
            rotation, shift_m = fault.ego_from_ego()
            mount = Transform(rotation @ mount.rotation, mount.translation_m + shift_m)
    return mount
