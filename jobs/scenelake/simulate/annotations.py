"""Ground-truth boxes: where the labelled objects are and how much of each the ego can see."""

from dataclasses import dataclass

import numpy as np

from scenelake.simulate.config import SECOND_NS, Annotator
from scenelake.simulate.geometry import Floats, Transform, rotation_from_rpy
from scenelake.simulate.raycast import Rays, cast
from scenelake.simulate.world import CATEGORIES, World

_EYE_M = np.array([0.9, 0.0, 1.9])
"""Where visibility is judged from, in base_link: the LiDAR's place on the roof."""
_PROBES = np.array([(x, y, z) for x in (-0.4, 0, 0.4) for y in (-0.4, 0, 0.4) for z in (-0.4, 0, 0.4)])
"""Points that stand for a box, as fractions of its size about its centre."""


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """One box in the map frame.

    Attributes:
        map_from_box: centre and heading; x along the length.
        size_m: (3,) length, width, height.
        visibility: share of the box that nothing else hides, in (0, 1].
    """

    track_id: str
    category: str
    map_from_box: Transform
    size_m: Floats
    visibility: float


def label_boxes(config: Annotator, world: World, offset_ns: int) -> list[LabelledBox]:
    """Boxes of labelled objects in range of the ego at a true time, less those that are wholly hidden."""
    time_s = offset_ns / SECOND_NS
    eye_m = world.ego.map_from_ego(time_s).apply(_EYE_M)
    near = world.near(time_s, eye_m, config.range_max_m)
    rows = np.array([r for r in near if CATEGORIES[world.boxes.category[r]].is_labelled], dtype=np.int64)
    if not len(rows):
        return []
    state = world.box_states(np.array([time_s]), rows)
    rotations = rotation_from_rpy(0.0, 0.0, state.yaw_rad[:, 0])
    probes = _PROBES * world.boxes.size_m[rows][:, None]
    points = state.position_m + np.einsum("bij,bpj->bpi", rotations, probes)
    towards = (points - eye_m).reshape(-1, 1, 3)
    towards = towards / np.linalg.norm(towards, axis=-1, keepdims=True)
    count = len(towards)
    rays = Rays(np.full(count, time_s), np.broadcast_to(eye_m, (count, 3)), towards)
    first_hit = cast(world, rays, near, has_ground=False).box.reshape(len(rows), -1)
    visibility = (first_hit == rows[:, None]).mean(axis=1)
    return [
        LabelledBox(
            track_id=world.boxes.track_id(row),
            category=world.boxes.category[row],
            map_from_box=Transform(rotations[i], state.position_m[i, 0]),
            size_m=world.boxes.size_m[row],
            visibility=float(visibility[i]),
        )
        for i, row in enumerate(rows.tolist())
        if visibility[i] > 0
    ]
