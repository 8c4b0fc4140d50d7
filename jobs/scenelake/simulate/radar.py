"""A radar: returns on what its fan of rays meets, with the Doppler of the true relative motion."""

import numpy as np
import numpy.typing as npt

from scenelake.simulate.config import SECOND_NS, Radar
from scenelake.simulate.geometry import Floats, Transform
from scenelake.simulate.raycast import Rays, cast
from scenelake.simulate.world import CATEGORIES, World

RETURN = np.dtype([(name, "<f4") for name in ("x", "y", "z", "radial_velocity", "radial_velocity_compensated", "rcs")])
_NO_RETURN = {"tree"}


class RadarModel:
    """Measures the scans of one radar."""

    def __init__(self, config: Radar, world: World) -> None:
        self.config = config
        self._world = world
        half = np.radians(config.horizontal_fov_deg) / 2
        azimuth = np.linspace(-half, half, config.rays)
        self._fan = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(config.rays)], axis=-1)

    def scan(self, offset_ns: int, ego_from_sensor: Transform, random: np.random.Generator) -> npt.NDArray[np.void]:
        """One scan at a true time since the recording's start, (n,) of ``RETURN`` in the sensor frame.

        ``radial_velocity`` is that of the point relative to the radar along the line of sight, positive receding;
        ``radial_velocity_compensated`` is the point's own, with the ego's motion taken out. Both are of the true
        line of sight; position and velocity noise come on top.
        """
        config, world = self.config, self._world
        time_s = np.array([offset_ns / SECOND_NS])
        ego = world.ego.states(time_s)
        map_from_sensor = ego.map_from_ego() @ ego_from_sensor
        directions = self._fan @ map_from_sensor.rotation.T
        origin_m = np.broadcast_to(map_from_sensor.translation_m, (config.rays, 3))
        rows = world.near(float(time_s[0]), map_from_sensor.translation_m, config.range_max_m)
        rays = Rays(np.repeat(time_s, config.rays), origin_m, directions[:, None])
        hits = cast(world, rays, rows, has_ground=False)
        distance, box = hits.distance_m[:, 0], hits.box[:, 0]
        names = np.array([*world.boxes.category, "", ""])
        kept = (box >= 0) & (distance < config.range_max_m) & ~np.isin(names[box], list(_NO_RETURN))
        kept &= random.random(config.rays) < 0.75
        if not kept.any():
            return np.empty(0, dtype=RETURN)
        box, distance, directions = box[kept], distance[kept], directions[kept]
        point_velocity = self._point_velocity(time_s, box, origin_m[kept] + distance[:, None] * directions)
        radar_velocity = ego.velocity_of(ego_from_sensor.translation_m)[0]
        compensated = np.einsum("ij,ij->i", point_velocity, directions)
        noise = random.normal(0.0, config.velocity_noise_m_s, len(box))
        measured = distance + random.normal(0.0, config.range_noise_m, len(box))
        turn = np.radians(config.azimuth_noise_deg) * random.normal(0.0, 1.0, len(box))
        fan = self._fan[kept]
        returns = np.empty(len(box), dtype=RETURN)
        returns["x"] = measured * (fan[:, 0] * np.cos(turn) - fan[:, 1] * np.sin(turn))
        returns["y"] = measured * (fan[:, 1] * np.cos(turn) + fan[:, 0] * np.sin(turn))
        returns["z"] = 0.0
        returns["radial_velocity"] = compensated - directions @ radar_velocity + noise
        returns["radial_velocity_compensated"] = compensated + noise
        strength = np.array([CATEGORIES[name].cross_section_dbsm for name in names[box]])
        returns["rcs"] = strength + random.normal(0.0, 2.0, len(box))
        return returns

    def _point_velocity(self, time_s: Floats, box: npt.NDArray[np.int64], point_m: Floats) -> Floats:
        """Map-frame velocity of points on boxes: the centre's plus what the box's turning adds."""
        state = self._world.box_states(time_s, box)
        arm = point_m - state.position_m[:, 0]
        rate = state.yaw_rate_rad_s[:, 0]
        turning = np.stack([-rate * arm[:, 1], rate * arm[:, 0], np.zeros_like(rate)], axis=-1)
        velocity: Floats = state.velocity_m_s[:, 0] + turning
        return velocity
