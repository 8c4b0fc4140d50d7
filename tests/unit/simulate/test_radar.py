"""Doppler is the relative velocity along the line of sight."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def scans(messages, tools):
    return [(m.stamp_ns, tools.cloud(m.message)) for m in messages["/radar/front/points"]]


def _sight(points):
    xyz = np.stack([points["x"], points["y"], points["z"]], axis=-1).astype(np.float64)
    return xyz, xyz / np.linalg.norm(xyz, axis=1, keepdims=True)


def test_compensation_takes_out_the_radars_own_motion(messages, tools, scans):
    poses, (turn, lever) = tools.poses(messages["/odometry"]), tools.mounts(messages)["radar_front"]
    velocity = np.array([tools.vector(t.linear) for t in poses.twist])
    rate = np.array([tools.vector(t.angular) for t in poses.twist])
    own = (velocity + np.cross(rate, lever)) @ turn
    total = 0
    for stamp_ns, points in scans:
        at_radar = [np.interp(stamp_ns, poses.stamp_ns, own[:, axis]) for axis in range(3)]
        _, sight = _sight(points)
        difference = points["radial_velocity"] - points["radial_velocity_compensated"]
        np.testing.assert_allclose(difference, -sight @ at_radar, atol=2e-3)
        total += len(points)
    assert total > 1000


def test_what_stands_still_has_no_doppler_of_its_own(scans):
    own = np.concatenate([p["radial_velocity_compensated"] for _, p in scans])
    seen = np.concatenate([p["radial_velocity"] for _, p in scans])
    still = np.abs(own) < 1e-6
    assert 0.3 < still.mean() < 0.99
    assert np.median(seen[still]) < -5


def test_moving_objects_have_the_doppler_of_their_boxes(messages, tools, scans):
    """Velocities come from differences of the annotated centres and headings, by track."""
    poses, (turn, lever) = tools.poses(messages["/odometry"]), tools.mounts(messages)["radar_front"]
    tracks: dict[str, list] = {}
    for m in messages["/annotations/boxes"]:
        for d in m.message.detections:
            tracks.setdefault(d.id, []).append((m.stamp_ns, tools.vector(d.bbox.center.position), d.bbox))
    checked = 0
    for stamp_ns, points in scans[3:-3]:
        position, rotation = (a[0] for a in poses.at(np.array([stamp_ns])))
        xyz, sight = _sight(points)
        in_map = (xyz @ turn.T + lever) @ rotation.T + position
        for seen in tracks.values():
            times = np.array([s[0] for s in seen])
            if not times[0] <= stamp_ns <= times[-1] or len(seen) < 10:
                continue
            centres = np.array([s[1] for s in seen])
            velocities = np.gradient(centres, (times - times[0]) / 1e9, axis=0)
            centre, velocity = (
                np.array([np.interp(stamp_ns, times, a[:, i]) for i in range(3)]) for a in (centres, velocities)
            )
            headings = np.unwrap([2 * np.arctan2(s[2].center.orientation.z, s[2].center.orientation.w) for s in seen])
            turning = np.gradient(headings, (times - times[0]) / 1e9)
            box = seen[int(np.abs(times - stamp_ns).argmin())][2]
            local = (in_map - centre) @ tools.rotation(box.center.orientation)
            inside = (np.abs(local) < tools.vector(box.size) / 2 + 0.05).all(axis=1)
            spin = np.cross([0, 0, np.interp(stamp_ns, times, turning)], (in_map - centre)[inside])
            expected = np.einsum("ij,ij->i", sight[inside] @ turn.T @ rotation.T, velocity + spin)
            np.testing.assert_allclose(points["radial_velocity_compensated"][inside], expected, atol=0.03)
            checked += int(inside.sum()) if np.linalg.norm(velocity) > 3 else 0
    assert checked > 30
