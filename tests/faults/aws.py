"""Faults of what the stack stands on: S3, DynamoDB, the disk, the clock, and eight committers at once."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults.by_hand import AFTER_COMMIT, BEFORE_COMMIT, Claimed, Jobs
from tests.faults.events import Bench, Did
from tests.faults.landing import wait_until

from scenelake.contracts.errors import ExitCode
from scenelake.contracts.stages import JOB_MODULES, Stage
from scenelake.stack.aws_faults import FAULTS

WRITERS = 8
CLOCK_JUMP_SECONDS = 30
_OF_SOME_REQUESTS = ("short_read", "conditional_lost")
"""Faults of reads or of writes alone; they come on top of the share of all requests."""
_DISK = "size=4k"
"""One page: not even the smallest of a drop's files fits."""
_DROPS = 16
_PATIENCE_SECONDS = 420
_COMMIT_ROUNDS = 4
_RETRIED = (ExitCode.TRANSIENT, ExitCode.COMMIT_STATE_UNKNOWN)


def aws_faults(service: str, share: float) -> Callable[[Bench], Did]:
    """Requests of one service that fail: busy, broken off before or after their effect, and cut short."""
    of_all = [name for name in FAULTS[service] if name not in _OF_SOME_REQUESTS]
    rates = {n: share / (2 if n in _OF_SOME_REQUESTS else len(of_all)) for n in FAULTS[service]}

    def fault(bench: Bench) -> Did:
        bench.stack.wounds.aws({"seed": bench.random.randrange(1000), service: rates})
        # A fifth of failing requests makes every build take many tries, each as good as another drop.
        count = _DROPS if share < 0.1 else _DROPS // 2
        bench.put(bench.shuffled(bench.amount(count, count)))
        _build(bench)
        counts = bench.stack.wounds.aws_counts().get(service, {})
        failed = sum(n for name, n in counts.items() if name != "requests")
        found = f"{failed} of {counts.get('requests', 0)} requests failed"
        return Did(
            f"{share:.0%} of requests", notes=(found,), broken=() if failed else (f"no request failed: {found}",)
        )

    return fault


def full_disk(bench: Bench) -> Did:
    """The disk for temporary files has room for a few kilobytes."""
    with _small_disk(bench.stack.scratch) as problem:
        if problem:
            return Did("4 KiB", skipped=problem)
        parts = bench.shuffled(bench.amount(_DROPS, 10))
        bench.put(parts)
        time.sleep(30)
        nbr_waiting = bench.landing.nbr_waiting()
    is_full = nbr_waiting > 0
    return Did("4 KiB for 30 s", notes=(f"{nbr_waiting} of {len(parts)} drops waited for the disk",),
               broken=() if is_full else ("the disk was full, and everything was built all the same",))  # fmt: skip


@contextmanager
def _small_disk(folder: Path) -> Iterator[str | None]:
    """Mounts a very small disk on a folder; yields why it cannot."""
    if os.geteuid() != 0:
        yield "only root may mount a small disk"
        return
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", _DISK, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        yield f"mount: {done.stderr.strip()}"
        return
    try:
        yield None
    finally:
        # Lazily: a process may still have a file open there.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def clock_jumps(bench: Bench) -> Did:
    """The clock of every process is off by up to half a minute, three leases."""
    bench.stack.wounds.clock(CLOCK_JUMP_SECONDS, bench.random.randrange(1000))
    bench.put(bench.shuffled(bench.amount(2 * _DROPS, 10)))
    _build(bench)
    return Did(f"± {CLOCK_JUMP_SECONDS} s, leases of 10 s")


def _build(bench: Bench) -> None:
    """Waits under the fault for its drops; what it keeps from ending may end after it."""
    deadline = time.monotonic() + bench.amount(_PATIENCE_SECONDS, 120)
    is_done = wait_until(deadline, lambda: not bench.landing.unregistered() and not bench.landing.nbr_waiting(), 2.0)
    bench.say("everything ended under the fault" if is_done else "the fault is taken away before everything has ended")


def commit_conflicts(bench: Bench, jobs: Jobs, register: Callable[[], None]) -> Did:
    """Eight batches are brought to their commit, and committed by eight processes at the same time.

    Args:
        jobs: runs jobs on the lake, of which nothing else takes batches.
        register: has every object version registered.
    """
    for _ in range(WRITERS):
        bench.put(bench.new_drive(nbr_parts=3))
    register()
    batches: list[Claimed] = []
    while len(batches) < WRITERS and (more := jobs.claim(WRITERS - len(batches))):
        batches += more
    bench.say(f"{len(batches)} batches claimed")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(partial(_prepare, jobs), batches))
    bench.say(f"{len(batches)} committers start")
    nbr_starts, codes = _commit_all(jobs, batches)
    if len(batches) != WRITERS or any(codes.values()):
        return Did(f"{WRITERS} writers", broken=(f"{len(batches)} batches, exit codes {codes}; see {_log(jobs)}",))
    for batch in batches:
        jobs.stages(batch, AFTER_COMMIT)
    return Did(f"{WRITERS} writers", notes=(f"{WRITERS} commits took {nbr_starts} processes",))


def _prepare(jobs: Jobs, batch: Claimed) -> None:
    jobs.stages(batch, BEFORE_COMMIT)


def _commit_all(jobs: Jobs, batches: list[Claimed]) -> tuple[int, dict[str, int]]:
    """Commits all at once; who came too late too often is started again, as Airflow would.

    Returns:
        The number of processes that it took, and the last exit code of each batch.
    """
    nbr_starts, codes = 0, dict.fromkeys((b.batch_id for b in batches), int(ExitCode.TRANSIENT))
    for _ in range(_COMMIT_ROUNDS):
        left = [b for b in batches if codes[b.batch_id] in _RETRIED]
        nbr_starts += len(left)
        codes |= zip((b.batch_id for b in left), _commit_together(jobs, left), strict=True)
    return nbr_starts, codes


def _log(jobs: Jobs) -> Path:
    return jobs.home / "logs" / "committers.log"


def _commit_together(jobs: Jobs, batches: list[Claimed]) -> list[int]:
    with tempfile.TemporaryDirectory() as folder, _log(jobs).open("ab") as log:
        processes = [
            subprocess.Popen(
                jobs.command(JOB_MODULES[Stage.SERIALISE], jobs.words(b), Path(folder) / f"{b.batch_id}.json"),
                env=jobs.environment, cwd=jobs.home, stdout=log, stderr=log,
            )
            for b in batches
        ]  # fmt: skip
        return [process.wait() for process in processes]
