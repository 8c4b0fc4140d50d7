"""Transform trees: from parent_from_child edges to ego_from_sensor.

A pose is a (7,) float64 array in the order of ``contracts.columns.POSE``: translation in metres, then qw,
qx, qy, qz. ``a_from_c = compose(a_from_b, b_from_c)``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scenelake.timebase.arrays import FloatArray

IDENTITY: FloatArray = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
POSE_FIELDS = ("tx_m", "ty_m", "tz_m", "qw", "qx", "qy", "qz")


def compose(a_from_b: FloatArray, b_from_c: FloatArray) -> FloatArray:
    """``a_from_c``, with its quaternion normalised."""
    rotation = _multiply(a_from_b[3:], b_from_c[3:])
    translation = a_from_b[:3] + _rotate(a_from_b[3:], b_from_c[:3])
    return np.concatenate([translation, rotation / np.linalg.norm(rotation)])


def invert(a_from_b: FloatArray) -> FloatArray:
    """``b_from_a`` of a pose with a unit quaternion."""
    conjugate = a_from_b[3:] * np.array([1.0, -1.0, -1.0, -1.0])
    return np.concatenate([-_rotate(conjugate, a_from_b[:3]), conjugate])


def _multiply(p: FloatArray, q: FloatArray) -> FloatArray:
    return np.concatenate([[p[0] * q[0] - p[1:] @ q[1:]], p[0] * q[1:] + q[0] * p[1:] + np.cross(p[1:], q[1:])])


def _rotate(q: FloatArray, v: FloatArray) -> FloatArray:
    twice = 2.0 * np.cross(q[1:], v)
    return np.asarray(v + q[0] * twice + np.cross(q[1:], twice))


def frame_name(name: str) -> str:
    """A frame id without the leading slash of ROS 1."""
    return name.lstrip("/")


@dataclass(frozen=True, slots=True)
class Edge:
    """One transform as recorded; ``parent_from_child`` is (7,)."""

    parent: str
    child: str
    parent_from_child: FloatArray


@dataclass(frozen=True, slots=True)
class Resolved:
    """A transform, or why there is none. Exactly one of the two is None."""

    pose: FloatArray | None
    problem: str | None


class TransformTree:
    """Static transforms, each frame with one parent; a later edge between the same frames replaces an earlier one.

    Args:
        edges: in order of time. A frame with two parents, or on a cycle, leaves what hangs on it unresolved.
    """

    def __init__(self, edges: Iterable[Edge]) -> None:
        self._parents: dict[str, dict[str, FloatArray]] = {}
        for edge in edges:
            parents = self._parents.setdefault(frame_name(edge.child), {})
            parents[frame_name(edge.parent)] = edge.parent_from_child

    def resolve(self, target: str, source: str) -> Resolved:
        """``target_from_source`` through the tree, or the reason for which it cannot be known."""
        target, source = frame_name(target), frame_name(source)
        from_source, problem = self._climb(source)
        from_target, other_problem = self._climb(target)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is not None:
            return Resolved(compose(invert(from_target[common]), from_source[common]), None)
        return Resolved(None, problem or other_problem or f"frame {source!r} is not connected to {target!r}")

    def _climb(self, frame: str) -> tuple[dict[str, FloatArray], str | None]:
        """``ancestor_from_frame`` of every ancestor, nearest first, and what stopped the climb."""
        poses = {frame: IDENTITY}
        at = frame
        while parents := self._parents.get(at):
            if len(parents) > 1:
                return poses, f"frame {at!r} has {len(parents)} parents: {', '.join(sorted(parents))}"
            parent, parent_from_at = next(iter(parents.items()))
            norm = float(np.linalg.norm(parent_from_at[3:]))
            if not (np.isfinite(parent_from_at).all() and norm > 0.0):
                return poses, f"transform {parent!r} from {at!r} is no rigid transform"
            if parent in poses:
                return {frame: IDENTITY}, f"frame {parent!r} is on a cycle"
            unit = np.concatenate([parent_from_at[:3], parent_from_at[3:] / norm])
            poses[parent] = compose(unit, poses[at])
            at = parent
        return poses, None
