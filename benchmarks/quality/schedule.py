"""Which fault goes into which scene of which drive."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.conditions import CONDITIONS
from benchmarks.quality.kinds import Kind
from benchmarks.quality.rigs import (
    ACTIONS,
    CAMERA,
    DEPTH,
    EPISODES,
    GNSS,
    HEAD,
    IMU,
    JOINTS,
    LIDAR,
    NBR_EPISODES,
    NBR_SCENES,
    ODOMETRY,
    RADAR,
)

WHOLE_SCENES = 2
"""Of the drive that a fault of a whole drive is tried on."""

SCENES_OF: Mapping[str, tuple[int, ...]] = {
    CAMERA: (0, 1, 3), LIDAR: (1, 4), RADAR: (0, 3), IMU: (0, 1, 4), ODOMETRY: (2, 5), GNSS: (0, 3),
    JOINTS: (1, 4, 6), ACTIONS: (2, 5), EPISODES: (3,), HEAD: (7,), DEPTH: (0, 3),
}  # fmt: skip
"""Scenes of a drive that a topic's faults go into: at most half of them, and never where another topic is faulty that
the checks hold this one to (what moves is told by the poses)."""


@dataclass(frozen=True)
class DriveSpec:
    """One drive, or one session of a robot, of a trial set.

    Attributes:
        rig: its number in the set.
        condition: name of a drive's; None for a robot's session.
        nbr_scenes: or episodes.
    """

    seed: int
    rig: int
    condition: str | None
    nbr_scenes: int


@dataclass(frozen=True)
class Placement:
    """One fault in one scene; ``scene`` is None for the whole drive."""

    kind: str
    grade: int
    scene: int | None
    seed: int


@dataclass(frozen=True)
class Run:
    """One recording with faults: a drive's, or for faults of the whole drive its scenes from ``first_scene`` on."""

    placements: tuple[Placement, ...]
    first_scene: int | None = None


@dataclass(frozen=True)
class Task:
    """One drive with the runs that it is made into; ``is_clean``: also as it is."""

    drive: DriveSpec
    runs: tuple[Run, ...]
    is_clean: bool = True


def specs(nbr_drives: int, nbr_rigs: int, first_seed: int, nbr_scenes: int = NBR_SCENES) -> list[DriveSpec]:
    """Drives of all rigs in all conditions, as evenly as their number allows."""
    chosen = list(CONDITIONS)
    return [
        DriveSpec(first_seed + i, i % nbr_rigs, chosen[(i // nbr_rigs + 5 * (i % nbr_rigs)) % len(chosen)], nbr_scenes)
        for i in range(nbr_drives)
    ]


def sessions(nbr_sessions: int, nbr_robots: int, first_seed: int) -> list[DriveSpec]:
    """Sessions of all robots, as evenly as their number allows."""
    return [DriveSpec(first_seed + i, i % nbr_robots, None, NBR_EPISODES) for i in range(nbr_sessions)]


def planned(
    drives: Sequence[DriveSpec], kinds: Iterable[Kind], per_grade: int, seed: int, *, is_strongest: bool = False
) -> list[Task]:
    """Every kind at every strength in at least ``per_grade`` scenes, spread over the drives.

    Args:
        is_strongest: at its greatest strength alone.

    Raises:
        ValueError: a kind fits none of the drives' conditions.
    """
    chosen = list(kinds)
    random = np.random.default_rng(seed)
    local = _queues([k for k in chosen if not k.is_whole], per_grade, random, is_strongest)
    whole = _queues([k for k in chosen if k.is_whole], -(-per_grade // WHOLE_SCENES), random, is_strongest)
    runs: list[list[Run]] = [[] for _ in drives]
    of_file = {topic: whole.pop(topic) for topic in list(whole) if not topic}
    for queues in (local, whole, of_file):
        _deal(queues, drives, runs, random, is_whole=queues is not local)
    return [Task(drive, tuple(found)) for drive, found in zip(drives, runs, strict=True)]


_Queues = dict[str, list[tuple[Kind, int]]]


def _queues(kinds: Sequence[Kind], per_grade: int, random: np.random.Generator, is_strongest: bool) -> _Queues:
    queues: _Queues = {}
    for kind in kinds:
        last = len(kind.strengths) - 1
        # A kind of one strength has as many scenes as others at two.
        count = per_grade if is_strongest else max(per_grade, -(-2 * per_grade // len(kind.strengths)))
        for grade in range(last if is_strongest else 0, last + 1):
            queues.setdefault(kind.topic, []).extend([(kind, grade)] * count)
    for queue in queues.values():
        random.shuffle(queue)  # type: ignore[arg-type]
    return queues


def _deal(
    queues: _Queues, drives: Sequence[DriveSpec], runs: list[list[Run]], random: np.random.Generator, *, is_whole: bool
) -> None:
    """Goes round the drives until every queue is empty."""
    turn, last = 0, 0
    while any(queues.values()):
        at = turn % len(drives)
        placed: list[Placement] = []
        for topic, queue in queues.items():
            for scene in (None,) if is_whole else SCENES_OF[topic]:
                found = _next(queue, drives[at])
                if found is not None:
                    placed.append(Placement(found[0].name, found[1], scene, int(random.integers(2**31))))
        if placed:
            first = int(random.integers(drives[at].nbr_scenes - WHOLE_SCENES + 1)) if is_whole else None
            runs[at].append(Run(tuple(placed), first))
            last = turn
        if turn - last > 2 * len(drives):
            left = sorted({kind.name for queue in queues.values() for kind, _ in queue})
            raise ValueError(f"no drive fits {', '.join(left)}: give more drives, or other conditions")
        turn += 1


def _next(queue: list[tuple[Kind, int]], drive: DriveSpec) -> tuple[Kind, int] | None:
    for position, (kind, _) in enumerate(queue):
        if drive.condition is None or kind.fits(CONDITIONS[drive.condition]):
            return queue.pop(position)
    return None
