"""Other objects of the dataset that an object belongs to, read by name.

A data file of a dataset says little of itself: names, rates and tasks stand in files beside it. Names are relative to
the folder that the dataset was dropped into (the drive), as ``DropKey.file`` is.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import SiblingVersion
from scenelake.decode.formats.blocks import Source
from scenelake.decode.formats.sources import FileSource

MAX_SIBLING_BYTES = 64 * 1024 * 1024
"""Largest file that is read whole; a list of 100,000 episodes takes about 10 MiB."""


class Siblings(Protocol):
    """The files that lie around an object.

    Attributes:
        versions: of those that were asked for so far; empty where nobody keeps them.
    """

    versions: Sequence[SiblingVersion]

    def read(self, name: str) -> bytes:
        """A small file, whole.

        Raises:
            FileNotFoundError: there is none of that name.
            BadInputError: reason ``sibling_too_large`` above ``MAX_SIBLING_BYTES``.
        """

    def source(self, name: str) -> Source:
        """A file to be read in ranges; raises FileNotFoundError when there is none."""


class OpenedSiblings:
    """Siblings by a function that opens a source; each is looked for once.

    Args:
        open_source: raises FileNotFoundError for a name without an object.
        versions: of what it opened or did not find, as it goes on.
    """

    def __init__(self, open_source: Callable[[str], Source], versions: Sequence[SiblingVersion] = ()) -> None:
        self._open_source = open_source
        self.versions = versions
        self._opened: dict[str, Source] = {}
        self._absent: set[str] = set()

    def read(self, name: str) -> bytes:
        source = self.source(name)
        if source.size_bytes > MAX_SIBLING_BYTES:
            raise BadInputError(
                f"{name}: expected at most {MAX_SIBLING_BYTES} bytes, got {source.size_bytes}",
                reason="sibling_too_large",
            )
        return bytes(source.read(0, source.size_bytes))

    def source(self, name: str) -> Source:
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise FileNotFoundError(name)
        if name in self._absent:
            raise FileNotFoundError(name)
        if name not in self._opened:
            try:
                self._opened[name] = self._open_source(name)
            except FileNotFoundError:
                self._absent.add(name)
                raise
        return self._opened[name]


class LocalSiblings(OpenedSiblings):
    """Siblings in a local folder."""

    def __init__(self, folder: Path) -> None:
        self._files: list[FileSource] = []

        def open_source(name: str) -> Source:
            path = folder / name
            if not path.is_file():
                raise FileNotFoundError(path)
            self._files.append(FileSource(path))
            return self._files[-1]

        super().__init__(open_source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files:
            file.close()


NO_SIBLINGS = OpenedSiblings(lambda name: _absent(name))
"""Of an object that came alone."""


def _absent(name: str) -> Source:
    raise FileNotFoundError(name)


def beside(path: Path) -> tuple[str, LocalSiblings]:
    """Name and siblings of a local file, from far enough above it to hold its dataset."""
    depth = min(len(path.absolute().parents), _DEPTH) - 1
    folder = path.absolute().parents[depth]
    return str(path.absolute().relative_to(folder)), LocalSiblings(folder)


_DEPTH = 5
"""``<dataset>/videos/chunk-000/<camera>/episode_000000.mp4`` and the folder that holds the dataset."""
