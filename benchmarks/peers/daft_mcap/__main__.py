"""Daft's own ``read_mcap`` and ``write_parquet``: nothing is decoded, bytes are kept as Python ``repr``."""

from collections.abc import Callable

import daft
import pyarrow.parquet as pq
from benchmarks.peers.measuring import Facts, Step, main


def prepare(step: Step) -> Callable[[], Facts]:
    def run() -> Facts:
        daft.read_mcap(str(step.path)).write_parquet(str(step.folder))
        return {"messages": sum(pq.read_metadata(path).num_rows for path in step.folder.rglob("*.parquet"))}

    return run


if __name__ == "__main__":
    main(prepare)
