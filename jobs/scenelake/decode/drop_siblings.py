"""The other objects of a drop's drive, as storage has them, and which of their versions a decode has looked at."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple

from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.stages import SiblingVersion
from scenelake.decode.drop import name_in_drive
from scenelake.decode.fetch import RangeSource
from scenelake.decode.formats.siblings import OpenedSiblings
from scenelake.decode.formats.sources import RangedSource


@contextmanager
def drop_siblings(storage: RangeSource, drop: Drop) -> Iterator[OpenedSiblings]:
    """The newest versions of the objects in the drop's drive, by their names in it; what is read stays that version."""
    drive_uri = drop.uri.removesuffix(name_in_drive(drop))
    versions: list[SiblingVersion] = []
    with ExitStack() as opened:

        def open_source(name: str) -> RangedSource:
            found = newest(storage, drive_uri + name)
            versions.append(found)
            if found.size_bytes is None:
                raise FileNotFoundError(found.uri)

            def read_range(offset: int, length: int) -> bytes:
                return storage.read_range(found.uri, offset, length, version_id=found.version_id)

            return opened.enter_context(RangedSource(read_range, found.size_bytes))

        yield OpenedSiblings(open_source, versions)


def newest(storage: RangeSource, uri: str) -> SiblingVersion:
    """What lies there now, if anything."""
    try:
        head = storage.head(uri)
    except FileNotFoundError:
        return SiblingVersion(uri)
    return SiblingVersion(uri, head.version_id, head.etag, head.size_bytes)


def are_same(before: Iterable[SiblingVersion], now: Iterable[SiblingVersion]) -> bool:
    """Whether siblings still hold what they held; the same bytes put again are the same."""
    return [_content(s) for s in before] == [_content(s) for s in now]


def recipe_with(recipe: str, siblings: Iterable[SiblingVersion]) -> str:
    """The recipe of a drop whose siblings are others than those that the recipe alone stands for.

    Its output lies in a folder and in payload files of its own: a release keeps the files that it pinned.
    """
    return ids.recipe({"recipe": recipe, "siblings": [_content(s) for s in siblings]})


def _content(sibling: SiblingVersion) -> list[object]:
    uri, _, *content = astuple(sibling)
    return [uri, *content]
