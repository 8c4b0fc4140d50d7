"""Parquet tables as someone would write them beside a reader that gives one message at a time.

Used by the peers that decode to objects with attributes (``mcap_ros2``, ``rosbags``).
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_BYTES = 32 * 1024 * 1024
ROW_GROUP_ROWS = 32_768
_BLOCK_BYTES = 8 * 1024 * 1024
_REALS = pa.list_(pa.float64())
_NUMPY_OF_POINT_FIELD = {2: "u1", 4: "u2", 7: "f4", 8: "f8"}

INDEX = pa.schema(
    [
        ("topic", pa.string()),
        ("sequence", pa.int64()),
        ("log_time_ns", pa.int64()),
        ("publish_time_ns", pa.int64()),
        ("sha256", pa.string()),
    ]
)
HEADER = [("stamp_ns", pa.int64()), ("frame_id", pa.string())]

COLUMNS: dict[str, list[tuple[str, pa.DataType]]] = {
    "CompressedImage": [("format", pa.string()), ("image", pa.binary())],
    "PointCloud2": [
        *((name, pa.list_(pa.float32())) for name in ("x", "y", "z", "intensity", "time")),
        ("ring", pa.list_(pa.uint16())),
    ],
    "Imu": [
        ("orientation", _REALS),
        ("angular_velocity", _REALS),
        ("linear_acceleration", _REALS),
        ("covariance", _REALS),
    ],
    "Frame": [("id", pa.int64()), ("is_extended", pa.bool_()), ("data", pa.binary())],
    "JointState": [("name", pa.list_(pa.string())), ("position", _REALS), ("velocity", _REALS), ("effort", _REALS)],
    "Odometry": [
        ("child_frame_id", pa.string()),
        ("pose", _REALS),
        ("twist", _REALS),
        ("pose_covariance", _REALS),
        ("twist_covariance", _REALS),
    ],
    "TFMessage": [("parent", pa.list_(pa.string())), ("child", pa.list_(pa.string())), ("transforms", _REALS)],
}
"""What is written of a message, by the last part of its type's name."""


class Tables:
    """One file for each message type and one for the index, written row group by row group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._rows: dict[str, dict[str, list[Any]]] = {}
        self._bytes: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name in list(self._rows):
            self._flush(name)
        for writer in self._writers.values():
            writer.close()

    def add(self, name: str, row: dict[str, Any], nbr_bytes: int) -> None:
        """Adds a row of the index or of a type's table."""
        rows = self._rows.setdefault(name, {column: [] for column in schema_of(name).names})
        for column, values in rows.items():
            values.append(row[column])
        self._bytes[name] = self._bytes.get(name, 0) + nbr_bytes
        if self._bytes[name] >= ROW_GROUP_BYTES or len(values) >= ROW_GROUP_ROWS:
            self._flush(name)

    def write(self, name: str, batch: pa.RecordBatch) -> None:
        """Writes a ready batch as a row group."""
        if name not in self._writers:
            self._writers[name] = _writer(self._folder / f"{name}.parquet", batch.schema)
        self._writers[name].write_batch(batch, 2**31 - 1)

    def _flush(self, name: str) -> None:
        rows = self._rows.pop(name, None)
        self._bytes[name] = 0
        if rows:
            schema = schema_of(name)
            arrays = [pa.array(rows[field.name], field.type) for field in schema]
            self.write(name, pa.RecordBatch.from_arrays(arrays, schema=schema))


def schema_of(name: str) -> pa.Schema:
    """Columns of a table."""
    return INDEX if name == "index" else pa.schema([("topic", pa.string()), *HEADER, *COLUMNS[name]])


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    leaves = [f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema]
    texts = [f.name for f in schema if pa.types.is_string(f.type) and f.name != "sha256"]
    return pq.ParquetWriter(
        path,
        schema,
        compression={leaf: "none" if leaf in ("image", "data") else "zstd" for leaf in leaves},
        compression_level={leaf: 1 for leaf in leaves if leaf not in ("image", "data")},
        use_dictionary=texts,
        use_byte_stream_split=[
            leaf
            for f, leaf in zip(schema, leaves, strict=True)
            if pa.types.is_list(f.type) and pa.types.is_float32(f.type.value_type)
        ],
        write_statistics=False,
    )


def hash_file(path: Path) -> str:
    """SHA-256 of a file, block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def row_of(type_name: str, topic: str, message: Any) -> dict[str, Any]:
    """A decoded message's row.

    Raises:
        KeyError: a type without a table.
    """
    header = message.transforms[0].header if type_name == "TFMessage" else message.header
    stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
    common = {"topic": topic, "stamp_ns": stamp_ns, "frame_id": header.frame_id}
    return {**common, **_VALUES[type_name](message)}


def _image(message: Any) -> dict[str, Any]:
    return {"format": message.format, "image": bytes(message.data)}


def _points(message: Any) -> dict[str, Any]:
    dtype = np.dtype(
        {
            "names": [f.name for f in message.fields],
            "formats": [_NUMPY_OF_POINT_FIELD[f.datatype] for f in message.fields],
            "offsets": [f.offset for f in message.fields],
            "itemsize": message.point_step,
        }
    )
    points = np.frombuffer(message.data, dtype)
    return {name: np.ascontiguousarray(points[name]) for name, _ in COLUMNS["PointCloud2"]}


def _xyz(vector: Any) -> list[float]:
    return [vector.x, vector.y, vector.z]


def _xyzw(rotation: Any) -> list[float]:
    return [rotation.x, rotation.y, rotation.z, rotation.w]


def _imu(message: Any) -> dict[str, Any]:
    covariances: Sequence[Any] = (
        message.orientation_covariance,
        message.angular_velocity_covariance,
        message.linear_acceleration_covariance,
    )
    return {
        "orientation": _xyzw(message.orientation),
        "angular_velocity": _xyz(message.angular_velocity),
        "linear_acceleration": _xyz(message.linear_acceleration),
        "covariance": [value for covariance in covariances for value in covariance],
    }


def _frame(message: Any) -> dict[str, Any]:
    return {"id": message.id, "is_extended": bool(message.is_extended), "data": bytes(message.data)[: message.dlc]}


def _joints(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name, _ in COLUMNS["JointState"]}


def _odometry(message: Any) -> dict[str, Any]:
    return {
        "child_frame_id": message.child_frame_id,
        "pose": _xyz(message.pose.pose.position) + _xyzw(message.pose.pose.orientation),
        "twist": _xyz(message.twist.twist.linear) + _xyz(message.twist.twist.angular),
        "pose_covariance": message.pose.covariance,
        "twist_covariance": message.twist.covariance,
    }


def _transforms(message: Any) -> dict[str, Any]:
    return {
        "parent": [t.header.frame_id for t in message.transforms],
        "child": [t.child_frame_id for t in message.transforms],
        "transforms": [
            value for t in message.transforms for value in _xyz(t.transform.translation) + _xyzw(t.transform.rotation)
        ],
    }


_VALUES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "CompressedImage": _image,
    "PointCloud2": _points,
    "Imu": _imu,
    "Frame": _frame,
    "JointState": _joints,
    "Odometry": _odometry,
    "TFMessage": _transforms,
}
