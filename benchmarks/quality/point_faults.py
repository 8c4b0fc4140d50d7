"""What goes wrong with a LiDAR or a radar, in its recorded points."""

from typing import Any

import numpy as np

from benchmarks.quality.camera_faults import stretch
from benchmarks.quality.kinds import Kind, beside_things, moving_among_things, structured
from benchmarks.quality.points import Points, opened, with_points
from benchmarks.quality.recording import Rows, Track
from benchmarks.quality.rigs import LIDAR, RADAR


def returns_lost(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the returns does not come back, as behind a dirty window."""
    return with_points(track, rows, lambda points, _: points[random.random(len(points)) >= strength])


def empty_sector(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Nothing comes back from a sector of so many degrees, as behind a leaf on the housing."""
    middle = random.uniform(-np.pi, np.pi)

    def blind(points: Points, _: int) -> Points:
        away = np.abs((np.arctan2(points["y"], points["x"]) - middle + np.pi) % (2 * np.pi) - np.pi)
        return points[away > np.radians(strength) / 2]

    return with_points(track, rows, blind)


def dead_rings(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A number of rings is silent, none of the outer ones among those that usually hit something."""
    usual = np.unique(np.concatenate([opened(track.message(row))["ring"] for row in rows[:3].tolist()]))[1:-1]
    dead = random.choice(usual, min(round(strength), len(usual)), replace=False)
    return with_points(track, rows, lambda points, _: points[~np.isin(points["ring"], dead)])


def range_shift(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Every range is a share too long."""

    def stretched(points: Points, _: int) -> Points:
        for axis in ("x", "y", "z"):
            points[axis] *= 1.0 + strength
        return points

    return with_points(track, rows, stretched)


def dull(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Intensities have lost a share of their value."""

    def dim(points: Points, _: int) -> Points:
        points["intensity"] = np.rint(points["intensity"] * (1.0 - strength))
        return points

    return with_points(track, rows, dim)


def not_a_number(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the points is not a number."""

    def spoil(points: Points, _: int) -> Points:
        bad = random.random(len(points)) < strength
        for axis in ("x", "y", "z"):
            points[axis][bad] = np.nan
        return points

    return with_points(track, rows, spoil)


def stuck(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """For so many seconds the points are those before; stamps go on."""
    held = stretch(track, rows, strength, random)
    if not len(held):
        return track
    source = track.message(int(held[0]) - 1)

    def repeat(message: Any, _: int) -> Any:
        source.header = message.header
        return source

    return track.edited(held, repeat)


def doppler_bias(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Radial velocities are off by so many m/s."""

    def shifted(points: Points, _: int) -> Points:
        for name in ("radial_velocity", "radial_velocity_compensated"):
            points[name] += strength
        return points

    return with_points(track, rows, shifted)


def doppler_scale(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Radial velocities relative to the radar are a share too large."""

    def scaled(points: Points, _: int) -> Points:
        points["radial_velocity"] *= 1.0 + strength
        return points

    return with_points(track, rows, scaled)


KINDS = (
    Kind("LiDAR returns lost", "lidar.returns", LIDAR, "share", (0.1, 0.3, 0.5, 0.7, 0.9), 0.7, returns_lost),
    Kind("LiDAR sector blind", "lidar.empty_sectors", LIDAR, "deg", (5.0, 10.0, 20.0, 45.0, 90.0), 20.0,
         empty_sector),
    Kind("LiDAR rings dead", "lidar.silent_rings", LIDAR, "rings", (1.0, 2.0, 3.0, 4.0, 6.0), 2.0, dead_rings),
    Kind("LiDAR range scale", "lidar.range_shift", LIDAR, "share", (0.1, 0.3, 0.8, 1.5, 3.0), 3.0, range_shift),
    Kind("LiDAR dull", "lidar.intensity_shift", LIDAR, "share", (0.1, 0.2, 0.4, 0.6, 0.8), 0.6, dull),
    Kind("LiDAR points not a number", "lidar.invalid_points", LIDAR, "share", (0.005, 0.015, 0.04, 0.1, 0.5), 0.04,
         not_a_number),
    Kind("LiDAR stuck", "lidar.stuck", LIDAR, "s", (0.5, 1.0, 3.0, 6.0, 12.0), 3.0, stuck),
    Kind("radar returns lost", "radar.returns", RADAR, "share", (0.5, 0.9, 0.97, 0.99, 1.0), 1.0, returns_lost,
         fits=beside_things),
    Kind("Doppler bias", "radar.doppler_speed", RADAR, "m/s", (0.1, 0.3, 1.0, 2.0, 5.0), 2.0, doppler_bias,
         fits=structured),
    Kind("Doppler scale", "radar.doppler_speed", RADAR, "share", (0.02, 0.05, 0.15, 0.3, 0.6), 0.15, doppler_scale,
         fits=moving_among_things),
    Kind("radar stuck", "radar.stuck", RADAR, "s", (0.5, 1.0, 3.0, 6.0, 12.0), 3.0, stuck, fits=structured),
)  # fmt: skip
