"""The batches of one rank: in which order they come, where to go on after a stop, and reading ahead."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from scenelake.contracts.errors import ConfigurationError
from scenelake.loader.blocks import Batch, Block, Source
from scenelake.loader.config import LoaderConfig
from scenelake.loader.groups import SceneGroups
from scenelake.loader.layout import Int64Array
from scenelake.loader.order import EpochOrder, Line
from scenelake.loader.packing import pack
from scenelake.loader.reading import LoaderReader, Scenes
from scenelake.loader.statistics import Statistics
from scenelake.loader.text import Texts
from scenelake.loader.windows import Windows, runs_of

STATE_VERSION = 1
_KEPT_PLANS = 2


@dataclass(frozen=True)
class EpochPlan:
    """An epoch of all ranks: the line of windows, and which of them share an item.

    Attributes:
        bins: positions on the line by item, where windows are packed.
    """

    line: Line
    bins: list[Int64Array] | None

    def __len__(self) -> int:
        return len(self.line) if self.bins is None else len(self.bins)

    def items(self, positions: Int64Array) -> list[Int64Array]:
        """Numbers of the windows of each item."""
        if self.bins is None:
            return list(self.line.items(positions).reshape(-1, 1))
        return [self.line.items(self.bins[p]) for p in positions.tolist()]


class SceneBatches:
    """Batches of a release for one rank, in an order that follows from release, configuration, seed and epoch.

    Args:
        reader: of a pinned release.
        rank, nbr_ranks: of this process among those that train together.
        statistics: of streams that are normalised (``measure.measure``).
        prefetch_blocks: blocks that are read before they are needed; 0 reads in the caller's thread.
        decode_threads: threads that decode images; 0 decodes in the caller's thread.

    Raises:
        ConfigurationError: a stream is to be normalised and has no statistics.
    """

    def __init__(
        self,
        reader: LoaderReader,
        config: LoaderConfig,
        *,
        rank: int = 0,
        nbr_ranks: int = 1,
        statistics: Mapping[str, Statistics] | None = None,
        prefetch_blocks: int = 2,
        decode_threads: int = 2,
    ) -> None:
        self.config = config
        self.epoch = 0
        self._reader = reader
        self._rank, self._nbr_ranks = rank, nbr_ranks
        self._statistics = dict(statistics or {})
        self._prefetch_blocks = prefetch_blocks
        self._decode_threads = decode_threads
        missing = [n for n, s in config.streams.items() if s.normalisation != "none" and n not in self._statistics]
        if missing:
            raise ConfigurationError(f"statistics: missing for {', '.join(missing)}, which are to be normalised")
        scenes = Scenes.of(reader, config)
        windows = Windows(scenes.nbr_frames[scenes.chosen], config.window)
        texts = Texts(config.text) if config.text else None
        groups = SceneGroups(reader, scenes, config)
        self.source = Source(reader, config, scenes, windows, groups, self._statistics, texts)
        self._plan = lru_cache(_KEPT_PLANS)(self._made_plan)
        self._base = self._position = 0

    def __len__(self) -> int:
        """Batches of this rank in the current epoch."""
        return self.order().nbr_batches

    def __getstate__(self) -> dict[str, Any]:
        # Another process finds the same scenes again; caches, threads and tokenizers stay behind.
        kept = ("config", "epoch", "_reader", "_rank", "_nbr_ranks", "_statistics", "_prefetch_blocks",
                "_decode_threads", "_base", "_position")  # fmt: skip
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(  # type: ignore[misc]
            state["_reader"], state["config"], rank=state["_rank"], nbr_ranks=state["_nbr_ranks"],
            statistics=state["_statistics"], prefetch_blocks=state["_prefetch_blocks"],
            decode_threads=state["_decode_threads"],
        )  # fmt: skip
        self.epoch, self._base, self._position = state["epoch"], state["_base"], state["_position"]

    @property
    def fingerprint(self) -> str:
        """What the order depends on besides seed and epoch: release and configuration."""
        text = f"{self._reader.release.merkle_root} {self.config.model_dump_json()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def plan(self) -> EpochPlan:
        """The current epoch of all ranks."""
        return self._plan(self.epoch)

    def order(self) -> EpochOrder:
        """This rank's part of the current epoch."""
        c = self.config
        return EpochOrder(
            len(self.plan()), c.seed, self.epoch, self._rank, self._nbr_ranks, c.batch_size, c.lanes, c.block_batches,
            c.has_partial,
        )  # fmt: skip

    def set_epoch(self, epoch: int) -> None:
        """Goes to the start of an epoch."""
        self.epoch, self._base, self._position = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Where to go on: behind the last batch that this object gave."""
        return self._state(self._base, self._position)

    def state_after(self, batch: Batch) -> dict[str, Any]:
        """Where to go on behind this batch, wherever it was made: for batches that come in order from workers."""
        return self._state(batch["position"] + 1, batch["position"] + 1, int(batch["epoch"]))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where ``state_dict`` was taken; the number of workers may differ.

        Raises:
            ConfigurationError: the state is of another release, configuration or division into ranks.
        """
        expected = self._state(0, 0)
        for name in ("version", "fingerprint", "rank", "nbr_ranks"):
            if state.get(name) != expected[name]:
                raise ConfigurationError(
                    f"state: {name} is {state.get(name)!r}, expected {expected[name]!r}: it was taken with another"
                    " release, configuration or number of ranks, in which the order of samples is another one"
                )
        self.epoch, self._base, self._position = int(state["epoch"]), int(state["base"]), int(state["position"])

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the epoch; afterwards the next epoch is the current one."""
        yield from self.batches(0, 1)
        self.set_epoch(self.epoch + 1)

    def batches(self, worker: int, nbr_workers: int, decode_threads: int | None = None) -> Iterator[Batch]:
        """The rest of the epoch's batches that fall to one of several workers.

        Args:
            decode_threads: instead of those that this object was made with.
        """
        order = self.order()
        if nbr_workers == 1:
            self._base = self._position
        share = order.workers_share(worker, nbr_workers, self._base, self._position)
        threads = self._decode_threads if decode_threads is None else decode_threads
        with _BlockReader(self, order, share, self._prefetch_blocks, threads) as blocks:
            for number in share:
                batch = blocks.of(number).batch(order.place_in_block(number))
                batch["epoch"], batch["position"] = self.epoch, number
                self._position = number + 1
                if nbr_workers == 1:
                    self._base = number + 1
                yield batch

    def block(self, order: EpochOrder, lane: int, number: int, source: Source) -> Block:
        """Reads one block."""
        positions = order.block(lane, number)
        ahead = order.block(lane, number + 1)
        return Block(source, self.plan().items(positions), self.epoch, self._scenes_of(ahead))

    def _scenes_of(self, positions: Int64Array) -> Sequence[int]:
        items = self.plan().items(positions)
        if not items:
            return ()
        local = self.source.windows.locate(np.concatenate(items))[0]
        return [int(scene) for scene in self.source.scenes.chosen[local]]

    def _state(self, base: int, position: int, epoch: int | None = None) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "fingerprint": self.fingerprint,
            "rank": self._rank,
            "nbr_ranks": self._nbr_ranks,
            "epoch": self.epoch if epoch is None else epoch,
            "base": int(base),
            "position": int(position),
        }

    def _made_plan(self, epoch: int) -> EpochPlan:
        config, windows = self.config, self.source.windows
        line = Line.of_runs(*runs_of(windows.counts, config.run_windows), config.seed, epoch)
        if config.packing is None:
            return EpochPlan(line, None)
        numbers = line.items(np.arange(len(line)))
        lengths = windows.lengths(numbers) * config.packing.tokens_per_frame
        if config.packing.has_text:
            lengths += self._text_lengths()[windows.locate(numbers)[0]]
        return EpochPlan(line, pack(lengths, config.packing.budget, config.packing.buffer))

    def _text_lengths(self) -> Int64Array:
        """(s,) tokens of the text of each chosen scene."""
        texts, scenes = self.source.texts, self.source.scenes
        if texts is None:
            return np.zeros(len(scenes.chosen), np.int64)
        return np.array([len(texts.ids(scenes.tasks[i])) for i in scenes.chosen.tolist()], np.int64)


class _BlockReader:
    """Reads the blocks of a worker's batches in the order in which they are needed, some of them ahead."""

    def __init__(
        self, batches: SceneBatches, order: EpochOrder, share: range, nbr_ahead: int, decode_threads: int
    ) -> None:
        self._batches = batches
        self._order = order
        self._nbr_ahead = nbr_ahead
        needed = dict.fromkeys(order.block_of(number) for number in share)
        self._last_use = {order.block_of(number): number for number in share}
        self._waiting = list(reversed(needed))
        self._open: OrderedDict[tuple[int, int], Future[Block] | Block] = OrderedDict()
        self._readers = ThreadPoolExecutor(min(nbr_ahead, 2), "scenelake-read") if nbr_ahead else None
        self._decoders = ThreadPoolExecutor(decode_threads, "scenelake-decode") if decode_threads else None
        self._source = replace(batches.source, pool=self._decoders)

    def __enter__(self) -> "_BlockReader":
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._readers, self._decoders):
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def of(self, number: int) -> Block:
        """The block of a batch; it is given up after its last batch."""
        key = self._order.block_of(number)
        self._read_ahead(key)
        found = self._open[key]
        block = found.result() if isinstance(found, Future) else found
        self._open[key] = block
        if self._last_use[key] == number:
            del self._open[key]
        return block

    def _read_ahead(self, key: tuple[int, int]) -> None:
        """Starts to read until the block is under way and so many behind it."""
        while self._waiting and (key not in self._open or self._unread() < self._nbr_ahead):
            lane, block = wanted = self._waiting.pop()
            given = (self._order, lane, block, self._source)
            read = self._batches.block
            self._open[wanted] = self._readers.submit(read, *given) if self._readers else read(*given)

    def _unread(self) -> int:
        return sum(isinstance(found, Future) for found in self._open.values())
