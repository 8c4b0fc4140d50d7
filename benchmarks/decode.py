"""Decode against its limits and its peers: processor time, memory and scaling, each step in a process of its own.

All steps of a kind of recording are run in turns, so that what slows the machine for a while slows all of them; the
best of the turns is kept, with the spread. Recordings are generated, and lie in the stack's stand-in for S3, whose
own processor time is never counted.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.decode_ours import DRIVE, LANDING, split_config
from benchmarks.decode_peers import CACHE, PEERS, RAY, REPOSITORY, Peer, PeerUnavailableError, interpreter
from benchmarks.decode_ratios import LIMIT_NAMES, combined, cores_for_target, goals, ratio, serial_sum
from benchmarks.peers.measuring import Facts, Step
from benchmarks.recordings import KINDS, SECONDS, Written, write_recording
from scenelake.adapters.aws import aws_client
from scenelake.decode.config import DecodeConfig
from scenelake.runtime.settings import HOME_VARIABLE, Settings, environment_for

TINY_SECONDS = 0.5
GROWTH = {"x1": 0.25, "x4": 1.0, "x16": 4.0}
"""Lengths of the growing recordings, in those of the kind's own recording."""
GROWING_KINDS = ("mixed", "imu")
ENGINE_KINDS = ("mixed", "imu")
ENGINE_DROPS = 4
STEP_SECONDS = 1_800
_ONCE_CPU_SECONDS = 30.0
"""What takes longer is not repeated: it is far from the others, and noise is a small part of it."""
_START_SECONDS = 60.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Recording:
    """A recording on disk and in the landing bucket."""

    path: Path
    written: Written

    @property
    def key(self) -> str:
        return f"{DRIVE}/{self.path.name}"

    @property
    def uri(self) -> str:
        return f"s3://{LANDING}/{self.key}"

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size


@dataclass(frozen=True)
class Candidate:
    """Something to be measured on a recording.

    Attributes:
        command: interpreter and module that take the two steps.
        nbr_drops: how often the recording is decoded in one run.
    """

    name: str
    command: tuple[str, ...]
    options: dict[str, Any]
    tiny_options: dict[str, Any]
    nbr_drops: int = 1
    path: str = str(REPOSITORY)


def ours(name: str, step: str, tiny: Facts | None = None, **options: Any) -> Candidate:
    """A step of ``benchmarks.decode_steps``."""
    command = (sys.executable, "-m", "benchmarks.decode_steps", step)
    return Candidate(name, command, options, {**options, **(tiny or {})}, options.get("nbr_drops", 1))


class Bench:
    """The stand-in for S3, a scratch folder, and the processes that are measured."""

    def __init__(self, folder: Path, endpoint_url: str, repeats: int, progress: Progress) -> None:
        self._folder = folder
        self._endpoint_url = endpoint_url
        self._repeats = repeats
        self._progress = progress
        self._s3 = aws_client("s3", Settings(home=folder, endpoint_url=endpoint_url))
        self._recordings: dict[tuple[str, float], Recording] = {}

    def recording(self, kind: str, seconds: float) -> Recording:
        """A recording of that length, written and uploaded once."""
        if (kind, seconds) not in self._recordings:
            path = self._folder / f"{kind}-{seconds:g}.mcap"
            written = write_recording(kind, path, seconds)
            recording = self._recordings[kind, seconds] = Recording(path, written)
            self._s3.upload_file(str(path), LANDING, recording.key)
            self._progress(
                f"decode: {path.name}, {written.nbr_messages} messages, {written.payload_bytes / 1e6:.0f} MB"
            )
        return self._recordings[kind, seconds]

    def drop(self, kind: str) -> None:
        """Forgets the recordings of a kind."""
        for key, recording in list(self._recordings.items()):
            if key[0] == kind:
                self._s3.delete_object(Bucket=LANDING, Key=recording.key)
                recording.path.unlink()
                del self._recordings[key]

    def measure(self, candidates: Sequence[Candidate], tiny: Recording, recording: Recording) -> dict[str, Facts]:
        """All candidates in turns; the best of each."""
        runs: dict[str, list[Facts]] = {candidate.name: [] for candidate in candidates}
        for turn in range(self._repeats):
            self._progress(f"decode: {recording.path.stem}, turn {turn + 1} of {self._repeats}")
            for candidate in candidates:
                if all(run.get("cpu_s", _ONCE_CPU_SECONDS) < _ONCE_CPU_SECONDS for run in runs[candidate.name]):
                    runs[candidate.name].append(self.once(candidate, tiny, recording))
        found = {}
        for candidate in candidates:
            written, times = recording.written, candidate.nbr_drops
            found[candidate.name] = combined(
                runs[candidate.name],
                payload_bytes=written.payload_bytes * times,
                nbr_messages=written.nbr_messages * times,
            )
            self._progress(f"decode: {recording.path.stem} {candidate.name} {found[candidate.name]}")
        return found

    def once(self, candidate: Candidate, tiny: Recording, recording: Recording) -> Facts:
        """One run in a process of its own; its last words where it fails."""
        scratch = Path(tempfile.mkdtemp(dir=self._folder))
        pairs = ((tiny, candidate.tiny_options), (recording, candidate.options))
        steps = []
        for number, (source, options) in enumerate(pairs):
            target = scratch / str(number)
            target.mkdir()
            steps.append(Step(source.path, source.uri, target, self._endpoint_url, options).to_json())
        changes = {"PYTHONPATH": candidate.path, "TMPDIR": str(scratch), HOME_VARIABLE: str(scratch)}
        process = subprocess.Popen(
            [*candidate.command, *steps],
            env=environment_for(changes),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            said, complaint = process.communicate(timeout=STEP_SECONDS)
        except subprocess.TimeoutExpired:
            return {"error": f"not done within {STEP_SECONDS} s"}
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            shutil.rmtree(scratch, ignore_errors=True)
        if process.returncode:
            lines = [line for line in complaint.splitlines() if line.strip()]
            return {"error": lines[-1][:300] if lines else f"exit code {process.returncode}"}
        facts: Facts = json.loads(said.splitlines()[-1])
        return facts


def run(
    progress: Progress,
    *,
    scale: float = 1.0,
    repeats: int = 3,
    kinds: Sequence[str] = KINDS,
    has_peers: bool = True,
    cache: Path = CACHE,
) -> dict[str, Any]:
    """Measures everything.

    Args:
        scale: of the recordings' lengths; 1 for results that are kept.
        cache: where the peers' environments are kept.
    """
    unavailable: dict[str, str] = {}
    pythons = _interpreters([*PEERS, RAY] if has_peers else [], cache, progress, unavailable)
    result: dict[str, Any] = {"scale": scale, "repeats": repeats, "peers_unavailable": unavailable}
    result |= {"kinds": {}, "growth": {}, "scaling": {}, "profiles": {}}
    with tempfile.TemporaryDirectory(prefix="scenelake-bench-") as name, _storage(Path(name)) as endpoint_url:
        bench = Bench(Path(name), endpoint_url, repeats, progress)
        for kind in kinds:
            seconds = SECONDS[kind] * scale
            tiny = bench.recording(kind, TINY_SECONDS)
            result["kinds"][kind] = _kind(bench, kind, tiny, bench.recording(kind, seconds), pythons)
            profiled = bench.once(ours("profile", "profile"), tiny, bench.recording(kind, seconds))
            result["profiles"][kind] = profiled.get("profile", profiled.get("error"))
            if kind in GROWING_KINDS:
                result["growth"][kind] = {
                    name: bench.measure([ours("plain", "plain")], tiny, bench.recording(kind, seconds * factor))[
                        "plain"
                    ]
                    for name, factor in GROWTH.items()
                }
            if kind == "mixed":
                result["scaling"] = _scaling(bench, tiny, bench.recording(kind, seconds * GROWTH["x16"]))
            bench.drop(kind)
    result["goals"] = [{**vars(goal), "is_met": goal.is_met} for goal in goals(result)]
    return result


def switched_off() -> dict[str, Any]:
    """The configuration in which decode does nothing that it need not."""
    off: dict[str, Any] = {}
    for name, field in DecodeConfig.model_fields.items():
        if field.default is True:
            off[name] = False
        elif field.default is not None and type(None) in getattr(field.annotation, "__args__", ()):
            off[name] = None
    return off


def _kind(
    bench: Bench, kind: str, tiny: Recording, recording: Recording, pythons: Mapping[str, Path]
) -> dict[str, Any]:
    off = switched_off()
    candidates = [
        *(ours(name, name) for name in LIMIT_NAMES),
        ours("plain", "plain"),
        ours("bare", "plain", config=off),
    ]
    candidates.append(ours("local", "plain", config=off, is_local=True))
    if len(off) > 1:
        candidates += [ours(f"without_{name}", "plain", config={name: value}) for name, value in off.items()]
    candidates += [_peer(peer, pythons[peer.name]) for peer in PEERS if peer.name in pythons and kind in peer.kinds]
    if kind in ENGINE_KINDS:
        for cores in (1, 2):
            warm = {"nbr_drops": cores * 4}
            candidates.append(ours(f"spark_{cores}", "spark", warm, cores=cores, nbr_drops=ENGINE_DROPS))
        if RAY.name in pythons:
            options = {"cores": 2, "nbr_drops": ENGINE_DROPS}
            candidates.append(_peer(RAY, pythons[RAY.name], options, {**options, "nbr_drops": 8}))
    steps = bench.measure(candidates, tiny, recording)
    total = serial_sum(steps)
    if total:
        steps["serial_sum"] = total
    file_mb, payload_mb = recording.size_bytes / 1e6, recording.written.payload_bytes / 1e6
    return {
        "messages": recording.written.nbr_messages,
        "payload_mb": round(payload_mb, 1),
        "file_mb": round(file_mb, 1),
        "steps": steps,
        "of_serial_sum": {name: ratio(steps, name, "serial_sum") for name in ("plain", "bare")},
        "cores_for_15_tb_a_day": {
            name: cores_for_target(found["mb_per_cpu_s"] * file_mb / payload_mb)
            for name in ("plain", "spark_1", "spark_2")
            if "mb_per_cpu_s" in (found := steps.get(name, {}))
        },
    }


def _peer(peer: Peer, python: Path, options: Facts | None = None, tiny_options: Facts | None = None) -> Candidate:
    path = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'jobs'}" if peer.runs_ours else str(REPOSITORY)
    options = options or {}
    command = (str(python), "-m", f"benchmarks.peers.{peer.name}")
    return Candidate(peer.name, command, options, tiny_options or options, options.get("nbr_drops", 1), path)


def _scaling(bench: Bench, tiny: Recording, recording: Recording) -> dict[str, dict[str, Facts]]:
    """Wall-clock time of one split object by the number of tasks: in bare processes, and under Spark."""
    cores = [n for n in (1, 2, 4) if n <= (os.cpu_count() or 1)]
    config = {"config": split_config(recording.size_bytes)}
    small = {"config": split_config(tiny.size_bytes)}
    pools = [ours(str(n), "pool", small, cores=n, is_local=True, **config) for n in cores]
    sparks = [ours(str(n), "spark", {**small, "nbr_drops": n * 2}, cores=n, is_local=True, **config) for n in cores]
    return {
        "processes": bench.measure(pools, tiny, recording),
        "Spark": bench.measure(sparks, tiny, recording),
    }


def _interpreters(
    peers: Sequence[Peer], cache: Path, progress: Progress, unavailable: dict[str, str]
) -> dict[str, Path]:
    found = {}
    for peer in peers:
        try:
            found[peer.name] = interpreter(peer, cache, progress)
        except PeerUnavailableError as error:
            unavailable[peer.name] = str(error)
            progress(f"decode: {peer.name} is left out: {error}")
    return found


@contextmanager
def _storage(folder: Path) -> Iterator[str]:
    """The stack's stand-in for S3 alone, with a landing bucket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "scenelake.stack.moto_server", "--port", str(port)]
    environment = environment_for({HOME_VARIABLE: str(folder / "home")})
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint_url = f"http://127.0.0.1:{port}"
    settings = Settings(home=folder, endpoint_url=endpoint_url)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                location = {"LocationConstraint": settings.region}
                aws_client("s3", settings).create_bucket(Bucket=LANDING, CreateBucketConfiguration=location)
                break
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.2)
        yield endpoint_url
    finally:
        process.terminate()
        process.wait()
