"""Short names of channels: ``/camera/front_left/image`` is ``front_left`` among the cameras."""

import re

_GENERIC = re.compile(
    r"camera|cam|image|img|colou?r|raw|rgb|compressed|rect|lidar|point|pointcloud|cloud|velodyne|radar|sensor|data"
    r"|sweep|scan"
)
_NUSCENES_PREFIX = {"camera": "CAM", "lidar": "LIDAR", "radar": "RADAR"}


def short_name(channel: str) -> str:
    """What is left of a topic without words that any topic has; ``main`` where nothing is.

    Lower case letters, digits and underscores.
    """
    parts = [re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in channel.split("/")]
    parts = [part for part in parts if part]
    words = [word for part in parts for word in part.split("_") if not _GENERIC.fullmatch(word.removesuffix("s"))]
    return "_".join(words) or "main"


class ChannelNames:
    """Gives each channel of a kind a name of its own; who comes second to a short name gets a longer one."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], str] = {}
        self._taken: set[tuple[str, str]] = set()

    def __call__(self, kind: str, channel: str) -> str:
        key = (kind, channel)
        if key not in self._of:
            name = short_name(channel)
            if (kind, name) in self._taken:
                name = re.sub(r"[^a-z0-9]+", "_", channel.lower()).strip("_") or "channel"
            base, number = name, 2
            while (kind, name) in self._taken:
                name, number = f"{base}_{number}", number + 1
            self._taken.add((kind, name))
            self._of[key] = name
        return self._of[key]

    def nuscenes(self, modality: str, channel: str) -> str:
        """``CAM_FRONT``, ``LIDAR_TOP``, ``RADAR_FRONT_LEFT``."""
        return f"{_NUSCENES_PREFIX[modality]}_{self(modality, channel).upper()}"

    def by_channel(self, *, prefixed: bool = False) -> dict[str, str]:
        """Names that were given, by topic; with nuScenes' prefixes on request."""
        return {c: self.nuscenes(kind, c) if prefixed else name for (kind, c), name in sorted(self._of.items())}
