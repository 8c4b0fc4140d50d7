"""Robot datasets that the tests write, and a way to decode one of their objects as a drop."""

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.decode import drop as drop_module
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Findings, Reader
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.siblings import LocalSiblings
from scenelake.decode.formats.sources import FileSource, MemorySource

SPACING_NS = DecodeConfig().episode_spacing_ns
Messages = dict[str, list[tuple[int, bytes]]]


@pytest.fixture
def decode_in(monkeypatch: pytest.MonkeyPatch, decode: Callable[..., Any]) -> Callable[..., Any]:
    """Decodes one object of a folder through ``decode_object``, with the folder's other files as siblings."""

    def run(folder: Path, name: str, config: DecodeConfig | None = None) -> Any:
        with LocalSiblings(folder) as siblings:

            def opened(source: Any, config: DecodeConfig, *_: Any) -> Reader:
                return open_reader(source, config, name, siblings)

            monkeypatch.setattr(drop_module, "open_reader", opened)
            return decode(folder / name, config)

    return run


@pytest.fixture
def read_in() -> Callable[..., tuple[Messages, Findings]]:
    """Every message of one object of a folder by topic: time and bytes, as its reader hands them on."""

    def run(folder: Path, name: str, config: DecodeConfig | None = None) -> tuple[Messages, Findings]:
        with LocalSiblings(folder) as siblings, FileSource(folder / name) as source:
            reader = open_reader(source, config or DecodeConfig(), name, siblings)
            return collected(reader), reader.findings

    return run


@pytest.fixture
def read_bytes() -> Callable[..., tuple[Messages, Findings]]:
    """The same of an object in memory that came alone; a BadInputError counts as nothing read."""

    def run(data: bytes, name: str = "") -> tuple[Messages, Findings]:
        try:
            reader = open_reader(MemorySource(data), DecodeConfig(), name)
            return collected(reader), reader.findings
        except BadInputError:
            return {}, Findings()

    return run


def collected(reader: Reader) -> Messages:
    found: Messages = {}
    identities: set[tuple[str, int, int]] = set()
    for block in reader.blocks():
        for message in block.messages():
            identity = (message.channel.topic, message.chunk_offset_bytes, message.message_offset_bytes)
            assert identity not in identities
            identities.add(identity)
            found.setdefault(message.channel.topic, []).append((message.publish_time_ns, bytes(message.data)))
    return found


@pytest.fixture(scope="session")
def framed() -> Callable[[Iterable[bytes]], bytes]:
    """Records as a TFRecord file."""

    def masked(data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    def frame(records: Iterable[bytes]) -> bytes:
        parts = []
        for record in records:
            length = struct.pack("<Q", len(record))
            parts.append(length + masked(length) + record + masked(record))
        return b"".join(parts)

    return frame


@pytest.fixture
def encode_video() -> Callable[..., None]:
    """Writes a small MP4 with a moving pattern."""

    def encode(path: Path, nbr_frames: int, fps: int = 10, codec: str = "libx264", **options: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.options = {"g": "5", **options}
            for number in range(nbr_frames):
                picture = np.full((48, 64, 3), number * 7 % 256, np.uint8)
                picture[:, number % 64 :] = 200
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            container.mux(stream.encode())

    return encode


FEATURES = {
    "observation.state": {"dtype": "float32", "shape": [4], "names": ["a.pos", "b.pos", "c.pos", "grip"]},
    "action": {"dtype": "float32", "shape": [4], "names": {"motors": ["a", "b", "c", "grip"]}},
    "observation.images.front": {"dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "channel"]},
}


class LeRobotDataset:
    """A dataset of episodes of given lengths with one camera; both tasks come by turns."""

    def __init__(self, folder: Path, lengths: Sequence[int], fps: int = 10) -> None:
        self.folder, self.lengths, self.fps = folder, lengths, fps
        generator = np.random.default_rng(0)
        self.states = [generator.normal(size=(n, 4)).astype(np.float32) for n in lengths]
        self.actions = [generator.normal(size=(n, 4)).astype(np.float32) for n in lengths]
        self.tasks = ["pick the cube", "place the cube"]

    def write_json(self, name: str, document: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))

    def write_info(self, version: str) -> None:
        info = {"codebase_version": version, "robot_type": "so101", "fps": self.fps, "features": FEATURES}
        self.write_json("meta/info.json", info)

    def rows(self, episode: int, /, **more: pa.Array) -> pa.Table:
        count = self.lengths[episode]
        first = sum(self.lengths[:episode])
        vector = pa.list_(pa.float32(), 4)
        return pa.table(
            {
                "observation.state": pa.FixedSizeListArray.from_arrays(self.states[episode].reshape(-1), type=vector),
                "action": pa.FixedSizeListArray.from_arrays(self.actions[episode].reshape(-1), type=vector),
                "timestamp": pa.array(np.arange(count, dtype=np.float32) / np.float32(self.fps)),
                "frame_index": pa.array(range(count), pa.int64()),
                "episode_index": pa.array([episode] * count, pa.int64()),
                "index": pa.array(range(first, first + count), pa.int64()),
                "task_index": pa.array([episode % 2] * count, pa.int64()),
                **more,
            }
        )

    def write_v21(self, encode_video: Callable[..., None]) -> None:
        self.write_info("v2.1")
        (self.folder / "meta/tasks.jsonl").write_text(
            "\n".join(json.dumps({"task_index": i, "task": t}) for i, t in enumerate(self.tasks))
        )
        for episode in range(len(self.lengths)):
            self.write_table(self.rows(episode), f"data/chunk-000/episode_{episode:06d}.parquet")
            name = f"videos/chunk-000/observation.images.front/episode_{episode:06d}.mp4"
            encode_video(self.folder / name, self.lengths[episode], self.fps)

    def write_v30(self, encode_video: Callable[..., None]) -> None:
        self.write_info("v3.0")
        tables = [self.rows(episode) for episode in range(len(self.lengths))]
        path = self.folder / "data/chunk-000/file-000.parquet"
        path.parent.mkdir(parents=True)
        with pq.ParquetWriter(path, tables[0].schema) as writer:
            for table in tables:
                writer.write_table(table)
        tasks = pa.table({"task_index": [0, 1], "__index_level_0__": self.tasks})
        self.write_table(tasks, "meta/tasks.parquet")
        starts = np.cumsum([0, *self.lengths[:-1]]) / self.fps
        prefix = "videos/observation.images.front/"
        episodes = pa.table(
            {
                "episode_index": list(range(len(self.lengths))),
                f"{prefix}chunk_index": [0] * len(starts),
                f"{prefix}file_index": [0] * len(starts),
                f"{prefix}from_timestamp": starts,
                f"{prefix}to_timestamp": starts + np.array(self.lengths) / self.fps,
                "stats/action/mean": [[0.0] * 4] * len(starts),
            }
        )
        half = max(len(starts) // 2, 1)
        self.write_table(episodes.slice(0, half), "meta/episodes/chunk-000/file-000.parquet")
        self.write_table(episodes.slice(half), "meta/episodes/chunk-000/file-001.parquet")
        encode_video(self.folder / f"{prefix}chunk-000/file-000.mp4", sum(self.lengths), self.fps)

    def write_table(self, table: pa.Table, name: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, self.folder / name)


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., LeRobotDataset]:
    def make(lengths: Sequence[int] = (12, 7, 9), fps: int = 10) -> LeRobotDataset:
        return LeRobotDataset(tmp_path / "drive" / "set", lengths, fps)

    return make


@pytest.fixture(scope="session")
def sha256() -> Callable[[bytes], str]:
    return lambda data: hashlib.sha256(data).hexdigest()
