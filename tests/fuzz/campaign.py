"""Many mutants of many seeds, each told by (run, number), so that every failure can be made again."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.checks import MIB, BrokenPromiseError, check
from tests.fuzz.mutations import KINDS, Mutant
from tests.fuzz.seeds import Seed

WINDOWS = (4 * MIB, 4 * MIB, 700, 64)
_TRACED = frozenset(("bombs", "hostile_lengths"))


def mutant_of(seeds: Sequence[Seed], run: int, number: int) -> tuple[Seed, Mutant, int]:
    """A seed, a mutant of it, and the window that it is read by."""
    rng = random.Random(f"{run}/{number}")
    seed = seeds[number % len(seeds)]
    mutation = list(KINDS.values())[number // len(seeds) % len(KINDS)]
    return seed, mutation(seed.data, rng), rng.choice(WINDOWS)


def run_campaign(seeds: Sequence[Seed], run: int, nbr_mutants: int, failures: Path) -> dict[str, Counter[str]]:
    """Checks mutants; returns verdicts counted by kind.

    Raises:
        BrokenPromiseError: at the first mutant that broke a promise, which lies in ``failures`` then.
    """
    verdicts: dict[str, Counter[str]] = {}
    for number in range(nbr_mutants):
        seed, mutant, window_bytes = mutant_of(seeds, run, number)
        try:
            # Tracing slows everything down, bombs least; one in eight is enough of the others.
            is_traced = mutant.kind == "bombs" or (mutant.kind in _TRACED and number % 8 == 0)
            verdict = check(seed, mutant, window_bytes=window_bytes, is_traced=is_traced)
        except Exception as error:
            path = failures / f"{mutant.kind}-{run}-{number}.mcap"
            path.write_bytes(mutant.data)
            detail = f"{mutant.kind} of {seed.name} (run {run}, number {number}, window {window_bytes}) in {path}"
            raise BrokenPromiseError(f"{detail}: {type(error).__name__}: {error}") from error
        verdicts.setdefault(mutant.kind, Counter())[verdict] += 1
    return verdicts
