"""Finds the objects of a recording, on disk or in S3, and opens them for reading."""

import fnmatch
import glob
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError, ProfileNotFound

from scenelake.adapters.objects import ObjectInfo, Objects, s3_objects
from scenelake.contracts.errors import BadInputError, ConfigurationError, TransientError
from scenelake.contracts.paths import split_uri
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Reader, Source
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.overview import SparseSource
from scenelake.decode.formats.siblings import OpenedSiblings, Siblings, beside
from scenelake.decode.formats.sources import FileSource, RangedSource
from scenelake.runtime.settings import Settings

_S3 = "s3://"
_WILDCARDS = frozenset("*?[")
_DATASET_DEPTH = 4
"""``<dataset>/videos/chunk-000/<camera>/episode_000000.mp4``: folders from a dataset's down to its deepest files."""
NO_RECORDING = frozenset({"not_mcap", "format_unknown"})
"""Reasons of an object that is no recording, as many in a dataset's folder are not."""


@dataclass(frozen=True, slots=True)
class RecordingObject:
    """One object that may hold messages.

    Attributes:
        uri: local path or ``s3://`` URI.
        is_named: it was named itself, and did not turn up in a folder or by a pattern.
    """

    uri: str
    size_bytes: int
    is_named: bool
    version_id: str | None = None


class Recordings:
    """Recordings within reach of these settings; a client for S3 is made when first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _objects(self) -> Objects:
        return s3_objects(self._settings)

    def find(self, location: str) -> list[RecordingObject]:
        """Objects of a file, of a folder with all below it, or of a pattern with ``*``, ``?``, ``[…]``, by name.

        Raises:
            BadInputError: reason ``not_found``, or ``not_a_file`` for a pipe or device.
            ConfigurationError: S3 wants credentials, or others.
        """
        if location.startswith(_S3):
            with aws_told(location):
                found = self._find_in_s3(location)
        else:
            found = _find_on_disk(location)
        if not found:
            raise BadInputError(f"{location}: no such file or folder, or an empty one", reason="not_found")
        return found

    @contextmanager
    def reader(self, found: RecordingObject, config: DecodeConfig, *, is_sparse: bool = False) -> Iterator[Reader]:
        """A reader of the object; ``is_sparse`` when only little of it, here and there, will be read.

        Raises:
            BadInputError: the object is no recording, or reason ``not_permitted``.
            ConfigurationError: S3 wants credentials, or others.
        """
        with self._source(found, is_sparse=is_sparse) as source, self._siblings(found) as (name, siblings):
            yield open_reader(source, config, name, siblings)

    @contextmanager
    def _source(self, found: RecordingObject, *, is_sparse: bool) -> Iterator[Source]:
        if not found.uri.startswith(_S3):
            with _opened_file(found, is_sparse=is_sparse) as source:
                yield source
            return

        with aws_told(found.uri):
            if is_sparse:
                yield self._sparse_object(found)
            else:
                with RangedSource(self._fetch(found), found.size_bytes) as ranged:
                    yield ranged

    def _fetch(self, found: RecordingObject) -> Callable[[int, int], bytes]:
        return partial(self._objects.read_range, found.uri, version_id=found.version_id)

    def _sparse_object(self, found: RecordingObject) -> Source:
        return SparseSource(self._fetch(found), found.size_bytes)

    @contextmanager
    def _siblings(self, found: RecordingObject) -> Iterator[tuple[str, Siblings]]:
        """The object's name below a folder far enough up to hold its dataset, and what else is below it."""
        if not found.uri.startswith(_S3):
            name, local = beside(Path(found.uri))
            with local:
                yield name, local
            return
        folders = found.uri.removeprefix(_S3).split("/")[:-1]
        root = _S3 + "/".join(folders[: max(len(folders) - _DATASET_DEPTH, 1)])

        def opened(name: str) -> Source:
            head = self._objects.head(f"{root}/{name}")
            return self._sparse_object(RecordingObject(head.uri, head.size_bytes, False))

        yield found.uri.removeprefix(f"{root}/"), OpenedSiblings(opened)

    def _find_in_s3(self, location: str) -> list[RecordingObject]:
        bucket, key = split_uri(location)
        if not bucket:
            raise BadInputError(f"{location}: expected s3://<bucket>/<key>", reason="not_found")
        if key and not key.endswith("/"):
            try:
                head = self._objects.head(location)
            except FileNotFoundError:
                pass
            else:
                version_id = None if head.version_id == "null" else head.version_id
                return [RecordingObject(location, head.size_bytes, True, version_id)]
        start = min((key.index(c) for c in _WILDCARDS if c in key), default=None)
        if start is None:
            folder = key if not key or key.endswith("/") else f"{key}/"
            return _below(self._objects.list(f"{_S3}{bucket}/{folder}"))
        listed = self._objects.list(f"{_S3}{bucket}/{key[:start]}")
        return _below(info for info in listed if _matches(info.uri, location))


def _matches(uri: str, pattern: str) -> bool:
    """As on disk, no wildcard stands for a slash."""
    names, patterns = uri.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


@contextmanager
def _opened_file(found: RecordingObject, *, is_sparse: bool) -> Iterator[Source]:
    try:
        with _sparse_file(found) if is_sparse else FileSource(Path(found.uri)) as source:
            yield source
    except PermissionError as error:
        # One file of a folder that this user may not read keeps nobody from the others.
        raise BadInputError(f"{found.uri}: {error.strerror}", reason="not_permitted") from error


@contextmanager
def _sparse_file(found: RecordingObject) -> Iterator[Source]:
    with open(found.uri, "rb", buffering=0) as file:
        yield SparseSource(lambda offset, length: os.pread(file.fileno(), length, offset), found.size_bytes)


def _below(listed: Iterator[ObjectInfo]) -> list[RecordingObject]:
    return [RecordingObject(i.uri, i.size_bytes, False) for i in listed if not i.uri.endswith("/")]


def _find_on_disk(location: str) -> list[RecordingObject]:
    path = Path(location)
    if path.is_file():
        return [RecordingObject(str(path), path.stat().st_size, True)]
    if path.exists() and not path.is_dir():
        text = f"{location}: neither a file nor a folder; what comes from a pipe must be written to a file first"
        raise BadInputError(text, reason="not_a_file")
    roots = [path] if path.is_dir() else [Path(p) for p in sorted(glob.glob(location))]
    files: dict[Path, None] = {}
    for root in roots:
        files.update(dict.fromkeys(p for p in sorted(root.rglob("*") if root.is_dir() else [root]) if p.is_file()))
    return [RecordingObject(str(p), p.stat().st_size, False) for p in files]


@contextmanager
def aws_told(uri: str) -> Iterator[None]:
    """Errors of S3 as one of ours, with what a person can do about them."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadInputError(f"{uri}: no such object", reason="not_found") from error
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if code == "NoSuchBucket":
            raise BadInputError(f"{uri}: no such bucket", reason="not_found") from error
        text = f"{uri}: S3 answered {code}: check the credentials, their rights to the bucket, and the endpoint"
        raise ConfigurationError(text) from error
    except (TransientError, BotoCoreError) as error:
        cause = error.__cause__ if isinstance(error, TransientError) else error
        if isinstance(cause, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
            text = f"{uri}: {cause}: set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise ConfigurationError(text) from error
        raise
