"""The order of an epoch: who gets which item when, by arithmetic on release, configuration, seed and epoch.

The items of an epoch lie on one line (runs of neighbouring windows, shuffled). Ranks own equal stretches of it. A
rank's stretch is cut into lanes and a lane into blocks, which are shuffled within; batch k comes from lane k modulo
the number of lanes. The first blocks of lanes differ in size, so that the next ones are not all needed at once and
the first batch waits for little. A worker that takes every w-th batch thereby stays in its own lanes whenever w
divides their number: the sequence of batches is the same for any such number of workers, and no two workers read the
same block.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scenelake.contracts.errors import ConfigurationError
from scenelake.loader.seeds import shuffled

Int64Array = NDArray[np.int64]
_RUNS, _BLOCK = 1, 2


@dataclass(frozen=True)
class Line:
    """Items of an epoch in their order before ranks and blocks: runs, one after the other.

    Attributes:
        first, counts: (r,) first item of each run and its length, in the order of the line.
        ends: (r,) position behind each run.
    """

    first: Int64Array
    counts: Int64Array
    ends: Int64Array

    @classmethod
    def of_runs(cls, first: Int64Array, counts: Int64Array, seed: int | None, epoch: int) -> "Line":
        """The runs shuffled by seed and epoch; as they are where the seed is None."""
        if seed is not None:
            order = shuffled(len(first), seed, epoch, _RUNS)
            first, counts = first[order], counts[order]
        return cls(first, counts, np.cumsum(counts))

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def items(self, positions: Int64Array) -> Int64Array:
        """(n,) item at each position."""
        run = np.searchsorted(self.ends, positions, side="right")
        return self.first[run] + positions - (self.ends[run] - self.counts[run])


@dataclass(frozen=True)
class EpochOrder:
    """Batches of one rank in one epoch, as positions on the epoch's line.

    Attributes:
        nbr_items: on the line, for all ranks.
        seed: None leaves blocks as they are.
        block_batches: batches that are read and shuffled together.
        has_partial: the last batch of a rank may be smaller. Otherwise every rank has the same number of full
            batches, and what is left of the epoch does not come.
    """

    nbr_items: int
    seed: int | None
    epoch: int
    rank: int
    nbr_ranks: int
    batch_size: int
    lanes: int
    block_batches: int
    has_partial: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.nbr_ranks:
            raise ConfigurationError(f"rank: expected 0 to {self.nbr_ranks - 1}, got {self.rank}")

    @property
    def start(self) -> int:
        return self.rank * self.nbr_items // self.nbr_ranks

    @property
    def exclusive_end(self) -> int:
        if not self.has_partial:
            return self.start + self.nbr_batches * self.batch_size
        return (self.rank + 1) * self.nbr_items // self.nbr_ranks

    @property
    def nbr_batches(self) -> int:
        if not self.has_partial:
            return self.nbr_items // self.nbr_ranks // self.batch_size
        return -(-(self.exclusive_end - self.start) // self.batch_size)

    def block_of(self, batch: int) -> tuple[int, int]:
        """Lane of a batch and the number of its block in the lane."""
        lane, at = batch % self.lanes, batch // self.lanes
        first = self._first_batches(lane)
        return lane, 0 if at < first else 1 + (at - first) // self.block_batches

    def place_in_block(self, batch: int) -> slice:
        """Where a batch lies in its block."""
        lane, block = self.block_of(batch)
        start = (batch // self.lanes - self._block_start(lane, block)) * self.batch_size
        return slice(start, start + self.batch_size)

    def batch(self, number: int) -> Int64Array:
        """Positions of one batch, in order."""
        return self.block(*self.block_of(number))[self.place_in_block(number)]

    def block(self, lane: int, number: int) -> Int64Array:
        """Positions of one block, in the order of its batches; empty behind the end of the lane."""
        return _block(self, lane, number)

    def _first_batches(self, lane: int) -> int:
        return 1 + lane % self.block_batches

    def _block_start(self, lane: int, block: int) -> int:
        """Batches of the lane before a block."""
        return 0 if block == 0 else self._first_batches(lane) + (block - 1) * self.block_batches

    def _lane_start(self, lane: int) -> int:
        """Where a lane starts: earlier lanes have the larger number of batches, and the last batch is the smallest."""
        whole, more = divmod(self.nbr_batches, self.lanes)
        batches = lane * whole + min(lane, more)
        missing = self.nbr_batches * self.batch_size - (self.exclusive_end - self.start)
        is_behind_last = lane > (self.nbr_batches - 1) % self.lanes
        return self.start + batches * self.batch_size - (missing if is_behind_last else 0)

    def workers_share(self, worker: int, nbr_workers: int, base: int, position: int) -> range:
        """Batches that one of several workers gives, from ``position`` on.

        Args:
            base: batch that the first worker gave first.

        Raises:
            ConfigurationError: the lanes cannot be shared out among so many.
        """
        if self.lanes % nbr_workers:
            fitting = [n for n in range(1, self.lanes + 1) if not self.lanes % n]
            raise ConfigurationError(
                f"num_workers: expected one that divides lanes={self.lanes} (of {fitting}), got {nbr_workers}:"
                " choose another, or other lanes (which is another order of samples)"
            )
        first = base + worker
        return range(first + -(-max(position - first, 0) // nbr_workers) * nbr_workers, self.nbr_batches, nbr_workers)


@lru_cache(maxsize=256)
def _block(order: EpochOrder, lane: int, number: int) -> Int64Array:
    lane_end = order._lane_start(lane + 1) if lane + 1 < order.lanes else order.exclusive_end
    lane_start = order._lane_start(lane)
    start = min(lane_start + order._block_start(lane, number) * order.batch_size, lane_end)
    end = min(lane_start + order._block_start(lane, number + 1) * order.batch_size, lane_end)
    if order.seed is None:
        return np.arange(start, end)
    return start + shuffled(end - start, order.seed, order.epoch, _BLOCK, start)
