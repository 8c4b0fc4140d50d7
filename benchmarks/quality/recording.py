"""A recording in memory, message by message, so that faults can be planted in what was recorded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from scenelake.adapters.recording_writer import ros_typestore

Times = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]
CHUNK_BYTES = 256 * 1024
_STORE = ros_typestore()
_STAMP = np.dtype([("encapsulation", "V4"), ("sec", "<i4"), ("nanosec", "<u4")])
_SECOND_NS = 1_000_000_000
_WITHOUT_HEADER = frozenset({"tf2_msgs/msg/TFMessage", "std_msgs/msg/String"})


def definition_of(type_name: str) -> bytes:
    """The message definition of a ROS type."""
    return bytes(_STORE.generate_msgdef(type_name, ros_version=2)[0].encode())


@dataclass(frozen=True)
class Track:
    """The messages of one topic in order of log time; times are (n,) int64 ns."""

    topic: str
    schema: tuple[str, str, bytes]
    encoding: str
    metadata: Mapping[str, str]
    log_ns: Times
    publish_ns: Times
    data: tuple[bytes, ...]

    @cached_property
    def stamp_ns(self) -> Times:
        """Header stamps (n,) of messages that begin with one, log times of the others."""
        if self.encoding != "cdr" or self.schema[0] in _WITHOUT_HEADER:
            return self.log_ns
        heads = np.frombuffer(b"".join(d[: _STAMP.itemsize] for d in self.data), _STAMP)
        return heads["sec"].astype(np.int64) * _SECOND_NS + heads["nanosec"]

    def within(self, start_ns: int, exclusive_end_ns: int) -> Rows:
        """Rows whose stamp lies in a window."""
        return np.flatnonzero((self.stamp_ns >= start_ns) & (self.stamp_ns < exclusive_end_ns))

    def without(self, rows: Rows) -> "Track":
        """The track less some messages."""
        kept = np.setdiff1d(np.arange(len(self.data)), rows)
        data = tuple(self.data[k] for k in kept.tolist())
        return replace(self, log_ns=self.log_ns[kept], publish_ns=self.publish_ns[kept], data=data)

    def with_data(self, new: Mapping[int, bytes]) -> "Track":
        """The track with other bytes in some rows."""
        return replace(self, data=tuple(new.get(k, data) for k, data in enumerate(self.data)))

    def stamped(self, rows: Rows, stamps_ns: Times) -> "Track":
        """The track with other header stamps in some rows."""
        new = {}
        for row, stamp_ns in zip(rows.tolist(), stamps_ns.tolist(), strict=True):
            head = np.array([divmod(stamp_ns, _SECOND_NS)], np.dtype([("sec", "<i4"), ("nanosec", "<u4")])).tobytes()
            new[row] = self.data[row][:4] + head + self.data[row][12:]
        return self.with_data(new)

    def message(self, row: int) -> Any:
        """One ROS message."""
        return _STORE.deserialize_cdr(self.data[row], self.schema[0])

    def made(self, stamp_ns: int, **fields: Any) -> bytes:
        """A message of the track's type with a header."""
        time = _STORE.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, _SECOND_NS))
        header = _STORE.types["std_msgs/msg/Header"](time, self.topic)
        return bytes(_STORE.serialize_cdr(_STORE.types[self.schema[0]](header=header, **fields), self.schema[0]))

    def edited(self, rows: Rows, change: Callable[[Any, int], Any]) -> "Track":
        """The track with some ROS messages changed; ``change`` gets each and its position among them."""
        new = {}
        for position, row in enumerate(rows.tolist()):
            changed = change(self.message(row), position)
            new[row] = bytes(_STORE.serialize_cdr(changed, self.schema[0]))
        return self.with_data(new)


@dataclass(frozen=True)
class Recording:
    """One recording; ``metadata`` are its named records."""

    tracks: Mapping[str, Track]
    metadata: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> "Recording":
        """Reads an MCAP file as it was written."""
        found: dict[str, list[Any]] = {}
        kinds: dict[str, Any] = {}
        with path.open("rb") as file:
            reader = make_reader(file)
            for schema, channel, message in reader.iter_messages(log_time_order=False):
                kinds[channel.topic] = schema, channel
                found.setdefault(channel.topic, []).append((message.log_time, message.publish_time, message.data))
            metadata = {record.name: dict(record.metadata) for record in reader.iter_metadata()}
        tracks = {}
        for topic, messages in found.items():
            schema, channel = kinds[topic]
            log_ns, publish_ns, data = zip(*messages, strict=True)
            tracks[topic] = Track(
                topic,
                (schema.name, schema.encoding, schema.data),
                channel.message_encoding,
                dict(channel.metadata),
                np.array(log_ns, np.int64),
                np.array(publish_ns, np.int64),
                tuple(data),
            )
        return cls(tracks, metadata)

    def write(self, path: Path) -> None:
        """Writes an MCAP file, in order of log time, in small chunks that are not compressed."""
        with path.open("wb") as file:
            writer = Writer(file, chunk_size=CHUNK_BYTES, compression=CompressionType.NONE)
            writer.start(profile="ros2", library="scenelake")
            for name, record in self.metadata.items():
                writer.add_metadata(name, dict(record))
            tracks = list(self.tracks.values())
            channels = []
            for track in tracks:
                schema_id = writer.register_schema(*track.schema)
                channels.append(writer.register_channel(track.topic, track.encoding, schema_id, dict(track.metadata)))
            owner = np.repeat(np.arange(len(tracks)), [len(t.data) for t in tracks])
            index = np.concatenate([np.arange(len(t.data)) for t in tracks])
            order = np.lexsort((index, owner, np.concatenate([t.log_ns for t in tracks])))
            for who, k in zip(owner[order].tolist(), index[order].tolist(), strict=True):
                track = tracks[who]
                writer.add_message(channels[who], int(track.log_ns[k]), track.data[k], int(track.publish_ns[k]), int(k))
            writer.finish()

    def having(self, *tracks: Track) -> "Recording":
        """The recording with some topics replaced."""
        return replace(self, tracks=dict(self.tracks) | {t.topic: t for t in tracks})

    def without(self, topic: str) -> "Recording":
        """The recording less a topic."""
        return replace(self, tracks={name: track for name, track in self.tracks.items() if name != topic})

    def cut(self, start_ns: int, exclusive_end_ns: int) -> "Recording":
        """The messages that were logged in a window, and those of topics that speak once."""
        tracks = {}
        for topic, track in self.tracks.items():
            is_outside = (track.log_ns < start_ns) | (track.log_ns >= exclusive_end_ns)
            tracks[topic] = track if len(track.data) == 1 else track.without(np.flatnonzero(is_outside))
        return replace(self, tracks={topic: track for topic, track in tracks.items() if track.data})
