"""What goes wrong with a robot's joints, its actions and its episodes, in their recorded messages."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.quality.camera_faults import some, stretch
from benchmarks.quality.kinds import Kind
from benchmarks.quality.motion_faults import late
from benchmarks.quality.recording import Rows, Track
from benchmarks.quality.rigs import ACTIONS, EPISODES, JOINTS

_ARM = slice(7, 14)
"""Joints of the arm that works."""


def _positions(track: Track, rows: Rows, change: Callable[[np.ndarray, int], np.ndarray]) -> Track:
    def edit(message: Any, position: int) -> Any:
        message.position = np.asarray(change(np.array(message.position), position), np.float64)
        return message

    return track.edited(rows, edit)


def not_finite(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the messages holds a NaN."""

    def spoil(values: np.ndarray, _: int) -> np.ndarray:
        values[int(random.integers(len(values)))] = np.nan
        return values

    return _positions(track, some(rows, strength, random), spoil)


def ragged(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the messages lacks the last joint."""

    def shorten(message: Any, _: int) -> Any:
        message.name = list(message.name[:-1])
        message.position, message.velocity = message.position[:-1], message.velocity[:-1]
        return message

    return track.edited(some(rows, strength, random), shorten)


def unnamed(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """So many joints bear the name of another."""

    def rename(message: Any, _: int) -> Any:
        count = round(strength)
        message.name = [message.name[-1]] * count + list(message.name[count:])
        return message

    return track.edited(rows, rename)


def narrow(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Actions command so many joints less than there are."""

    def shorten(message: Any, _: int) -> Any:
        kept = len(message.name) - round(strength)
        message.name, message.position = list(message.name[:kept]), message.position[:kept]
        return message

    return track.edited(rows, shorten)


def beyond_range(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A joint swings out by so many rad, slowly, and back."""
    joint = _ARM.start + int(random.integers(7))
    swing = strength * np.sin(np.pi * np.linspace(0, 1, len(rows))) ** 2

    def out(values: np.ndarray, position: int) -> np.ndarray:
        values[joint] += swing[position]
        return values

    return _positions(track, rows, out)


def spike(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """One message has a joint so many rad aside, as after a lost bit of an encoder."""
    joint = _ARM.start + int(random.integers(7))
    row = rows[int(random.integers(len(rows) // 5, 4 * len(rows) // 5))]

    def aside(values: np.ndarray, _: int) -> np.ndarray:
        values[joint] += strength
        return values

    return _positions(track, np.array([row]), aside)


def stuck(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The joint that moves most keeps its value for so many seconds, whatever it is told."""
    first_ns = int(track.stamp_ns[rows[0]]) + 300_000_000
    stamps_ns = track.stamp_ns[rows]
    held = rows[(stamps_ns >= first_ns) & (stamps_ns < first_ns + round(strength * 1e9))]
    own = np.array([track.message(row).position for row in held.tolist()])
    joint = _ARM.start + int(np.ptp(own[:, _ARM], axis=0).argmax())

    def hold(values: np.ndarray, _: int) -> np.ndarray:
        values[joint] = own[0, joint]
        return values

    return _positions(track, held, hold)


def idle(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """For a share of the episode all joints rest, but for their noise."""
    length_s = float(track.stamp_ns[rows[-1]] - track.stamp_ns[rows[0]]) / 1e9
    held = stretch(track, rows, strength * length_s, random)
    own = np.array([track.message(row).position for row in rows.tolist()])
    # Motion hardly enters fourth differences, whose variance is 70 times that of independent values.
    noise_rad = np.median(np.abs(np.diff(own, 4, axis=0)), axis=0) / 0.6745 / np.sqrt(70.0)
    kept: list[np.ndarray] = []

    def hold(values: np.ndarray, _: int) -> np.ndarray:
        kept.append(values)
        return kept[0] + random.normal(0.0, noise_rad)

    return _positions(track, held, hold)


def unrelated(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of what actions command is replaced by noise of the same size."""
    own = np.array([track.message(row).position for row in rows.tolist()])
    noise = random.normal(own.mean(axis=0), own.std(axis=0), own.shape)
    mixed = (1.0 - strength) * own + strength * noise
    return _positions(track, rows, lambda _, position: mixed[position])


def short_episode(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The mark of the episode's end comes so many times too early."""
    marks = {row: json.loads(track.data[row]) for row in rows.tolist()}
    start_ns = next(mark["timestamp_ns"] for mark in marks.values() if mark["event"] == "start")
    new = {}
    for row, mark in marks.items():
        if mark["event"] == "end":
            mark["timestamp_ns"] = start_ns + round((mark["timestamp_ns"] - start_ns) / strength)
            new[row] = json.dumps(mark, separators=(",", ":")).encode()
    return track.with_data(new)


KINDS = (
    Kind("joint values not finite", "robot.not_finite", JOINTS, "share", (0.004, 0.02, 0.1, 0.3, 0.9), 0.004,
         not_finite),
    Kind("joint values missing", "robot.ragged", JOINTS, "share", (0.004, 0.02, 0.1, 0.2, 0.4), 0.004, ragged),
    Kind("joints without names", "robot.unnamed", JOINTS, "joints", (1.0, 2.0, 4.0, 8.0, 16.0), 1.0, unnamed,
         is_whole=True),
    Kind("actions of another robot", "robot.action_width", ACTIONS, "joints", (1.0, 2.0, 3.0, 6.0, 12.0), 3.0,
         narrow, is_whole=True),
    Kind("joint beyond its range", "robot.joint_range", JOINTS, "rad", (0.3, 1.0, 2.0, 4.0, 8.0), 8.0, beyond_range),
    Kind("joint jumps", "robot.discontinuity", JOINTS, "rad", (0.05, 0.2, 0.8, 2.0, 5.0), 0.8, spike),
    Kind("joint stuck", "robot.stuck_joint", JOINTS, "s", (0.3, 0.7, 1.5, 2.5, 4.0), 1.5, stuck, channel=ACTIONS),
    Kind("robot rests", "robot.idle_share", JOINTS, "share", (0.2, 0.4, 0.7, 0.85, 1.0), 0.7, idle),
    Kind("episode cut off", "robot.episode_length", EPISODES, "times shorter", (1.5, 2.5, 5.0, 7.0, 10.0), 5.0,
         short_episode, channel=""),
    Kind("joints lag", "robot.action_lag", JOINTS, "s", (0.1, 0.3, 0.6, 0.7, 0.8), 0.6, late, channel=ACTIONS),
    Kind("actions after the fact", "robot.action_after_effect", ACTIONS, "s", (0.05, 0.1, 0.2, 0.3, 0.4), 0.2, late),
    Kind("actions are noise", "robot.action_unexplained", ACTIONS, "share", (0.3, 0.6, 0.8, 0.9, 1.0), 1.0,
         unrelated),
)  # fmt: skip
