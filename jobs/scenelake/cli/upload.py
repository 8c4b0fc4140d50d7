"""Puts recordings into the landing bucket under the layout, with progress."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from scenelake.adapters.objects import aws_client
from scenelake.contracts import ids
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import parse_drop_key
from scenelake.runtime.settings import Settings

RECORDING_SUFFIXES = (".mcap",)
_MULTIPART_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """One object put into landing: which, where, and when the put returned."""

    path: Path
    drop_id: str
    uri: str
    size_bytes: int
    put_at_ns: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file goes: its landing key's parts; ``drive`` None takes the file's stem."""

    fleet: str = "demo"
    vehicle: str = "vehicle"
    drive: str | None = None

    def key(self, path: Path) -> str:
        """Landing key of a file.

        Raises:
            BadInputError: when the parts do not make a legal key.
        """
        key = f"{self.fleet}/{self.vehicle}/{self.drive or path.stem}/{path.name}"
        parse_drop_key(key)
        return key


def find_recordings(paths: Iterable[Path]) -> list[Path]:
    """Files as named, and every recording below folders as named, in order of name.

    Raises:
        BadInputError: for a path that does not exist or a folder without recordings.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise BadInputError(f"{path}: no such file or folder", reason="not_found")
        below = sorted(p for p in path.rglob("*") if p.suffix in RECORDING_SUFFIXES)
        if not below:
            raise BadInputError(f"{path}: no {' or '.join(RECORDING_SUFFIXES)} file below it", reason="not_found")
        found.extend(below)
    return found


def upload(settings: Settings, path: Path, key: str, *, progress: Callable[[int], None] | None = None) -> Upload:
    """Puts one file into landing; ``progress`` is called with bytes sent since its last call."""
    client = aws_client("s3", settings)
    config = TransferConfig(multipart_threshold=_MULTIPART_BYTES, multipart_chunksize=_MULTIPART_BYTES)
    client.upload_file(str(path), settings.landing_bucket, key, Config=config, Callback=progress)
    put_at_ns = time.time_ns()
    version = client.head_object(Bucket=settings.landing_bucket, Key=key)["VersionId"]
    return Upload(
        path=path,
        drop_id=ids.drop_id(settings.landing_bucket, key, version),
        uri=f"s3://{settings.landing_bucket}/{key}",
        size_bytes=path.stat().st_size,
        put_at_ns=put_at_ns,
    )
