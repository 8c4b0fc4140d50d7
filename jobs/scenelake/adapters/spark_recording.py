"""Recordings as a Spark data source: ``spark.read.format("scenelake.recording")`` (docs/reading.md).

Filters are not pushed: Spark 4.3 gives wrong counts from a Python data source that takes them. What narrows a read is
an option.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

from scenelake.adapters.recordings import NO_RECORDING, RecordingObject, Recordings
from scenelake.contracts.errors import BadInputError, ConfigurationError
from scenelake.contracts.stages import Problem
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Block, Findings, Part, PlanContradictedError, Reader
from scenelake.decode.formats.mcap_problems import HARMLESS_REASONS
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.mcap_selection import Wanted
from scenelake.decode.message_columns import MessageColumns, Payload, Selection, message_schema
from scenelake.decode.values import INT64_MAX
from scenelake.runtime.settings import Settings, load_settings

FORMAT = "scenelake.recording"
PART_BYTES = 64 * 1024 * 1024

PROBLEM_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("start_byte", pa.int64()),
        ("exclusive_end_byte", pa.int64()),
        ("is_loss", pa.bool_()),
    ]
)
"""Rows with the option ``problems``; ``is_loss`` when messages may be lost to the byte range."""

_OPTIONS = ("path", "topics", "start_ns", "exclusive_end_ns", "payload", "partBytes", "damaged", "problems")
_Choice = TypeVar("_Choice", bound=StrEnum)


class Damaged(StrEnum):
    """What a byte range that cannot be used does to a read: it fails, or the rest is read."""

    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """The options of one read.

    Attributes:
        part_bytes: an object is read in parts of about that size, and smaller ones are read together; 0 for one task
            an object.
        is_of_problems: rows are the problems, not the messages.
    """

    paths: tuple[str, ...]
    selection: Selection
    payload: Payload = Payload.NONE
    part_bytes: int = PART_BYTES
    damaged: Damaged = Damaged.FAIL
    is_of_problems: bool = False

    @classmethod
    def of(cls, options: Mapping[str, str], folder: Path) -> "ReadOptions":
        """From Spark's options, whose names have no case.

        Args:
            folder: what relative paths are relative to; Spark's own processes may run anywhere.

        Raises:
            ConfigurationError: for an option that is unknown, missing or wrong.
        """
        given = {name.lower(): value for name, value in options.items()}
        unknown = sorted(given.keys() - {name.lower() for name in _OPTIONS})
        if unknown:
            raise ConfigurationError(f"{FORMAT}: unknown option(s) {', '.join(unknown)}; it has {', '.join(_OPTIONS)}")
        named = (p.strip() for p in given.get("path", "").split(",") if p.strip())
        paths = tuple(p if p.startswith("s3://") else str(folder / p) for p in named)
        if not paths:
            raise ConfigurationError(f"{FORMAT}: expected a path, as in .load('drive.mcap')")
        topics = frozenset(t.strip() for t in given["topics"].split(",") if t.strip()) if "topics" in given else None
        start_ns, exclusive_end_ns, part_bytes = (
            _integer(given, name) for name in ("start_ns", "exclusive_end_ns", "partBytes")
        )
        problems = given.get("problems", "false").lower()
        if problems not in ("true", "false"):
            raise ConfigurationError(f"{FORMAT}: problems: expected true or false, got {problems!r}")
        return cls(
            paths=paths,
            selection=Selection(topics, start_ns, exclusive_end_ns),
            payload=_choice(given, "payload", Payload.NONE),
            part_bytes=PART_BYTES if part_bytes is None else part_bytes,
            damaged=_choice(given, "damaged", Damaged.FAIL),
            is_of_problems=problems == "true",
        )

    @property
    def spark_schema(self) -> StructType:
        return from_arrow_schema(PROBLEM_SCHEMA if self.is_of_problems else message_schema(self.payload))


def _integer(given: Mapping[str, str], name: str) -> int | None:
    value = given.get(name.lower())
    if value is None:
        return None
    if not value.isdecimal() or int(value[:20]) > INT64_MAX:
        raise ConfigurationError(f"{FORMAT}: {name}: expected a whole number from 0 to {INT64_MAX}, got {value!r}")
    return int(value)


def _choice(given: Mapping[str, str], name: str, default: _Choice) -> _Choice:
    value = given.get(name, str(default)).lower()
    kind = type(default)
    if value not in set(kind):
        raise ConfigurationError(f"{FORMAT}: {name}: expected {' or '.join(kind)}, got {value!r}")
    return kind(value)


def _place(uri: str) -> str:
    """The same for every spelling of a local path: links, ``..`` and the like."""
    return uri if uri.startswith("s3://") else str(Path(uri).resolve())


@dataclass
class RecordingPartition(InputPartition):  # type: ignore[misc]
    """What one task reads: parts of objects, ``None`` for a whole one."""

    pieces: tuple[tuple[RecordingObject, Part | None], ...]

    def __init__(self, pieces: Sequence[tuple[RecordingObject, Part | None]]) -> None:
        super().__init__(None)
        self.pieces = tuple(pieces)


class RecordingReader(DataSourceReader):  # type: ignore[misc]
    """Plans and reads. It is pickled and sent to the workers, with the settings of the driver."""

    def __init__(self, options: ReadOptions, settings: Settings) -> None:
        self._options = options
        self._settings = settings

    def partitions(self) -> Sequence[InputPartition]:
        """Large objects in parts by their own index, small ones together."""
        recordings, options = Recordings(self._settings), self._options
        found: dict[str, RecordingObject] = {}
        for path in options.paths:
            for each in recordings.find(path):
                found.setdefault(_place(each.uri), each)
        whole: list[RecordingObject] = []
        partitions: list[InputPartition] = []
        for each in found.values():
            if not options.part_bytes or each.size_bytes <= options.part_bytes:
                whole.append(each)
            else:
                partitions += [RecordingPartition([(each, part)]) for part in self._parts(recordings, each)]
        return [*partitions, *_packed(whole, options.part_bytes)]

    def _parts(self, recordings: Recordings, found: RecordingObject) -> Sequence[Part | None]:
        try:
            with recordings.reader(found, DecodeConfig(), is_sparse=True) as reader:
                return list(reader.parts(self._options.part_bytes))
        except BadInputError:
            # The task that reads it says what is wrong, in the way that the options ask for.
            return [None]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Batches of the partition's messages or problems."""
        if not isinstance(partition, RecordingPartition):
            return
        recordings = Recordings(self._settings)
        target = to_arrow_schema(self._options.spark_schema, timezone="UTC")
        for found, part in partition.pieces:
            for batch in self._read_piece(recordings, found, part):
                yield batch.cast(target)

    def _read_piece(
        self, recordings: Recordings, found: RecordingObject, part: Part | None
    ) -> Iterator[pa.RecordBatch]:
        options = self._options
        findings = Findings()
        try:
            with recordings.reader(found, DecodeConfig()) as reader:
                findings = reader.findings
                columns = MessageColumns(found.uri, options.payload, options.selection)
                for block in self._blocks(reader, part):
                    self._judge(found, findings.problems)
                    if not options.is_of_problems:
                        yield from columns.batches(block)
        except BadInputError as error:
            if error.reason in NO_RECORDING and not found.is_named:
                return
            at = error.byte_offset or 0
            findings.problems.append(Problem(error.reason, str(error), at, max(found.size_bytes, at)))
        except PlanContradictedError as error:
            text = f"{found.uri}: {error}; read it whole: option('partBytes', 0)"
            raise BadInputError(text, reason="index_contradicted") from error
        self._judge(found, findings.problems)
        if options.is_of_problems and findings.problems:
            yield _problem_rows(found.uri, findings.problems)

    def _blocks(self, reader: Reader, part: Part | None) -> Iterator[Block]:
        """Blocks of a part, without chunks that an index says hold nothing that is wanted.

        Problems are those of the whole file, and whoever wants no parts wants no index believed.
        """
        options, selection = self._options, self._options.selection
        if not isinstance(reader, McapReader) or options.is_of_problems or not options.part_bytes:
            return reader.blocks(part)
        wanted = Wanted(selection.topics, selection.start_ns, selection.exclusive_end_ns)
        return chain.from_iterable(map(reader.blocks, reader.selected(part, wanted)))

    def _judge(self, found: RecordingObject, problems: Sequence[Problem]) -> None:
        if self._options.is_of_problems or self._options.damaged is Damaged.SKIP:
            return
        for problem in problems:
            if problem.reason not in HARMLESS_REASONS:
                raise BadInputError(
                    f"{found.uri}: {problem.detail} (bytes {problem.start_byte} to {problem.exclusive_end_byte}); "
                    "option('damaged', 'skip') reads the rest, option('problems', 'true') lists what is wrong",
                    reason=problem.reason,
                    byte_offset=problem.start_byte,
                )


def _packed(found: Sequence[RecordingObject], part_bytes: int) -> list[InputPartition]:
    packs: list[list[tuple[RecordingObject, Part | None]]] = []
    left = 0
    for each in found:
        if not packs or each.size_bytes > left:
            packs.append([])
            left = part_bytes
        packs[-1].append((each, None))
        left -= each.size_bytes
    return [RecordingPartition(pack) for pack in packs]


def _problem_rows(uri: str, problems: Sequence[Problem]) -> pa.RecordBatch:
    rows = [
        {
            "uri": uri,
            "reason": problem.reason,
            "detail": problem.detail,
            "start_byte": problem.start_byte,
            "exclusive_end_byte": problem.exclusive_end_byte,
            "is_loss": problem.reason not in HARMLESS_REASONS,
        }
        for problem in problems
    ]
    return pa.RecordBatch.from_pylist(rows, schema=PROBLEM_SCHEMA)


class RecordingSource(DataSource):  # type: ignore[misc]
    """``scenelake.recording``; ``register`` binds the settings."""

    settings: Settings
    folder: Path

    @classmethod
    def name(cls) -> str:
        return FORMAT

    def schema(self) -> StructType:
        return ReadOptions.of(self.options, self.folder).spark_schema

    def reader(self, schema: StructType) -> RecordingReader:
        return RecordingReader(ReadOptions.of(self.options, self.folder), self.settings)


def register(session: SparkSession, settings: Settings | None = None) -> None:
    """Makes ``scenelake.recording`` known to the session; relative paths are those of the present working folder.

    Args:
        settings: region and endpoint for ``s3://`` paths; default: this process's own, as those of a job. Credentials
            are those of each worker.
    """
    bound = type("RecordingSource", (RecordingSource,), {"settings": settings or load_settings(), "folder": Path.cwd()})
    session.dataSource.register(bound)
