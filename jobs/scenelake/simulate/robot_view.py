"""What the robot's cameras see: table, tray, blocks and its own arms as shaded boxes."""

import numpy as np

from scenelake.simulate.geometry import Floats, Transform
from scenelake.simulate.rasteriser import Image, Lens, Polygons, paint
from scenelake.simulate.robot_body import HAND_M, RIGHT_ARM, RIGHT_GRIPPER, ArmPose, arm_pose, head_pose
from scenelake.simulate.robot_session import BLOCK_M, TABLE_TOP_M, TRAY_CENTRE_M, TRAY_SIZE_M, Session

_LIGHT = np.array([0.3, 0.35, 0.89])
_WALL_BGR = (196, 204, 206)
_TABLE_RGB, _TRAY_RGB, _LINK_RGB, _HAND_RGB = (172, 132, 92), (232, 232, 228), (214, 216, 222), (70, 74, 82)
_CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_SIDES = np.array([[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]])
_NORMALS = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]], dtype=np.float64)
_TABLE_TILES = 6

Solid = tuple[Transform, Floats, tuple[int, int, int]]
"""Pose of the centre in the base frame, size (3,) and colour."""


class RobotView:
    """Paints one instant of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def canvas(self, time_s: float, lens: Lens, mount: Transform, *, on_head: bool) -> Image:
        """The straight, noiseless picture of a camera that is mounted on the head or in the right hand."""
        joints = self._session.joints(time_s)
        right = arm_pose(joints[RIGHT_ARM], -1.0)
        base_from_camera = (head_pose(joints) if on_head else right.hand) @ mount
        width, height = lens.canvas_size
        canvas = np.full((height, width, 3), _WALL_BGR, np.uint8)
        paint(canvas, lens.canvas_matrix, _table(base_from_camera))
        solids: list[Solid] = [
            (_at(TRAY_CENTRE_M + np.array([0.0, 0.0, TRAY_SIZE_M[2] / 2])), TRAY_SIZE_M, _TRAY_RGB),
            *_arm(arm_pose(joints[:7], 1.0), float(joints[14])),
            *_arm(right, float(joints[RIGHT_GRIPPER])),
        ]
        for centre_m, rgb in zip(self._session.block_centres_m(time_s), self._session.block_rgb, strict=True):
            solids.append((_at(centre_m), np.full(3, BLOCK_M), rgb))
        paint(canvas, lens.canvas_matrix, _solids(solids, base_from_camera))
        return canvas


def _at(point_m: Floats) -> Transform:
    return Transform(np.eye(3), point_m)


def _arm(pose: ArmPose, opening_m: float) -> list[Solid]:
    links: list[Solid] = []
    for link, length_m, breadth_m in ((pose.upper, 0.32, 0.09), (pose.forearm, 0.30, 0.075), (pose.hand, 0.06, 0.07)):
        centre = link @ _at(np.array([length_m / 2, 0.0, 0.0]))
        rgb = _HAND_RGB if link is pose.hand else _LINK_RGB
        links.append((centre, np.array([length_m, breadth_m, breadth_m]), rgb))
    for side in (-1.0, 1.0):
        finger = pose.hand @ _at(np.array([HAND_M - 0.03, side * (opening_m / 2 + 0.008), 0.0]))
        links.append((finger, np.array([0.09, 0.014, 0.025]), _HAND_RGB))
    return links


def _table(base_from_camera: Transform) -> Polygons:
    """The table's top as a chequer of two browns, which gives images something to move over."""
    x, y = np.linspace(0.18, 1.0, _TABLE_TILES + 1), np.linspace(-0.75, 0.75, 2 * _TABLE_TILES + 1)
    corners, colours = [], []
    for i in range(_TABLE_TILES):
        for j in range(2 * _TABLE_TILES):
            tile = [(x[i], y[j]), (x[i + 1], y[j]), (x[i + 1], y[j + 1]), (x[i], y[j + 1])]
            corners.append([(*point, TABLE_TOP_M) for point in tile])
            shade = 1.0 if (i + j) % 2 else 0.93
            colours.append([shade * c for c in reversed(_TABLE_RGB)])
    return Polygons(base_from_camera.inverse().apply(np.array(corners)), np.array(colours))


def _solids(solids: list[Solid], base_from_camera: Transform) -> Polygons:
    """Visible faces of boxes, far centres first, each box's faces together."""
    eye_m = base_from_camera.translation_m
    order = sorted(solids, key=lambda solid: -float(np.linalg.norm(solid[0].translation_m - eye_m)))
    corners, colours = [], []
    for pose, size_m, rgb in order:
        faces = pose.apply(_CUBE[_SIDES] * size_m)
        normals = _NORMALS @ pose.rotation.T
        facing = np.einsum("fi,fi->f", normals, eye_m - faces[:, 0]) > 0
        light = 0.6 + 0.4 * np.clip(normals @ _LIGHT, 0, 1)
        corners.append(faces[facing])
        colours.append(np.array(rgb[::-1]) * light[facing][:, None])
    return Polygons(base_from_camera.inverse().apply(np.concatenate(corners)), np.concatenate(colours))
