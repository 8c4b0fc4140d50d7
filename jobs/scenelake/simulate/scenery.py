"""The look of a drive's world as coloured quads: road, paint, boxes with shaded faces, windows and lamps."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scenelake.simulate.geometry import Floats, Integers, Transform
from scenelake.simulate.rasteriser import Polygons
from scenelake.simulate.world import (
    CATEGORIES,
    DASH_M,
    DASH_PERIOD_M,
    DRIVEN_HALF_WIDTH_M,
    LANE_M,
    ROAD_HALF_WIDTH_M,
    SIDEWALK_HALF_WIDTH_M,
    SIGHT_M,
    Boxes,
    World,
)

HAZE_BGR = np.array([222.0, 212.0, 202.0])
_SUN = np.array([0.42, -0.50, 0.76])
_SEGMENT_M = 5.0
_BEHIND_M = 30.0
_ROAD_BGR, _SIDEWALK_BGR = (92, 88, 86), (158, 162, 164)
_WHITE_BGR, _YELLOW_BGR = (226, 230, 230), (70, 190, 226)
_GLASS_RGB, _TAIL_RGB, _HEAD_RGB, _TYRE_RGB = (58, 72, 88), (214, 34, 30), (250, 244, 214), (26, 26, 28)
_SKIN_RGB, _SHADOW_BGR = (206, 164, 136), (52, 50, 48)
_DETAIL_SIGHT_M = 70.0

_FACES: tuple[tuple[int, float], ...] = ((0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0), (2, 1.0))
"""Axis and sign of the faces of a box that a camera above ground can see."""


@dataclass(frozen=True, slots=True)
class _Patch:
    """A rectangle on a face: (u0, u1, v0, v1) as fractions of the face, v up, and where it is for painting order.

    ``anchor`` is the part of the face whose middle tells how far away the patch is; None means the whole box.
    """

    face: int
    window: tuple[float, float, float, float]
    rgb: tuple[int, ...]
    is_detail: bool = True
    anchor: tuple[float, float, float, float] | None = None


def _patches(category: str, size_m: Floats, rgb: tuple[int, ...]) -> list[_Patch]:
    """The faces of a box and what is painted on them."""
    if category == "building":
        return _facade(size_m, rgb)
    faces = [_Patch(face, (0.0, 1.0, 0.0, 1.0), rgb, is_detail=False) for face in range(len(_FACES))]
    if category == "pedestrian":
        return faces + [_Patch(f, (0.25, 0.75, 0.84, 1.0), _SKIN_RGB) for f in range(4)]
    if category not in ("car", "truck"):
        return faces
    side = (0.18, 0.86, 0.56, 0.88) if category == "car" else (0.76, 0.95, 0.5, 0.8)
    glass = [(0, (0.1, 0.9, 0.58, 0.92)), (2, side), (3, side)]
    if category == "car":
        glass.append((1, (0.1, 0.9, 0.58, 0.9)))
    painted = [_Patch(face, window, _GLASS_RGB) for face, window in glass]
    for u in (0.06, 0.76):
        painted.append(_Patch(1, (u, u + 0.18, 0.38, 0.5), _TAIL_RGB))
        painted.append(_Patch(0, (u, u + 0.18, 0.34, 0.46), _HEAD_RGB))
    painted += [_Patch(f, (u, u + 0.15, 0.0, 0.28), _TYRE_RGB) for f in (2, 3) for u in (0.12, 0.73)]
    return faces + painted


def _facade(size_m: Floats, rgb: tuple[int, ...]) -> list[_Patch]:
    """A building in bays, each with its own distance: a long wall is both nearer and farther than a tree before it."""
    floors = max(int(size_m[2] // 3.2), 1)
    patches = [_Patch(4, (0.0, 1.0, 0.0, 1.0), rgb, is_detail=False)]
    for face in range(4):
        bays = max(int(size_m[1 if face < 2 else 0] // 3.5), 1)
        for bay in range(bays):
            wall = (bay / bays, (bay + 1) / bays, 0.0, 1.0)
            patches.append(_Patch(face, wall, rgb, is_detail=False, anchor=wall))
            left, right = (bay + 0.25) / bays, (bay + 0.75) / bays
            for floor in range(floors):
                window = (left, right, (floor + 0.35) / floors, (floor + 0.78) / floors)
                patches.append(_Patch(face, window, _GLASS_RGB, anchor=wall))
    return patches


def face_corners(size_m: Floats, face: int, window: tuple[float, float, float, float] = (0, 1, 0, 1)) -> Floats:
    """Corners (4, 3) of a face, or of a window (u0, u1, v0, v1) of it, about the box's centre."""
    axis, sign = _FACES[face]
    across, up = {0: (1, 2), 1: (0, 2), 2: (0, 1)}[axis]
    corners = np.zeros((4, 3))
    corners[:, axis] = sign * 0.5
    corners[:, across] = np.array([window[0], window[1], window[1], window[0]]) - 0.5
    corners[:, up] = np.array([window[2], window[2], window[3], window[3]]) - 0.5
    return corners * size_m


_WHOLE_BOX = np.full(3, np.nan)


@dataclass(frozen=True, slots=True)
class BoxQuads:
    """All quads of all boxes in the boxes' own frames, sorted by box, faces before what is painted on them.

    Attributes:
        owner: (q,) row of the box.
        corner_m: (q, 4, 3) about the box's centre.
        normal: (q, 3) outward.
        colour_bgr: (q, 3).
        is_detail: (q,) painted on a face; left out far away.
        anchor_m: (q, 3) point whose distance decides the painting order; NaN for the box's nearest point.
    """

    owner: Integers
    corner_m: Floats
    normal: Floats
    colour_bgr: Floats
    is_detail: npt.NDArray[np.bool_]
    anchor_m: Floats

    @classmethod
    def of(cls, boxes: Boxes) -> "BoxQuads":
        rows: list[tuple[int, Floats, Floats, tuple[int, ...], bool, Floats]] = []
        for row, category in enumerate(boxes.category):
            size_m, rgb = boxes.size_m[row], tuple(boxes.colour_rgb[row].tolist())
            if CATEGORIES[category].is_labelled:
                shadow = face_corners(size_m * 1.06, 4) * [1, 1, 0] - [0, 0, size_m[2] / 2 + boxes.base_m[row]]
                rows.append((row, shadow, np.array([0.0, 0.0, 1.0]), _SHADOW_BGR, True, _WHOLE_BOX))
            for patch in _patches(category, size_m, rgb):
                axis, sign = _FACES[patch.face]
                anchor = _WHOLE_BOX if patch.anchor is None else face_corners(size_m, patch.face, patch.anchor).mean(0)
                corners = face_corners(size_m, patch.face, patch.window)
                rows.append((row, corners, sign * np.eye(3)[axis], patch.rgb[::-1], patch.is_detail, anchor))
        owner, corner_m, normal, colour, is_detail, anchor_m = zip(*rows, strict=True) if rows else ((),) * 6
        return cls(
            np.array(owner, dtype=np.int64),
            np.array(corner_m).reshape(-1, 4, 3),
            np.array(normal).reshape(-1, 3),
            np.array(colour, dtype=np.float64).reshape(-1, 3),
            np.array(is_detail, dtype=np.bool_),
            np.array(anchor_m).reshape(-1, 3),
        )


class Scenery:
    """Gives the quads of one instant in a camera's frame."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._quads = BoxQuads.of(world.boxes)

    def ground(self, camera_from_map: Transform, ego_x_m: float) -> Polygons:
        """Sidewalk, road and paint within sight of the ego."""
        strips: list[Floats] = []
        colours: list[tuple[int, int, int]] = []
        first = np.floor((ego_x_m - _BEHIND_M) / _SEGMENT_M) * _SEGMENT_M
        starts = np.arange(first, ego_x_m + SIGHT_M, _SEGMENT_M)
        bands = [
            (-SIDEWALK_HALF_WIDTH_M, SIDEWALK_HALF_WIDTH_M, _SIDEWALK_BGR),
            (-ROAD_HALF_WIDTH_M, ROAD_HALF_WIDTH_M, _ROAD_BGR),
            *((c - 0.09, c + 0.09, _WHITE_BGR) for c in (-DRIVEN_HALF_WIDTH_M, DRIVEN_HALF_WIDTH_M)),
            (-0.09, 0.09, _YELLOW_BGR),
        ]
        for right, left, colour in bands:
            strips.append(self._strips(starts, _SEGMENT_M, right, left))
            colours += [colour] * len(starts)
        dashes = np.arange(np.floor(first / DASH_PERIOD_M) * DASH_PERIOD_M, ego_x_m + SIGHT_M / 2, DASH_PERIOD_M)
        for centre in (-LANE_M, LANE_M):
            strips.append(self._strips(dashes, DASH_M, centre - 0.09, centre + 0.09))
            colours += [_WHITE_BGR] * len(dashes)
        corners = np.concatenate(strips)
        distance = np.abs(corners[:, 0, 0] - ego_x_m)
        return Polygons(camera_from_map.apply(corners), _hazed(np.array(colours, dtype=np.float64), distance))

    def _strips(self, starts_m: Floats, length_m: float, right_m: float, left_m: float) -> Floats:
        x = np.stack([starts_m, starts_m + length_m, starts_m + length_m, starts_m], axis=-1)
        lateral = np.array([right_m, right_m, left_m, left_m])
        return np.stack([x, self._world.road.lateral_m(x) + lateral, np.zeros_like(x)], axis=-1)

    def boxes(self, camera_from_map: Transform, time_s: float) -> Polygons:
        """Visible faces of the boxes in sight, far ones first (by the nearest point of each box)."""
        world, quads = self._world, self._quads
        camera_m = camera_from_map.inverse().translation_m
        near = world.near(time_s, camera_m, SIGHT_M)
        ahead = self._in_front(camera_from_map, time_s, near)
        state = world.box_states(np.array([time_s]), ahead)
        distance = _distance_to_boxes(camera_m, state.position_m[:, 0], state.yaw_rad[:, 0], world.boxes.size_m[ahead])
        slot = np.full(len(world.boxes), -1, dtype=np.int64)
        slot[ahead] = np.arange(len(ahead))
        chosen = slot[quads.owner] >= 0
        if len(ahead):
            chosen &= ~quads.is_detail | (distance[slot[quads.owner]] < _DETAIL_SIGHT_M)
        owner = slot[quads.owner[chosen]]
        yaw, centre = state.yaw_rad[owner, 0], state.position_m[owner, 0]
        corners = _turned(quads.corner_m[chosen], yaw[:, None]) + centre[:, None]
        normal = _turned(quads.normal[chosen], yaw)
        anchor = np.linalg.norm((_turned(quads.anchor_m[chosen], yaw) + centre - camera_m)[:, :2], axis=1)
        farness = np.where(np.isnan(anchor), distance[owner], anchor)
        facing = np.einsum("qi,qi->q", normal, camera_m - corners[:, 0]) > 0
        order = np.flatnonzero(facing)
        order = order[np.argsort(-farness[order], kind="stable")]
        light = 0.62 + 0.42 * np.clip(normal[order] @ _SUN, 0, 1)
        colour = _hazed(quads.colour_bgr[chosen][order] * light[:, None], distance[owner[order]])
        return Polygons(camera_from_map.apply(corners[order]), colour)

    def _in_front(self, camera_from_map: Transform, time_s: float, rows: Integers) -> Integers:
        centres = self._world.box_states(np.array([time_s]), rows).position_m[:, 0]
        reach = np.linalg.norm(self._world.boxes.size_m[rows], axis=1) / 2
        seen = camera_from_map.apply(centres)
        in_front: Integers = rows[
            (seen[:, 2] + reach > 0) & (np.abs(seen[:, 0]) < 2.5 * np.maximum(seen[:, 2], 0) + 2 * reach + 2)
        ]
        return in_front


def _turned(points: Floats, yaw_rad: Floats) -> Floats:
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    x, y = points[..., 0], points[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y, points[..., 2]], axis=-1)


def _distance_to_boxes(point_m: Floats, centre_m: Floats, yaw_rad: Floats, size_m: Floats) -> Floats:
    local = _turned(point_m - centre_m, -yaw_rad)
    distance: Floats = np.linalg.norm(np.maximum(np.abs(local) - size_m / 2, 0), axis=1)
    return distance


def _hazed(colour_bgr: Floats, distance_m: Floats) -> Floats:
    share = 1 - np.exp(-distance_m / 220.0)
    hazed: Floats = np.clip(colour_bgr + (HAZE_BGR - colour_bgr) * share[:, None], 0, 255)
    return hazed
