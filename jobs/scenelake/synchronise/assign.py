"""Which scene each message belongs to, and why the others belong to none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from scenelake.contracts import ids
from scenelake.contracts.modalities import Modality
from scenelake.contracts.stages import ChannelClock
from scenelake.synchronise.clock_model import ClockModel
from scenelake.synchronise.clocks import channel_clock
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.scenes import (
    EpisodeMark,
    SceneWindow,
    choose_reference,
    cut_episodes,
    cut_segments,
    fixed_grid_streams,
)
from scenelake.synchronise.streams import Stream
from scenelake.timebase.arrays import BoolArray, Int64Array
from scenelake.timebase.slots import SECOND_NS, slot_window, slots_of
from scenelake.timebase.windows import Window, window_of


@dataclass(frozen=True, slots=True)
class Assignment:
    """Scenes of a drive and the message rows in them.

    Attributes:
        reference: channel whose rows are the keyframes; None for a fixed grid.
        scenes: in order of time; each holds at least one message.
        scene_ids: one per scene.
        extents: one per scene: its window clipped to its messages.
        scene_of_row: over the index; -1 for undecodable rows and rows outside every scene.
        is_usable: over the index: decoded or raw.
    """

    reference: Stream | None
    scenes: tuple[SceneWindow, ...]
    scene_ids: tuple[str, ...]
    extents: tuple[Window, ...]
    scene_of_row: Int64Array
    is_usable: BoolArray

    @property
    def is_episodic(self) -> bool:
        return bool(self.scenes) and self.scenes[0].kind == "episode"

    @property
    def is_assigned(self) -> BoolArray:
        return self.scene_of_row >= 0


def assign(
    drive_id: str,
    streams: Mapping[str, Stream],
    timestamps_ns: Int64Array,
    marks: Sequence[EpisodeMark],
    config: SynchroniseConfig,
) -> Assignment:
    """Cuts a drive into scenes and puts every usable message into one or none.

    Args:
        timestamps_ns: over the index, of every row.
        marks: the drive's episode marks; any start among them makes it a drive of episodes.
    """
    is_episodic = any(m.event == "start" for m in marks)
    reference = choose_reference(streams, is_episodic=is_episodic)
    is_usable = np.zeros(len(timestamps_ns), np.bool_)
    for stream in streams.values():
        is_usable[stream.rows] = True
    if is_episodic:
        windows = cut_episodes(marks, int(timestamps_ns[is_usable].max()))
    else:
        windows = cut_segments(streams, reference)
    position = np.where(is_usable, window_of(timestamps_ns, tuple(s.window for s in windows)), -1)
    present = np.unique(position[position >= 0])
    renumbered = np.full(len(windows) + 1, -1, np.int64)
    renumbered[present] = np.arange(len(present))
    scene_of_row = renumbered[position]
    scenes = tuple(windows[i] for i in present.tolist())
    return Assignment(
        reference=reference,
        scenes=scenes,
        scene_ids=tuple(ids.scene_id(drive_id, s.position, config.segmentation_policy) for s in scenes),
        extents=_extents(scene_of_row, timestamps_ns, len(scenes)),
        scene_of_row=scene_of_row,
        is_usable=is_usable,
    )


def _extents(scene_of_row: Int64Array, timestamps_ns: Int64Array, count: int) -> tuple[Window, ...]:
    inside = scene_of_row >= 0
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(first, scene_of_row[inside], timestamps_ns[inside])
    np.maximum.at(last, scene_of_row[inside], timestamps_ns[inside])
    return tuple(Window(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True))


def data_stretches(assignment: Assignment, timestamps_ns: Int64Array) -> list[list[Window]]:
    """Per scene, the 20 s slots that hold messages of it, in order and clipped to its extent."""
    rows = np.flatnonzero(assignment.is_assigned)
    scene_of, slot_of = assignment.scene_of_row[rows], slots_of(timestamps_ns[rows])
    # Messages of a channel stay in a slot for a while: only where one leaves it is there something new.
    is_new = np.concatenate([[True], (np.diff(scene_of) != 0) | (np.diff(slot_of) != 0)])[: len(rows)]
    pairs = np.unique(np.stack([scene_of[is_new], slot_of[is_new]]), axis=1)
    found: list[list[Window]] = [[] for _ in assignment.scenes]
    for scene, slot in pairs.T.tolist():
        extent, window = assignment.extents[scene], slot_window(slot)
        start_ns = max(extent.start_ns, window.start_ns)
        found[scene].append(Window(start_ns, min(extent.exclusive_end_ns, window.exclusive_end_ns)))
    return found


def measure_clocks(
    streams: Mapping[str, Stream],
    reference: Stream | None,
    config: SynchroniseConfig,
    models: Mapping[str, ClockModel] = MappingProxyType({}),
) -> tuple[ChannelClock, ...]:
    """Clocks of all channels, by name. Without a reference the busiest ruling channel is what offsets are from.

    Latched channels have no rate, so no offset is read into where their messages happen to lie.

    Args:
        models: of the clocks as recorded, by channel.
    """
    against = reference or max(fixed_grid_streams(streams), key=lambda s: (len(s.rows), s.channel), default=None)
    latched = (Modality.CALIBRATION, Modality.EPISODE, Modality.LANGUAGE)
    clocks = [
        channel_clock(s, None if s.modality in latched else against, config, models.get(s.channel))
        for s in streams.values()
    ]
    return tuple(clock for clock in clocks if clock is not None)


def unassigned_reasons(
    streams: Mapping[str, Stream], clocks: Sequence[ChannelClock], assignment: Assignment
) -> tuple[Int64Array, list[str]]:
    """Reason code per index row (-1 where it is in a scene or undecodable) and the reasons' texts."""
    if assignment.is_episodic:
        usual = "outside_every_episode"
    elif assignment.reference is not None:
        usual = "no_reference_data_in_slot"
    else:
        usual = "no_channel_that_makes_scenes"
    reasons = [usual]
    codes = np.where(assignment.is_usable & ~assignment.is_assigned, 0, -1).astype(np.int64)
    for clock in clocks:
        if clock.offset_from_reference_ns is not None:
            rows = streams[clock.channel].rows
            outside = rows[codes[rows] >= 0]
            codes[outside] = len(reasons)
            reasons.append(f"clock_offset_from_reference: {clock.offset_from_reference_ns / SECOND_NS:+.2f} s")
    return codes, reasons


def assigned_table(index: pa.Table, assignment: Assignment) -> tuple[pa.Table, Int64Array]:
    """Index rows that are in a scene, in the order of the index; and their positions in it."""
    is_assigned = assignment.is_assigned
    rows = np.flatnonzero(is_assigned)
    return (index if len(rows) == len(index) else index.filter(pa.array(is_assigned))), rows
