"""The conditions of good scenes, hard ones above all: night, tunnels, fog, a stand at the lights, an empty field."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.quality.images import Image, with_images
from benchmarks.quality.points import Points, with_points
from benchmarks.quality.recording import Recording
from benchmarks.quality.rigs import CAMERA, LIDAR, RADAR
from scenelake.simulate.trajectory import EgoTrajectory
from scenelake.simulate.world import Boxes, World

ChangeImage = Callable[[Image, float, np.random.Generator], Image]
"""Image, share of the scene that is over, and the scene's random numbers."""
ChangePoints = Callable[[Points, np.random.Generator], Points]


@dataclass(frozen=True)
class Condition:
    """What a drive is like.

    Attributes:
        speed_m_s: least and greatest.
        traffic: vehicles and pedestrians.
        world: what stays of the world that a seed builds.
        stops: the car comes to a stand now and then.
        camera, lidar, radar: what the weather makes of what the sensors measure.
        has_structure: there is something to see and to be met by rays.
    """

    name: str
    speed_m_s: tuple[float, float] = (7.0, 14.0)
    traffic: tuple[int, int] = (14, 16)
    world: Callable[[World], World] = field(default=lambda world: _thinned(world))
    camera: ChangeImage | None = None
    lidar: ChangePoints | None = None
    radar: ChangePoints | None = None
    has_structure: bool = True

    @property
    def is_moving(self) -> bool:
        """All the time."""
        return self.speed_m_s[0] > 0 and self.name != "stop and go"

    def applied(self, recording: Recording, scenes: Mapping[int, tuple[int, int]], seed: int) -> Recording:
        """The recording as it would be in this condition.

        Args:
            scenes: by number of the scene, its window in ns.
        """
        for number, (start_ns, end_ns) in scenes.items():
            random = np.random.default_rng((seed, number))
            if self.camera is not None:
                track = recording.tracks[CAMERA]
                rows = track.within(start_ns, end_ns)
                shares = ((track.stamp_ns[rows] - start_ns) / (end_ns - start_ns)).tolist()
                recording = recording.having(with_images(track, rows, _seen(self.camera, shares, random)))
            for topic, change in ((LIDAR, self.lidar), (RADAR, self.radar)):
                if change is not None:
                    track = recording.tracks[topic]
                    rows = track.within(start_ns, end_ns)
                    recording = recording.having(with_points(track, rows, _met(change, random)))
        return recording


def _seen(change: ChangeImage, shares: list[float], random: np.random.Generator) -> Callable[[Image, int], Image]:
    return lambda image, k: change(image, shares[k], random)


def _met(change: ChangePoints, random: np.random.Generator) -> Callable[[Points, int], Points]:
    return lambda points, _: change(points, random)


def _noisy(image: npt.NDArray, sigma: float, random: np.random.Generator) -> Image:
    """Noise on a float image."""
    grain = np.empty(image.shape[:2], np.float32)
    cv2.setRNGSeed(int(random.integers(2**31 - 1)))
    cv2.randn(grain, 0.0, sigma)
    return np.clip(image + grain[..., None], 0, 255).astype(np.uint8)


def _night(image: Image, share: float, random: np.random.Generator) -> Image:
    """A lit road: an eighth of the light, headlights below the middle, some lamps, and the noise of a raised gain."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    cone = np.exp(-(((x - width / 2) / (0.35 * width)) ** 2) - (((y - 0.75 * height) / (0.22 * height)) ** 2))
    dark = image * (0.12 + 0.45 * cone[..., None])
    for at in range(3):
        centre = (int(width * (0.15 + 0.3 * at + 0.1 * share)), int(height * (0.3 + 0.05 * at)))
        cv2.circle(dark, centre, 2, (190.0, 220.0, 240.0), -1)
    return _noisy(dark, 4.0, random)


def _tunnel(image: Image, share: float, random: np.random.Generator) -> Image:
    """In at a third of the scene: dark until the exposure has followed; out at two thirds: blinded for a moment."""
    into, out = (share - 0.33) * 20.0, (share - 0.66) * 20.0
    if into >= 0 and out < 0:
        return _noisy(image * (0.5 - 0.38 * np.exp(-into / 0.7)), 3.0, random)
    if out >= 0:
        return _noisy(image * (1.0 + 1.6 * np.exp(-out / 0.7)), 1.0, random)
    return image


def _fog(image: Image, share: float, random: np.random.Generator) -> Image:
    """Meteorological visibility of about 100 m: a third of the contrast is left, less towards the horizon."""
    height = image.shape[0]
    clear = 0.15 + 0.5 * np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** 2
    return _noisy(cv2.GaussianBlur(image, (0, 0), 0.8) * clear + 190.0 * (1 - clear), 1.0, random)


def _rain(image: Image, share: float, random: np.random.Generator) -> Image:
    """Drops on the windscreen, a twenty-fifth of it, other ones every second, under a grey sky."""
    height, width = image.shape[:2]
    drops = np.random.default_rng(int(share * 20.0))
    mask = np.zeros((height, width), np.uint8)
    for _ in range(10):
        centre = (int(drops.integers(width)), int(drops.integers(height)))
        cv2.circle(mask, centre, int(drops.integers(2, 2 + max(width // 50, 2))), 255, -1)
    smeared = cv2.GaussianBlur(image, (0, 0), 4.0)
    wet = np.where(mask[..., None] > 0, smeared, image)
    return _noisy(wet * 0.75 + 30.0, 1.0, random)


def _low_sun(image: Image, share: float, random: np.random.Generator) -> Image:
    """The sun near the horizon, with its glare."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    centre = width * (0.4 + 0.2 * share)
    glare = 260.0 * np.exp(-np.hypot(x - centre, y - 0.35 * height) / (0.12 * width))
    return _noisy(image * 0.85 + glare[..., None], 1.0, random)


def _wall(image: Image, share: float, random: np.random.Generator) -> Image:
    """Parked in front of a plain wall: a soft gradient and nothing else."""
    height, width = image.shape[:2]
    light = 150.0 + 25.0 * np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    light = light + 15.0 * np.linspace(1, -1, height, dtype=np.float32)[:, None, None]
    return _noisy(np.broadcast_to(light, image.shape), 1.5, random)


def _fog_echoes(points: Points, random: np.random.Generator) -> Points:
    """Returns thin out with range, and one in fifty comes from the fog before the sensor."""
    range_m = np.sqrt(points["x"] ** 2 + points["y"] ** 2 + points["z"] ** 2)
    kept = points[random.random(len(points)) < np.exp(-range_m / 45.0)].copy()
    near = random.random(len(kept)) < 0.02
    shrink = (random.uniform(1.0, 4.0, len(kept)) / np.maximum(range_m[: len(kept)], 1.0)).astype(np.float32)
    for axis in ("x", "y", "z"):
        kept[axis][near] *= shrink[near]
    kept["intensity"][near] = 3.0
    return kept


def _wet_road(points: Points, random: np.random.Generator) -> Points:
    """A wet road mirrors the beam away: of what lies low one in four is lost, and all of it is duller."""
    low = points["z"] < -1.4
    dry = points[~low | (random.random(len(points)) > 0.25)].copy()
    dry["intensity"] = np.rint(dry["intensity"] * 0.9)
    return dry


def _few(points: Points, random: np.random.Generator) -> Points:
    """A radar in an empty field: a few returns from the verge."""
    return points[random.random(len(points)) < 0.05]


def _with_boxes(world: World, kept: Callable[[str], bool]) -> World:
    return _of_rows(world, np.flatnonzero([kept(name) for name in world.boxes.category]))


def _of_rows(world: World, rows: npt.NDArray[np.int64]) -> World:
    boxes = world.boxes
    chosen = Boxes(
        boxes.motions.take(rows), boxes.size_m[rows], boxes.base_m[rows], boxes.colour_rgb[rows],
        tuple(boxes.category[row] for row in rows.tolist()),
    )  # fmt: skip
    return replace(world, boxes=chosen)


def _traffic_alone(world: World) -> World:
    return _with_boxes(world, lambda name: name in ("car", "truck"))


def _thinned(world: World) -> World:
    """Every other thing beside and on the road: rays have half as much to meet, and cost half as much."""
    return _of_rows(world, np.arange(0, len(world.boxes), 2))


def _field(world: World) -> World:
    return _with_boxes(world, lambda name: False)


def _winding(world: World) -> World:
    """A country road: its bends are three times as tight."""
    road = replace(world.road, amplitude_m=3.0 * world.road.amplitude_m)
    return _thinned(replace(world, road=road, ego=replace(world.ego, road=road)))


def _stopping(world: World) -> World:
    """The sway of the ego's speed reaches its mean, so that it stands once in a sway."""
    ego: EgoTrajectory = world.ego
    motion = replace(ego.motion, sway_m=ego.motion.speed_m_s / ego.motion.sway_rate_rad_s)
    return _thinned(replace(world, ego=replace(ego, motion=motion)))


CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition("city"),
        Condition("night", camera=_night),
        Condition("lights", speed_m_s=(0.0, 0.0)),
        Condition("highway", speed_m_s=(28.0, 36.0), traffic=(20, 0), world=_traffic_alone),
        Condition("fog", camera=_fog, lidar=_fog_echoes),
        Condition("stop and go", speed_m_s=(4.0, 7.0), world=_stopping),
        Condition("rain", camera=_rain, lidar=_wet_road),
        Condition("field", traffic=(0, 0), world=_field, radar=_few, has_structure=False),
        Condition("tunnel", camera=_tunnel),
        Condition("wall", speed_m_s=(0.0, 0.0), camera=_wall, has_structure=False),
        Condition("low sun", camera=_low_sun),
        Condition("winding", speed_m_s=(10.0, 14.0), world=_winding),
    )
}
"""By name, in the order in which drives take them."""
