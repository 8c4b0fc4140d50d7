"""The loader as torch datasets. The one module that imports torch, which is no dependency of Scenelake.

``SceneStream`` gives whole batches: ``DataLoader(stream, batch_size=None, num_workers=4)``. ``SceneDataset`` is a map
of windows for those who bring a sampler of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scenelake.contracts.errors import ConfigurationError
from scenelake.loader.batches import SceneBatches
from scenelake.loader.blocks import Batch, Block
from scenelake.loader.config import LoaderConfig
from scenelake.loader.reading import LoaderReader
from scenelake.loader.statistics import Statistics

try:
    import torch
    from torch.utils.data import Dataset, IterableDataset, get_worker_info
except ImportError as error:
    raise ConfigurationError(
        "the package torch is not installed: pip install torch, or use scenelake.loader.batches.SceneBatches, which"
        " gives NumPy arrays"
    ) from error

_WHERE = ("epoch", "base", "position")


def to_torch(batch: Batch) -> Batch:
    """The batch with its arrays as tensors, without copies; lists and whole numbers stay."""
    return {n: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for n, v in batch.items()}


class SceneStream(IterableDataset):  # type: ignore[misc]
    """Batches of a release for one rank, for ``DataLoader(stream, batch_size=None, num_workers=…)``.

    The order does not depend on the number of workers, which must divide ``config.lanes``. ``state_after(batch)``
    tells where to go on behind a batch that a DataLoader gave, and ``load_state_dict`` goes there, with any such
    number of workers; torchdata's ``StatefulDataLoader`` calls ``state_dict`` itself.

    Args:
        decode_threads: see ``SceneBatches``; where there are workers, each decodes in its one thread.
    """

    def __init__(
        self,
        reader: LoaderReader,
        config: LoaderConfig,
        *,
        rank: int = 0,
        nbr_ranks: int = 1,
        statistics: Mapping[str, Statistics] | None = None,
        decode_threads: int = 2,
    ) -> None:
        super().__init__()
        self.batches = SceneBatches(
            reader, config, rank=rank, nbr_ranks=nbr_ranks, statistics=statistics, decode_threads=decode_threads
        )
        # Shared memory: workers that live on from epoch to epoch hear of a new one here.
        self._where = torch.zeros(len(_WHERE), dtype=torch.int64).share_memory_()
        self._own: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Goes to the start of an epoch; to be called before each one."""
        self.batches.set_epoch(epoch)
        self._share()

    def state_dict(self) -> dict[str, Any]:
        """Where this copy goes on; see ``SceneBatches.state_dict``."""
        return self.batches.state_dict()

    def state_after(self, batch: Batch) -> dict[str, Any]:
        """Where to go on behind a batch; see ``SceneBatches.state_after``."""
        return self.batches.state_after(batch)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where the state was taken; see ``SceneBatches.load_state_dict``."""
        self.batches.load_state_dict(state)
        if get_worker_info() is None:
            self._share()
        else:
            self._own = state

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is not None and self._own is None:
            where = dict(zip(_WHERE, self._where.tolist(), strict=True))
            self.batches.load_state_dict({**self.batches.state_dict(), **where})
        self._own = None
        if worker is None:
            yield from map(to_torch, self.batches.batches(0, 1))
        else:
            yield from map(to_torch, self.batches.batches(worker.id, worker.num_workers, decode_threads=0))

    def _share(self) -> None:
        state = self.batches.state_dict()
        self._where.copy_(torch.tensor([state[name] for name in _WHERE]))


class SceneDataset(Dataset):  # type: ignore[misc]
    """Windows of a release by number, in the order of scenes and starts.

    Windows that are far apart lie in different row groups, each of which is read whole: let the sampler keep
    neighbours together, or use ``SceneStream``, which does.

    Raises:
        ConfigurationError: the configuration packs windows.
    """

    def __init__(
        self, reader: LoaderReader, config: LoaderConfig, *, statistics: Mapping[str, Statistics] | None = None
    ) -> None:
        if config.packing is not None:
            raise ConfigurationError("packing: a map of windows has no packs; use SceneStream")
        self.batches = SceneBatches(reader, config, statistics=statistics, decode_threads=0)

    def __len__(self) -> int:
        return len(self.batches.source.windows)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the random transforms; workers that live on do not hear of it."""
        self.batches.set_epoch(epoch)

    def __getitem__(self, window: int) -> Batch:
        return self.__getitems__([window])[0]

    def __getitems__(self, windows: Sequence[int]) -> list[Batch]:
        """Samples of several windows, which are read together; torch's DataLoader asks so."""
        numbers = np.array(windows, np.int64)
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(self)):
            raise IndexError(f"windows {numbers.min()} to {numbers.max()} of {len(self)}")
        block = Block(self.batches.source, list(numbers.reshape(-1, 1)), self.batches.epoch)
        batch = to_torch(block.batch(slice(0, len(numbers))))
        return [{name: values[row] for name, values in batch.items()} for row in range(len(numbers))]
