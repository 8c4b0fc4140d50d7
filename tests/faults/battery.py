"""The whole battery: faults one after another on one stack, then the same drops without any, then the comparison."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.aws import aws_faults, clock_jumps, commit_conflicts, full_disk
from tests.faults.by_hand import HarnessError, Jobs, LakeByHand, job_environment, register_all
from tests.faults.events import EVENT_FAULTS, Bench, Did, new_bench
from tests.faults.kills import KILLS_PER_POINT, Killing, Load, Orders, kill_at_first_commit, kill_everywhere
from tests.faults.landing import Journal, Landing
from tests.faults.stack import PATIENCE_SECONDS, SCHEDULER, FaultedStack
from tests.faults.verdict import Outcome, Run, audit, compare, with_differences

from scenelake.adapters.airflow_api import AirflowApi
from scenelake.runtime.settings import Settings
from scenelake.stack.up import status

NO_FAULT, FIRST_COMMIT, KILLS, CONFLICTS = "none", "kill -9 at the first commit", "kill -9", "commit conflicts"
SWEEP = "sweep"
SHARES = (0.05, 0.20)
_KILL_SECONDS, _FIRST_SECONDS = 1500, 240
_SETTLE_SECONDS, _SETTLE_SECONDS_PER_DROP = 240, 0.4
_SAY_EVERY_SECONDS = 15
_WARM_WAVES = 4
_LONG_LEASE_SECONDS = 900
_ORPHAN_GRACE_SECONDS = 4 * 3600
"""Longer than the battery: what killed attempts leave behind is the sweep's, which comes at the end."""

Fault = Callable[[Bench], Did]


@dataclass
class Battery:
    """Runs faults and keeps what became of them.

    Attributes:
        patience_seconds: see ``StackConfig``.
    """

    home: Path
    seed: int
    scale: float
    say: Callable[[str], None]
    patience_seconds: int = PATIENCE_SECONDS
    outcomes: list[Outcome] = field(default_factory=list)
    kill_seconds: float = _KILL_SECONDS

    def __post_init__(self) -> None:
        self.stack = FaultedStack(self.home / "faulted", self.patience_seconds)
        self.plain = LakeByHand(self.home / "plain")
        self.journal = Journal()

    def run(self, only: Sequence[str] = ()) -> Run:
        """Tries every fault, or the named ones, and compares gold with that of a run without faults.

        Raises:
            HarnessError: the harness itself failed, so nothing was shown.
        """
        started_at = time.monotonic()
        with self.running() as bench:
            if not only or KILLS in only:
                self.try_fault(bench, FIRST_COMMIT, self._kill_first)
            self.try_fault(bench, NO_FAULT, self._record)
            for name, fault in self._faults().items():
                if not only or name in only:
                    self.try_fault(bench, name, fault)
            self.stack.keep_only_the_data()
            self.try_fault(bench, SWEEP, self._sweep)
            outcomes = self.compared(bench)
        kills, seconds = dict(self.killing.points), time.monotonic() - started_at
        return Run(self.seed, self.scale, tuple(outcomes), kills, seconds=seconds)

    @contextmanager
    def running(self) -> Iterator[Bench]:
        """The faulted stack and the lake without faults in empty homes; both are ended whatever happens."""
        self.say(f"seed {self.seed}, scale {self.scale:g}, home {self.home}")
        for home in (self.stack.home, self.plain.home):
            shutil.rmtree(home, ignore_errors=True)
        try:
            settings = self.stack.start()
            self.say(f"the stack runs: {settings.airflow_url}")
            bench = new_bench(self.stack, Landing(settings, self.journal), self.seed, self.scale, self.say)
            self.killing = Killing(bench)
            self.orders = Orders(self.killing, bench.amount(KILLS_PER_POINT, 2))
            yield bench
        finally:
            self.stack.stop()
            self.plain.stop()

    @property
    def fault_names(self) -> list[str]:
        return list(self._faults())

    def _faults(self) -> dict[str, Fault]:
        shares = [(service, share) for service in ("s3", "dynamodb") for share in SHARES]
        shares += [(service, max(SHARES)) for service in ("sqs", "glue")]
        return {
            # While the lake is small: who lost a commit, and a killed audit or reconciliation, begin from the start.
            CONFLICTS: self._conflicts,
            KILLS: self._kill,
            **EVENT_FAULTS,
            **{f"{service} {share:.0%}": aws_faults(service, share) for service, share in shares},
            "full disk": full_disk,
            "clock": clock_jumps,
        }

    def _record(self, bench: Bench) -> Did:
        """A load without faults, which also tells which failpoints there are."""
        self.stack.wounds.record()
        load = Load(bench)
        for _ in range(_WARM_WAVES):
            load.wave()
        self._settle(bench)
        reconcile(self.stack, bench.landing.settings, bench.fleet)
        return Did("failpoints recorded", notes=(f"{len(self.stack.wounds.seen())} failpoints",))

    def _kill_first(self, bench: Bench) -> Did:
        return kill_at_first_commit(bench, self.orders, deadline=time.monotonic() + _FIRST_SECONDS)

    def _kill(self, bench: Bench) -> Did:
        deadline = time.monotonic() + max(120.0, self.kill_seconds * bench.scale)
        info = status(self.stack.home)
        if info is None:
            raise HarnessError(f"no stack runs under {self.stack.home}")
        airflow = AirflowApi(info.airflow_url, info.airflow_user, info.airflow_password)
        return kill_everywhere(bench, self.orders, airflow, deadline=deadline)

    def _conflicts(self, bench: Bench) -> Did:
        settings = bench.landing.settings
        changes = {"SCENELAKE_LEASE_SECONDS": str(_LONG_LEASE_SECONDS), "SCENELAKE_CLAIM_MAX_DROPS": "3"}
        environment = job_environment(self.stack.home, settings.endpoint_url or "", changes)
        jobs = Jobs(self.stack.home, environment)
        with bench.stack.held(SCHEDULER, 0):
            return commit_conflicts(bench, jobs, lambda: register_all(bench.landing, environment, self.stack.home))

    def _sweep(self, bench: Bench) -> Did:
        """No fault, but its end: nothing that the faults left behind may outlast a sweep without grace."""
        environment = job_environment(bench.stack.home, bench.landing.settings.endpoint_url or "")
        jobs = Jobs(bench.stack.home, environment)
        swept = jobs.run("scenelake.serialise.sweep_job", ["--remove", "--grace-days", "0"])
        found = f"{swept['removed_files']} files, {swept['branches']} branches, {swept['snapshots']} snapshots removed"
        return Did("what nobody refers to is removed", notes=(found,), has_load=False)

    def try_fault(self, bench: Bench, name: str, fault: Fault, *, heal: bool = True) -> None:
        """Runs one fault to the end of its drops and judges it.

        Args:
            heal: take the fault away before the end of its drops is waited for.
        """
        self.say(f"== {name}")
        started_at, nbr_before = time.monotonic(), bench.stack.nbr_handled()
        nbr_puts = self._nbr_puts()
        bench.fault = name
        did = fault(bench)
        if heal:
            bench.stack.wounds.heal()
        notes = [*did.notes, *(self._settle(bench) if name != SWEEP else ())]
        bench.stack.wounds.heal()
        grace_seconds = 0 if name == SWEEP else _ORPHAN_GRACE_SECONDS
        judgement = audit(bench.stack.home, ["--grace-seconds", str(grace_seconds)])
        outcome = Outcome(
            fault=name, dose=did.dose, seed=self.seed, nbr_events=bench.stack.nbr_handled() - nbr_before,
            wanted_events=did.wanted_events, nbr_kills=did.nbr_kills, wanted_kills=did.wanted_kills,
            nbr_drops=self._nbr_puts() - nbr_puts, seconds=time.monotonic() - started_at,
            unfinished=tuple(bench.landing.unfinished()), violations=judgement.problems, broken=did.broken,
            notes=tuple(notes), skipped=did.skipped,
            has_load=did.has_load,
        )  # fmt: skip
        self.outcomes.append(outcome)
        said = "; ".join([*outcome.broken, *outcome.unfinished[:3], *outcome.violations[:3]]) or "well so far"
        self.say(f"{name}: {outcome.nbr_drops} drops, {outcome.nbr_events} events, {outcome.nbr_kills} kills, "
                 f"{outcome.seconds:.0f} s: {said[:800]}")  # fmt: skip

    def _nbr_puts(self) -> int:
        return sum(1 for o in self.journal.operations if o.kind == "put")

    def _settle(self, bench: Bench) -> list[str]:
        """Waits until every drop has ended; what no event announced is left to the reconciler."""
        landing = bench.landing
        notes: list[str] = []
        deadline = time.monotonic() + _SETTLE_SECONDS + _SETTLE_SECONDS_PER_DROP * len(landing.object_versions())
        said_at = time.monotonic()
        while time.monotonic() < deadline:
            nbr_events, nbr_waiting = landing.nbr_queued(landing.settings.event_queue_url), landing.nbr_waiting()
            if not nbr_events and not nbr_waiting:
                nbr_unknown = len(landing.unregistered())
                if not nbr_unknown:
                    return notes
                notes.append(f"{nbr_unknown} object versions were left to the reconciler")
                reconcile(self.stack, landing.settings, "")
            if time.monotonic() - said_at > _SAY_EVERY_SECONDS:
                self.say(f"{bench.fault}: {nbr_waiting} drops wait, {nbr_events} events queued")
                said_at = time.monotonic()
            time.sleep(1)
        return [*notes, "not everything ended in time"]

    def compared(self, bench: Bench) -> list[Outcome]:
        """The outcomes so far, with where gold is not what it is without faults. Airflow has been ended before."""
        self.say("== the same drops without faults")
        self.plain.start()
        self.plain.build(self.journal, self.say)
        judgement = compare(self.stack.home, self.plain.home)
        alone = audit(self.plain.home)
        if alone.problems:
            raise HarnessError(f"the lake without faults is not clean: {alone.problems[:3]}")
        self.say(f"compared {judgement.nbr_checked} rows and files: {len(judgement.problems)} differences")
        for line in judgement.problems[:5]:
            self.say(line[:500])
        return with_differences(self.outcomes, judgement.problems, bench.owners)


def reconcile(stack: FaultedStack, settings: Settings, prefix: str) -> None:
    """The reconciler's own job, which registers what no event announced."""
    environment = job_environment(stack.home, settings.endpoint_url or "")
    words = ["--grace-seconds", "0", *(["--prefix", f"{prefix}/"] if prefix else [])]
    Jobs(stack.home, environment).run("scenelake.ledger.reconcile_job", words)
