"""The trial itself: ``python -m benchmarks quality``, on the held-out set; with ``--fit`` on the one for fitting."""

import json
import multiprocessing
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.quality.conditions import CONDITIONS
from benchmarks.quality.fault_kinds import KINDS, OF_ROBOTS
from benchmarks.quality.fit import fitted
from benchmarks.quality.kinds import Kind
from benchmarks.quality.rigs import FIT, HELD_OUT, TrialSet
from benchmarks.quality.schedule import DriveSpec, Task, planned, sessions, specs
from benchmarks.quality.summary import Limits, summary, too_few
from benchmarks.quality.worker import Outcome, tried
from scenelake.quality.baseline import MIN_SCENES, Baselines, baselines_of, fit, observations

Say = Callable[[str], None]
FIT_RESULT = Path(__file__).parents[1] / "results" / "quality_fit.json"

NBR_DRIVES, NBR_SESSIONS = 120, 36
PER_GRADE = 25
NBR_SCENES_BEFORE, NBR_SESSIONS_BEFORE = 3, 5
"""What baselines are fitted to: so many scenes of each car in every condition, so many sessions of each robot."""
NBR_WORKERS = 2

_HISTORY, _ROBOTS = 50_000, 25_000
"""Seeds of what came before the trial, and of robots, are so far from the others."""


def run(say: Say, *, is_fit: bool = False, scale: float = 1.0, workers: int = NBR_WORKERS) -> dict[str, Any]:
    """Tries every kind of fault on one of the two sets.

    Args:
        scale: of the numbers of drives and scenes; 1 for results that are kept.
    """
    chosen = FIT if is_fit else HELD_OUT
    started = time.monotonic()
    sizes = [max(round(number * scale), 1) for number in (NBR_DRIVES, NBR_SESSIONS, PER_GRADE)]
    outcomes, baselines = outcomes_of(say, chosen, KINDS.values(), *sizes, workers)
    trials = [trial for outcome in outcomes for trial in outcome.trials]
    clean = [scene for outcome in outcomes for scene in outcome.clean]
    frozen = None if is_fit else frozen_limits()
    found = summary(KINDS.values(), trials, clean, frozen)
    if not is_fit and scale == 1.0:
        found["failures"] += too_few(found["kinds"], found["clean"])
    if is_fit:
        found["fit"] = fitted(trials, [o.measurements for o in outcomes if o.measurements is not None])
    return {
        "file": FIT_RESULT.stem if is_fit else "quality",
        "set": chosen.name,
        "scale": scale,
        "rigs": [rig.name for rig in (*chosen.rigs, *chosen.humanoids)],
        "conditions": list(CONDITIONS),
        "baselines": baselines,
        "wall_s": round(time.monotonic() - started),
        **found,
    }


def frozen_limits() -> Limits:
    """What the checks were held to when they were fitted."""
    found: Limits = json.loads(FIT_RESULT.read_text())["limits"] if FIT_RESULT.exists() else {}
    return found


def outcomes_of(
    say: Say,
    chosen: TrialSet,
    kinds: Collection[Kind],
    nbr_drives: int,
    nbr_sessions: int,
    per_grade: int,
    workers: int,
) -> tuple[list[Outcome], dict[str, str]]:
    """Fits baselines to drives before the trial, then plants the faults; outcomes, and versions of the baselines."""
    nbr_rigs, nbr_robots = len(chosen.rigs), len(chosen.humanoids)
    seed = chosen.first_seed
    of_cars = [kind for kind in kinds if kind.topic not in OF_ROBOTS]
    of_robots = [kind for kind in kinds if kind.topic in OF_ROBOTS]
    drives = specs(nbr_drives, nbr_rigs, seed)
    robots = sessions(nbr_sessions, nbr_robots, seed + _ROBOTS)
    tasks = [*planned(drives, of_cars, per_grade, seed), *planned(robots, of_robots, per_grade, seed + 1)]
    before = specs(nbr_rigs * len(CONDITIONS), nbr_rigs, seed + _HISTORY, NBR_SCENES_BEFORE)
    before += sessions(nbr_robots * NBR_SESSIONS_BEFORE, nbr_robots, seed + _HISTORY + _ROBOTS)
    known = _baselines(chosen, _all_tried([(Task(d, ()), Baselines()) for d in before], chosen, say, workers, "before"))
    items = [(task, known.get(_robot(chosen, task.drive), Baselines())) for task in tasks]
    found = list(_all_tried(items, chosen, say, workers, "trial"))
    return [outcome for _, outcome in found], {name: b.version or "" for name, b in known.items()}


def _robot(chosen: TrialSet, drive: DriveSpec) -> str:
    return (chosen.humanoids if drive.condition is None else chosen.rigs)[drive.rig].name


def _baselines(chosen: TrialSet, history: Iterable[tuple[Task, Outcome]]) -> dict[str, Baselines]:
    """Of every robot of the set."""
    parts: dict[str, list[pa.Table]] = {}
    for task, outcome in history:
        if outcome.measurements is not None:
            parts.setdefault(_robot(chosen, task.drive), []).append(outcome.measurements)
    return {name: known_from(name, tables) for name, tables in parts.items()}


def known_from(robot_id: str, measurements: Sequence[pa.Table], min_scenes: int = MIN_SCENES) -> Baselines:
    """What is usual for a robot, fitted as the daily job does it."""
    rows = pa.concat_tables(measurements)
    drive_ids = rows["drive_id"].unique()
    drives = pa.table({"drive_id": drive_ids, "robot_id": pa.array([robot_id] * len(drive_ids))})
    return baselines_of(fit(observations(rows, drives), min_scenes), robot_id)


def _all_tried(
    items: Sequence[tuple[Task, Baselines]], chosen: TrialSet, say: Say, workers: int, name: str
) -> Iterator[tuple[Task, Outcome]]:
    """Outcomes in the order of the tasks."""
    nbr_runs = sum(len(task.runs) + task.is_clean for task, _ in items)
    say(f"quality: {name}: {len(items)} drives, {nbr_runs} recordings")
    started = time.monotonic()
    if not workers:
        for done, (task, baselines) in enumerate(items):
            yield task, tried(task, chosen, baselines)
            _tell(say, name, done + 1, len(items), started)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(tried, task, chosen, known): at for at, (task, known) in enumerate(items)}
        found: list[Outcome | None] = [None] * len(items)
        for done, future in enumerate(as_completed(waiting)):
            found[waiting[future]] = future.result()
            _tell(say, name, done + 1, len(items), started)
    for (task, _), outcome in zip(items, found, strict=True):
        if outcome is not None:
            yield task, outcome


def _tell(say: Say, name: str, done: int, total: int, started: float) -> None:
    if done % max(total // 20, 1) == 0:
        say(f"quality: {name}: {done} of {total} drives, {time.monotonic() - started:.0f} s")
