"""``python -m benchmarks [NAME …]``: runs benchmarks and writes each result as JSON with the machine it ran on."""

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import (
    check_cost,
    decode,
    decode_report,
    loader,
    many_drops,
    put_to_gold,
    rejudge,
    synchronise,
    synchronise_report,
)
from benchmarks.calibration import evaluate as calibration
from benchmarks.calibration import report as calibration_report
from benchmarks.decode_peers import CACHE
from benchmarks.quality import report as quality_report
from benchmarks.quality import trial as quality_trial
from benchmarks.recordings import KINDS
from scenelake.runtime.job import code_version

BENCHMARKS: dict[str, Callable[..., dict[str, Any]]] = {
    "calibration": calibration.run,
    "check_cost": check_cost.run,
    "decode": decode.run,
    "loader": loader.run,
    "many_drops": many_drops.run,
    "put_to_gold": put_to_gold.run,
    "quality": quality_trial.run,
    "rejudge": rejudge.run,
    "synchronise": synchronise.run,
}
REPORTS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "calibration": calibration_report.write,
    "check_cost": check_cost.write,
    "decode": decode_report.write,
    "loader": loader.write,
    "quality": quality_report.write,
    "synchronise": synchronise_report.write,
}
"""What is written beside a result's JSON."""
RESULTS = Path(__file__).parent / "results"


def say(text: str) -> None:
    """Progress goes to standard error, so that results can be piped."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--drops", type=_numbers, help="many_drops: numbers of drops put at once, 100,1000,10000")
    parser.add_argument("--singles", type=int, help="many_drops: single drops put on an idle stack")
    parser.add_argument("--idle", type=int, metavar="SECONDS", help="many_drops: time in which nothing is put")
    parser.add_argument("--drops-per-drive", type=int, help="many_drops: 1 gives each drop a drive of its own")
    parser.add_argument(
        "--scale",
        type=float,
        help="check_cost, decode, quality, rejudge: size of the work; 1 for results that are kept",
    )
    parser.add_argument(
        "--fit", dest="is_fit", action="store_true", default=None, help="quality: on the set that limits are fitted to"
    )
    parser.add_argument("--windows", type=int, help="calibration: simulated drives under each calibration")
    parser.add_argument("--processes", type=int, help="calibration: at once; default: one per processor")
    parser.add_argument("--repeats", type=int, help="check_cost, decode, loader: turns of each")
    parser.add_argument("--kinds", type=lambda text: text.split(","), help=f"decode: of {','.join(KINDS)}")
    parser.add_argument("--no-peers", dest="has_peers", action="store_false", default=None, help="decode: ours alone")
    parser.add_argument(
        "--cache",
        type=Path,
        help=f"folder of the peers' environments (decode, loader) and of windows that are done (calibration); default"
        f" {CACHE}",
    )
    parser.add_argument("--as", dest="file", help="name of the result; default: the benchmark's")
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHMARKS)
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    # A benchmark that is told to end must still end the stack that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    commit, dirty = code_version()
    machine = {
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
    }
    broken: list[str] = []
    for name in names:
        measured = BENCHMARKS[name](say, **_options(name, arguments))
        result = {"benchmark": name, "commit": commit, "dirty": dirty, "machine": machine, **measured}
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{arguments.file or result.get('file', name)}.json"
        if name in REPORTS:
            REPORTS[name](result, path)
        result.pop("profiles", None)
        path.write_text(json.dumps(result, indent=1) + "\n")
        sys.stdout.write(f"{path}\n{json.dumps(result, indent=1)}\n")
        broken += result.get("failures", [])
    if broken:
        sys.exit("\n".join(broken))


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def _options(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, under the names of the benchmark's parameters."""
    decode_options = ("scale", "repeats", "kinds", "has_peers", "cache")
    known = {
        "calibration": {name: getattr(arguments, name) for name in ("windows", "cache", "processes")},
        "check_cost": {option: getattr(arguments, option) for option in ("scale", "repeats")},
        "decode": {option: getattr(arguments, option) for option in decode_options},
        "quality": {option: getattr(arguments, option) for option in ("is_fit", "scale")},
        "loader": {option: getattr(arguments, option) for option in ("repeats", "cache")},
        "rejudge": {"scale": arguments.scale},
        "many_drops": {
            "scales": arguments.drops,
            "nbr_singles": arguments.singles,
            "idle_seconds": arguments.idle,
            "drops_per_drive": arguments.drops_per_drive,
        },
    }
    return {option: value for option, value in known.get(name, {}).items() if value is not None}


if __name__ == "__main__":
    main()
