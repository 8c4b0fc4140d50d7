"""Fuzzes the decoders until told to stop: ``python -m tests.fuzz {reader,cdr,schema} [--seconds N] [--run N]``."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.campaign import run_campaign
from tests.fuzz.seeds import made_seeds
from tests.fuzz.targets import columns_agree, random_message, random_schema, valid_message

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.cdr import compile_plan
from scenelake.decode.formats.ros2msg import parse_definitions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=("reader", "cdr", "schema"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--run", type=int, default=0)
    given = parser.parse_args()
    failures = Path(tempfile.mkdtemp(prefix="scenelake-fuzz-"))
    until, run, nbr_done = time.monotonic() + given.seconds, given.run, 0
    while time.monotonic() < until:
        if given.target == "reader":
            run_campaign(made_seeds(), run, 1000, failures)
        else:
            for number in range(1000):
                _one(given.target, random.Random(f"{run}/{number}"), failures / f"{given.target}-{run}-{number}")
        run, nbr_done = run + 1, nbr_done + 1000
    sys.stdout.write(f"{nbr_done} inputs of {given.target}, runs {given.run} to {run - 1}: no promise broken\n")
    return 0


def _one(target: str, rng: random.Random, reproducer: Path) -> None:
    schema = random_schema(rng)
    data = random_message(rng) if target == "cdr" else b""
    try:
        plan = compile_plan(parse_definitions("p/T", schema.encode()), "p/T")
        if target == "cdr":
            data = data if rng.random() < 0.5 else valid_message(plan, rng)
            columns_agree(plan, data)
    except BadInputError:
        return
    except Exception:
        reproducer.write_bytes(schema.encode() + b"\0" + data)
        sys.stdout.write(f"see {reproducer}\n")
        raise


if __name__ == "__main__":
    sys.exit(main())
