"""``python -m tests.faults``: the fault battery. Results go to ``benchmarks/results/faults.json`` and ``.md``."""

import argparse
import json
import platform
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
from tests.faults.battery import KILLS, Battery
from tests.faults.by_hand import REPOSITORY, HarnessError
from tests.faults.verdict import Run

RESULTS = REPOSITORY / "benchmarks" / "results"
DEFAULT_SEED = 20


def main() -> int:
    """Runs the battery and writes its table.

    Returns:
        0 green, 1 red, 2 when the harness itself failed.
    """
    arguments = _parser().parse_args()
    started_at = time.monotonic()
    # Ended from outside, it still ends the stacks that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def say(text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - started_at:6.0f} s] {text}\n")
        sys.stderr.flush()

    with tempfile.TemporaryDirectory(prefix="scenelake-faults-") as folder:
        home = Path(arguments.home).absolute() if arguments.home else Path(folder)
        battery = Battery(home, arguments.seed, arguments.scale, say)
        only = arguments.only or []
        unknown = set(only) - set(battery.fault_names)
        if unknown:
            _parser().error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(battery.fault_names)}")
        try:
            run = battery.run(only)
        except HarnessError as error:
            say(f"the harness failed, so nothing was shown: {error}")
            return 2
    run = replace(run, machine=_machine())
    _write(run, Path(arguments.results))
    sys.stdout.write(run.to_markdown())
    return 0 if run.is_green else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help=f"one fault, for example {KILLS!r}; repeat it")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of every draw")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the doses, 1 for all")
    parser.add_argument("--home", help="folder for the stacks, kept afterwards (default: a temporary one)")
    parser.add_argument("--results", default=str(RESULTS), help="folder of faults.json and faults.md")
    return parser


def _machine() -> dict[str, object]:
    memory_gb = round(psutil.virtual_memory().total / 1e9)
    return {"cores": psutil.cpu_count(), "memory_gb": memory_gb, "python": platform.python_version()}


def _write(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.json").write_text(json.dumps(run.to_json(), indent=1) + "\n")
    (folder / "faults.md").write_text(run.to_markdown())


if __name__ == "__main__":
    raise SystemExit(main())
