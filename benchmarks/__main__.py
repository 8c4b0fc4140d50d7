"""``python -m benchmarks [NAME …]``: runs benchmarks and writes each result as JSON with the machine it ran on."""

import argparse
import json
import os
import platform
import sys
from pathlib import Path

import psutil

from benchmarks import decode, put_to_gold
from scenelake.runtime.job import code_version

BENCHMARKS = {"decode": decode.run, "put_to_gold": put_to_gold.run}
RESULTS = Path(__file__).parent / "results"


def say(text: str) -> None:
    """Progress goes to standard error, so that results can be piped."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    commit, dirty = code_version()
    machine = {
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
    }
    for name in names:
        result = {"benchmark": name, "commit": commit, "dirty": dirty, "machine": machine, **BENCHMARKS[name](say)}
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        sys.stdout.write(f"{path}\n{json.dumps(result, indent=1)}\n")


if __name__ == "__main__":
    main()
