"""Episodes as a robot's policy is trained on: frames on a grid of constant rate, each with all of its parts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.export.images import CameraReader
from scenelake.export.names import ChannelNames
from scenelake.export.scenes import Match, Scene, SceneSource
from scenelake.export.summary import Summary
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

_SECOND_NS = 1_000_000_000
RATE_TOLERANCE = 0.1
"""An episode whose own rate is farther from the dataset's than this share is left out."""
MIN_FRAMES = 2
HOLE = 1.75
"""A step of so many median steps is a hole: a sample is missing."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of a dataset."""

    channel: str
    key: str
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Vector:
    """One channel of states or actions: the part of the vector that it fills."""

    channel: str
    group: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """What the episodes of one dataset have in common.

    Attributes:
        states, actions: in the order in which they make the vectors.
    """

    robot_type: str
    cameras: tuple[Camera, ...]
    states: tuple[Vector, ...]
    actions: tuple[Vector, ...]

    def describe(self) -> str:
        cameras = ", ".join(f"{c.channel} {c.width_px}x{c.height_px}" for c in self.cameras) or "none"
        vectors = ", ".join(f"{v.channel} ({len(v.names)})" for v in (*self.states, *self.actions)) or "none"
        return f"robot {self.robot_type or 'unknown'}; cameras {cameras}; states and actions {vectors}"


@dataclass(frozen=True, slots=True)
class Episode:
    """Frames of one scene.

    Attributes:
        timestamps_ns: (n,) true time of each frame's sample.
        state, action: (n, w) float64.
        images: by camera key, (n,) rows of ``sample_data``.
    """

    scene: Scene
    timestamps_ns: Int64Array
    state: FloatArray
    action: FloatArray
    images: Mapping[str, pa.Table]

    def __len__(self) -> int:
        return len(self.timestamps_ns)


@dataclass(frozen=True, slots=True)
class OnGrid:
    """Stamps that stand for the ticks of a rate.

    Attributes:
        chosen: (k,) their positions, ascending; at most one a tick.
        nbr_empty: ticks between the first and the last that none stands for.
        largest_stray_ns: the farthest that one is from its tick.
    """

    chosen: Int64Array
    nbr_empty: int
    largest_stray_ns: int


def on_grid(stamps_ns: Int64Array, fps: int) -> OnGrid:
    """For each tick of the rate, counted from the first stamp, the nearest stamp within half a period.

    Args:
        stamps_ns: (n,) strictly increasing.
        fps: ticks a second; tick k lies at ``k / fps`` seconds, in whole numbers throughout.
    """
    if not len(stamps_ns):
        return OnGrid(np.empty(0, np.int64), 0, 0)
    scaled = (stamps_ns - stamps_ns[0]) * fps
    ticks = (2 * scaled + _SECOND_NS) // (2 * _SECOND_NS)
    stray = np.abs(scaled - ticks * _SECOND_NS)
    order = np.lexsort((stray, ticks))
    is_first = np.ones(len(order), bool)
    is_first[1:] = ticks[order][1:] != ticks[order][:-1]
    chosen = np.sort(order[is_first]).astype(np.int64)
    return OnGrid(chosen, int(ticks[-1]) + 1 - len(chosen), int(stray[chosen].max()) // fps)


class EpisodeReader:
    """Makes episodes of scenes."""

    def __init__(self, source: SceneSource, cameras: CameraReader, summary: Summary) -> None:
        self._source = source
        self._cameras = cameras
        self._summary = summary
        self._names = ChannelNames()

    def signature(self, scene: Scene) -> Signature:
        """What a scene has that a dataset can hold."""
        matches = self._source.matches(scene)
        cameras = []
        for match in matches:
            if match.modality == "camera" and (size := self._cameras.size_px(match.messages.slice(0, 1))):
                key = f"observation.images.{self._names('camera', match.channel)}"
                cameras.append(Camera(match.channel, key, *size))
        return Signature(
            self._source.drives[scene.drive_id]["robot_type"] or "",
            tuple(cameras),
            self._vectors(scene, matches, "robot_state"),
            self._vectors(scene, matches, "action"),
        )

    def period_ns(self, scene: Scene) -> int | None:
        """Time between the scene's samples, less holes; None for fewer than two.

        The mean of the steps that are no hole: the median alone would be fooled where keyframes are the first of each
        tick, and their steps take turns in being longer and shorter.
        """
        steps = np.diff(np.asarray(self._source.samples(scene)["timestamp_ns"], np.int64))
        return int(steps[steps <= HOLE * np.median(steps)].mean()) if len(steps) else None

    def episode(self, scene: Scene, signature: Signature, fps: int) -> Episode | None:
        """The scene's frames; None where fewer than two are whole. What is lacking is counted in the summary."""
        stamps_ns = np.asarray(self._source.samples(scene)["timestamp_ns"], np.int64)
        matches = {m.channel: m for m in self._source.matches(scene)}
        is_whole = np.ones(len(stamps_ns), bool)
        for camera in signature.cameras:
            self._lack(is_whole, matches[camera.channel].frames, camera.channel, scene)
        state, action = (
            np.hstack([np.empty((len(stamps_ns), 0)), *(self._values(scene, matches, v, kind) for v in vectors)])
            for kind, vectors in (("robot_state", signature.states), ("action", signature.actions))
        )
        for kind, values in (("states", state), ("actions", action)):
            is_finite = (np.abs(values) <= np.finfo(np.float32).max).all(axis=1)
            self._lack(is_whole, np.flatnonzero(is_finite), kind, scene)
        whole = np.flatnonzero(is_whole)
        grid = on_grid(stamps_ns[whole], fps)
        chosen = whole[grid.chosen]
        nbr_skipped = len(whole) - len(chosen)
        self._summary.leave_out("frames", "another_is_nearer_to_the_tick", scene.scene_id, nbr_skipped)
        self._summary.leave_out("ticks", "no_whole_sample_so_frames_close_up", scene.scene_id, grid.nbr_empty)
        self._summary.measure_largest("largest_distance_from_tick_ns", grid.largest_stray_ns)
        if len(chosen) < MIN_FRAMES:
            self._summary.leave_out("episodes", "fewer_than_two_whole_frames", scene.scene_id)
            return None
        images = {c.key: _rows_at(matches[c.channel], chosen) for c in signature.cameras}
        return Episode(scene, stamps_ns[chosen], state[chosen], action[chosen], images)

    def _lack(self, is_whole: BoolArray, frames: Int64Array, what: str, scene: Scene) -> None:
        missing = np.ones(len(is_whole), bool)
        missing[frames] = False
        self._summary.leave_out("frames", f"no_match_of {what}", scene.scene_id, int((is_whole & missing).sum()))
        is_whole &= ~missing

    def _vectors(self, scene: Scene, matches: Sequence[Match], kind: str) -> tuple[Vector, ...]:
        found = []
        for match in matches:
            if match.modality != kind:
                continue
            rows = self._positions(scene, kind, match.channel)
            said = rows.slice(0, 1).to_pylist()
            width = match.values.shape[1] if kind == "robot_state" else (len(said[0]["position"]) if said else 0)
            names = next((r["names"] for r in said if r["names"] and len(r["names"]) == width), None)
            if width:
                group = self._names(kind, match.channel)
                found.append(Vector(match.channel, group, tuple(names or (f"{group}_{i}" for i in range(width)))))
        if len(found) > 1:
            found = [Vector(v.channel, v.group, tuple(f"{v.group}.{name}" for name in v.names)) for v in found]
        return tuple(found)

    def _positions(self, scene: Scene, kind: str, channel: str) -> pa.Table:
        rows = self._source.rows(scene.scene_id, kind, ("sample_data_id", "channel", "names", "position"))
        return rows.filter(pc.and_(pc.equal(rows["channel"], channel), pc.is_valid(rows["position"])))

    def _values(self, scene: Scene, matches: Mapping[str, Match], vector: Vector, kind: str) -> FloatArray:
        """(samples, w): states as synchronise interpolated them, actions as the last one that was given."""
        match = matches[vector.channel]
        width = len(vector.names)
        values = np.full((len(self._source.samples(scene)), width), np.nan)
        if kind == "robot_state":
            values[match.frames] = match.values
            return values
        rows = self._positions(scene, kind, vector.channel)
        rows = rows.filter(pc.equal(pc.list_value_length(rows["position"]), width))
        at = pc.index_in(match.messages["sample_data_id"], value_set=rows["sample_data_id"].combine_chunks())
        places = np.asarray(pc.fill_null(at, -1), np.int64)
        known = pc.list_flatten(rows["position"]).to_numpy(zero_copy_only=False).reshape(-1, width)
        values[match.frames[places >= 0]] = known[places[places >= 0]]
        return values


def _rows_at(match: Match, frames: Int64Array) -> pa.Table:
    return match.messages.take(pa.array(np.searchsorted(match.frames, frames)))


def choose_signature(counted: Sequence[tuple[Signature, int]]) -> Signature:
    """The signature with the most frames; of equal ones the first. There must be one."""
    frames: Counter[Signature] = Counter()
    for signature, count in counted:
        frames[signature] += count
    return max(frames, key=lambda s: frames[s])


def choose_fps(periods_ns: Sequence[tuple[int, int]]) -> int:
    """Whole frames a second, nearest to the median rate of episodes given by (period, frames)."""
    ordered = sorted(periods_ns)
    half = sum(count for _, count in ordered) / 2
    reached = 0
    for period_ns, count in ordered:
        reached += count
        if reached >= half:
            return max(1, (2 * _SECOND_NS + period_ns) // (2 * period_ns)) if period_ns > 0 else 1
    raise ValueError("expected at least one episode")


def fits_rate(period_ns: int, fps: int) -> bool:
    """Whether an episode's median period is that of a dataset of this rate."""
    return abs(period_ns * fps - _SECOND_NS) <= RATE_TOLERANCE * _SECOND_NS
