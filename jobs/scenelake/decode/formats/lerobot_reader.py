"""A data file of a LeRobot dataset (v2.0, v2.1, v3.0): Parquet rows as messages.

A row is a frame: its vectors, pictures and texts are messages at the frame's time, which is its ``timestamp`` (seconds
since the episode's start, rounded to the nearest ns) after the start of its episode (``dataset_blocks``). Frame and
episode numbers become marks on ``/episode``, task numbers texts on ``/language`` where they change. A channel's values
lie in Arrow's own buffers: nothing is copied on the way into blocks.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats import dataset_blocks as blocks
from scenelake.decode.formats.blocks import Block, Findings, Part, Source
from scenelake.decode.formats.dataset_blocks import DatasetChannels, EpisodeClock, Said
from scenelake.decode.formats.lerobot_meta import LeRobotMeta, Place, read_meta, topic_of
from scenelake.decode.formats.parquet_file import OpenParquet, checked_row_group, open_parquet, read_batches
from scenelake.decode.formats.siblings import Siblings
from scenelake.decode.formats.tfrecord import MAX_PROBLEMS

_INDEXES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_BLOCK_BYTES = 8 * 1024 * 1024
_NS_PER_S = 1_000_000_000
_MAX_ROWS = 1 << 40
"""Rows of a group that its footer is believed to have, so that the numbers of later rows fit."""


class LeRobotReader:
    """Reads one data file.

    Args:
        place: of the object in its dataset; None for a file that is not laid out like one.

    Raises:
        BadInputError: the footer cannot be read, or reason ``parquet_not_a_dataset``.
    """

    format = "lerobot"

    def __init__(self, source: Source, config: DecodeConfig, place: Place | None, siblings: Siblings) -> None:
        self._size_bytes = source.size_bytes
        self._place = place or Place("", "data")
        self.findings = Findings()
        self._channels = DatasetChannels(self.findings)
        self._clock = EpisodeClock(config.episode_spacing_ns)
        self._parquet: OpenParquet = open_parquet(source, config.max_chunk_bytes)
        names = self._parquet.file.schema_arrow.names
        if not {"episode_index", "frame_index", "timestamp"} & set(names):
            raise BadInputError(
                f"a Parquet file without episode_index, frame_index and timestamp (it has {names[:10]})",
                reason="parquet_not_a_dataset",
            )
        self._meta = read_meta(self._place.root, siblings, config.max_chunk_bytes)
        self._rate_hz = self._meta.rate_hz or Fraction(config.steps_per_second)
        self._has_timestamp = "timestamp" in names
        annotations = self._meta.annotations()
        self._owners = dict.fromkeys((blocks.EPISODE_TOPIC, *annotations.values()), "")
        self._skipped = {*_INDEXES, *annotations}
        if annotations.keys() & set(names):
            # Read now: a bad file of tasks is not a fault of these rows.
            self._meta.load_tasks()
        self._marks = _Marks(self._meta, self._clock, _NS_PER_S * self._rate_hz.denominator // self._rate_hz.numerator)
        describe(self.findings, self._meta, "timestamp" if self._has_timestamp else "time_from_step_index")

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """One."""
        return (Part(0, 0, self._size_bytes),)

    def blocks(self, part: Part | None = None) -> Iterator[Block]:
        """Messages of every sound row group; one that is not is a problem with its byte range."""
        first_row = 0
        for number, (claimed, _) in enumerate(self._parquet.footer.row_groups):
            row = first_row
            start, end = 0, self._size_bytes
            try:
                group = checked_row_group(self._parquet, number)
                start, end = group.start_byte, group.exclusive_end_byte
                for batch in read_batches(self._parquet, group):
                    yield from self._batch(batch, row)
                    row += batch.num_rows
            except BadInputError as error:
                start = start if error.byte_offset is None else error.byte_offset
                self.findings.problems.append(Problem(error.reason, str(error), start, max(end, start)))
                if len(self.findings.problems) >= MAX_PROBLEMS:
                    detail = f"more than {MAX_PROBLEMS} problems"
                    self.findings.problems.append(Problem("too_many_problems", detail, start, self._size_bytes))
                    break
            first_row += min(claimed, _MAX_ROWS)
        yield from self._marks.close(self._channels)

    def _batch(self, batch: pa.RecordBatch, first_row: int) -> Iterator[Block]:
        count = batch.num_rows
        rows = first_row + np.arange(count, dtype=np.int64)
        episodes = self._episodes(batch)
        times_ns = self._times(batch, episodes, rows)
        yield from self._marks.blocks(batch, episodes, times_ns, rows, self._channels)
        for field, column in zip(batch.schema, batch.columns, strict=True):
            if field.name not in self._skipped:
                yield from self._column(field.name, column, times_ns, rows)

    def _episodes(self, batch: pa.RecordBatch) -> np.ndarray:
        """Episode of each row, (n,) int64: its column, else the number in the file's name."""
        if "episode_index" in batch.schema.names:
            return _integers(batch, "episode_index")
        if self._place.episode is None:
            raise BadInputError("no episode_index, and the name has no number", reason="column_missing")
        return np.full(batch.num_rows, self._place.episode, np.int64)

    def _times(self, batch: pa.RecordBatch, episodes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if self._has_timestamp:
            with np.errstate(invalid="ignore"):
                seconds = _flat_numbers(batch, "timestamp").astype(np.float64)
            if not np.isfinite(seconds).all() or (np.abs(seconds) >= 2.0**31).any():
                raise BadInputError("timestamp: expected seconds since the episode's start", reason="time_invalid")
            whole = np.floor(seconds)
            since_ns = whole.astype(np.int64) * _NS_PER_S + np.rint((seconds - whole) * _NS_PER_S).astype(np.int64)
        else:
            frames = _integers(batch, "frame_index")
            if len(frames) and not 0 <= int(frames.min()) <= int(frames.max()) < 2**31:
                raise BadInputError("frame_index: expected numbers from 0", reason="time_invalid")
            since_ns = frames * _NS_PER_S * self._rate_hz.denominator // self._rate_hz.numerator
        times = np.empty(len(rows), np.int64)
        for episode in np.unique(episodes).tolist():
            is_here = episodes == episode
            times[is_here] = self._clock.placed(episode, since_ns[is_here])
        if len(times) and int(times.min()) < 0:
            raise BadInputError("timestamp: before the epoch", reason="time_invalid")
        return times

    def _topic(self, topic: str, owner: str) -> str:
        """A topic that no other column has: two messages of one topic and row would be one."""
        while self._owners.setdefault(topic, owner) != owner:
            topic += "_"
        return topic

    def _column(self, name: str, column: pa.Array, times_ns: np.ndarray, rows: np.ndarray) -> Iterator[Block]:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        kind = column.type
        topic = self._topic(topic_of(name), name)
        if pa.types.is_struct(kind) and "bytes" in [f.name for f in kind]:
            # Hugging Face's Image feature: the bytes, or a path to a file that is not part of this one.
            yield from self._octets(topic, blocks.IMAGE, column.field("bytes"), times_ns, rows)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            yield from self._octets(topic, blocks.TEXT, column, times_ns, rows)
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            yield from self._octets(topic, blocks.IMAGE, column, times_ns, rows)
        else:
            yield from self._numbers(name, topic, column, times_ns, rows)

    def _octets(
        self, topic: str, kind: str, column: pa.Array, times_ns: np.ndarray, rows: np.ndarray
    ) -> Iterator[Block]:
        if not (_is_octets(column.type)):
            return
        is_there = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        if not len(is_there):
            return
        plain = column.cast(pa.large_binary())
        buffers = plain.buffers()
        offsets = np.frombuffer(buffers[1], np.int64)[plain.offset : plain.offset + len(plain) + 1]
        body = memoryview(buffers[2]) if buffers[2] is not None else memoryview(b"")
        start, end = offsets[:-1][is_there], offsets[1:][is_there]
        definition = self._channels.define(topic, kind)
        block = blocks.make_block(definition, body, start, end, times_ns[is_there], rows[is_there])
        yield from blocks.portions(block, _BLOCK_BYTES)

    def _numbers(
        self, name: str, topic: str, column: pa.Array, times_ns: np.ndarray, rows: np.ndarray
    ) -> Iterator[Block]:
        flat, counts, is_nested = _flattened(column)
        if flat is None:
            self.findings.metadata.setdefault("dataset_columns_left_out", {})[name[:256]] = str(column.type)[:256]
            return
        values = _to_numpy(flat)
        body = values.view(np.uint8).data
        ends = np.cumsum(counts)
        is_there = counts > 0
        widths = np.unique(counts[is_there])
        parts = []
        if len(widths) == 1 and not is_nested and int(widths[0]) <= blocks.MAX_SIGNALS:
            parts = self._meta.slices(name, int(widths[0]))
        start = (ends - counts)[is_there]
        times_ns, rows, item = times_ns[is_there], rows[is_there], values.dtype.itemsize
        if not parts:
            definition = self._channels.define(topic, blocks.TENSOR, blocks.signal_schema(values.dtype.name, []))
            block = blocks.make_block(definition, body, start * item, ends[is_there] * item, times_ns, rows)
            yield from blocks.portions(block, _BLOCK_BYTES)
            return
        names = self._meta.names(name, int(widths[0]))
        for part in parts:
            schema = blocks.signal_schema(values.dtype.name, names[part.start : part.exclusive_end])
            definition = self._channels.define(self._topic(part.topic, name), blocks.ARRAY, schema)
            first, last = (start + part.start) * item, (start + part.exclusive_end) * item
            yield from blocks.portions(blocks.make_block(definition, body, first, last, times_ns, rows), _BLOCK_BYTES)


class _Marks:
    """Episode marks and task texts where they change, over all batches of a file."""

    def __init__(self, meta: LeRobotMeta, clock: EpisodeClock, period_ns: int) -> None:
        self._meta = meta
        self._clock = clock
        self._period_ns = period_ns
        self._open: tuple[int, str | None] | None = None
        self._last = (0, 0)
        self._said: dict[str, tuple[int, int]] = {}

    def blocks(
        self,
        batch: pa.RecordBatch,
        episodes: np.ndarray,
        times_ns: np.ndarray,
        rows: np.ndarray,
        channels: DatasetChannels,
    ) -> Iterator[Block]:
        """Marks of the episodes that begin or end in a batch, and the texts of its tasks."""
        if not len(rows):
            return
        tasks = _integers(batch, "task_index") if "task_index" in batch.schema.names else None
        marks: list[Said] = []
        for at in _changes(episodes).tolist():
            episode = int(episodes[at])
            if at and self._open is not None:
                self._last = (int(times_ns[at - 1]), int(rows[at - 1]))
            if self._open is None or self._open[0] != episode:
                marks += self._end()
                task = None if tasks is None else self._meta.tasks.get(int(tasks[at]))
                self._open = (episode, task)
                start_ns = min(int(times_ns[at]), self._clock.start_ns(episode))
                marks.append(blocks.episode_mark(start_ns, int(rows[at]), "start", episode, task))
        self._last = (int(times_ns[-1]), int(rows[-1]))
        if marks:
            yield blocks.said_block(channels.episode(), marks)
        for column, topic in self._meta.annotations().items():
            if column in batch.schema.names:
                yield from self._texts(topic, _integers(batch, column), episodes, times_ns, rows, channels)

    def close(self, channels: DatasetChannels) -> Iterator[Block]:
        """The end of the last episode."""
        marks = self._end()
        if marks:
            yield blocks.said_block(channels.episode(), marks)

    def _end(self) -> list[Said]:
        if self._open is None:
            return []
        (episode, task), (time_ns, row) = self._open, self._last
        self._open = None
        return [blocks.episode_mark(time_ns + self._period_ns, row, "end", episode, task)]

    def _texts(
        self,
        topic: str,
        numbers: np.ndarray,
        episodes: np.ndarray,
        times_ns: np.ndarray,
        rows: np.ndarray,
        channels: DatasetChannels,
    ) -> Iterator[Block]:
        said = []
        for at in np.union1d(_changes(episodes), _changes(numbers)).tolist():
            key = (int(episodes[at]), int(numbers[at]))
            task = self._meta.tasks.get(key[1])
            if task and self._said.get(topic) != key:
                said.append(Said(int(times_ns[at]), int(rows[at]), task.encode(errors="replace")))
            self._said[topic] = key
        if said:
            yield blocks.said_block(channels.define(topic, blocks.TEXT), said)


def describe(findings: Findings, meta: LeRobotMeta, time: str) -> None:
    """Says in the metadata what dataset the object belongs to, and where its times come from."""
    findings.metadata[blocks.DATASET] = {
        "format": "lerobot",
        "version": meta.version,
        "frames_per_second": "" if meta.rate_hz is None else str(meta.rate_hz),
        "time": time,
    }
    findings.metadata["scenelake.drive"] = {
        "robot_type": meta.robot_type,
        "source": f"LeRobot {meta.version}".strip(),
        "clock": f"{time} since the start of each episode",
    }


def _changes(values: np.ndarray) -> np.ndarray:
    """Rows at which a new value begins, the first among them."""
    return np.concatenate(([0], np.flatnonzero(np.diff(values)) + 1)) if len(values) else np.empty(0, np.int64)


def _flat_numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """A column of single numbers; a list of one each will do."""
    flat, counts, _ = _flattened(batch.column(name))
    if flat is None or (counts != 1).any():
        raise BadInputError(f"{name}: expected one number in every row", reason="column_invalid")
    return _to_numpy(flat)


def _integers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    if name not in batch.schema.names:
        raise BadInputError(f"no column {name}", reason="column_missing")
    values = _flat_numbers(batch, name)
    if values.dtype.kind not in "iu":
        raise BadInputError(f"{name}: expected integers, got {values.dtype}", reason="column_invalid")
    return values.astype(np.int64)


def _flattened(column: pa.Array) -> tuple[pa.Array | None, np.ndarray, bool]:
    """The numbers of a column of numbers or (nested) lists of them, how many each row has, and whether it is nested.

    Rows that are null have none; None instead of numbers for another type or a null among the numbers of a row.
    """
    counts = column.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)
    depth = 0
    while (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
    ):
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        if depth == 0:
            counts = lengths
        else:
            ends = np.concatenate(([0], np.cumsum(lengths)))
            bounds = np.concatenate(([0], np.cumsum(counts)))
            counts = np.diff(ends[bounds])
        column = column.flatten()
        depth += 1
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        return None, counts, depth > 1
    if depth == 0:
        column = column.drop_null()
    elif column.null_count:
        return None, counts, depth > 1
    return column, counts, depth > 1


def _to_numpy(flat: pa.Array) -> np.ndarray:
    values: np.ndarray = flat.to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values.view(np.uint8) if values.dtype == bool else values)


def _is_octets(kind: pa.DataType) -> bool:
    return any(
        check(kind)
        for check in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string, pa.types.is_large_string)
    )
