"""Which sample each message belongs to, where a message may belong to one alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scenelake.export.scenes import Scene, SceneSource


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """A sample's match, the closest first; of equally close ones the earlier sample's."""

    distance_ns: int
    sample_ns: int
    scene_id: str
    frame: int


class Keyframes:
    """Shares the messages of neighbouring scenes out among their samples.

    A message that several samples match serves the closest; it counts to that sample's scene, and to its own scene
    where no sample matches it.

    Args:
        modalities: of the channels that take part.
    """

    def __init__(self, source: SceneSource, modalities: Sequence[str]) -> None:
        self._source = source
        self._modalities = frozenset(modalities)
        self._scenes = {s.scene_id: s for s in source.scenes}
        self._claims = lru_cache(8)(self._read)

    def of(self, scene: Scene) -> tuple[dict[str, int], frozenset[str], int]:
        """Messages that are keyframes of the scene, by the position of their sample; messages that its neighbours'
        samples took; and how many of its samples' matches serve a closer sample."""
        own = self._claims(scene.scene_id)
        others = [self._claims(n) for n in scene.neighbours if n in self._scenes]
        frames = {}
        nbr_lost = 0
        for message, claims in own.items():
            best = min([claims[0], *(other[message][0] for other in others if message in other)])
            is_own = best.scene_id == scene.scene_id
            nbr_lost += len(claims) - is_own
            if is_own:
                frames[message] = best.frame
        taken = frozenset(
            message
            for other in others
            for message, claims in other.items()
            if message not in frames and (message not in own or claims[0] < own[message][0])
        )
        return frames, taken, nbr_lost

    def _read(self, scene_id: str) -> dict[str, list[Claim]]:
        """Claims of a scene's samples by message, the best first."""
        scene = self._scenes[scene_id]
        stamps_ns = np.asarray(self._source.samples(scene)["timestamp_ns"], np.int64)
        found: dict[str, list[Claim]] = {}
        for match in self._source.matches(scene):
            if match.modality not in self._modalities:
                continue
            rows = zip(
                match.messages["sample_data_id"].to_pylist(),
                match.frames.tolist(),
                match.delta_ns.tolist(),
                strict=True,
            )
            for message, frame, delta_ns in rows:
                found.setdefault(message, []).append(Claim(abs(delta_ns), int(stamps_ns[frame]), scene_id, frame))
        return {message: sorted(claims) for message, claims in found.items()}
