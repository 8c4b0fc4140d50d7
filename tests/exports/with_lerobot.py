"""Opens LeRobot exports with ``lerobot`` and writes what it finds: run in an environment of its own.

``torchvision``'s compiled part is built for one build of torch and does not load with another. Nothing here needs it
(frames are decoded by PyAV); its Python part asks for one operator to be known.
"""

import json
import sys
import warnings

import torch

warnings.filterwarnings("ignore")
_OPERATORS = torch.library.Library("torchvision", "DEF")
_OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402
from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset  # noqa: E402

CHUNK = 4


def facts(root: str) -> dict:
    """Every frame of a dataset as ``lerobot`` gives it; pictures as their mean colour."""
    whole = LeRobotDataset("export/check", root=root, video_backend="pyav")
    horizon = {"action": [i / whole.fps for i in range(CHUNK)]} if "action" in whole.features else None
    chunked = LeRobotDataset("export/check", root=root, video_backend="pyav", delta_timestamps=horizon)
    frames = []
    for index in range(len(whole)):
        item = whole[index]
        frames.append({key: _plain(key, value) for key, value in item.items()})
    last = chunked[len(chunked) - 1]
    return {
        "fps": whole.fps,
        "nbr_episodes": whole.num_episodes,
        "nbr_frames": len(whole),
        "robot_type": whole.meta.robot_type,
        "camera_keys": whole.meta.camera_keys,
        "names": whole.meta.names,
        "stats": {k: {n: v.tolist() for n, v in s.items()} for k, s in whole.meta.stats.items()},
        "frames": frames,
        "last_chunk": [list(last["action"].shape), last["action_is_pad"].tolist()] if horizon else None,
    }


def _plain(key: str, value: object) -> object:
    if not isinstance(value, torch.Tensor):
        return value
    return value.mean(dim=(1, 2)).tolist() if value.ndim == 3 else value.tolist()


def main(*words: str) -> None:
    """``v21:<root>`` is first converted to v3.0, in place, by lerobot's own program."""
    found = []
    for word in words:
        root = word.removeprefix("v21:")
        if root != word:
            parent, _, name = root.rpartition("/")
            convert_dataset(name, root=parent, push_to_hub=False)
        found.append(facts(root))
    sys.stdout.write(json.dumps(found))


main(*sys.argv[1:])
