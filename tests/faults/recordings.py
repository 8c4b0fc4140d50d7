"""Small recordings by the hundred: one simulated part, written again and again with its stamps moved in time.

Every object is a real MCAP recording with a camera, an IMU, odometry and calibration. A drive's objects follow one
another in time, so its scenes are made of several objects, which arrive in whatever order the faults leave them.
"""

import io
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from scenelake.simulate.config import DEFAULT_START_NS, SECOND_NS, Camera, DriveConfig, Imu, Mount, Odometry
from scenelake.simulate.drive import simulate_drive

PART_NS = 4 * SECOND_NS
PARTS_PER_DRIVE = 10
DRIVE_GAP_NS = 60 * SECOND_NS
NBR_TEMPLATES = 6
_STAMP = struct.Struct("<iI")
_STAMP_AT = 4
"""A CDR message that begins with a header has its stamp right after the four bytes of encapsulation."""
_WITHOUT_HEADER = frozenset({"tf2_msgs/msg/TFMessage"})


@dataclass(frozen=True, slots=True)
class Part:
    """One object to be put into landing."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class _Message:
    topic: str
    log_time_ns: int
    publish_time_ns: int
    sequence: int
    data: bytes
    has_header: bool


@dataclass(frozen=True, slots=True)
class _Template:
    schemas: tuple[tuple[str, str, bytes], ...]
    channels: tuple[tuple[str, str, int], ...]
    metadata: tuple[tuple[str, dict[str, str]], ...]
    messages: tuple[_Message, ...]

    def moved(self, shift_ns: int) -> bytes:
        """The recording as if it had been made ``shift_ns`` later, stamps included."""
        out = io.BytesIO()
        writer = Writer(out, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library="scenelake")
        schemas = [writer.register_schema(*schema) for schema in self.schemas]
        channels = {t: writer.register_channel(t, encoding, schemas[s]) for t, encoding, s in self.channels}
        for name, values in self.metadata:
            writer.add_metadata(name, values)
        for m in self.messages:
            data = _moved_stamp(m.data, shift_ns) if m.has_header else m.data
            writer.add_message(channels[m.topic], m.log_time_ns + shift_ns, data, m.publish_time_ns + shift_ns,
                               m.sequence)  # fmt: skip
        writer.finish()
        return out.getvalue()


def part(seed: int, start_ns: int) -> bytes:
    """One recording of ``PART_NS``; equal arguments give equal bytes."""
    return _template(seed % NBR_TEMPLATES).moved(start_ns - DEFAULT_START_NS)


def drive_parts(prefix: str, drive: int, seed: int, *, nbr_parts: int = PARTS_PER_DRIVE) -> Iterator[Part]:
    """The objects of one drive in order of time; ``prefix`` ends with a slash and may name a folder of the drive.

    Args:
        drive: number of the drive within the whole run; drives never overlap in time.
    """
    for i in range(nbr_parts):
        yield Part(f"{prefix}part_{i:03d}.mcap", part(seed + i, part_start_ns(drive, i)))


def part_start_ns(drive: int, index: int) -> int:
    """When a drive's part begins."""
    return DEFAULT_START_NS + drive * (PARTS_PER_DRIVE * PART_NS + DRIVE_GAP_NS) + index * PART_NS


@cache
def _template(seed: int) -> _Template:
    config = DriveConfig(
        seed=seed, duration_ns=PART_NS, vehicles=1, pedestrians=1, calibration_rate_hz=0.5,
        cameras=(
            Camera(
                topic="/camera/front/image", frame_id="camera_front", mount=Mount(x_m=1.7, z_m=1.5), rate_hz=2.0,
                phase_ns=7_000_000, width_px=32, height_px=24,
            ),
        ),
        imu=Imu(topic="/imu/data", frame_id="imu", rate_hz=10.0),
        odometry=Odometry(topic="/odometry", frame_id="base_link", rate_hz=5.0),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.mcap"
        simulate_drive(config, path)
        return _read(path.read_bytes())


def _read(recording: bytes) -> _Template:
    reader = make_reader(io.BytesIO(recording))
    summary = reader.get_summary()
    if summary is None:
        raise ValueError("the simulated recording has no summary")
    ids = list(summary.schemas)
    return _Template(
        schemas=tuple((s.name, s.encoding, s.data) for s in summary.schemas.values()),
        channels=tuple((c.topic, c.message_encoding, ids.index(c.schema_id)) for c in summary.channels.values()),
        metadata=tuple((m.name, dict(m.metadata)) for m in reader.iter_metadata()),
        messages=tuple(
            _Message(
                c.topic, m.log_time, m.publish_time, m.sequence, m.data,
                schema is not None and schema.name not in _WITHOUT_HEADER,
            )
            for schema, c, m in reader.iter_messages()
        ),
    )  # fmt: skip


def _moved_stamp(data: bytes, shift_ns: int) -> bytes:
    seconds, nanoseconds = _STAMP.unpack_from(data, _STAMP_AT)
    moved = seconds * SECOND_NS + nanoseconds + shift_ns
    return data[:_STAMP_AT] + _STAMP.pack(*divmod(moved, SECOND_NS)) + data[_STAMP_AT + _STAMP.size :]
