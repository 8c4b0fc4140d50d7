"""Work done a little ahead of whoever needs it, so that waiting for S3 is not all that an audit does."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = 12
_BYTES_AHEAD = 256 * 1024**2


def ahead(jobs: Iterable[T], work: Callable[[T], R], size_bytes: Callable[[T], int] = lambda _: 0) -> Iterator[R]:
    """What ``work`` gives for each job, in order.

    Args:
        size_bytes: what a job takes up until it is used; what lies ready is bounded.
    """
    waiting: deque[tuple[int, Future[R]]] = deque()
    nbr_bytes = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for job in jobs:
            size = size_bytes(job)
            while waiting and (len(waiting) >= 2 * THREADS or nbr_bytes + size > _BYTES_AHEAD):
                done, future = waiting.popleft()
                yield future.result()
                nbr_bytes -= done
            waiting.append((size, pool.submit(work, job)))
            nbr_bytes += size
        for _, future in waiting:
            yield future.result()
