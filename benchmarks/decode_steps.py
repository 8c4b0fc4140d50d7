"""``python -m benchmarks.decode_steps NAME WARM_UP STEP``: one step of the decode benchmark in a process of its own."""

import cProfile
import io
import pstats
import sys
from collections.abc import Callable

from benchmarks import decode_ours
from benchmarks.decode_limits import LIMITS
from benchmarks.peers.measuring import Facts, Prepare, Step, main
from scenelake.decode.heap import keep_freed_memory

PROFILED_FUNCTIONS = 40
_WHOLE_TREE = frozenset(("spark", "pool"))


def profile(step: Step) -> Callable[[], Facts]:
    """The plain function under cProfile; threads that read ahead are not seen."""

    def run() -> Facts:
        profiler = cProfile.Profile()
        facts = profiler.runcall(decode_ours.plain(step))
        text = io.StringIO()
        pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(PROFILED_FUNCTIONS)
        return {**facts, "profile": text.getvalue()}

    return run


STEPS: dict[str, Prepare] = {
    **LIMITS,
    "plain": decode_ours.plain,
    "spark": decode_ours.spark,
    "pool": decode_ours.pool,
    "profile": profile,
}

if __name__ == "__main__":
    name = sys.argv[-3]
    # As decode has it: without this a limit that writes pays up to twice its time for fresh pages.
    keep_freed_memory()
    main(STEPS[name], is_whole_tree=name in _WHOLE_TREE)
