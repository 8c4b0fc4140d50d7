"""Kill -9 at every failpoint: the process that passes it, or another part of the stack while it waits there."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import psutil
from tests.faults.events import Bench, Did
from tests.faults.landing import wait_until
from tests.faults.recordings import Part
from tests.faults.stack import SCHEDULER, TRIGGERER, find_process, kill_pid

from scenelake.adapters.airflow_api import AirflowApi
from scenelake.contracts.errors import TransientError
from scenelake.contracts.manifests import ManifestFile, manifest_bytes
from scenelake.contracts.paths import MANIFEST_NAME
from scenelake.stack.supervisor import EVENTS

KILLS_PER_POINT = 5
WORKER, SPARK, COMMITTER = "worker", "Spark driver", "committer"
ONCE = ("iceberg.create.before", "iceberg.create.after")
"""Failpoints that only a lake's first commit passes."""
ONE_AT_A_TIME = ("register_drop.", "event_runner.")
"""A message that meets more kills than its queue allows receives is dead, and its drop then waits for the sweep."""
ON_ARRIVAL = (
    "register_drop.",
    "event_runner.",
    "doorbell.",
    "claim.",
    "decode.outcome.",
    "decode.payload_file.",
    "decode.table.",
)
"""Failpoints that a drop passes once, when it is new. They come first: a build that is killed at every later point
keeps its place, and no new drop is claimed meanwhile."""
_ARRIVAL_SHARE = 0.45
"""Of the time for the kills, before the other points are armed although some of these still wait."""
VICTIMS = (SPARK, COMMITTER, WORKER, TRIGGERER, SCHEDULER, EVENTS)
_COMMITTER_MODULE = "scenelake.serialise.job"
RECONCILE_DAG = "reconcile_daily"
_OF_RECONCILER = ("reconcile.", "sweep.", "audit.", "redrive.")
_FEW_WAITING = 20
_WAVE_EVERY_SECONDS = 6.0
_REST_SECONDS = 8.0
_POLL_SECONDS = 0.5
_SAY_EVERY_SECONDS = 20


@dataclass
class Load:
    """A stream of small batches of every kind, put as fast as they are built."""

    bench: Bench
    nbr_waves: int = 0
    fed_at: float = 0.0

    def feed(self) -> None:
        landing, now = self.bench.landing, time.monotonic()
        # Wave by wave, so that each is claimed alone and several builds run at a time. What is queued counts as
        # well: while the event runner is dead, nothing waits in the ledger.
        if now - self.fed_at < _WAVE_EVERY_SECONDS:
            return
        if landing.nbr_waiting() + landing.nbr_queued(landing.settings.event_queue_url) < _FEW_WAITING:
            self.wave()
            self.fed_at = now

    def wave(self) -> None:
        """Two drives of two objects; in turn also a bad file, a duplicate, a marker, a recording in a folder."""
        bench = self.bench
        parts = bench.new_drive(nbr_parts=2) + bench.new_drive(nbr_parts=2)
        folder = parts[0].key.rsplit("/", 1)[0]
        match self.nbr_waves % 4:
            case 0:
                parts.append(Part(f"{folder}/not_a_recording.mcap", b"this is not a recording\n" * 9))
            case 1:
                parts.append(Part(f"{folder}/copy.mcap", parts[0].body))
            case 2:
                parts.append(Part(f"{folder}/folder/", b""))
            case _:
                split = bench.new_drive("recording/", nbr_parts=3)
                files = [ManifestFile(p.key.rsplit("/", 1)[-1], len(p.body)) for p in split]
                parts += [*split, Part(f"{split[0].key.rsplit('/', 1)[0]}/{MANIFEST_NAME}", manifest_bytes(files))]
        bench.put(parts)
        self.nbr_waves += 1


@dataclass
class Killing:
    """What was killed so far.

    Attributes:
        points: kills by failpoint.
        victims: kills by part of the stack; a process that killed itself counts under its own component.
    """

    bench: Bench
    points: Counter[str] = field(default_factory=Counter)
    victims: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)

    def harvest(self) -> None:
        """Counts what was fired since the last time, and kills another part for every process that waits."""
        for order, shot in self.bench.stack.wounds.fired().items():
            if order in self.seen:
                continue
            self.seen.add(order)
            if shot["action"] == "kill":
                self._count(shot["name"], shot["component"])
            else:
                victim = self.kill_another(shot)
                if victim:
                    self._count(shot["name"], victim)
                self.bench.stack.wounds.release(order)

    def _count(self, point: str, victim: str) -> None:
        self.points[point] += 1
        self.victims[victim] += 1

    def kill_another(self, shot: dict[str, Any]) -> str | None:
        """Kills the part that was killed least so far, of those that are there while a process is halted."""
        finders = self.finders(shot["pid"])
        for victim in sorted(VICTIMS, key=lambda v: (self.victims[v], VICTIMS.index(v))):
            pid = finders[victim]()
            if pid is not None and kill_pid(pid):
                return victim
        return None

    def finders(self, halted: int) -> dict[str, Callable[[], int | None]]:
        """How to find each part; those that hang together with the halted process start from it."""
        stack = self.bench.stack
        return {
            EVENTS: lambda: stack.pid(EVENTS),
            TRIGGERER: lambda: stack.pid(TRIGGERER),
            SCHEDULER: lambda: stack.pid(SCHEDULER),
            WORKER: lambda: _worker_of(halted, stack.pid(SCHEDULER)),
            SPARK: lambda: _spark_driver(stack.pid(SCHEDULER)),
            COMMITTER: lambda: _committer(stack.pid(SCHEDULER)),
        }


def kill_at_first_commit(bench: Bench, killing: Killing, orders: "Orders", *, deadline: float) -> Did:
    """Kills where only the very first commit of a lake passes: tables are created once."""
    orders.renew(ONCE, nbr_halts=0)
    Load(bench).wave()
    # Not a moment's rest: the commit may succeed at the first try that nobody kills.
    wait_until(deadline, lambda: not orders.renew(ONCE, rest_seconds=0, nbr_halts=0), _POLL_SECONDS)
    killing.harvest()
    return _did(bench, killing, ONCE, orders.nbr_kills, killing.points.total())


def kill_everywhere(bench: Bench, killing: Killing, orders: "Orders", airflow: AirflowApi, *, deadline: float) -> Did:
    """Keeps one order at every failpoint that was ever passed, under load, until each has seen its kills.

    A failpoint sees its kills first, then one halt during which another part of the stack is killed. Points that
    only appear now, because only a kill leads to them, are taken up as they come.
    """
    wounds, load, nbr_before = bench.stack.wounds, Load(bench), killing.points.total()
    wounds.record()
    said_at, started_at = 0.0, time.monotonic()
    arrived_by = started_at + _ARRIVAL_SHARE * (deadline - started_at)

    def renew() -> bool:
        points = [p for p in wounds.seen() if p not in ONCE]
        on_arrival = [p for p in points if p.startswith(ON_ARRIVAL)]
        if time.monotonic() < arrived_by and orders.renew(on_arrival):
            return True
        return orders.renew(points)

    while renew() and time.monotonic() < deadline:
        killing.harvest()
        if time.monotonic() - said_at > _SAY_EVERY_SECONDS:
            left = wounds.armed()
            bench.say(f"{killing.points.total()} kills, {len(left)} points armed: {', '.join(left[:6])} …")
            said_at = time.monotonic()
        load.feed()
        if any(name.startswith(_OF_RECONCILER) for name in wounds.armed()):
            reconcile_in_airflow(airflow)
        time.sleep(_POLL_SECONDS)
    points = wounds.seen()
    wounds.heal()
    killing.harvest()
    return _did(bench, killing, points, orders.nbr_kills, killing.points.total() - nbr_before)


def _did(bench: Bench, killing: Killing, points: Sequence[str], wanted: int, nbr_kills: int) -> Did:
    missed = {p: killing.points[p] for p in sorted(points) if killing.points[p] < wanted}
    return Did(
        f"≥ {wanted} at each of {len(points)} failpoints", nbr_kills=nbr_kills,
        notes=(f"killed so far: {', '.join(f'{n} × {v}' for v, n in killing.victims.most_common())}",),
        broken=tuple(f"{point}: {n} of {wanted} kills came about in time" for point, n in missed.items()),
    )  # fmt: skip


@dataclass
class Orders:
    """Which orders each failpoint still gets, one at a time.

    Attributes:
        nbr_kills: at each failpoint.
    """

    bench: Bench
    nbr_kills: int
    nbr_armed: Counter[str] = field(default_factory=Counter)
    rests_since: dict[str, float] = field(default_factory=dict)

    def renew(self, points: Sequence[str], *, rest_seconds: float = _REST_SECONDS, nbr_halts: int = 1) -> bool:
        """Arms what may be armed; False when every point has seen its orders.

        What was fired counts, and not what was armed: of two threads that each take an order, one may die of the
        other's. A point rests for a moment after each order: the pipeline must get past it to reach the others.
        """
        wounds, now = self.bench.stack.wounds, time.monotonic()
        armed = {name.rsplit("@", 1)[0] for name in wounds.armed()}
        fired = Counter((shot["name"], shot["action"]) for shot in wounds.fired().values())
        is_busy = bool(armed)
        for point in points:
            needs_kill = fired[point, "kill"] < self.nbr_kills
            if point in armed or not (needs_kill or fired[point, "halt"] < nbr_halts):
                continue
            is_busy = True
            if point.startswith(ONE_AT_A_TIME) and any(name.startswith(ONE_AT_A_TIME) for name in armed):
                continue
            if self.nbr_armed[point] and now - self.rests_since.setdefault(point, now) < rest_seconds:
                continue
            self.rests_since.pop(point, None)
            armed.add(point)
            self.nbr_armed[point] += 1
            wounds.arm(point, self.nbr_armed[point], "kill" if needs_kill else "halt")
        return is_busy


def reconcile_in_airflow(airflow: AirflowApi) -> None:
    """Starts the daily reconciler, unless a run of it was started already and has not ended."""
    try:
        if not airflow.get(f"/dags/{RECONCILE_DAG}/dagRuns?state=running&state=queued")["total_entries"]:
            airflow.trigger(RECONCILE_DAG, {"grace_seconds": 0})
    except (TransientError, OSError):
        # The API server may be down at this very moment; the next round asks again.
        return


def _command(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


def _worker_of(pid: int, scheduler: int | None) -> int | None:
    """The worker (the scheduler's own child) in which the halted process's task runs."""
    try:
        line = psutil.Process(pid).parents()
    except psutil.NoSuchProcess:
        return None
    for child, parent in pairwise(line):
        if parent.pid == scheduler:
            return int(child.pid)
    return None


def _spark_driver(scheduler: int | None) -> int | None:
    process = find_process(scheduler, lambda p: p.name() == "java")
    return process.pid if process else None


def _committer(scheduler: int | None) -> int | None:
    process = find_process(scheduler, lambda p: _COMMITTER_MODULE in _command(p))
    return process.pid if process else None
