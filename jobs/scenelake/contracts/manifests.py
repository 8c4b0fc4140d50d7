"""``_MANIFEST.json``: what a recording of many objects consists of, so that it is built when all of it is there.

.. code-block:: json

    {"version": 1, "files": [{"path": "CAM_FRONT/000.mcap", "size_bytes": 1048576, "object_sha256": "9f…"}]}

``path`` is relative to the manifest's own folder. ``object_sha256`` is ``ids.merkle_root`` over the file's 8 MiB
blocks (up to 8 MiB it is the file's plain SHA-256) and may be left out.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scenelake.contracts.errors import BadInputError

VERSION = 1
MAX_BYTES = 8 * 1024**2
MAX_FILES = 20_000
CHECKSUM_MISMATCH = "checksum_mismatch"
"""Why a part is rejected whose bytes are not those that its manifest lists."""
_FIELDS = {"path", "size_bytes", "object_sha256"}


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One part of a recording."""

    path: str
    size_bytes: int
    object_sha256: str | None = None


def manifest_bytes(files: Sequence[ManifestFile]) -> bytes:
    """The manifest as it is put on S3; the same files give the same bytes."""
    listed = [{k: v for k, v in asdict(f).items() if v is not None} for f in sorted(files, key=lambda f: f.path)]
    return json.dumps({"version": VERSION, "files": listed}, indent=1).encode() + b"\n"


def read_manifest(content: bytes, name: str) -> tuple[ManifestFile, ...]:
    """Reads a manifest.

    Args:
        name: its URI, for messages.

    Raises:
        BadInputError: reason ``bad_manifest``, naming the field, for anything but a manifest of this version with
            at most ``MAX_FILES`` files, each named once.
    """
    if len(content) > MAX_BYTES:
        raise _bad(name, f"expected at most {MAX_BYTES} bytes, got {len(content)}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _bad(name, f"expected JSON: {error}") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise _bad(name, f"expected an object with version {VERSION}")
    listed = document.get("files")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_FILES:
        raise _bad(name, f"files: expected a list of 1 to {MAX_FILES} files")
    files = tuple(_file(entry, f"{name}: files[{position}]") for position, entry in enumerate(listed))
    if len({file.path for file in files}) != len(files):
        raise _bad(name, "files: expected every path once")
    return files


def _file(entry: Any, name: str) -> ManifestFile:
    if not isinstance(entry, dict) or not {"path", "size_bytes"} <= entry.keys() <= _FIELDS:
        raise _bad(name, f"expected path, size_bytes and perhaps object_sha256, got {entry!r:.100}")
    path, size, sha = entry["path"], entry["size_bytes"], entry.get("object_sha256")
    if not isinstance(path, str) or any(part in ("", ".", "..") for part in path.split("/")):
        raise _bad(name, f"path: expected a relative path without empty, . or .. parts, got {path!r:.100}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _bad(name, f"size_bytes: expected a number of bytes, got {size!r:.100}")
    is_hash = isinstance(sha, str) and len(sha) == 64 and set(sha) <= set("0123456789abcdef")
    if sha is not None and not is_hash:
        raise _bad(name, f"object_sha256: expected 64 hexadecimal digits, got {sha!r:.100}")
    return ManifestFile(path, size, sha)


def _bad(name: str, what: str) -> BadInputError:
    return BadInputError(f"{name}: {what}", reason="bad_manifest")
