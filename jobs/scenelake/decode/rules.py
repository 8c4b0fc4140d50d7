"""What a channel's metadata and topic say about its modality (docs/recordings.md)."""

import re
from collections.abc import Mapping

from scenelake.contracts.modalities import Modality

MODALITY_KEY = "scenelake.modality"

_IMAGE_OR_POINTS = frozenset((Modality.CAMERA, Modality.LIDAR, Modality.RADAR))
_STATE = frozenset((Modality.ROBOT_STATE, Modality.ACTION))
_WORDS: tuple[tuple[Modality, frozenset[Modality], re.Pattern[str]], ...] = (
    (Modality.RADAR, _IMAGE_OR_POINTS, re.compile("radar")),
    (Modality.ACTION, _STATE, re.compile("action|command|(^|[/_])cmd([/_]|$)")),
    (Modality.LANGUAGE, frozenset((Modality.LANGUAGE,)), re.compile("language|instruction|task")),
)


def said_modality(topic: str, metadata: Mapping[str, str], possible: frozenset[Modality]) -> Modality | None:
    """The modality that metadata (first) or topic name outright, among those the message type can feed.

    A claim that the message type cannot honour is ignored: a camera does not become an IMU by its label.
    """
    claimed = metadata.get(MODALITY_KEY)
    if claimed in set(possible):
        return Modality(claimed)
    for modality, group, words in _WORDS:
        if modality in possible and group & possible and words.search(topic.lower()):
            return modality
    return None
