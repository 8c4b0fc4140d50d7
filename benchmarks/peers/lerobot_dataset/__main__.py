"""Loads the same episodes through LeRobot's own dataset, through Scenelake's loader, and from Parquet by hand.

Each run is a process of its own, so that nothing is warm: ``python -m benchmarks.peers.lerobot_dataset JSON``.
"""

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

BATCH = 32
CHUNK = 16
DECODE_THREADS = 2
Facts = dict[str, Any]


def batches_of_lerobot(given: Facts) -> Iterator[int]:
    """LeRobot's dataset on a local disk, as its training script loads it."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    fps = given["fps"]
    dataset = LeRobotDataset(
        "scenelake/benchmark",
        root=Path(given["folder"]),
        delta_timestamps={"action": [i / fps for i in range(CHUNK)]},
        video_backend="pyav",
    )
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=given["workers"])
    for batch in loader:
        yield len(batch["index"])


def batches_of_scenelake(given: Facts) -> Iterator[int]:
    """Scenelake's stream from S3, shuffled."""
    from scenelake.adapters.release_reader import open_release
    from scenelake.loader.config import LoaderConfig
    from scenelake.loader.torch_dataset import SceneStream
    from scenelake.runtime.settings import Settings

    settings = Settings(home=Path(given["folder"]), endpoint_url=given["endpoint_url"])
    stream = SceneStream(open_release(settings), LoaderConfig.model_validate(given["config"]))
    for batch in DataLoader(stream, batch_size=None, num_workers=given["workers"]):
        yield len(batch["window"])


def batches_of_parquet(given: Facts) -> Iterator[int]:
    """The payload files from S3, one after the other, every frame decoded: what a loop by hand does at best.

    It does not shuffle, match cameras to keyframes, read states and actions, or cut windows. It decodes on as many
    threads as the loader does without workers.
    """
    import pyarrow.compute as pc
    import pyarrow.fs as pafs
    import pyarrow.parquet as pq

    host = given["endpoint_url"].removeprefix("http://")
    storage = pafs.S3FileSystem(
        access_key="test", secret_key="test", scheme="http", endpoint_override=host, region=given["region"]
    )
    decoders = ThreadPoolExecutor(DECODE_THREADS)
    for uri in given["files"]:
        with storage.open_input_file(uri.removeprefix("s3://")) as source:
            table = pq.ParquetFile(source, pre_buffer=True).read(columns=["channel", "image"])
        for channel in given["channels"]:
            images = table["image"].filter(pc.equal(table["channel"], channel))
            for start in range(0, len(images), BATCH):
                frames = list(decoders.map(decoded, images[start : start + BATCH].to_pylist()))
                stacked = np.stack(frames).astype(np.float32) / np.float32(255)
                torch.from_numpy(np.ascontiguousarray(np.moveaxis(stacked, -1, 1)))
                yield len(frames)


def decoded(image: bytes) -> np.ndarray:
    import simplejpeg

    return simplejpeg.decode_jpeg(image, "RGB")


WAYS: dict[str, Callable[[Facts], Iterator[int]]] = {
    "lerobot": batches_of_lerobot,
    "scenelake": batches_of_scenelake,
    "parquet": batches_of_parquet,
}


MODULES = {
    "lerobot": ("lerobot.datasets.lerobot_dataset",),
    "scenelake": ("scenelake.adapters.release_reader", "scenelake.loader.torch_dataset", "pandas"),
    "parquet": ("pyarrow.fs", "pyarrow.parquet", "simplejpeg", "pandas"),
}
"""What each way imports: pyarrow looks for pandas when it is first asked for something."""


def measure(given: Facts) -> Facts:
    """Samples a second after the first batch, and the time to it, imports left out."""
    imported = time.perf_counter()
    torch.set_num_threads(1)
    walk = WAYS[given["way"]](given)
    for module in MODULES[given["way"]]:
        importlib.import_module(module)
    start = time.perf_counter()
    first = next(walk)
    first_seconds = time.perf_counter() - start
    samples, begun = 0, time.perf_counter()
    for count in walk:
        samples += count
        if time.perf_counter() - begun > given["limit_seconds"]:
            break
    seconds = time.perf_counter() - begun
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "samples": first + samples,
        "first_batch_seconds": round(first_seconds, 3),
        "import_seconds": round(start - imported, 3),
        "samples_per_second": round(samples / seconds, 1) if samples else None,
        "whole_samples_per_second": round((first + samples) / (first_seconds + seconds), 1),
        "cpu_seconds": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 2),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(json.loads(sys.argv[-1]))) + "\n")
