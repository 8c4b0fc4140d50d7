"""One channel's messages as arrays, in recording order and in time order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.modalities import MessageStatus, Modality
from scenelake.synchronise.row_sources import Rows, TableRows, read_all
from scenelake.synchronise.texts import TextWriter
from scenelake.timebase.arrays import BoolArray, Int64Array
from scenelake.timebase.blocks import compress, gather, median_step, sorting_order
from scenelake.timebase.scratch import IN_MEMORY, Scratch

_PLACES = ("channel", "object_sha256", "chunk_offset_bytes", "message_offset_bytes")
_READ = (
    "sample_data_id", "channel", "modality", "status", "timestamp_basis", "frame_id", "object_sha256", "timestamp_ns",
    "log_time_ns", "publish_time_ns",
)  # fmt: skip
_FACTS = ("modality", "timestamp_basis", "frame_id")


@dataclass(frozen=True, slots=True)
class Stream:
    """The usable messages (decoded or raw) of one channel. Its arrays may lie in files (``timebase.scratch``).

    Attributes:
        rows: (n,) int64 positions in the drive's index, in recording order.
        recorded_ns: (n,) int64 stamps in recording order.
        sorted_ns: the same in time order; equal stamps keep recording order.
        decoded_rows, decoded_ns: (m,) the decoded ones of them, in time order.
        log_ns, publish_ns: (n,) int64 in recording order; None where a message has none.
        objects: first message of each object in turn, in recording order.
        bases: messages by the clock that their stamp came from, undecodable ones among them.
        frame_id: the frame that most messages name; None when they name none.
    """

    channel: str
    modality: Modality
    rows: Int64Array
    recorded_ns: Int64Array
    sorted_ns: Int64Array
    decoded_rows: Int64Array
    decoded_ns: Int64Array
    is_decoded: BoolArray
    bases: Mapping[str, int]
    frame_id: str | None
    log_ns: Int64Array | None = None
    publish_ns: Int64Array | None = None
    objects: tuple[int, ...] = (0,)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def timestamp_basis(self) -> str:
        """The clock that most stamps came from."""
        return _most_common(self.bases) or ""

    @property
    def median_period_ns(self) -> int | None:
        """Lower median of the steps between distinct stamps; None with fewer than two of them."""
        return median_step(self.sorted_ns)

    def sorted_by(self, stamps_ns: Int64Array, scratch: Scratch) -> "Stream":
        """The same messages with these stamps (n,), in recording order."""
        order = sorting_order(stamps_ns, scratch)
        rows, sorted_ns, is_decoded = self.rows, stamps_ns, self.is_decoded
        if order is not None:
            rows, sorted_ns = gather(rows, order, scratch), gather(stamps_ns, order, scratch)
            is_decoded = gather(is_decoded, order, scratch)
        return replace(
            self,
            recorded_ns=stamps_ns,
            sorted_ns=sorted_ns,
            decoded_rows=compress(rows, lambda a, b: is_decoded[a:b], scratch),
            decoded_ns=compress(sorted_ns, lambda a, b: is_decoded[a:b], scratch),
        )


@dataclass(frozen=True, slots=True)
class DriveStreams:
    """A drive's index, its channels by name, and the ids of all of its rows.

    Attributes:
        index: in recording order.
        by_channel: undecodable messages are in none.
        ids: (n,) large_string ``sample_data_id``.
        span_ns: least and largest stamp of all rows; None without any.
    """

    index: Rows
    by_channel: dict[str, Stream]
    ids: pa.Array
    span_ns: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.ids)

    def ids_of(self, rows: Int64Array) -> pa.Array:
        """``sample_data_id`` of rows; null for -1."""
        return self.ids.take(pa.array(rows, mask=rows < 0)).cast(pa.string())


@dataclass(slots=True)
class _Collected:
    """One channel while the index is read: arrays as long as the channel, filled up to ``count``."""

    rows: Int64Array
    stamps_ns: Int64Array
    log_ns: Int64Array
    publish_ns: Int64Array
    is_decoded: BoolArray
    count: int = 0
    has_log: bool = True
    has_publish: bool = True
    objects: list[int] = field(default_factory=list)
    last_object: str | None = None
    facts: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in _FACTS})

    @classmethod
    def of(cls, count: int, scratch: Scratch) -> "_Collected":
        rows, stamps_ns, log_ns, publish_ns = (scratch.array(count, np.int64) for _ in range(4))
        return cls(rows, stamps_ns, log_ns, publish_ns, scratch.array(count, np.bool_))

    def stream(self, channel: str, scratch: Scratch) -> Stream:
        run = slice(0, self.count)
        nothing = np.empty(0, np.int64)
        return Stream(
            channel=channel,
            modality=Modality(_most_common(self.facts["modality"]) or Modality.RAW),
            rows=self.rows[run],
            recorded_ns=nothing,
            sorted_ns=nothing,
            decoded_rows=nothing,
            decoded_ns=nothing,
            is_decoded=self.is_decoded[run],
            bases=self.facts["timestamp_basis"],
            frame_id=_most_common(self.facts["frame_id"]),
            log_ns=self.log_ns[run] if self.has_log else None,
            publish_ns=self.publish_ns[run] if self.has_publish else None,
            objects=tuple(self.objects),
        ).sorted_by(self.stamps_ns[run], scratch)


def read_streams(index: Rows, scratch: Scratch = IN_MEMORY) -> DriveStreams:
    """Reads a drive's index into one stream per channel, by name.

    Args:
        index: rows of ``contracts.tables.MESSAGE_INDEX``, object by object. Decode leaves those of a channel in the
            order of its file; an index that is not in that order is read as a whole and sorted.
    """
    counts, is_ordered = _survey(index)
    if not is_ordered:
        index = TableRows(_in_recording_order(read_all(index)))
    collected = {channel: _Collected.of(count, scratch) for channel, count in sorted(counts.items())}
    ids = TextWriter(sum(counts.values()), scratch)
    first, last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    start = 0
    for batch in index.batches(_READ):
        stamps_ns = column_ns(batch, "timestamp_ns")
        _collect(batch, stamps_ns, start, collected)
        ids.append(one_chunk(batch["sample_data_id"]))
        first, last = min(first, int(stamps_ns.min())), max(last, int(stamps_ns.max()))
        start += len(batch)
        scratch.drop_pages()
    streams = {name: found.stream(name, scratch) for name, found in collected.items()}
    return DriveStreams(index, streams, ids.finish(), (first, last) if start else None)


def _collect(batch: pa.Table, stamps_ns: Int64Array, start: int, collected: Mapping[str, _Collected]) -> None:
    status, statuses = _codes(batch["status"])
    is_usable = status != _position(statuses, MessageStatus.UNDECODABLE)
    is_decoded = status == _position(statuses, MessageStatus.DECODED)
    facts = {name: _codes(batch[name]) for name in _FACTS}
    objects, object_names = _codes(batch["object_sha256"])
    logged, published = (_known_ns(batch, name) for name in ("log_time_ns", "publish_time_ns"))
    for name, every in zip(*rows_by_channel(batch), strict=True):
        channel = collected[name]
        for fact, (codes, values) in facts.items():
            counts = np.bincount(codes[_run(every)] + 1, minlength=len(values) + 1)[1:].tolist()
            channel.facts[fact].update({v: n for v, n in zip(values, counts, strict=True) if n})
        rows = every if is_usable.all() else every[is_usable[every]]
        if not len(rows):
            continue
        taken, run = _run(rows), slice(channel.count, channel.count + len(rows))
        of_rows = objects[taken]
        for position in (0, *(np.flatnonzero(of_rows[1:] != of_rows[:-1]) + 1).tolist()):
            sha = object_names[of_rows[position]]
            if sha != channel.last_object:
                channel.objects.append(channel.count + position)
            channel.last_object = sha
        channel.rows[run] = rows + start
        channel.stamps_ns[run] = stamps_ns[taken]
        channel.is_decoded[run] = is_decoded[taken]
        channel.log_ns[run], channel.publish_ns[run] = logged[0][taken], published[0][taken]
        channel.has_log &= logged[1] is None or bool(logged[1][taken].all())
        channel.has_publish &= published[1] is None or bool(published[1][taken].all())
        channel.count = run.stop


def _run(rows: Int64Array) -> Int64Array | slice:
    """Ascending rows, as a slice where none is between them: to index with it copies nothing."""
    is_run = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1
    return slice(int(rows[0]), int(rows[-1]) + 1) if is_run else rows


def _survey(index: Rows) -> tuple[dict[str, int], bool]:
    """Messages of each channel, and whether each channel's are in recording order."""
    counts: Counter[str] = Counter()
    last: dict[str, tuple[int, ...]] = {}
    ranks: dict[str, int] = {}
    is_ordered = True
    for batch in index.batches(_PLACES):
        objects, names = _codes(batch["object_sha256"])
        rank = np.array([ranks.setdefault(name, len(ranks)) for name in names], np.int64)[objects]
        places = [rank, column_ns(batch, "chunk_offset_bytes"), column_ns(batch, "message_offset_bytes")]
        for channel, rows in zip(*rows_by_channel(batch), strict=True):
            counts[channel] += len(rows)
            keys = [place[_run(rows)] for place in places]
            first, end = (tuple(int(key[i]) for key in keys) for i in (0, -1))
            is_ordered &= last.get(channel, first) <= first and _is_ordered(keys)
            last[channel] = end
    return dict(counts), is_ordered


def _in_recording_order(index: pa.Table) -> pa.Table:
    """Sorted object by object as they come, then by position."""
    places = [_codes(index["object_sha256"])[0], *(column_ns(index, name) for name in _PLACES[2:])]
    return index.take(pa.array(np.lexsort(places[::-1])))


def _is_ordered(keys: Sequence[Int64Array]) -> bool:
    """Whether rows do not go back by the first key, or where it stays by the next."""
    is_back = np.zeros(len(keys[0]) - 1, np.bool_)
    is_tied = ~is_back
    for key in keys:
        is_back |= is_tied & (key[1:] < key[:-1])
        is_tied &= key[1:] == key[:-1]
    return not is_back.any()


def rows_by_channel(index: pa.Table) -> tuple[list[str], list[Int64Array]]:
    """Channels of an index by name, and the rows of each in their order."""
    codes, names = _codes(index["channel"])
    is_break = np.diff(codes) != 0
    if np.count_nonzero(is_break) + 1 == len(names):
        # One run a channel: no need to sort.
        bounds = np.concatenate([[0], np.flatnonzero(is_break) + 1, [len(codes)]]) if len(codes) else np.zeros(1, int)
        found = {names[codes[a]]: np.arange(a, b) for a, b in pairwise(bounds.tolist())}
    else:
        by_channel = np.argsort(codes, kind="stable").astype(np.int64)
        bounds = np.searchsorted(codes[by_channel], np.arange(len(names) + 1))
        found = {name: by_channel[bounds[i] : bounds[i + 1]] for i, name in enumerate(names)}
    ordered = sorted(name for name, rows in found.items() if len(rows))
    return ordered, [found[name] for name in ordered]


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, which ``combine_chunks`` copies even where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def column_ns(table: pa.Table, name: str) -> Int64Array:
    """An int64 column without nulls as NumPy.

    Raises:
        ScenelakeError: when the column has nulls, which its writer promised it has not.
    """
    column = table[name]
    if column.null_count:
        raise ScenelakeError(f"{name}: expected no nulls, got {column.null_count} in {len(column)} rows")
    return np.asarray(one_chunk(column).to_numpy(zero_copy_only=False), np.int64)


_Codes = tuple[Int64Array, list[str]]
_Known = tuple[Int64Array, BoolArray | None]


def _codes(column: pa.ChunkedArray) -> _Codes:
    """Position of each value among the distinct ones, -1 for null, and the distinct values."""
    values = one_chunk(column)
    if pa.types.is_dictionary(values.type):
        indices = pc.fill_null(values.indices, -1) if values.null_count else values.indices
        return np.asarray(indices.to_numpy(zero_copy_only=False), np.int64), values.dictionary.to_pylist()
    runs = pc.run_end_encode(values)
    encoded = runs.values.dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), np.int64)
    lengths = np.diff(runs.run_ends.to_numpy(), prepend=0)
    return np.repeat(codes, lengths), encoded.dictionary.to_pylist()


def _position(values: list[str], wanted: str) -> int:
    return values.index(wanted) if wanted in values else -2


def _most_common(counts: Mapping[str, int]) -> str | None:
    found = sorted((-count, value) for value, count in counts.items() if count > 0 and value)
    return found[0][1] if found else None


def _known_ns(index: pa.Table, name: str) -> _Known:
    column = one_chunk(index[name])
    is_known = np.asarray(column.is_valid().to_numpy(zero_copy_only=False)) if column.null_count else None
    values = pc.fill_null(column, 0) if column.null_count else column
    return np.asarray(values.to_numpy(zero_copy_only=False), np.int64), is_known
