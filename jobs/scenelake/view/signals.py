"""Scalar signals of a scene as recorded, and what was said in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.geometry.arrow_vectors import list_matrix
from scenelake.timebase.arrays import FloatArray, Int64Array
from scenelake.view.opened import OpenedScene

_AXES = ("x", "y", "z")
_VECTORS = ("linear_acceleration_m_s2", "angular_velocity_rad_s")
_JOINTS = ("position", "velocity", "effort")
_GNSS = ("latitude_deg", "longitude_deg", "altitude_m", "ground_speed_m_s")
_TEXTS = {"language": "text", "text_log": "text", "episode": "event"}


@dataclass(frozen=True, slots=True)
class Signal:
    """Values that one channel gives over time.

    Attributes:
        quantity: the column that they come from.
        names: (w,) of the values.
        unit: where all have the same and it was recorded.
        stamps_ns: (n,) ascending.
        values: (n, w); NaN for what is not there.
    """

    modality: str
    channel: str
    quantity: str
    names: tuple[str, ...]
    unit: str | None
    stamps_ns: Int64Array
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Text:
    """Something said at a moment."""

    modality: str
    channel: str
    stamp_ns: int
    text: str


def read_signals(opened: OpenedScene) -> Iterator[Signal]:
    """Every scalar signal of the scene: the ego's motion, IMUs, fixes, joint states and actions."""
    yield from _ego_motion(opened)
    for rows, channel in _by_channel(opened, "imu", _VECTORS):
        for quantity in _VECTORS:
            yield from _vector(rows, "imu", channel, quantity, _AXES, None)
    for rows, channel in _by_channel(opened, "gnss", _GNSS):
        stamps_ns = np.asarray(rows["timestamp_ns"], np.int64)
        for quantity in _GNSS:
            values = np.asarray(rows[quantity].to_numpy(), np.float64)[:, None]
            if np.isfinite(values).any():
                yield Signal("gnss", channel, quantity, (quantity,), None, stamps_ns, values)
    for modality in ("robot_state", "action"):
        for rows, channel in _by_channel(opened, modality, ("names", "units", *_JOINTS)):
            for quantity in _JOINTS:
                width = list_matrix(rows[quantity]).shape[1]
                names = _said(rows, "names", width) or tuple(f"{quantity}_{i}" for i in range(width))
                units = set(_said(rows, "units", width)) if quantity == "position" else set()
                unit = units.pop() if len(units) == 1 else None
                yield from _vector(rows, modality, channel, quantity, names, unit)


def read_texts(opened: OpenedScene) -> list[Text]:
    """What was said in the scene, by time; an instruction that is repeated is there once, when it was given first."""
    found = []
    for table, column in _TEXTS.items():
        for rows, channel in _by_channel(opened, table, (column,)):
            before = None
            for stamp_ns, text in zip(rows["timestamp_ns"].to_pylist(), rows[column].to_pylist(), strict=True):
                if text and not (table == "language" and text == before):
                    found.append(Text(table, channel, stamp_ns, text))
                before = text
    return sorted(found, key=lambda t: (t.stamp_ns, t.modality, t.channel))


def _ego_motion(opened: OpenedScene) -> Iterator[Signal]:
    stamps_ns, _ = opened.path()
    channel = opened.drive.pose_channel
    if channel is None or not len(stamps_ns):
        return
    moving = opened.trajectory.velocities_at(stamps_ns)
    for quantity, values in (
        ("linear_velocity_m_s", moving.linear_m_s),
        ("angular_velocity_rad_s", moving.angular_rad_s),
    ):
        yield Signal("ego_pose", channel, quantity, _AXES, None, stamps_ns, values)


def _by_channel(opened: OpenedScene, table: str, columns: tuple[str, ...]) -> Iterator[tuple[pa.Table, str]]:
    rows = opened.source.rows(opened.scene.scene_id, table, ("channel", "timestamp_ns", *columns))
    for channel in sorted(pc.unique(rows["channel"]).to_pylist()):
        yield rows.filter(pc.equal(rows["channel"], channel)).sort_by("timestamp_ns"), channel


def _vector(
    rows: pa.Table, modality: str, channel: str, quantity: str, names: tuple[str, ...], unit: str | None
) -> Iterator[Signal]:
    values = list_matrix(rows[quantity])
    if values.shape[1] == len(names) and np.isfinite(values).any():
        yield Signal(modality, channel, quantity, names, unit, np.asarray(rows["timestamp_ns"], np.int64), values)


def _said(rows: pa.Table, column: str, width: int) -> tuple[str, ...]:
    """The first list of the right length in a column of names; none where there is none."""
    fits = rows[column].filter(pc.equal(pc.list_value_length(rows[column]), width))
    return tuple(str(word) for word in fits[0].as_py()) if len(fits) and width else ()
