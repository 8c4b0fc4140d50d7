"""What goes wrong with messages as such: missing, late, twice, in the wrong order or in the wrong year."""

import numpy as np

from benchmarks.quality.camera_faults import some, stretch
from benchmarks.quality.kinds import ANY, Kind
from benchmarks.quality.recording import Rows, Track
from benchmarks.quality.rigs import CAMERA, GNSS, HEAD, IMU, LIDAR, RADAR, SCENE_NS
from scenelake.simulate.config import SECOND_NS


def missing(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """No message of the sensor in the scene."""
    return track.without(rows)


def dropped(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the messages is missing, here and there."""
    return track.without(some(rows[1:-1], strength, random))


def gap(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """So many messages in a row are missing."""
    count = round(strength)
    first = int(random.integers(1, len(rows) - count))
    return track.without(rows[first : first + count])


def outage(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """For so many seconds no message came."""
    return track.without(stretch(track, rows, strength, random))


def cut_off(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The sensor is silent in the last share of the scene."""
    first_ns, last_ns = (int(track.stamp_ns[row]) for row in rows[[0, -1]])
    return track.without(rows[track.stamp_ns[rows] > last_ns - strength * (last_ns - first_ns)])


def offset(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The sensor's clock is so many seconds ahead."""
    return track.stamped(rows, track.stamp_ns[rows] + round(strength * SECOND_NS))


def drift(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The sensor's clock gains so many ppm."""
    elapsed_ns = track.stamp_ns[rows] - track.stamp_ns[rows[0]]
    return track.stamped(rows, track.stamp_ns[rows] + np.rint(elapsed_ns * (strength * 1e-6)).astype(np.int64))


def jitter(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Stamps scatter by a share of the period."""
    stamps_ns = track.stamp_ns[rows]
    period_ns = float(np.median(np.diff(stamps_ns)))
    scatter = np.clip(random.normal(0.0, strength * period_ns, len(rows)), -0.45 * period_ns, 0.45 * period_ns)
    return track.stamped(rows, stamps_ns + np.rint(scatter).astype(np.int64))


def duplicates(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """So many stamps repeat the one before."""
    chosen = some(rows[1:], strength / (len(rows) - 1), random)
    return track.stamped(chosen, track.stamp_ns[chosen - 1])


def backward(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """So many stamps lie before the one that was recorded before them, by a third of a period."""
    period_ns = float(np.median(np.diff(track.stamp_ns[rows])))
    count = max(round(strength), 1)
    chosen = rows[1 + 3 * random.choice((len(rows) - 2) // 3, count, replace=False)]
    return track.stamped(np.sort(chosen), track.stamp_ns[np.sort(chosen) - 1] - round(period_ns / 3))


def restart(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """From the middle of the scene to its end the clock is behind by so many seconds."""
    later = rows[len(rows) // 2 :]
    return track.stamped(later, track.stamp_ns[later] - round(strength * SECOND_NS))


def compressed(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Stamps of the moment of conversion, scene by scene: so many messages a second."""
    stamps_ns = track.stamp_ns[rows]
    slots, starts = np.unique(stamps_ns // SCENE_NS, return_index=True)
    place = np.arange(len(rows)) - starts[np.searchsorted(slots, stamps_ns // SCENE_NS)]
    first_ns = stamps_ns[starts][np.searchsorted(slots, stamps_ns // SCENE_NS)]
    return track.stamped(rows, first_ns + place * round(SECOND_NS / strength))


def since_boot(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Stamps count from the boot, so many seconds ago."""
    since_ns = track.stamp_ns[rows] - track.stamp_ns[rows[0]] + round(strength * SECOND_NS)
    return track.stamped(rows, since_ns)


def undecodable(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the messages ends in its middle."""
    chosen = some(rows, strength, random)
    return track.with_data({row: track.data[row][: len(track.data[row]) // 2] for row in chosen.tolist()})


def broken_blocks(data: bytes, strength: float, random: np.random.Generator) -> bytes:
    """A file in which so many stretches of 512 bytes, in the midst of it, are noise."""
    damaged = bytearray(data)
    for _ in range(round(strength)):
        at = int(random.integers(len(data) // 10, 8 * len(data) // 10))
        damaged[at : at + 512] = random.bytes(512)
    return bytes(damaged)


def ended_early(data: bytes, strength: float, random: np.random.Generator) -> bytes:
    """A file that ends before its last share."""
    return data[: int(len(data) * (1.0 - strength))]


KINDS = (
    Kind("sensor missing", "missing_sensor", CAMERA, "all of a scene", (1.0,), 1.0, missing),
    Kind("reference missing", "no_keyframes", HEAD, "all of an episode", (1.0,), 1.0, missing, channel=""),
    Kind("messages dropped", "completeness", CAMERA, "share", (0.04, 0.08, 0.15, 0.3, 0.6), 0.15, dropped),
    Kind("messages dropped in a row", "gaps", LIDAR, "messages", (1.0, 2.0, 3.0, 6.0, 12.0), 3.0, gap),
    Kind("sensor ends early", "coverage", RADAR, "share of the scene", (0.04, 0.08, 0.15, 0.3, 0.6), 0.15, cut_off),
    Kind("outage", "time.clock_fault.lost", CAMERA, "s", (1.0, 2.0, 4.0, 8.0, 12.0), 4.0, outage),
    Kind("long outage", "sync_error", CAMERA, "s", (6.0, 8.0, 13.0, 15.0, 17.0), 13.0, outage),
    Kind("stamps of a conversion", "implausible_rate", CAMERA, "Hz", (50.0, 150.0, 250.0, 333.0, 1000.0), 250.0,
         compressed, is_whole=True),
    Kind("repeated stamps", "duplicate_stamps", IMU, "stamps of the drive", (1.0, 2.0, 5.0, 20.0, 100.0), 1.0,
         duplicates, is_whole=True),
    Kind("stamps that go back", "backward_jumps", GNSS, "stamps of the drive", (1.0, 2.0, 4.0, 8.0, 16.0), 1.0,
         backward, is_whole=True),
    Kind("clock of another time", "clock_offset", RADAR, "s", (10.0, 30.0, 60.0, 3600.0, 86400.0), 60.0, offset,
         is_whole=True),
    Kind("clock since boot", "epoch", RADAR, "s since boot", (10.0, 100.0, 1e3, 1e4, 1e6), 10.0, since_boot,
         is_whole=True),
    Kind("clock offset", "sync_match", CAMERA, "s", (0.005, 0.01, 0.03, 0.06, 0.09), 0.03, offset, is_whole=True),
    Kind("clock drift", "time.clock_fault", CAMERA, "ppm", (30.0, 100.0, 300.0, 1000.0, 3000.0), 300.0, drift,
         is_whole=True),
    Kind("clock set back", "time.clock_fault", IMU, "s", (0.001, 0.005, 0.02, 0.1, 1.0), 0.02, restart),
    Kind("stamps scatter", "time.clock_fault", RADAR, "share of the period", (0.02, 0.06, 0.25, 0.35, 0.5), 0.25,
         jitter, is_whole=True),
    Kind("undecodable messages", "undecodable", RADAR, "share", (0.005, 0.02, 0.1, 0.3, 0.6), 0.005, undecodable,
         is_whole=True),
    Kind("undecodable camera", "camera_undecodable", CAMERA, "share", (0.2, 0.4, 0.6, 0.8, 0.95), 0.6, undecodable,
         is_whole=True),
    Kind("damaged chunks", "lost_messages", "", "places in the file", (1.0, 2.0, 4.0, 8.0, 16.0), 1.0,
         damage=broken_blocks, is_whole=True, channel=ANY),
    Kind("file ends early", "bad_bytes", "", "share of the file", (0.001, 0.01, 0.05, 0.2, 0.4), 0.001,
         damage=ended_early, is_whole=True, channel=""),
)  # fmt: skip
