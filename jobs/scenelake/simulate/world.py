"""The world of a drive: a road with lanes, buildings, poles, trees and parked cars beside it, and moving boxes.

Lateral layout in metres from the centre line, positive left; traffic keeps right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scenelake.simulate.config import SECOND_NS, DriveConfig
from scenelake.simulate.geometry import Floats, Integers, generator
from scenelake.simulate.trajectory import EgoTrajectory, Motions, MotionState, Road, along_road

LANE_M = 3.5
EGO_LATERAL_M = -LANE_M / 2
DRIVEN_HALF_WIDTH_M = 2 * LANE_M
ROAD_HALF_WIDTH_M = 9.3
SIDEWALK_HALF_WIDTH_M = 12.5
PARKED_LATERAL_M = 8.2
DASH_PERIOD_M = 9.0
DASH_M = 4.0
SIGHT_M = 130.0

Bytes3 = npt.NDArray[np.uint8]

_CAR_PAINTS = (
    (196, 38, 38), (38, 84, 178), (228, 228, 224), (42, 44, 50), (206, 164, 40), (44, 128, 82), (120, 126, 134),
    (150, 70, 150),
)  # fmt: skip
_FACADES = ((176, 148, 122), (158, 110, 92), (192, 184, 168), (134, 140, 150), (170, 160, 120), (120, 112, 106))
_CLOTHES = ((190, 60, 60), (60, 80, 150), (70, 120, 70), (200, 170, 60), (90, 60, 110), (60, 60, 66))


@dataclass(frozen=True, slots=True)
class Category:
    """What boxes of one category share: reflectivity in [0, 1] and radar cross section in dBsm."""

    name: str
    reflectivity: float
    cross_section_dbsm: float
    is_labelled: bool


CATEGORIES: dict[str, Category] = {
    c.name: c
    for c in (
        Category("car", 0.55, 10.0, True),
        Category("truck", 0.5, 18.0, True),
        Category("pedestrian", 0.3, -4.0, True),
        Category("cyclist", 0.35, 0.0, True),
        Category("building", 0.4, 22.0, False),
        Category("pole", 0.6, 3.0, False),
        Category("tree", 0.2, -2.0, False),
    )
}


@dataclass(frozen=True, slots=True)
class Boxes:
    """n boxes that follow the road; index i is one box everywhere.

    Attributes:
        motions: arrays (n,).
        size_m: (n, 3) length, width, height.
        base_m: (n,) height of the underside.
        colour_rgb: (n, 3) uint8.
        category: n names out of ``CATEGORIES``.
    """

    motions: Motions
    size_m: Floats
    base_m: Floats
    colour_rgb: Bytes3
    category: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.category)

    def track_id(self, index: int) -> str:
        return f"{self.category[index]}-{index:03d}"


@dataclass(frozen=True, slots=True)
class World:
    """Road, boxes and ego of one drive; the same for every pass."""

    road: Road
    boxes: Boxes
    ego: EgoTrajectory

    def box_states(self, time_s: Floats, rows: Integers | None = None) -> MotionState:
        """States of the boxes (all, or the given rows) at times (m,); positions are box centres."""
        boxes = self.boxes
        index = np.arange(len(boxes)) if rows is None else rows
        state = along_road(self.road, boxes.motions.take(index), time_s)
        state.position_m[..., 2] += (boxes.base_m[index] + boxes.size_m[index, 2] / 2)[:, None]
        return state

    def near(self, time_s: float, centre_m: Floats, range_m: float) -> Integers:
        """Rows of the boxes with any part within a horizontal range of a point at a time."""
        centres = self.box_states(np.array([time_s])).position_m[:, 0]
        reach = np.hypot(self.boxes.size_m[:, 0], self.boxes.size_m[:, 1]) / 2
        distance = np.hypot(centres[:, 0] - centre_m[0], centres[:, 1] - centre_m[1])
        return np.flatnonzero(distance - reach < range_m)


class _Builder:
    """Collects boxes one at a time."""

    def __init__(self) -> None:
        self._motions: list[tuple[float, ...]] = []
        self._sizes: list[Sequence[float]] = []
        self._bases: list[float] = []
        self._colours: list[Sequence[int]] = []
        self._categories: list[str] = []

    def add(
        self, category: str, size_m: Sequence[float], colour: Sequence[int], x_m: float, lateral_m: float,
        motion: Sequence[float] = (0.0, 0.0, 0.0, 0.0), *, heading_rad: float = 0.0, base_m: float = 0.0,
    ) -> None:  # fmt: skip
        """``motion`` is speed, sway, sway rate and sway phase, as in ``Motions``."""
        self._motions.append((x_m, *motion, lateral_m, heading_rad))
        self._sizes.append(size_m)
        self._bases.append(base_m)
        self._colours.append(colour)
        self._categories.append(category)

    def build(self) -> Boxes:
        count = len(self._categories)
        return Boxes(
            Motions(*np.array(self._motions, dtype=np.float64).reshape(count, 7).T.copy()),
            np.array(self._sizes, dtype=np.float64).reshape(count, 3),
            np.array(self._bases, dtype=np.float64),
            np.array(self._colours, dtype=np.uint8).reshape(count, 3),
            tuple(self._categories),
        )


def build_world(config: DriveConfig) -> World:
    """The world of a seed; passes share it."""
    random = generator(config.seed, "world")
    road = Road(
        np.array([4.0, 1.1]),
        2 * np.pi / np.array([random.uniform(220, 280), random.uniform(110, 140)]),
        random.uniform(0, 2 * np.pi, 2),
    )
    speed = config.ego_speed_m_s
    sway_rate = 2 * np.pi / random.uniform(17, 23)
    ego_lane = (speed, 0.3 * speed / sway_rate, sway_rate, random.uniform(0, 2 * np.pi))
    ego = EgoTrajectory(
        road,
        Motions(*(np.array([v]) for v in (0.0, *ego_lane, EGO_LATERAL_M, 0.0))),
        np.radians([0.35, 0.25]),
        2 * np.pi * np.array([random.uniform(0.5, 0.8), random.uniform(0.8, 1.2)]),
        random.uniform(0, 2 * np.pi, 2),
    )
    length_m = speed * config.duration_ns / SECOND_NS
    span_m = (-60.0, length_m + SIGHT_M)
    builder = _Builder()
    _add_vehicles(builder, random, config.vehicles, ego_lane, length_m)
    _add_pedestrians(builder, random, config.pedestrians, span_m)
    _add_roadside(builder, random, span_m)
    return World(road, builder.build(), ego)


def _add_vehicles(
    builder: _Builder, random: np.random.Generator, count: int, ego_lane: tuple[float, ...], length_m: float
) -> None:
    """Each lane moves as one, so nobody drives through anybody; the ego's own lane leaves the ego its place."""
    speed = ego_lane[0]
    same, slower = ego_lane, (0.8 * speed, 0.4 * speed, 0.35, random.uniform(0, 6))
    oncoming = (-0.9 * speed, 0.5 * speed, 0.3, random.uniform(0, 6))
    lanes = (
        (EGO_LATERAL_M, same, 17.0, 34.0),
        (EGO_LATERAL_M - LANE_M, slower, -18.0, 23.0),
        (-EGO_LATERAL_M, oncoming, 30.0, 42.0),
        (-EGO_LATERAL_M + LANE_M, oncoming, 44.0, 52.0),
    )
    for i in range(count):
        lateral, motion, first, gap = lanes[i % 4]
        x = first + (i // 4) * gap * (1.0 if i % 4 < 2 else max(1.0, length_m / 220.0)) + random.uniform(0, 4)
        heading = np.pi if motion[0] < 0 else 0.0
        kind = ("car", "truck", "car", "cyclist")[int(random.integers(4))] if i % 4 == 1 else "car"
        if i % 7 == 3:
            kind = "truck"
        size = {"car": (4.4, 1.85, 1.5), "truck": (8.4, 2.45, 3.2), "cyclist": (1.8, 0.6, 1.75)}[kind]
        scaled = [v * random.uniform(0.95, 1.05) for v in size]
        paint = _CAR_PAINTS[int(random.integers(len(_CAR_PAINTS)))]
        builder.add(kind, scaled, paint, x, lateral, motion, heading_rad=heading, base_m=0.15)


def _add_pedestrians(builder: _Builder, random: np.random.Generator, count: int, span_m: tuple[float, float]) -> None:
    for _ in range(count):
        direction = 1.0 if random.random() < 0.5 else -1.0
        side = 1.0 if random.random() < 0.5 else -1.0
        motion = (direction * random.uniform(0.8, 1.6), 0.3, random.uniform(0.3, 0.8), random.uniform(0, 6))
        size = (random.uniform(0.45, 0.6), random.uniform(0.5, 0.65), random.uniform(1.55, 1.9))
        clothes = _CLOTHES[int(random.integers(len(_CLOTHES)))]
        heading = 0.0 if direction > 0 else np.pi
        x = random.uniform(span_m[0] + 65, span_m[1])
        builder.add("pedestrian", size, clothes, x, side * random.uniform(10.3, 11.2), motion, heading_rad=heading)


def _add_roadside(builder: _Builder, random: np.random.Generator, span_m: tuple[float, float]) -> None:
    for side in (-1.0, 1.0):
        x = span_m[0]
        while x < span_m[1]:
            length, depth = random.uniform(10, 24), random.uniform(8, 12)
            size = (length, depth, random.uniform(5, 17))
            facade = _FACADES[int(random.integers(len(_FACADES)))]
            setback = SIDEWALK_HALF_WIDTH_M + random.uniform(0.8, 3.0) + depth / 2
            if random.random() < 0.88:
                builder.add("building", size, facade, x + length / 2, side * setback)
            x += length + random.uniform(1.5, 7)
        for x in np.arange(span_m[0] + 5, span_m[1], 24.0):
            builder.add("pole", (0.16, 0.16, 5.5), (92, 96, 98), x + random.uniform(-2, 2), side * 9.7)
        for x in np.arange(span_m[0] + 17, span_m[1], 24.0):
            if random.random() < 0.6:
                at, crown = x + random.uniform(-2, 2), random.uniform(1.6, 2.4)
                builder.add("tree", (0.25, 0.25, 2.2), (92, 70, 48), at, side * 9.8)
                builder.add("tree", (crown, crown, crown), (58, 116, 54), at, side * 9.8, base_m=2.2)
        for x in np.arange(span_m[0], span_m[1], 8.5):
            if random.random() < 0.4:
                size = (4.3 * random.uniform(0.95, 1.05), 1.8, 1.5 * random.uniform(0.95, 1.1))
                paint = _CAR_PAINTS[int(random.integers(len(_CAR_PAINTS)))]
                heading = 0.0 if side < 0 else np.pi
                builder.add("car", size, paint, x, side * PARKED_LATERAL_M, heading_rad=heading, base_m=0.15)
