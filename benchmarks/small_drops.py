"""Small recordings, as vehicles that upload a second at a time would send them: each drop a file of its own content."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcap.reader import make_reader
from mcap.writer import Writer

from scenelake.simulate.config import SECOND_NS, Camera, DriveConfig, Gnss, Imu, Mount, Odometry
from scenelake.simulate.drive import simulate_drive

DROPS_PER_DRIVE = 100


def write_drops(folder: Path, nbr_drops: int) -> Iterator[tuple[int, Path]]:
    """Writes recordings of one second; yields the number of the drive that each was cut from, and its path."""
    for drive in range(-(-nbr_drops // DROPS_PER_DRIVE)):
        nbr_pieces = min(DROPS_PER_DRIVE, nbr_drops - drive * DROPS_PER_DRIVE)
        whole = folder / f"drive_{drive:05d}.mcap"
        simulate_drive(_small_drive(drive, nbr_pieces * SECOND_NS), whole)
        for path in _cut(whole, nbr_pieces):
            yield drive, path
        whole.unlink()


def _small_drive(seed: int, duration_ns: int) -> DriveConfig:
    """Two small images, ten IMU readings and ten poses a second: about 25 messages and 8 KB."""
    return DriveConfig(
        seed=seed,
        duration_ns=duration_ns,
        vehicles=2,
        pedestrians=2,
        cameras=(
            Camera(
                topic="/camera/front/image",
                frame_id="camera_front",
                mount=Mount(x_m=1.7, z_m=1.5),
                rate_hz=2,
                width_px=96,
                height_px=64,
            ),
        ),
        imu=Imu(topic="/imu/data", frame_id="imu", rate_hz=10),
        odometry=Odometry(topic="/odometry", frame_id="base_link", rate_hz=10),
        gnss=Gnss(topic="/gnss/fix", frame_id="gnss", rate_hz=1),
    )


def _cut(whole: Path, nbr_pieces: int) -> Iterator[Path]:
    """Cuts a recording by log time into files of one second, the last one with what is left."""
    pieces: defaultdict[int, list[Any]] = defaultdict(list)
    with whole.open("rb") as file:
        reader = make_reader(file)
        records = list(reader.iter_messages())
        metadata = list(reader.iter_metadata())
    start_ns = records[0][2].log_time
    for record in records:
        pieces[min((record[2].log_time - start_ns) // SECOND_NS, nbr_pieces - 1)].append(record)
    for number in range(nbr_pieces):
        path = whole.with_name(f"{whole.stem}_{number:03d}.mcap")
        _write_piece(path, pieces[number], metadata)
        yield path


def _write_piece(path: Path, records: list[Any], metadata: list[Any]) -> None:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2", library="scenelake")
        schemas: dict[int, int] = {}
        channels: dict[int, int] = {}
        for schema, channel, message in records:
            if schema.id not in schemas:
                schemas[schema.id] = writer.register_schema(schema.name, schema.encoding, schema.data)
            if channel.id not in channels:
                channels[channel.id] = writer.register_channel(
                    channel.topic, channel.message_encoding, schemas[schema.id], channel.metadata
                )
            writer.add_message(
                channels[channel.id], message.log_time, message.data, message.publish_time, message.sequence
            )
        for record in metadata:
            writer.add_metadata(record.name, record.metadata)
        writer.finish()
