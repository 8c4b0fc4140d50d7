"""Puts recordings into the landing bucket under the layout, with progress."""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from scenelake.adapters.objects import aws_client
from scenelake.contracts import ids
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.manifests import ManifestFile, manifest_bytes
from scenelake.contracts.paths import MANIFEST_NAME, parse_drop_key
from scenelake.runtime.settings import Settings

_RECORDING = re.compile(
    r".+\.(mcap|bag|db3|parquet|mp4|tfrecords?)(-\d+-of-\d+)?(\.(zst|zstd|lz4|bz2|gz|zlib))?", re.IGNORECASE
)
_MULTIPART_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """One object put into landing: where, and when the put returned."""

    drop_id: str
    uri: str
    size_bytes: int
    put_at_ns: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where recordings go: their landing key's parts; ``drive`` None takes the file's stem or the folder's name."""

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

    def folder(self, name: str) -> str:
        """Landing folder of a recording of many files, without a trailing slash.

        Raises:
            BadInputError: when the parts do not make legal keys.
        """
        folder = f"{self.fleet}/{self.vehicle}/{self.drive or name}/{name}"
        parse_drop_key(f"{folder}/{MANIFEST_NAME}")
        return folder


@dataclass(frozen=True, slots=True)
class Put:
    """One object to put: a file; or, without one, the manifest of the files that were put below its folder."""

    key: str
    path: Path | None


def plan_puts(paths: Iterable[Path], target: Target, *, with_manifest: bool = True) -> list[Put]:
    """What to put where, in order: files as they are named, and folders as one recording each.

    A folder's files (``recording_files``) keep their paths below it. Its manifest comes last: the folder's own if it
    has one.

    Raises:
        BadInputError: for a path that does not exist, a folder without recordings, or an illegal key.
    """
    puts: list[Put] = []
    for path in paths:
        if path.is_file():
            puts.append(Put(target.key(path), path))
            continue
        if not path.is_dir():
            raise BadInputError(f"{path}: no such file or folder", reason="not_found")
        below = recording_files(path)
        if not below:
            raise BadInputError(f"{path}: no recording or robot dataset below it", reason="not_found")
        folder = target.folder(path.resolve().name)
        puts += [Put(f"{folder}/{file.relative_to(path).as_posix()}", file) for file in below]
        if with_manifest:
            own = path / MANIFEST_NAME
            puts.append(Put(f"{folder}/{MANIFEST_NAME}", own if own.is_file() else None))
    return puts


def recording_files(folder: Path) -> list[Path]:
    """Files below a folder that make a recording: by their names, and everything but hidden files of a robot dataset
    (LeRobot has a ``meta/info.json``, RLDS a ``dataset_info.json``)."""
    files = [p for p in _files_below(folder) if not any(n.startswith(".") for n in p.relative_to(folder).parts)]
    datasets = {p.parents[1] for p in files if p.name == "info.json" and p.parent.name == "meta"}
    datasets |= {p.parent for p in files if p.name == "dataset_info.json"}
    parts = [p for p in files if _RECORDING.fullmatch(p.name) or not datasets.isdisjoint(p.parents)]
    return [p for p in parts if p != folder / MANIFEST_NAME]


def left_out(paths: Iterable[Path], puts: Iterable[Put]) -> list[Path]:
    """Files below the given folders that are not put."""
    found = {put.path for put in puts}
    return [p for folder in paths if folder.is_dir() for p in _files_below(folder) if p not in found]


def _files_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def manifest_of(put: Put, puts: Sequence[Put], *, progress: Callable[[int], None] | None = None) -> bytes:
    """The manifest that lists the other puts below its folder; ``progress`` is called with bytes checked."""
    folder = put.key.removesuffix(MANIFEST_NAME)
    parts = [(p.key.removeprefix(folder), p.path) for p in puts if p.path and p.key.startswith(folder)]
    return manifest_bytes([ManifestFile(n, p.stat().st_size, object_sha256(p, progress=progress)) for n, p in parts])


def object_sha256(path: Path, *, progress: Callable[[int], None] | None = None) -> str:
    """Identity of a file's content, as decode will compute it."""
    digests = []
    with path.open("rb") as file:
        while block := file.read(ids.MERKLE_BLOCK_BYTES):
            digests.append(hashlib.sha256(block).digest())
            if progress:
                progress(len(block))
    return ids.merkle_root(digests)


def upload(settings: Settings, path: Path, key: str, *, progress: Callable[[int], None] | None = None) -> Upload:
    """Puts one file into landing; ``progress`` is called with bytes sent since its last call."""
    client = aws_client("s3", settings)
    config = TransferConfig(multipart_threshold=_MULTIPART_BYTES, multipart_chunksize=_MULTIPART_BYTES)
    client.upload_file(str(path), settings.landing_bucket, key, Config=config, Callback=progress)
    put_at_ns = time.time_ns()
    version = client.head_object(Bucket=settings.landing_bucket, Key=key)["VersionId"]
    return _upload(settings, key, version, path.stat().st_size, put_at_ns)


def upload_bytes(settings: Settings, content: bytes, key: str) -> Upload:
    """Puts a few bytes into landing."""
    client = aws_client("s3", settings)
    version = client.put_object(Bucket=settings.landing_bucket, Key=key, Body=content)["VersionId"]
    return _upload(settings, key, version, len(content), time.time_ns())


def _upload(settings: Settings, key: str, version: str, size_bytes: int, put_at_ns: int) -> Upload:
    return Upload(
        drop_id=ids.drop_id(settings.landing_bucket, key, version),
        uri=f"s3://{settings.landing_bucket}/{key}",
        size_bytes=size_bytes,
        put_at_ns=put_at_ns,
    )
