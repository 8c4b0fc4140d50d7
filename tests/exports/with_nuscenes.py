"""Opens a nuScenes export with ``nuscenes-devkit`` and writes what it finds: run in an environment of its own."""

import json
import sys

import numpy as np
from nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud, RadarPointCloud
from nuscenes.utils.geometry_utils import points_in_box
from pyquaternion import Quaternion


def boxes_of(nusc: NuScenes, token: str) -> list[dict]:
    """Boxes of one LiDAR keyframe in its own frame, with the points that the devkit counts in each."""
    path, boxes, _ = nusc.get_sample_data(token)
    points = LidarPointCloud.from_file(path).points[:3]
    found = []
    for box in boxes:
        annotation = nusc.get("sample_annotation", box.token)
        found.append(
            {
                "said": annotation["num_lidar_pts"],
                "counted": int(points_in_box(box, points).sum()),
                "category": annotation["category_name"],
                "global_m": annotation["translation"],
                "center_m": box.center.tolist(),
                "velocity_m_s": nusc.box_velocity(box.token).tolist(),
                "instance": annotation["instance_token"],
            }
        )
    return found


def scene_of(nusc: NuScenes, scene: dict) -> dict:
    """Walks a scene along the links of its samples and of every sensor's messages."""
    samples, token = [], scene["first_sample_token"]
    while token:
        samples.append(nusc.get("sample", token))
        token = samples[-1]["next"]
    channels = {}
    for channel in sorted({c for s in samples for c in s["data"]}):
        first = next(s["data"][channel] for s in samples if channel in s["data"])
        while nusc.get("sample_data", first)["prev"]:
            first = nusc.get("sample_data", first)["prev"]
        chain = []
        while first:
            record = nusc.get("sample_data", first)
            chain.append([record["timestamp"], record["is_key_frame"], record["sample_token"]])
            first = record["next"]
        channels[channel] = chain
    return {
        "name": scene["name"],
        "samples": [[s["token"], s["timestamp"], sorted(s["data"])] for s in samples],
        "channels": channels,
    }


def points_of(nusc: NuScenes) -> dict:
    """Clouds of the middle sample, and sweeps gathered over time in the world."""
    sample = nusc.sample[len(nusc.sample) // 2]
    found = {}
    for channel, token in sample["data"].items():
        path = nusc.get_sample_data_path(token)
        if channel.startswith("LIDAR"):
            found[channel] = LidarPointCloud.from_file(path).points.shape[1]
            many, times = LidarPointCloud.from_file_multisweep(nusc, sample, channel, channel, nsweeps=5)
            found[f"{channel} gathered"] = [many.points.shape[1], float(times.max())]
        elif channel.startswith("RADAR"):
            found[channel] = RadarPointCloud.from_file(path).points[[0, 1, 8, 9]].T.tolist()
    return found


def main(root: str, version: str) -> None:
    nusc = NuScenes(version=version, dataroot=root, verbose=False)
    nusc.list_scenes()
    middle = nusc.sample[len(nusc.sample) // 2]["data"]
    lidar = next((token for channel, token in middle.items() if channel.startswith("LIDAR")), None)
    pose = nusc.get("ego_pose", nusc.get("sample_data", lidar)["ego_pose_token"]) if lidar else None
    camera = next((token for channel, token in middle.items() if channel.startswith("CAM")), None)
    path, in_picture, intrinsics = nusc.get_sample_data(camera) if camera else ("", [], None)
    sys.stdout.write(
        json.dumps(
            {
                "counts": {name: len(getattr(nusc, name)) for name in nusc.table_names},
                "scenes": [scene_of(nusc, scene) for scene in nusc.scene],
                "boxes": [
                    b for s in nusc.sample for c, t in s["data"].items() if c == "LIDAR_TOP" for b in boxes_of(nusc, t)
                ],
                "points": points_of(nusc),
                "pose": pose and [*pose["translation"], *Quaternion(pose["rotation"]).elements.tolist()],
                "camera": [path, len(in_picture), np.asarray(intrinsics).tolist()],
                "logs": nusc.log,
            }
        )
    )


main(*sys.argv[1:])
