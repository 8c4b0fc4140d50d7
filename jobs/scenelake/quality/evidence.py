"""What the checks look at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.modalities import Modality, TimestampBasis
from scenelake.contracts.stages import ChannelClock, DropOutcome
from scenelake.contracts.tables import GOLD
from scenelake.quality.baseline import Baselines
from scenelake.timebase.arrays import Int64Array

_NO_TIME = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class ChannelInScene:
    """Messages of one channel in one scene. Times are ns.

    Attributes:
        nbr_distinct: messages with a stamp of their own.
        largest_step_ns: longest time between two messages in a row; 0 with one message.
        largest_step_start_ns: where that step begins.
        longer_step_ns: that a quarter of the steps between distinct stamps reach; 0 with one message.
        leads_ns: by recorded clock (sensor, publish, log): the least that it shows less the ruling time.
    """

    nbr_messages: int
    nbr_distinct: int
    first_ns: int
    last_ns: int
    largest_step_ns: int
    largest_step_start_ns: int
    longer_step_ns: int = 0
    leads_ns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """One scene as the checks see it."""

    scene_id: str
    drive_id: str
    start_ns: int
    exclusive_end_ns: int
    nbr_samples: int
    drive_date: date
    channels: Mapping[str, ChannelInScene]
    objects: frozenset[str]

    @property
    def duration_ns(self) -> int:
        return self.exclusive_end_ns - self.start_ns


@dataclass(frozen=True, slots=True)
class DriveFacts:
    """One drive as the checks see it.

    Attributes:
        clocks: by channel.
        sync_index, sync_error: synchronise's tables.
        outcomes: decode's answers for the objects that make the drive, copies left out.
        samples, clock_faults: synchronise's tables.
        tables: rows of ``FACT_TABLES`` that lie in a scene, with ``scene_id`` and the ruling ``timestamp_ns``, by
            scene, channel and time; tables without a row are absent. ``calibrated_sensor`` as synchronise left it.
        robot_id: of the drive.
        baselines: what this robot's sensors usually look like.
    """

    scenes: tuple[SceneFacts, ...]
    clocks: Mapping[str, ChannelClock]
    sync_index: pa.Table
    sync_error: pa.Table
    outcomes: tuple[DropOutcome, ...]
    samples: pa.Table = field(default_factory=GOLD["sample"].schema.empty_table)
    clock_faults: pa.Table = field(default_factory=GOLD["clock_fault"].schema.empty_table)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    robot_id: str = ""
    baselines: Baselines = field(default_factory=Baselines)

    def groups(self, table: str) -> Iterator[tuple[SceneFacts, str, pa.Table]]:
        """The rows of one of ``tables``: scene, channel and its rows there, by time."""
        rows = self.tables.get(table)
        if rows is None:
            return
        scenes = {scene.scene_id: scene for scene in self.scenes}
        scene_codes, scene_ids = codes_of(rows["scene_id"])
        channel_codes, channels = codes_of(rows["channel"])
        group = scene_codes * len(channels) + channel_codes
        bounds = np.flatnonzero(np.diff(group, prepend=-1, append=-1))
        for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            scene, channel = divmod(int(group[first]), len(channels))
            yield scenes[scene_ids[scene]], channels[channel], rows.slice(first, end - first)


def scene_facts(scenes: pa.Table, sample_data: pa.Table) -> tuple[SceneFacts, ...]:
    """Groups ``sample_data`` by scene and channel in one pass.

    Raises:
        ScenelakeError: when a row of ``sample_data`` names a scene that ``scenes`` lacks.
    """
    rows = scenes.to_pylist()
    scene_codes, scene_names = codes_of(sample_data["scene_id"])
    unknown = set(scene_names) - {row["scene_id"] for row in rows}
    if unknown:
        raise ScenelakeError(f"sample_data: expected scenes of the scene table, got also {', '.join(sorted(unknown))}")
    channel_codes, channel_names = codes_of(sample_data["channel"])
    object_codes, object_names = codes_of(sample_data["object_sha256"])
    channels: dict[str, dict[str, ChannelInScene]] = {row["scene_id"]: {} for row in rows}
    stamps = np.asarray(sample_data["timestamp_ns"].combine_chunks().to_numpy(zero_copy_only=False), np.int64)
    leads = {str(basis): _leads_ns(sample_data, basis) for basis in TimestampBasis}
    group = scene_codes * max(len(channel_names), 1) + channel_codes
    order = np.lexsort((stamps, group))
    bounds = np.flatnonzero(np.diff(group[order], prepend=-1, append=-1))
    for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        scene, channel = divmod(int(group[order[first]]), len(channel_names))
        mine = order[first:end]
        least = {basis: int(lead_ns[mine].min()) for basis, lead_ns in leads.items()}
        found = _channel_in_scene(stamps[mine], {basis: ns for basis, ns in least.items() if ns != _NO_TIME})
        channels[scene_names[scene]][channel_names[channel]] = found
    objects: dict[str, set[str]] = {row["scene_id"]: set() for row in rows}
    for pair in np.unique(scene_codes * max(len(object_names), 1) + object_codes).tolist():
        scene, item = divmod(pair, len(object_names))
        objects[scene_names[scene]].add(object_names[item])
    wanted = ("scene_id", "drive_id", "start_ns", "exclusive_end_ns", "nbr_samples", "drive_date")
    return tuple(
        SceneFacts(
            **{name: row[name] for name in wanted},
            channels=channels[row["scene_id"]],
            objects=frozenset(objects[row["scene_id"]]),
        )
        for row in rows
    )


FACT_TABLES = (
    "image_statistic", "point_statistic", "imu", "ego_pose", "gnss", "robot_state", "action", "episode", "radar_track",
)  # fmt: skip
"""Small tables of decode that checks look at."""

UNUSED_COLUMNS = frozenset({"covariance", "drive_id", "drive_date"})
"""Of those tables, large and looked at by no check."""


def in_scenes(parts: Sequence[pa.Table], sample_data: pa.Table) -> pa.Table | None:
    """Decoded rows that lie in a scene, with its id and the ruling time of their message; None without any.

    Args:
        parts: of one table, as decode left them.
    """
    decoded = pa.concat_tables(parts, promote_options="default")
    at = pc.index_in(decoded["sample_data_id"], value_set=sample_data["sample_data_id"])
    rows, where = decoded.filter(pc.is_valid(at)), pc.drop_null(at)
    if not len(rows):
        return None
    for name in ("scene_id", "timestamp_ns"):
        column = sample_data[name].take(where)
        known = rows.schema.get_field_index(name)
        rows = rows.append_column(name, column) if known < 0 else rows.set_column(known, name, column)
    return rows.sort_by([(name, "ascending") for name in ("scene_id", "channel", "timestamp_ns")])


def _leads_ns(sample_data: pa.Table, basis: TimestampBasis) -> Int64Array:
    """What a recorded clock shows less the ruling time: (n,); ``_NO_TIME`` where it shows nothing."""
    leads = pc.subtract(sample_data[f"{basis}_time_ns"], sample_data["timestamp_ns"])
    return np.asarray(pc.fill_null(leads, _NO_TIME), np.int64)


def codes_of(column: pa.ChunkedArray) -> tuple[Int64Array, list[Any]]:
    """A column's values as positions (n,) in the list of its distinct ones, and that list; None, if any, is last."""
    encoded = column.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    if encoded.null_count:
        return np.asarray(pc.fill_null(encoded.indices, len(names)), np.int64), [*names, None]
    return np.asarray(encoded.indices, np.int64), names


def _channel_in_scene(sorted_ns: Int64Array, leads_ns: Mapping[str, int]) -> ChannelInScene:
    steps = np.diff(sorted_ns)
    widest = int(steps.argmax()) if len(steps) else 0
    return ChannelInScene(
        nbr_messages=len(sorted_ns),
        nbr_distinct=1 + int(np.count_nonzero(steps)),
        first_ns=int(sorted_ns[0]),
        last_ns=int(sorted_ns[-1]),
        largest_step_ns=int(steps[widest]) if len(steps) else 0,
        largest_step_start_ns=int(sorted_ns[widest]),
        longer_step_ns=int(np.quantile(steps[steps > 0], 0.75, method="lower")) if steps.any() else 0,
        leads_ns=leads_ns,
    )


PERIODIC = frozenset(
    {
        Modality.CAMERA,
        Modality.DEPTH,
        Modality.LIDAR,
        Modality.RADAR,
        Modality.RADAR_TRACK,
        Modality.IMU,
        Modality.GNSS,
        Modality.EGO_POSE,
        Modality.ROBOT_STATE,
        Modality.ACTION,
        Modality.CAN,
    }
)
"""Modalities that a working sensor keeps sending; the others speak when there is something to say."""
