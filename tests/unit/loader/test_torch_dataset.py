"""The loader under torch's own DataLoader: workers, epochs, stops. torch is no dependency, so most of it may skip.

``tests/exports`` runs it where torch is; by hand: ``PYTHONPATH=jobs python -m pytest <this file>``.
"""

import importlib
import pickle
import sys
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

from scenelake.contracts.errors import ConfigurationError
from scenelake.loader.batches import SceneBatches
from scenelake.loader.config import ImageConfig, PackingConfig, WindowConfig, WindowEnds

from .memory_release import CAMERA, STATE, config, make_release, value

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")

RELEASE = make_release([5, 0, 9, 1, 30, 7, 12], has_sensors=False)
NBR_WINDOWS = 64
MODULE = "scenelake.loader.torch_dataset"


def test_without_torch_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    with pytest.raises(ConfigurationError, match="pip install torch, or use scenelake"):
        importlib.import_module(MODULE)


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed here; it is no dependency of Scenelake")


@pytest.fixture(scope="module")
def module(torch: Any) -> Any:
    return importlib.import_module(MODULE)


def windows_of(batches: Any) -> list[list[int]]:
    return [batch["window"].tolist() for batch in batches]


@pytest.fixture(scope="module")
def whole() -> list[list[int]]:
    batches = SceneBatches(RELEASE, config())
    batches.set_epoch(1)
    return windows_of(batches.batches(0, 1))


@pytest.mark.parametrize("nbr_workers", [0, 1, 2, 4])
def test_every_number_of_workers_gives_the_same_batches(torch: Any, module: Any, whole: Any, nbr_workers: int) -> None:
    stream = module.SceneStream(RELEASE, config())
    stream.set_epoch(1)
    found = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=nbr_workers)
    assert windows_of(found) == whole
    assert len(found) == len(whole)


@pytest.mark.parametrize(("before", "after"), [(2, 4), (4, 0), (0, 2), (2, 2)])
def test_an_epoch_goes_on_with_another_number_of_workers(
    torch: Any, module: Any, whole: Any, before: int, after: int
) -> None:
    stream = module.SceneStream(RELEASE, config())
    stream.set_epoch(1)
    head = []
    for batch in torch.utils.data.DataLoader(stream, batch_size=None, num_workers=before):
        head.append(batch["window"].tolist())
        state = stream.state_after(batch)
        if len(head) == 7:
            break
    other = module.SceneStream(RELEASE, config())
    other.load_state_dict(state)
    rest = windows_of(torch.utils.data.DataLoader(other, batch_size=None, num_workers=after))
    assert head + rest == whole


def test_workers_that_live_on_hear_of_the_next_epoch(torch: Any, module: Any, whole: Any) -> None:
    stream = module.SceneStream(RELEASE, config())
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2, persistent_workers=True)
    epochs = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        epochs.append(windows_of(loader))
    assert epochs[1] == whole
    assert epochs[0] == epochs[2] != epochs[1]


def test_a_stream_can_be_sent_to_a_spawned_worker(module: Any, whole: Any) -> None:
    stream = module.SceneStream(RELEASE, config())
    stream.set_epoch(1)
    copy = pickle.loads(bytes(ForkingPickler.dumps(stream)))
    assert windows_of(copy) == whole


def test_a_stateful_loader_goes_on_in_the_middle(module: Any, whole: Any) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed here")

    def loader() -> Any:
        stream = module.SceneStream(RELEASE, config())
        stream.set_epoch(1)
        return stateful.StatefulDataLoader(stream, batch_size=None, num_workers=2)

    first = loader()
    walk = iter(first)
    head = [next(walk)["window"].tolist() for _ in range(5)]
    second = loader()
    second.load_state_dict(first.state_dict())
    assert head + windows_of(second) == whole


def test_ranks_share_an_epoch(torch: Any, module: Any) -> None:
    seen = []
    for rank in range(3):
        stream = module.SceneStream(RELEASE, config(), rank=rank, nbr_ranks=3)
        seen += windows_of(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2))
    assert sorted(w for batch in seen for w in batch) == list(range(NBR_WINDOWS))


def test_batches_hold_tensors(torch: Any, module: Any) -> None:
    streams = {"state": STATE, "camera": CAMERA.model_copy(update={"image": ImageConfig(height_px=8, width_px=8)})}
    stream = module.SceneStream(make_release([4, 3]), config(streams=streams))
    batch = next(iter(torch.utils.data.DataLoader(stream, batch_size=None)))
    assert batch["camera"].shape == (3, 3, 8, 8)
    assert batch["camera"].dtype == torch.uint8
    assert batch["state"].dtype == torch.float32
    assert batch["state.is_valid"].dtype == torch.bool


def test_a_map_of_windows_gives_what_is_asked_for(torch: Any, module: Any) -> None:
    dataset = module.SceneDataset(RELEASE, config())
    assert len(dataset) == NBR_WINDOWS
    sample = dataset[20]
    assert sample["state"].tolist() == [value(4, 5), -value(4, 5)]
    loader = torch.utils.data.DataLoader(dataset, batch_size=5, shuffle=True, num_workers=2)
    assert sorted(w for batch in loader for w in batch["window"].tolist()) == list(range(NBR_WINDOWS))
    with pytest.raises(IndexError, match="of 64"):
        dataset[NBR_WINDOWS]
    window = WindowConfig(length=4, ends=WindowEnds.SHORT)
    with pytest.raises(ConfigurationError, match="use SceneStream"):
        module.SceneDataset(RELEASE, config(packing=PackingConfig(budget=8), window=window))
