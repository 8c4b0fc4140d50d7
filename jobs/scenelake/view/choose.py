"""Which scene is meant."""

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.release_reader import ReleaseReader
from scenelake.export.config import Selection
from scenelake.export.scenes import Scene, SceneSource, drive_words

LATEST = "latest"
KINDS = ("drive_segment", "episode")
_SHOWN = 5
_SECOND_NS = 1_000_000_000


def open_source(reader: ReleaseReader) -> SceneSource:
    """Every scene of a release."""
    return SceneSource(reader, Selection(), KINDS)


def choose_scene(source: SceneSource, word: str) -> Scene:
    """The scene of an id or of its beginning, or the newest.

    Args:
        word: at least one character of the id, or ``latest``: of the scenes that the release added or replaced, the
            one that starts last; of all, where those are gone from it.

    Raises:
        BadInputError: reason ``not_found``, or ``ambiguous`` for a beginning that several have; both list scenes.
    """
    release_id = source.reader.release.release_id
    if not source.scenes:
        raise BadInputError(f"release {release_id} has no scene to look at", reason="not_found")
    if word == LATEST:
        delta = source.reader.release.delta
        changed = {*delta.added, *delta.replaced}
        newest = [s for s in source.scenes if s.scene_id in changed] or source.scenes
        return max(newest, key=lambda s: (s.start_ns, s.scene_id))
    wanted = word.lower()
    begun = [s for s in source.scenes if wanted and s.scene_id.startswith(wanted)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise BadInputError(
            f"scene {word!r}: {len(begun)} scenes of release {release_id} begin so: {_told(source, begun)}; give more"
            f" of the id",
            reason="ambiguous",
        )
    near = heapq.nlargest(_SHOWN, source.scenes, key=lambda s: _likeness(wanted, s.scene_id))
    raise BadInputError(
        f"scene {word!r}: release {release_id} has none that begins so; the nearest: {_told(source, near)};"
        f" `scenelake show {release_id}` lists all {len(source.scenes)}",
        reason="not_found",
    )


def _likeness(word: str, scene_id: str) -> int:
    """Characters that agree, place by place: a typing error costs one."""
    return sum(a == b for a, b in zip(word, scene_id, strict=False))


def _told(source: SceneSource, scenes: Sequence[Scene]) -> str:
    shown = []
    for scene in scenes[:_SHOWN]:
        drive = drive_words(source.drives[scene.drive_id])[-1]
        start = datetime.fromtimestamp(scene.start_ns // _SECOND_NS, UTC)
        shown.append(f"{scene.scene_id} ({drive}, {start:%Y-%m-%d %H:%M:%S})")
    return ", ".join(shown) + (", …" if len(scenes) > _SHOWN else "")
