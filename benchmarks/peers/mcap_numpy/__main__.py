"""``mcap``'s reader with CRCs, and NumPy by hand for the types at hand: what a good engineer writes in an afternoon.

Small messages of a topic are put side by side and read as one structured array; it relies on the fields of a topic
lying at the same bytes for the whole recording, and checks no more than the length.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.peers.measuring import Facts, Step, main
from benchmarks.peers.tables import ROW_GROUP_BYTES, ROW_GROUP_ROWS, Tables, hash_file
from mcap.reader import make_reader

_HEAD_BYTES = 4
_LARGE = ("CompressedImage", "PointCloud2")
_POINT = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4"), ("ring", "u2"), ("time", "f4")])
_DOUBLES = {
    "Imu": (
        ("orientation", 4),
        ("orientation_covariance", 9),
        ("angular_velocity", 3),
        ("angular_velocity_covariance", 9),
        ("linear_acceleration", 3),
        ("linear_acceleration_covariance", 9),
    ),
    "Odometry": (("pose", 7), ("pose_covariance", 36), ("twist", 6), ("twist_covariance", 36)),
}
_Fields = list[tuple[str, int, str, int]]


class Topic:
    """Messages of one topic on their way into a table."""

    def __init__(self, name: str, topic: str, tables: Tables) -> None:
        self._name = name
        self._topic = topic
        self._tables = tables
        self._file = f"{name}{topic.replace('/', '-')}"
        self._data: list[bytes] = []
        self._large: list[pa.RecordBatch] = []
        self._fields: _Fields | None = None

    def add(self, data: bytes) -> None:
        if self._name in _LARGE:
            self._large.append(_large_batch(self._name, data))
            if sum(batch.nbytes for batch in self._large) >= ROW_GROUP_BYTES:
                self.flush()
            return
        if self._data and len(data) != len(self._data[0]):
            raise ValueError(f"{self._topic}: {len(data)} bytes after messages of {len(self._data[0])}")
        self._data.append(data)
        if len(self._data) == ROW_GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._large:
            self._tables.write(self._file, pa.concat_batches(self._large))
            self._large.clear()
        if not self._data:
            return
        if self._fields is None:
            self._fields = _fields(self._name, self._data[0])
        stamp_at = 8 if self._name == "TFMessage" else _HEAD_BYTES
        fields = [("sec", stamp_at, "<i4", 1), ("nanosec", stamp_at + 4, "<u4", 1), *self._fields]
        dtype = np.dtype(
            {
                "names": [field[0] for field in fields],
                "formats": [(code, count) if count > 1 else code for _, _, code, count in fields],
                "offsets": [field[1] for field in fields],
                "itemsize": len(self._data[0]),
            }
        )
        rows = np.frombuffer(b"".join(self._data), dtype)
        columns = {"stamp_ns": pa.array(rows["sec"].astype(np.int64) * 1_000_000_000 + rows["nanosec"])}
        columns |= {name: _column(rows[name]) for name, *_ in self._fields}
        self._tables.write(self._file, pa.RecordBatch.from_pydict(columns))
        self._data.clear()


def _column(values: np.ndarray) -> pa.Array:
    values = np.ascontiguousarray(values)
    if values.ndim == 1:
        return pa.array(values)
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))


def _fields(name: str, data: bytes) -> _Fields:
    """Names, offsets, NumPy types and lengths of a small message's fields."""
    if name == "TFMessage":
        return [("raw", 0, "u1", len(data))]
    at = _behind_text(data, _HEAD_BYTES + 8)
    if name == "Frame":
        at = _aligned(at, 4)
        return [
            ("id", at, "<u4", 1),
            ("is_extended", at + 5, "u1", 1),
            ("dlc", at + 7, "u1", 1),
            ("data", at + 8, "u1", 8),
        ]
    found: _Fields = []
    if name == "JointState":
        at = _aligned(at, 4)
        count = _word(data, at)
        at += 4
        for _ in range(count):
            at = _behind_text(data, _aligned(at, 4))
        for column in ("position", "velocity", "effort"):
            at = _aligned(_aligned(at, 4) + 4, 8)
            found.append((column, at, "<f8", count))
            at += 8 * count
        return found
    if name == "Odometry":
        at = _behind_text(data, _aligned(at, 4))
    at = _aligned(at, 8)
    for column, count in _DOUBLES[name]:
        found.append((column, at, "<f8", count))
        at += 8 * count
    return found


def _large_batch(name: str, data: bytes) -> pa.RecordBatch:
    sec, nanosec = struct.unpack_from("<iI", data, _HEAD_BYTES)
    at = _aligned(_behind_text(data, _HEAD_BYTES + 8), 4)
    columns: dict[str, Any] = {"stamp_ns": pa.array([sec * 1_000_000_000 + nanosec])}
    if name == "CompressedImage":
        at = _aligned(_behind_text(data, at), 4) + 4
        columns["image"] = pa.array([memoryview(data)[at:]], pa.binary())
    else:
        nbr_points = _word(data, at) * _word(data, at + 4)
        points = np.frombuffer(data, _POINT, nbr_points, len(data) - 1 - nbr_points * _POINT.itemsize)
        columns |= {field: _column(points[field][None]) for field in _POINT.names or ()}
    return pa.RecordBatch.from_pydict(columns)


def _aligned(at: int, size: int) -> int:
    return at + -(at - _HEAD_BYTES) % size


def _word(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _behind_text(data: bytes, at: int) -> int:
    return at + 4 + _word(data, at)


def prepare(step: Step) -> Callable[[], Facts]:
    def run() -> Facts:
        nbr_messages = payload_bytes = 0
        topics: dict[str, Topic] = {}
        hash_file(step.path)
        with step.path.open("rb") as file, Tables(step.folder) as tables:
            reader = make_reader(file, validate_crcs=True)
            for schema, channel, message in reader.iter_messages(log_time_order=False):
                topic, data = channel.topic, message.data
                if topic not in topics:
                    topics[topic] = Topic(schema.name.rpartition("/")[2] if schema else "", topic, tables)
                index = {
                    "topic": topic,
                    "sequence": message.sequence,
                    "log_time_ns": message.log_time,
                    "publish_time_ns": message.publish_time,
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
                tables.add("index", index, 200)
                topics[topic].add(data)
                nbr_messages += 1
                payload_bytes += len(data)
            for pending in topics.values():
                pending.flush()
        for path in step.folder.glob("*.parquet"):
            hash_file(path)
        return {"messages": nbr_messages, "payload_bytes": payload_bytes}

    return run


if __name__ == "__main__":
    main(prepare)
