"""Real edges: does the score peak at the calibration of a nuScenes keyframe?"""

from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from scenelake.convert.nuscenes import read_points
from scenelake.convert.plain_pickle import load_plain
from scenelake.geometry.poses import IDENTITY, invert, pose_of
from scenelake.quality.calibration.depth_edges import depth_edges
from scenelake.quality.calibration.image_edges import NBR_STEPS, STEP_RAD, CameraView, edge_profiles

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "nuscenes_one_keyframe"
_WIDTH_PX = 1600
_BLUR_STEPS = 3.0


def nuscenes_peaks(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Per camera and kind of outline: how many, and where their mean edge strength peaks; empty without the data.

    One keyframe is far from a window: it shows where the edges are, not how sure that is. The pickle's transform from
    LiDAR to camera holds the ego's motion between the two.
    """
    infos = sorted(folder.rglob("*.pkl"))
    if not infos:
        return []
    (sample,) = load_plain(infos[0].read_bytes(), str(infos[0]))["data_list"]
    files = {path.name: path for path in folder.rglob("*") if path.is_file()}
    points = read_points(files[Path(sample["lidar_points"]["lidar_path"]).name])
    xyz = np.stack([points[axis] for axis in "xyz"], axis=1).astype(np.float64)
    edges = depth_edges(xyz, points["ring"].astype(np.int64))
    found = []
    for camera, given in sorted(sample["images"].items()):
        path = files.get(Path(given["img_path"]).name)
        if path is None:
            continue
        grey = simplejpeg.decode_jpeg(path.read_bytes(), "GRAY", min_width=640)[..., 0]
        scale = grey.shape[1] / _WIDTH_PX
        matrix = np.array(given["cam2img"], np.float64)[:3, :3]
        matrix[:2] *= scale
        matrix[:2, 2] += 0.5 * scale - 0.5
        moved = np.array(given["lidar2cam"], np.float64)
        view = CameraView(invert(pose_of(moved[:3, :3], moved[:3, 3])), matrix, None, None, grey.shape[::-1])
        seen = edge_profiles(grey, edges, IDENTITY, view)
        for kind, chosen in (("upright", ~seen.is_across), ("level", seen.is_across)):
            found.append({"camera": camera, "outlines": kind, **_peak(seen.strength[chosen])})
    return found


def _peak(strength: np.ndarray) -> dict[str, Any]:
    steps = np.arange(NBR_STEPS)
    kernel = np.exp(-0.5 * ((steps[:, None] - steps) / _BLUR_STEPS) ** 2)
    smooth = strength.mean(axis=0) @ kernel / kernel.sum(axis=0)
    offset = float(np.degrees((int(smooth.argmax()) - NBR_STEPS // 2) * STEP_RAD))
    return {"nbr": len(strength), "peak_deg": round(offset, 2), "peak": round(float(smooth.max()), 4)}
