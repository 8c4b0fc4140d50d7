"""Transform trees: from parent_from_child edges to target_from_source at any time."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scenelake.geometry.linear import Interpolated
from scenelake.geometry.poses import IDENTITY, compose, invert, normalised
from scenelake.geometry.trajectory import MAX_POSE_GAP_NS, Trajectory
from scenelake.timebase.arrays import FloatArray, Int64Array


def frame_name(name: str) -> str:
    """A frame id without the leading slash of ROS 1."""
    return name.lstrip("/")


@dataclass(frozen=True, slots=True)
class Edge:
    """The transforms recorded between two frames.

    Attributes:
        stamps_ns: (k,) int64, non-decreasing; k >= 1.
        poses: (k, 7) ``parent_from_child``.
        is_moving: interpolated between its stamps. Otherwise each pose holds up to the next one, and the first
            also before its own stamp, because a latched transform often arrives after what it describes.
    """

    parent: str
    child: str
    stamps_ns: Int64Array
    poses: FloatArray
    is_moving: bool = False

    def at(self, times_ns: Int64Array, max_gap_ns: int) -> Interpolated:
        """Poses (m, 7) at times; invalid in a gap of a moving edge and where what holds is no rigid transform."""
        if self.is_moving:
            return Trajectory.of(self.stamps_ns, self.poses, max_gap_ns).at(times_ns)
        holds = np.maximum(np.searchsorted(self.stamps_ns, times_ns, side="right") - 1, 0)
        values = normalised(self.poses)[holds]
        return Interpolated(values, np.asarray(np.isfinite(values).all(axis=1)))

    def __str__(self) -> str:
        return f"{self.parent!r} from {self.child!r}"


@dataclass(frozen=True, slots=True)
class Chain:
    """``target_from_source`` over time.

    Attributes:
        down: edges from the target's side, the one nearest the target first; they are inverted.
        up: edges from the source's side, the one nearest the source first.
    """

    down: tuple[Edge, ...]
    up: tuple[Edge, ...]
    max_gap_ns: int

    @property
    def edges(self) -> tuple[Edge, ...]:
        return (*self.down, *self.up)

    @property
    def is_moving(self) -> bool:
        return any(edge.is_moving for edge in self.edges)

    @property
    def change_ns(self) -> Int64Array:
        """When an edge that stands still is set to something else, sorted, without repeats."""
        changes = [edge.stamps_ns[1:] for edge in self.edges if not edge.is_moving]
        return np.unique(np.concatenate([np.empty(0, np.int64), *changes]))

    def at(self, times_ns: Int64Array) -> Interpolated:
        """Poses (m, 7) ``target_from_source`` at times in any order."""
        is_valid = np.ones(len(times_ns), np.bool_)
        sides = []
        for edges in (self.down, self.up):
            side = np.broadcast_to(IDENTITY, (len(times_ns), 7))
            for edge in edges:
                found = edge.at(times_ns, self.max_gap_ns)
                is_valid = is_valid & found.is_valid
                side = compose(found.values, side)
            sides.append(side)
        poses = compose(invert(sides[0]), sides[1])
        poses[~is_valid] = np.nan
        return Interpolated(poses, is_valid)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A chain, or why there is none. Exactly one of the two is None."""

    chain: Chain | None
    problem: str | None


class TransformTree:
    """The transforms of a drive; a frame with two parents, or on a cycle, leaves what hangs on it unresolved.

    Args:
        edges: at most one per pair of frames.
        max_gap_ns: widest pair of stamps that a moving edge is interpolated between, inclusive.
    """

    def __init__(self, edges: Iterable[Edge], max_gap_ns: int = MAX_POSE_GAP_NS) -> None:
        self._max_gap_ns = max_gap_ns
        self._parents: dict[str, dict[str, Edge]] = {}
        for edge in edges:
            self._parents.setdefault(frame_name(edge.child), {})[frame_name(edge.parent)] = edge

    def resolve(self, target: str, source: str) -> Resolved:
        """The chain ``target_from_source``, or the reason for which it cannot be known."""
        target, source = frame_name(target), frame_name(source)
        from_source, problem = self._climb(source)
        from_target, other_problem = self._climb(target)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is not None:
            return Resolved(Chain(from_target[common], from_source[common], self._max_gap_ns), None)
        return Resolved(None, problem or other_problem or f"frame {source!r} is not connected to {target!r}")

    def ancestors(self, frame: str) -> tuple[str, ...]:
        """Frames above a frame, nearest first, up to the root or to where the climb stops."""
        return tuple(self._climb(frame_name(frame))[0])[1:]

    def _climb(self, frame: str) -> tuple[dict[str, tuple[Edge, ...]], str | None]:
        """The edges up to every ancestor, nearest first, and what stopped the climb."""
        chains: dict[str, tuple[Edge, ...]] = {frame: ()}
        at = frame
        while parents := self._parents.get(at):
            if len(parents) > 1:
                return chains, f"frame {at!r} has {len(parents)} parents: {', '.join(sorted(parents))}"
            parent, edge = next(iter(parents.items()))
            if not np.isfinite(normalised(edge.poses)).all(axis=1).any():
                return chains, f"transform {edge} is no rigid transform"
            if parent in chains:
                return {frame: ()}, f"frame {parent!r} is on a cycle"
            chains[parent] = (*chains[at], edge)
            at = parent
        return chains, None
