"""A depth camera for the robot, which its simulator lacks: a table seen from above, in place of the wrist's images."""

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.quality.kinds import Kind
from benchmarks.quality.recording import Recording, Rows, Track, definition_of
from benchmarks.quality.rigs import DEPTH, WRIST

_TYPE = "sensor_msgs/msg/Image"
_HEIGHT, _WIDTH = 64, 96
"""Those of the camera that it stands for (rigs.py), whose calibration is recorded."""
_NOISE_MM = 3.0


def with_depth(recording: Recording, seed: int) -> Recording:
    """The recording with depth images in place of the wrist camera's."""
    wrist = recording.tracks[WRIST]
    depth = replace(wrist, topic=DEPTH, schema=(_TYPE, "ros2msg", definition_of(_TYPE)), metadata={})
    random = np.random.default_rng(seed)
    rows = np.linspace(450.0, 900.0, _HEIGHT)[:, None] + np.zeros(_WIDTH)
    shadow_px = int(random.integers(2, 8))
    new = {}
    for k, stamp_ns in enumerate(wrist.stamp_ns.tolist()):
        depth_mm = rows + random.normal(0.0, _NOISE_MM, rows.shape)
        # What the projector does not light has no depth.
        depth_mm[:, :shadow_px] = 0.0
        new[k] = depth.made(
            stamp_ns, height=_HEIGHT, width=_WIDTH, encoding="16UC1", is_bigendian=0, step=2 * _WIDTH,
            data=np.frombuffer(np.rint(depth_mm).astype("<u2").tobytes(), np.uint8),
        )  # fmt: skip
    return recording.without(WRIST).having(depth.with_data(new))


def no_depth(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the pixels has no depth, as in the sun."""

    def lose(message: Any, _: int) -> Any:
        pixels = np.frombuffer(message.data.tobytes(), "<u2").copy()
        pixels[random.random(len(pixels)) < strength] = 0
        message.data = np.frombuffer(pixels.tobytes(), np.uint8)
        return message

    return track.edited(rows, lose)


KINDS = (Kind("no depth", "depth.invalid", DEPTH, "share", (0.3, 0.6, 0.8, 0.95, 1.0), 0.95, no_depth),)
