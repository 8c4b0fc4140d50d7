"""Dataset releases as documents: find one, read one, write the next one."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release, ReleaseDelta

_NAME = re.compile(r"/(\d{8})\.json$")
_RELEASE_ID = re.compile(r"^r(\d{8})$")


class ReleaseObjects(Protocol):
    """What this module asks of object storage."""

    def read(self, uri: str, *, version_id: str | None = None) -> bytes: ...

    def write_if_absent(self, uri: str, data: bytes) -> bool: ...

    def list(self, prefix_uri: str) -> Iterator[Any]: ...


def list_releases(objects: ReleaseObjects, paths: LakePaths) -> list[int]:
    """Numbers of all releases, ascending. Numbers are consecutive from 1."""
    names = (_NAME.search(info.uri) for info in objects.list(f"{paths.releases}/"))
    return sorted(int(name.group(1)) for name in names if name)


def latest_release(objects: ReleaseObjects, paths: LakePaths) -> Release | None:
    """The newest release; None when there is none yet."""
    numbers = list_releases(objects, paths)
    return read_release(objects, paths, numbers[-1]) if numbers else None


def load_release(objects: ReleaseObjects, paths: LakePaths, release_id: str) -> Release:
    """A release by id.

    Raises:
        BadInputError: reason ``not_found`` when there is no such release.
    """
    match = _RELEASE_ID.match(release_id)
    try:
        if match:
            return read_release(objects, paths, int(match.group(1)))
    except FileNotFoundError as error:
        raise BadInputError(f"release {release_id}: there is none", reason="not_found") from error
    raise BadInputError(f"release {release_id!r}: expected r and eight digits", reason="not_found")


def read_release(objects: ReleaseObjects, paths: LakePaths, number: int) -> Release:
    """A release by number. Raises FileNotFoundError when there is none."""
    return Release.from_json(json.loads(objects.read(paths.release(number))))


def write_release(objects: ReleaseObjects, paths: LakePaths, release: Release) -> bool:
    """Writes a release unless its number is taken; True when it was written, now or by an earlier try."""
    data = json.dumps(release.to_json(), indent=1, sort_keys=True).encode()
    uri = paths.release(release.number)
    # A conditional put whose first answer was lost is refused when it is repeated.
    return objects.write_if_absent(uri, data) or objects.read(uri) == data


def release_of_batch(
    objects: ReleaseObjects, paths: LakePaths, newest: Release | None, batch_id: str, lookback: int
) -> Release | None:
    """The release that a batch made, among the newest ones."""
    release = newest
    for _ in range(lookback):
        if release is None or release.batch_id == batch_id:
            return release
        release = read_release(objects, paths, release.number - 1) if release.number > 1 else None
    return None


def noted_release(objects: ReleaseObjects, paths: LakePaths, release_id: str | None, batch_id: str) -> Release | None:
    """The release that the ledger has noted for a batch, if it was written and no other batch took its number."""
    if release_id is None:
        return None
    try:
        found = load_release(objects, paths, release_id)
    except BadInputError:
        return None
    return found if found.batch_id == batch_id else None


def scene_delta(parent: Mapping[str, tuple[str, str]], scenes: Mapping[str, tuple[str, str]]) -> ReleaseDelta:
    """What changed between two ``{scene_id: (drive_id, content_hash)}``."""
    return ReleaseDelta(
        added=tuple(sorted(set(scenes) - set(parent))),
        replaced={
            scene: (parent[scene][1], scenes[scene][1])
            for scene in sorted(set(scenes) & set(parent))
            if parent[scene][1] != scenes[scene][1]
        },
        removed=tuple(sorted(set(parent) - set(scenes))),
    )
