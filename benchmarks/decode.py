"""Decode of one recording against its limits: reading the file, hashing it, and the stock reader alone."""

import hashlib
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths
from scenelake.decode.config import DecodeConfig
from scenelake.decode.drop import decode_object

SECOND_NS = 1_000_000_000
BLOCK_BYTES = 8 * 1024 * 1024


def run(progress: Callable[[str], None]) -> dict[str, Any]:
    """Decodes simulated drives of three lengths; each step runs in a process of its own for its peak memory."""
    from scenelake.simulate.config import plan_default_drive
    from scenelake.simulate.drive import simulate_drive

    results = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (5, 20, 80):
            path = Path(folder) / f"{seconds}.mcap"
            config = plan_default_drive(1).model_copy(update={"duration_ns": seconds * SECOND_NS})
            simulate_drive(config, path)
            progress(f"decode: {seconds} s drive, {path.stat().st_size / 1e6:.0f} MB")
            results.append(_measure(path, seconds))
            path.unlink()
    return {"drives": results}


def _measure(path: Path, seconds: int) -> dict[str, Any]:
    steps: dict[str, Callable[[Path], None]] = {"read": _read, "hash": _hash, "stock_reader": _stock, "decode": _decode}
    size_mb = path.stat().st_size / 1e6
    found: dict[str, Any] = {"seconds_of_drive": seconds, "size_mb": round(size_mb, 1)}
    for name, step in steps.items():
        cpu_seconds, peak_mb = _in_process(step, path)
        found[name] = {"mb_per_cpu_second": round(size_mb / cpu_seconds, 1), "peak_rss_mb": round(peak_mb)}
    decode = found["decode"]["mb_per_cpu_second"]
    found["decode_over_hash"] = round(decode / found["hash"]["mb_per_cpu_second"], 3)
    found["decode_over_stock_reader"] = round(decode / found["stock_reader"]["mb_per_cpu_second"], 3)
    return found


def _in_process(step: Callable[[Path], None], path: Path) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    process = context.Process(target=_timed, args=(step, path, queue))
    process.start()
    cpu_seconds, peak_mb = queue.get()
    process.join()
    return cpu_seconds, peak_mb


def _timed(step: Callable[[Path], None], path: Path, queue: Any) -> None:
    before = time.process_time()
    step(path)
    queue.put((time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _read(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(BLOCK_BYTES):
            pass


def _hash(path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            hashlib.sha256(block).digest()


def _stock(path: Path) -> None:
    from mcap.reader import make_reader

    with path.open("rb") as file:
        for _ in make_reader(file).iter_messages(log_time_order=False):
            pass


def _decode(path: Path) -> None:
    drop = Drop("0" * 64, "landing", f"f/v/d/{path.name}", "1", path.stat().st_size, "e", 0, "f", "v", "d", "drive")
    with tempfile.TemporaryDirectory() as folder:
        decode_object(
            path,
            drop=drop,
            object_sha256=ids.merkle_root([]),
            recipe="benchmark",
            config=DecodeConfig(),
            sink=LocalObjects(Path(folder)),
            paths=LakePaths("s3://lake"),
        )
