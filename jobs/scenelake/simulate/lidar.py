"""A spinning LiDAR whose every column is cast from where the ego is at that column's own time."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from scenelake.simulate.config import SECOND_NS, Lidar
from scenelake.simulate.geometry import Floats, Integers, Transform
from scenelake.simulate.raycast import GROUND, Hits, Rays, cast
from scenelake.simulate.world import (
    CATEGORIES,
    DASH_M,
    DASH_PERIOD_M,
    DRIVEN_HALF_WIDTH_M,
    LANE_M,
    World,
)

POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("t", "<u4")]
)  # fmt: skip
"""One point in the sensor frame; ``t`` is ns since the sweep's stamp."""


class LidarModel:
    """Casts the sweeps of one LiDAR."""

    def __init__(self, config: Lidar, world: World) -> None:
        self.config = config
        self._world = world

    @cached_property
    def column_ns(self) -> Integers:
        """Time of each column since the sweep's start, (azimuths,)."""
        rate_mhz = round(self.config.rate_hz * 1000)
        steps = np.arange(self.config.azimuths, dtype=np.int64)
        columns: Integers = steps * 1_000_000_000_000 // (rate_mhz * self.config.azimuths)
        return columns

    @cached_property
    def directions(self) -> Floats:
        """Unit directions in the sensor frame, (azimuths, rings, 3)."""
        config = self.config
        azimuth = -np.pi + 2 * np.pi * np.arange(config.azimuths) / config.azimuths
        elevation = np.radians(np.linspace(config.elevation_min_deg, config.elevation_max_deg, config.rings))
        a, e = np.meshgrid(azimuth, elevation, indexing="ij")
        return np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1)

    def sweep(
        self, offset_ns: int, ego_from_sensor: Transform, random: np.random.Generator
    ) -> tuple[npt.NDArray[np.void], Integers]:
        """One sweep that starts at a true time since the recording's start.

        Returns:
            The points, (n,) of ``POINT``, and the row of the box that each hit (or ``GROUND``), (n,).
        """
        config = self.config
        time_s = (offset_ns + self.column_ns) / SECOND_NS
        position_m, rotation = self._world.ego.poses(time_s)
        origin_m = position_m + rotation @ ego_from_sensor.translation_m
        towards = self.directions @ (rotation @ ego_from_sensor.rotation).transpose(0, 2, 1)
        rays = Rays(time_s, origin_m, towards)
        middle = len(time_s) // 2
        rows = self._world.near(float(time_s[middle]), origin_m[middle], config.range_max_m + 3.0)
        hits = cast(self._world, rays, rows)
        kept = (hits.distance_m < config.range_max_m) & (random.random(hits.box.shape) >= config.dropout)
        column, ring = np.nonzero(kept)
        distance = hits.distance_m[kept]
        measured = distance + random.normal(0.0, config.range_noise_m, len(distance))
        points = np.empty(len(distance), dtype=POINT)
        xyz = self.directions[column, ring] * measured[:, None]
        points["x"], points["y"], points["z"] = xyz.T
        points["ring"], points["t"] = ring, self.column_ns[column]
        points["intensity"] = self._intensity(rays, hits, kept, column, ring, random)
        return points, hits.box[kept]

    def scan(self, offset_ns: int, ego_from_sensor: Transform, random: np.random.Generator) -> npt.NDArray[np.void]:
        """The points of ``sweep``."""
        return self.sweep(offset_ns, ego_from_sensor, random)[0]

    def _intensity(
        self, rays: Rays, hits: Hits, kept: npt.NDArray[np.bool_], column: Integers, ring: Integers,
        random: np.random.Generator,
    ) -> Floats:  # fmt: skip
        """Whole numbers 0..255 from reflectivity, incidence and a little noise; lane paint is bright."""
        names = self._world.boxes.category
        table = np.array([CATEGORIES[name].reflectivity for name in names] + [0.0, 0.15])
        box, distance = hits.box[kept], hits.distance_m[kept]
        reflectivity = table[box]
        on_ground = box == GROUND
        x, y = (
            (rays.origin_m[column, i] + distance * rays.direction[column, ring, i])[on_ground] for i in range(2)
        )  # fmt: skip
        painted = is_lane_paint(x, y - self._world.road.lateral_m(x))
        reflectivity[on_ground] = np.where(painted, 0.9, 0.15)
        falloff = np.where(on_ground, 1.0, 0.35 + 0.65 * hits.cosine[kept])
        return np.clip(np.rint(255 * reflectivity * falloff + random.normal(0, 3, len(box))), 0, 255)


def is_lane_paint(x_m: Floats, lateral_m: Floats) -> npt.NDArray[np.bool_]:
    """Whether ground points carry paint: solid centre and edges, dashes between lanes."""
    half_width = 0.09
    across = np.abs(lateral_m)
    solid = (across < half_width) | (np.abs(across - DRIVEN_HALF_WIDTH_M) < half_width)
    dashed = (np.abs(across - LANE_M) < half_width) & (x_m % DASH_PERIOD_M < DASH_M)
    painted: npt.NDArray[np.bool_] = solid | dashed
    return painted
