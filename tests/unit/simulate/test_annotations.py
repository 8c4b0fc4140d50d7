"""Boxes are where the LiDAR and the cameras see the objects."""

import json

import cv2
import numpy as np


def _box_at(seen, stamp_ns, tools):
    """Centre, rotation and size of a track between two of its annotations."""
    times = np.array([s[0] for s in seen])
    centres = np.array([tools.vector(s[1].center.position) for s in seen])
    centre = np.array([np.interp(stamp_ns, times, centres[:, i]) for i in range(3)])
    nearest = seen[int(np.abs(times - stamp_ns).argmin())]
    return centre, tools.rotation(nearest[1].center.orientation), tools.vector(nearest[1].size), nearest[2]


def _tracks(messages):
    tracks: dict[str, list] = {}
    for m in messages["/annotations/boxes"]:
        for d in m.message.detections:
            tracks.setdefault(d.id, []).append((m.stamp_ns, d.bbox, d.results[0].hypothesis.score))
    return tracks


def test_boxes_hold_lidar_hits_on_their_surface_and_none_deep_inside(messages, tools):
    poses, (turn, lever) = tools.poses(messages["/odometry"]), tools.mounts(messages)["lidar_top"]
    full = 0
    for sweep in messages["/lidar/top/points"][5:25:6]:
        points = tools.cloud(sweep.message)
        times = sweep.stamp_ns + points["t"].astype(np.int64)
        position, rotation = poses.at(times)
        xyz = np.stack([points["x"], points["y"], points["z"]], axis=-1).astype(np.float64)
        in_map = position + np.einsum("nij,nj->ni", rotation, xyz @ turn.T + lever)
        for seen in _tracks(messages).values():
            if not seen[0][0] <= sweep.stamp_ns <= seen[-1][0] - 100_000_000:
                continue
            near = np.linalg.norm(in_map - _box_at(seen, sweep.stamp_ns, tools)[0], axis=1) < 8
            if not near.any():
                continue
            when = int(np.median(times[near]))
            centre, box_rotation, size, visibility = _box_at(seen, when, tools)
            local = np.abs((in_map - centre) @ box_rotation)
            recent = near & (np.abs(times - when) < 8_000_000)
            assert not (local[recent] < size / 2 - 0.2).all(axis=1).any()
            hits = (local < size / 2 + 0.15).all(axis=1).sum()
            if visibility > 0.6 and np.linalg.norm(centre - position.mean(axis=0)) < 25:
                assert hits >= 5
                full += 1
    assert full > 10


def test_scores_are_shares_and_hidden_objects_are_left_out(messages):
    scores = [s[2] for seen in _tracks(messages).values() for s in seen]
    assert min(scores) > 0
    assert max(scores) == 1.0
    assert min(scores) < 0.9


def test_projected_boxes_cover_pixels_of_the_objects_own_colour(messages, tools, small_drive):
    """Corners go through odometry, static transform, and the published camera matrix and distortion."""
    truth = json.loads(small_drive.with_suffix(".truth.json").read_text())
    colours = {o["track_id"]: np.array(o["colour_rgb"][::-1], np.uint8) for o in truth["objects"]}
    poses, (turn, lever) = tools.poses(messages["/odometry"]), tools.mounts(messages)["camera_front"]
    info = messages["/camera/front/camera_info"][0].message
    matrix = info.k.reshape(3, 3)
    checked = 0
    for frame in messages["/camera/front/image"][1:-1]:
        picture = cv2.imdecode(frame.message.data, cv2.IMREAD_COLOR)
        hue = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(int)
        position, rotation = (a[0] for a in poses.at(np.array([frame.stamp_ns])))
        for track_id, seen in _tracks(messages).items():
            colour = cv2.cvtColor(colours[track_id].reshape(1, 1, 3), cv2.COLOR_BGR2HSV)[0, 0].astype(int)
            if colour[1] < 120 or not seen[0][0] <= frame.stamp_ns <= seen[-1][0]:
                continue
            centre, box_rotation, size, visibility = _box_at(seen, frame.stamp_ns, tools)
            corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2 * size
            in_ego = (corners @ box_rotation.T + centre - position) @ rotation
            in_camera = (in_ego - lever) @ turn
            if visibility < 1 or in_camera[:, 2].min() < 1:
                continue
            pixels = cv2.projectPoints(in_camera, np.zeros(3), np.zeros(3), matrix, info.d)[0].reshape(-1, 2)
            hull = cv2.convexHull(pixels.astype(np.float32))
            inside_image = (pixels > 4).all() and (pixels < [info.width - 5, info.height - 5]).all()
            if not inside_image or cv2.contourArea(hull) < 150:
                continue
            mask = cv2.fillConvexPoly(np.zeros(picture.shape[:2], np.uint8), np.rint(hull).astype(np.int32), 1)
            core = cv2.erode(mask, np.ones((3, 3), np.uint8)).astype(bool)
            ring = (cv2.dilate(mask, np.ones((9, 9), np.uint8)) - cv2.dilate(mask, np.ones((5, 5), np.uint8))) > 0
            away = np.abs(hue[..., 0] - colour[0])
            same = (np.minimum(away, 180 - away) < 8) & (hue[..., 1] > 90)
            assert same[core].mean() > 0.35, track_id
            assert same[ring].mean() < 0.1, track_id
            checked += 1
    assert checked >= 5
