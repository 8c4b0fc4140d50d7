"""The folder of an export: written beside its place and moved there when it is whole."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scenelake.contracts.errors import BadInputError

SUMMARY_FILE = "scenelake_export.json"


@contextmanager
def new_folder(target: Path, *, is_overwrite: bool) -> Iterator[Path]:
    """A folder to write to; it takes the target's place once the block is left without an error.

    What is overwritten is moved aside at the end, put back if its successor cannot take the place, and removed last.

    Raises:
        BadInputError: reason ``folder_not_empty``, when something is there and may not be overwritten; reason
            ``not_an_export`` when it may, but is no export of ours.
    """
    is_there = target.exists() and (not target.is_dir() or any(target.iterdir()))
    if is_there and not is_overwrite:
        raise BadInputError(
            f"{target}: expected a new or an empty folder; name another, or pass --overwrite", reason="folder_not_empty"
        )
    if is_there and not (target / SUMMARY_FILE).is_file():
        raise BadInputError(
            f"{target}: it has no {SUMMARY_FILE}, so it is no export and is not overwritten; remove it yourself",
            reason="not_an_export",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        made = work / "new"
        made.mkdir()
        yield made
        _take_place(made, target, work / "old")
    finally:
        shutil.rmtree(work)


def _take_place(made: Path, target: Path, aside: Path) -> None:
    if not target.exists():
        made.rename(target)
        return
    target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        aside.rename(target)
        raise


def write_json(path: Path, value: Any) -> None:
    """Readable JSON: equal values give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


class JsonRows:
    """A file of JSON rows that grows row by row: an array, or lines.

    Args:
        is_lines: one object per line instead of an array of them.
    """

    def __init__(self, path: Path, *, is_lines: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._is_lines = is_lines
        self._count = 0
        self._file = path.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._count

    def add(self, row: Mapping[str, Any]) -> None:
        if not self._is_lines:
            self._file.write(",\n" if self._count else "[\n")
        self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False))
        self._file.write("\n" if self._is_lines else "")
        self._count += 1

    def close(self) -> None:
        """Ends the file; again it does nothing."""
        if self._file.closed:
            return
        if not self._is_lines:
            self._file.write("\n]\n" if self._count else "[]\n")
        self._file.close()
