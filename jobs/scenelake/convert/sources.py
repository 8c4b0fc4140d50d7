"""Finding a recording in a dataset folder, and reading its stamps without floating-point time."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenelake.contracts.errors import BadInputError
from scenelake.convert.recording import stamps

MAX_DEPTH = 6
NS_PER_S = 1_000_000_000
_SECONDS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?\Z")


def find_folder(source: Path, marker: str, expected: str) -> Path:
    """The one folder at or below ``source`` (six levels at most) in which the glob ``marker`` matches.

    Raises:
        BadInputError: ``source`` is no folder, nothing matches, or several folders match.
    """
    if not source.is_dir():
        raise BadInputError(f"{source}: expected a folder with {expected}", reason="no_such_folder")
    level = [source]
    for _ in range(MAX_DEPTH):
        found = [folder for folder in level if any(folder.glob(marker))]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(folder.relative_to(source)) for folder in found)
            raise BadInputError(f"{source}: holds {len(found)} recordings, name one: {names}", reason="many_recordings")
        level = sorted(child for folder in level for child in folder.iterdir() if child.is_dir())
    raise BadInputError(f"{source}: expected {expected}, found none", reason="not_this_dataset")


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        BadInputError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}", reason="unreadable_file") from error


def read_text(path: Path) -> str:
    """A file as UTF-8 text.

    Raises:
        BadInputError: it is missing, unreadable or not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: not UTF-8 text", reason="malformed_text", byte_offset=error.start) from error


def nanoseconds_of_text(text: str) -> int:
    """Decimal seconds as written, in ns. Digits only: no float is involved, so nothing is rounded.

    Raises:
        ValueError: not decimal seconds with at most nine decimals.
    """
    match = _SECONDS.match(text)
    if match is None:
        raise ValueError(f"not decimal seconds: {text!r}")
    return int(match[1]) * NS_PER_S + int((match[2] or "").ljust(9, "0"))


def nanoseconds_of_floats(seconds: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.int64]:
    """Float64 seconds in ns, rounded half up from the exact binary value by integer arithmetic.

    The recorder's float is the limit: near 46,000 s its step is 7 ps, near 1.5e9 s it is 238 ns.

    Raises:
        BadInputError: a value is not finite.
    """
    if seconds.ndim != 1 or not np.isfinite(seconds).all():
        raise BadInputError(f"{name}: expected finite seconds in one dimension", reason="malformed_stamp")

    def exact(value: float) -> int:
        numerator, denominator = value.as_integer_ratio()
        return (2 * numerator * NS_PER_S + denominator) // (2 * denominator)

    return stamps([exact(value) for value in seconds.tolist()])


def stamp_remarks(topic: str, stamps_ns: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
    """Remarks on duplicate stamps and backward jumps of one stream, which stay as they are."""
    steps = np.diff(stamps(stamps_ns))
    remarks = []
    if nbr_duplicates := int((steps == 0).sum()):
        remarks.append(f"{topic}: {nbr_duplicates} stamps repeat the one before; kept as recorded")
    for step in steps[steps < 0].tolist():
        remarks.append(f"{topic}: stamps jump back by {-step} ns; kept in recorded order")
    return remarks


def read_array(path: Path) -> npt.NDArray[Any]:
    """A NumPy file; pickled objects in it are refused.

    Raises:
        BadInputError: it is missing or no plain NumPy array.
    """
    try:
        return np.asarray(np.load(io.BytesIO(read_bytes(path)), allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise BadInputError(f"{path}: not a plain NumPy array: {error}", reason="malformed_array") from error
