"""Which scene each message belongs to, and why the others belong to none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

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
from scenelake.timebase.blocks import blocks
from scenelake.timebase.slots import SECOND_NS, slot_window, slots_of
from scenelake.timebase.windows import Window


@dataclass(frozen=True, slots=True)
class Assignment:
    """Scenes of a drive. A usable message belongs to the one whose window holds its stamp.

    Attributes:
        reference: channel whose rows are the keyframes; None for a fixed grid.
        scenes: in order of time; each holds at least one message.
        scene_ids: one per scene.
        extents: one per scene: its window clipped to its messages.
        starts_ns, ends_ns: (k,) int64 half-open windows of the scenes.
    """

    reference: Stream | None
    scenes: tuple[SceneWindow, ...]
    scene_ids: tuple[str, ...]
    extents: tuple[Window, ...]
    starts_ns: Int64Array
    ends_ns: Int64Array

    @property
    def is_episodic(self) -> bool:
        return bool(self.scenes) and self.scenes[0].kind == "episode"

    def scene_of(self, timestamps_ns: Int64Array) -> Int64Array:
        """The scene that holds each stamp, -1 for none: (n,) int64."""
        if not self.scenes:
            return np.full(len(timestamps_ns), -1, np.int64)
        scene = np.searchsorted(self.starts_ns, timestamps_ns, side="right") - 1
        is_inside = (scene >= 0) & (timestamps_ns < self.ends_ns[np.maximum(scene, 0)])
        return np.where(is_inside, scene, -1).astype(np.int64)

    def is_inside(self, timestamps_ns: Int64Array) -> BoolArray:
        """Which stamps lie in a scene: (n,)."""
        return np.asarray(self.scene_of(timestamps_ns) >= 0)


def assign(
    drive_id: str, streams: Mapping[str, Stream], marks: Sequence[EpisodeMark], config: SynchroniseConfig
) -> Assignment:
    """Cuts a drive into scenes and puts every usable message into one or none.

    Args:
        marks: the drive's episode marks; any start among them makes it a drive of episodes.
    """
    is_episodic = any(m.event == "start" for m in marks)
    reference = choose_reference(streams, is_episodic=is_episodic)
    if is_episodic:
        windows = cut_episodes(marks, max(int(s.sorted_ns[-1]) for s in streams.values() if len(s)))
    else:
        windows = cut_segments(streams, reference)
    starts_ns, ends_ns = (
        np.array([getattr(s.window, name) for s in windows], np.int64) for name in ("start_ns", "exclusive_end_ns")
    )
    if np.any(starts_ns[1:] < ends_ns[:-1]):
        raise ValueError("scenes: expected sorted and disjoint windows")
    first_ns, last_ns = _first_and_last(streams, starts_ns, ends_ns)
    present = np.flatnonzero(first_ns <= last_ns)
    extents = zip(first_ns[present].tolist(), last_ns[present].tolist(), strict=True)
    scenes = tuple(windows[i] for i in present.tolist())
    return Assignment(
        reference=reference,
        scenes=scenes,
        scene_ids=tuple(ids.scene_id(drive_id, s.position, config.segmentation_policy) for s in scenes),
        extents=tuple(Window(a, b + 1) for a, b in extents),
        starts_ns=starts_ns[present],
        ends_ns=ends_ns[present],
    )


def _first_and_last(
    streams: Mapping[str, Stream], starts_ns: Int64Array, ends_ns: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Least and largest stamp in each window; the first after the second where there is none."""
    first_ns = np.full(len(starts_ns), np.iinfo(np.int64).max)
    last_ns = np.full(len(starts_ns), np.iinfo(np.int64).min)
    for stream in streams.values():
        low, high = (np.searchsorted(stream.sorted_ns, bounds) for bounds in (starts_ns, ends_ns))
        some = np.flatnonzero(low < high)
        first_ns[some] = np.minimum(first_ns[some], stream.sorted_ns[low[some]])
        last_ns[some] = np.maximum(last_ns[some], stream.sorted_ns[high[some] - 1])
    return first_ns, last_ns


def data_stretches(assignment: Assignment, streams: Mapping[str, Stream]) -> list[list[Window]]:
    """Per scene, the 20 s slots that hold messages of it, in order and clipped to its extent."""
    held: list[set[int]] = [set() for _ in assignment.scenes]
    for stream in streams.values():
        for start, end in blocks(len(stream)):
            stamps_ns = stream.sorted_ns[start:end]
            scene_of, slot_of = assignment.scene_of(stamps_ns), slots_of(stamps_ns)
            is_new = np.concatenate([[True], (np.diff(scene_of) != 0) | (np.diff(slot_of) != 0)]) & (scene_of >= 0)
            for scene, slot in zip(scene_of[is_new].tolist(), slot_of[is_new].tolist(), strict=True):
                held[scene].add(slot)
    found: list[list[Window]] = []
    for extent, slots in zip(assignment.extents, held, strict=True):
        windows = [slot_window(slot) for slot in sorted(slots)]
        found.append(
            [
                Window(max(extent.start_ns, w.start_ns), min(extent.exclusive_end_ns, w.exclusive_end_ns))
                for w in windows
            ]
        )
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
    against = reference or max(fixed_grid_streams(streams), key=lambda s: (len(s), s.channel), default=None)
    latched = (Modality.CALIBRATION, Modality.EPISODE, Modality.LANGUAGE)
    clocks = [
        channel_clock(s, None if s.modality in latched else against, config, models.get(s.channel))
        for s in streams.values()
    ]
    return tuple(clock for clock in clocks if clock is not None)


def unassigned_reasons(clocks: Sequence[ChannelClock], assignment: Assignment) -> tuple[str, dict[str, str]]:
    """Why messages are in no scene: of most channels, and of those whose clock says more."""
    if assignment.is_episodic:
        usual = "outside_every_episode"
    elif assignment.reference is not None:
        usual = "no_reference_data_in_slot"
    else:
        usual = "no_channel_that_makes_scenes"
    return usual, {
        clock.channel: f"clock_offset_from_reference: {clock.offset_from_reference_ns / SECOND_NS:+.2f} s"
        for clock in clocks
        if clock.offset_from_reference_ns is not None
    }
