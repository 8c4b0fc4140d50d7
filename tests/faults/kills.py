"""Kill -9 at every failpoint: the process that passes it, or another part of the stack while it waits there."""

import time
import zlib
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
OF_RECONCILER = ("reconcile.", "sweep.", "audit.", "redrive.")
AT_THEIR_OWN_PACE = (*ONE_AT_A_TIME, *OF_RECONCILER, "doorbell.", *ONCE)
"""What does not stand in a build's way. A build's own points see their kills in rounds: a point that is armed anew
while later ones still wait for their first kill would keep every build from reaching them."""
VICTIMS = (SPARK, COMMITTER, WORKER, TRIGGERER, SCHEDULER, EVENTS)
_COMMITTER_MODULE = "scenelake.serialise.job"
RECONCILE_DAG = "reconcile_daily"
_FEW_WAITING, _MANY_WAITING = 20, 60
_WAVE_EVERY_SECONDS = 6.0
_REST_SECONDS = 8.0
_LONGEST_ROUND_SECONDS = 300.0
"""Then the next round begins, so that a point which is passed rarely holds up none of the others."""
_POLL_SECONDS = 0.5
_SAY_EVERY_SECONDS = 20


@dataclass
class Load:
    """A stream of small batches of every kind, put as fast as they are built."""

    bench: Bench
    nbr_waves: int = 0
    fed_at: float = 0.0

    def feed(self, *, needs_events: bool = False) -> None:
        """Puts a wave when little waits; a single object otherwise, if an order waits for an event to arrive."""
        landing, now = self.bench.landing, time.monotonic()
        # Wave by wave, so that each is claimed alone and several builds run at a time. What is queued counts as
        # well: while the event runner is dead, nothing waits in the ledger.
        if now - self.fed_at < _WAVE_EVERY_SECONDS:
            return
        nbr_waiting = landing.nbr_waiting() + landing.nbr_queued(landing.settings.event_queue_url)
        if nbr_waiting < _FEW_WAITING:
            self.wave()
        elif needs_events and nbr_waiting < _MANY_WAITING:
            self.bench.put(self.bench.new_drive(nbr_parts=1))
        else:
            return
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


def kill_at_first_commit(bench: Bench, orders: "Orders", *, deadline: float) -> Did:
    """Kills where only the very first commit of a lake passes: tables are created once."""
    orders.renew(ONCE)
    Load(bench).wave()
    # Not a moment's rest: the commit may succeed at the first try that nobody kills.
    wait_until(deadline, lambda: not orders.renew(ONCE), _POLL_SECONDS)
    return _did(orders, ONCE, orders.killing.points.total())


def kill_everywhere(bench: Bench, orders: "Orders", airflow: AirflowApi, *, deadline: float) -> Did:
    """Keeps orders at every failpoint that was ever passed, under load, until each has seen its kills.

    Points that only appear now, because only a kill leads to them, are taken up as they come.
    """
    wounds, load, killing = bench.stack.wounds, Load(bench), orders.killing
    nbr_before, said_at, orders.round_since = killing.points.total(), 0.0, time.monotonic()
    wounds.record()
    while orders.renew([p for p in wounds.seen() if p not in ONCE]) and time.monotonic() < deadline:
        left = wounds.armed()
        if time.monotonic() - said_at > _SAY_EVERY_SECONDS:
            bench.say(
                f"{killing.points.total()} kills, round {orders.round}, "
                f"{len(left)} points armed: {', '.join(left[:6])} …"
            )
            said_at = time.monotonic()
        load.feed(needs_events=any(name.startswith(ONE_AT_A_TIME) for name in left))
        if orders.wants(OF_RECONCILER):
            reconcile_in_airflow(airflow)
        time.sleep(_POLL_SECONDS)
    points = wounds.seen()
    wounds.heal()
    killing.harvest()
    return _did(orders, points, killing.points.total() - nbr_before)


def _did(orders: "Orders", points: Sequence[str], nbr_kills: int) -> Did:
    killing, wanted = orders.killing, orders.nbr_kills
    missed = {p: killing.points[p] for p in sorted(points) if killing.points[p] < wanted}
    return Did(
        f"≥ {wanted} at each of {len(points)} failpoints", nbr_kills=nbr_kills,
        notes=(f"killed so far: {', '.join(f'{n} × {v}' for v, n in killing.victims.most_common())}",),
        broken=tuple(f"{point}: {n} of {wanted} kills came about in time" for point, n in missed.items()),
    )  # fmt: skip


@dataclass
class Orders:
    """Which orders each failpoint still gets, one at a time.

    One of a point's orders, another one at each point, halts the process that passes, and another part of the stack
    is killed meanwhile; the rest kill the process itself.

    Attributes:
        nbr_kills: at each failpoint.
        round: a build's own points are armed until each has seen this many kills; then the next round begins.
    """

    killing: Killing
    nbr_kills: int
    round: int = 1
    round_since: float = field(default_factory=time.monotonic)
    nbr_armed: Counter[str] = field(default_factory=Counter)
    rests_since: dict[str, float] = field(default_factory=dict)

    def wants(self, kinds: tuple[str, ...]) -> bool:
        """Whether points of a kind that was passed have not seen all their kills, or none was passed yet."""
        seen = [p for p in self.killing.bench.stack.wounds.seen() if p.startswith(kinds)]
        return not seen or any(self.killing.points[p] < self.nbr_kills for p in seen)

    def renew(self, points: Sequence[str]) -> bool:
        """Counts what was fired and arms what may be armed; False when every point has seen its kills.

        Kills count, and not orders: of two threads that each take an order, one may die of the other's. A point
        rests for a moment after each order: the pipeline must get past it to reach the others.
        """
        self.killing.harvest()
        wounds, done = self.killing.bench.stack.wounds, self.killing.points
        armed = {name.rsplit("@", 1)[0] for name in wounds.armed()}
        left = [p for p in points if done[p] < self.nbr_kills]
        self._turn([p for p in left if not p.startswith(AT_THEIR_OWN_PACE)])
        for point in left:
            if point in armed or not self._is_due(point):
                continue
            if point.startswith(ONE_AT_A_TIME) and any(name.startswith(ONE_AT_A_TIME) for name in armed):
                continue
            self.rests_since.pop(point, None)
            armed.add(point)
            self.nbr_armed[point] += 1
            wounds.arm(point, self.nbr_armed[point], "halt" if self._is_halt(point) else "kill")
        return bool(left or armed)

    def _turn(self, of_builds: Sequence[str]) -> None:
        """Begins the next round when this one is over, or has taken too long."""
        is_over = all(self.killing.points[p] >= self.round for p in of_builds)
        if of_builds and (is_over or time.monotonic() - self.round_since > _LONGEST_ROUND_SECONDS):
            self.round, self.round_since = self.round + 1, time.monotonic()

    def _is_due(self, point: str) -> bool:
        if not point.startswith(AT_THEIR_OWN_PACE):
            return self.killing.points[point] < self.round
        if not self.nbr_armed[point] or point in ONCE:
            return True
        return time.monotonic() - self.rests_since.setdefault(point, time.monotonic()) >= _REST_SECONDS

    def _is_halt(self, point: str) -> bool:
        """Never a point's first kill, and spread over the rest: after a halt most of the stack has to start again."""
        if point in ONCE or self.nbr_kills < 2:
            return False
        return self.killing.points[point] == 1 + zlib.crc32(point.encode()) % (self.nbr_kills - 1)


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
