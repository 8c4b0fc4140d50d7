"""One drive of a trial: simulated, judged as it is, and judged again with faults in it."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.quality.conditions import CONDITIONS
from benchmarks.quality.depth import with_depth
from benchmarks.quality.fault_kinds import KINDS
from benchmarks.quality.odometry import with_noise
from benchmarks.quality.pipeline import FileEdit, facts_of, judged
from benchmarks.quality.recording import Recording, Track
from benchmarks.quality.rigs import EPISODE_NS, EPISODES, PAUSE_NS, SCENE_NS, START_NS, TrialSet
from benchmarks.quality.schedule import WHOLE_SCENES, DriveSpec, Placement, Run, Task
from scenelake.quality.baseline import Baselines
from scenelake.quality.checks import Verdict
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import DriveFacts
from scenelake.simulate.drive import simulate_drive
from scenelake.simulate.robot import simulate_robot_session
from scenelake.simulate.world import build_world

_TELLING = frozenset({Verdict.WARN, Verdict.QUARANTINE, Verdict.REJECT})


@dataclass(frozen=True)
class Trial:
    """What became of one fault in one scene.

    Attributes:
        drive: number of the drive and its run, of which the scenes of one fault may be several.
        measured: what the check that must catch it measured; None where it could not.
        is_caught: by that check.
        others: other checks that spoke of the scene.
        verdict: of the scene.
    """

    kind: str
    grade: int
    condition: str
    drive: tuple[int, int]
    measured: float | None
    is_caught: bool
    others: tuple[str, ...]
    verdict: str


@dataclass(frozen=True)
class CleanScene:
    """What was said of a good scene: its verdict, and the checks and channels that spoke up."""

    rig: str
    condition: str
    seed: int
    scene: int
    verdict: str
    alarms: tuple[tuple[str, str, float | None], ...]


@dataclass(frozen=True)
class Outcome:
    """Of one drive. ``measurements`` are those of it without faults."""

    trials: tuple[Trial, ...]
    clean: tuple[CleanScene, ...]
    measurements: pa.Table | None


def simulated(drive: DriveSpec, chosen: TrialSet) -> Recording:
    """The drive as it would be recorded, in its condition."""
    with tempfile.TemporaryDirectory(prefix="scenelake-trial-") as name:
        path = Path(name) / "recording.mcap"
        if drive.condition is None:
            simulate_robot_session(chosen.humanoids[drive.rig].session(drive.seed), path)
            return with_depth(Recording.read(path), drive.seed)
        random = np.random.default_rng(drive.seed)
        condition = CONDITIONS[drive.condition]
        rig = chosen.rigs[drive.rig]
        config = rig.drive(
            drive.seed, drive.nbr_scenes, float(random.uniform(*condition.speed_m_s)), *condition.traffic
        )
        simulate_drive(config, path, world=condition.world(build_world(config)))
        measured = with_noise(Recording.read(path), rig, drive.seed)
        return condition.applied(measured, windows(drive), drive.seed)


def windows(drive: DriveSpec) -> dict[int, tuple[int, int]]:
    """Start and end of every scene that will be cut, in ns, by its number."""
    if drive.condition is not None:
        return {k: (START_NS + k * SCENE_NS, START_NS + (k + 1) * SCENE_NS) for k in range(drive.nbr_scenes)}
    step_ns = EPISODE_NS + PAUSE_NS
    starts = [START_NS + k * step_ns + PAUSE_NS // 2 for k in range(drive.nbr_scenes)]
    return {k: (start_ns, start_ns + EPISODE_NS) for k, start_ns in enumerate(starts)}


@dataclass(frozen=True)
class Recorded:
    """A drive as the checks see it; ``run`` are the faults in it, None for none."""

    drive: DriveSpec
    robot_id: str
    number: int
    run: Run | None
    facts: DriveFacts


def recorded(task: Task, chosen: TrialSet, baselines: Baselines) -> Iterator[Recorded]:
    """The drive as it is, and with the faults of each of its runs."""
    drive = task.drive
    recording, spans = simulated(drive, chosen), windows(drive)
    robot_id = (chosen.humanoids if drive.condition is None else chosen.rigs)[drive.rig].name
    if task.is_clean:
        yield Recorded(drive, robot_id, -1, None, facts_of(recording, robot_id, baselines))
    for number, run in enumerate(task.runs):
        faulty, edit = _with_faults(recording, run, spans)
        yield Recorded(drive, robot_id, number, run, facts_of(faulty, robot_id, baselines, edit))


def tried(task: Task, chosen: TrialSet, baselines: Baselines) -> Outcome:
    """Everything that is to be tried on one drive."""
    return said_of(recorded(task, chosen, baselines))


def said_of(drives: Iterable[Recorded]) -> Outcome:
    """What the checks and the default policy say."""
    policy = QualityPolicy()
    clean: list[CleanScene] = []
    trials: list[Trial] = []
    measurements = None
    for found in drives:
        condition = found.drive.condition or "robot"
        rows, verdicts, measured = judged(found.facts, policy, windows(found.drive))
        if found.run is None:
            said, measurements = _alarms(rows), measured
            clean += [
                CleanScene(found.robot_id, condition, found.drive.seed, scene, verdict, tuple(said.get(scene, ())))
                for scene, verdict in verdicts.items()
            ]
            continue
        identity = (found.drive.seed, found.number)
        for placement in found.run.placements:
            scenes = verdicts if placement.scene is None else (placement.scene,)
            trials += [_trial(placement, condition, identity, scene, rows, verdicts) for scene in scenes]
    return Outcome(tuple(trials), tuple(clean), measurements)


def _with_faults(
    recording: Recording, run: Run, spans: Mapping[int, tuple[int, int]]
) -> tuple[Recording, FileEdit | None]:
    """The recording with a run's faults, and what is to happen to its file."""
    if run.first_scene is not None:
        first = run.first_scene
        recording = recording.cut(spans[first][0], spans[first + WHOLE_SCENES - 1][1])
    edit: FileEdit | None = None
    for placement in run.placements:
        kind, random = KINDS[placement.kind], np.random.default_rng(placement.seed)
        strength = kind.strengths[placement.grade]
        if kind.damage is not None:
            edit = partial(kind.damage, strength=strength, random=random)
        elif kind.inject is not None:
            track = recording.tracks[kind.topic]
            rows = np.arange(len(track.data)) if placement.scene is None else _rows(track, spans[placement.scene])
            recording = recording.having(kind.inject(track, rows, strength, random))
    return recording, edit


def _rows(track: Track, span: tuple[int, int]) -> Any:
    # The mark of an episode's end comes when it has ended.
    rows = track.within(span[0], span[1] + (PAUSE_NS // 2 if track.topic == EPISODES else 0))
    if not len(rows):
        raise ValueError(f"{track.topic}: no message between {span[0]} and {span[1]} ns to plant a fault in")
    return rows


def _alarms(rows: list[dict[str, Any]]) -> dict[int, list[tuple[str, str, float | None]]]:
    found: dict[int, list[tuple[str, str, float | None]]] = {}
    for row in rows:
        if row["verdict"] in _TELLING:
            found.setdefault(row["scene"], []).append((row["check_name"], row["channel"] or "", row["measured"]))
    return found


def _trial(
    placement: Placement,
    condition: str,
    drive: tuple[int, int],
    scene: int,
    rows: list[dict[str, Any]],
    verdicts: Mapping[int, str],
) -> Trial:
    kind = KINDS[placement.kind]
    own = [r for r in rows if r["scene"] == scene and r["check_name"] == kind.check and kind.is_told_of(r["channel"])]
    others = {r["check_name"] for r in rows if r["scene"] == scene and r["verdict"] in _TELLING}
    return Trial(
        kind.name,
        placement.grade,
        condition,
        drive,
        next((row["measured"] for row in own if row["measured"] is not None), None),
        any(row["verdict"] in _TELLING for row in own),
        tuple(sorted(others - {kind.check})),
        verdicts.get(scene, str(Verdict.UNKNOWN)),
    )
