"""Reads ROS 2 bags in SQLite (``.db3``), also damaged and hostile ones.

SQLite has no checksums: a changed byte of a message's content cannot be seen. Its structure is checked as it is read,
rows that cannot be reached are lost by ranges of row ids, and where the bag has its index of times, that is a second
list of all messages, with which what was read is compared.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import (
    Block,
    Channel,
    Definition,
    Findings,
    Part,
    PlanContradictedError,
    Schema,
    Source,
)
from scenelake.decode.formats.compressed_messages import MessageInflation
from scenelake.decode.formats.mcap_problems import MAX_PROBLEMS, Problems
from scenelake.decode.formats.ros_registry import ros2_definitions
from scenelake.decode.formats.ros_types import defined, settled
from scenelake.decode.formats.rosbag2_database import Database, opened, text_of
from scenelake.decode.formats.sources import local_path

MAGIC = b"SQLite format 3\0"
BLOCK_BYTES = 8 * 1024 * 1024
MAX_ROWS = 16_384
"""Messages of a block."""
MAX_CHANNELS = 65_536
MAX_LOST_ROWS = 65_536
"""Single messages whose bytes cannot be reached; a bag with more is given up."""
_SETTLING_MESSAGES = 16
"""Of a block, by which the definition of their type is chosen."""
_FIRST_ROW, _LAST_ROW = -(2**63), 2**63 - 1
_HEADS = """
SELECT rowid, iif(typeof(topic_id) = 'integer', topic_id, NULL), iif(typeof(timestamp) = 'integer', timestamp, NULL),
    iif(typeof(data) = 'blob', length(data), NULL)
FROM messages WHERE rowid >= ? ORDER BY rowid LIMIT ?
"""
_DATA = "SELECT rowid, data FROM messages WHERE rowid BETWEEN ? AND ? ORDER BY rowid LIMIT ?"
_PROBE = "SELECT rowid FROM messages WHERE rowid >= ? ORDER BY rowid LIMIT 1"

Head = tuple[int, int, int, int]
"""Row id, topic id, timestamp, length of the data."""


class Rosbag2Reader:
    """Reads one ``.db3`` file once: iterate ``blocks()`` to its end, then look at ``findings``.

    A message's place is (0, row id). Times are the recorder's; there is no publish time, which is 0 throughout.

    Args:
        max_chunk_bytes: a message that claims more is lost.
        max_record_bytes: the same for definitions and metadata.
        max_inflation: compressed messages together inflate to no more than so many times the bag, and 512 MiB.
    """

    format = "rosbag2"

    def __init__(
        self,
        source: Source,
        *,
        max_chunk_bytes: int,
        max_record_bytes: int,
        max_inflation: int = DecodeConfig().max_inflation,
    ) -> None:
        self._source = source
        self._size = source.size_bytes
        self._max_chunk_bytes = max_chunk_bytes
        self._max_record_bytes = max_record_bytes
        self.findings = Findings()
        self._problems = Problems(self.findings.problems)
        self._channel_ids: dict[int, int] = {}
        self._lost: tuple[int, int, str, str] | None = None
        self._nbr_lost = 0
        self._nbr_salvages = 0
        self._read = _Fingerprint()
        self._inflation = MessageInflation(max_chunk_bytes, self._size, max_inflation)

    @property
    def compressions(self) -> set[str]:
        """How messages were found to be compressed: ``zstd``, or ``none``."""
        return {"zstd" if self._inflation.is_used else "none"}

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """The bag as one part: its pages lie in no order of time."""
        return [Part(0, 0, self._size)]

    def blocks(self, part: Part | None = None) -> Iterator[Block]:
        """Every readable message, by ascending row id.

        Raises:
            BadInputError: reason ``database_unreadable``, ``not_rosbag2``, or ``object_too_large`` for an object that
                is not a local file and too large to be copied to one.
            PlanContradictedError: the part is not the whole bag.
        """
        if part is not None and (part.start_byte, part.exclusive_end_byte) != (0, self._size):
            raise PlanContradictedError(f"a bag is read as one part of {self._size} bytes, got {part}")
        with local_path(self._source) as path, opened(path, self._max_chunk_bytes + self._max_record_bytes) as database:
            if not {"topic_id", "timestamp", "data"} <= set(database.tables.get("messages", ())):
                raise BadInputError("the database holds no table of messages", reason="not_rosbag2")
            if {"rowid", "_rowid_", "oid"} & set(database.tables["messages"]):
                raise BadInputError("a column of the messages hides their row ids", reason="not_rosbag2")
            self._check_size()
            self._read_metadata(database)
            self._read_topics(database)
            yield from self._messages(database)
            self._flush_lost()
            self._compare_with_index(database)

    def _check_size(self) -> None:
        head = bytes(self._source.read(0, 32))
        page_bytes = int.from_bytes(head[16:18], "big")
        expected = int.from_bytes(head[28:32], "big") * (65_536 if page_bytes == 1 else page_bytes)
        if expected > self._size:
            detail = f"the header counts {expected} bytes of pages, the file holds {self._size}"
            self._report("truncated", detail, self._size, self._size)

    def _report(self, reason: str, detail: str, start: int = 0, exclusive_end: int | None = None) -> None:
        self._problems.report(reason, detail, start, self._size if exclusive_end is None else exclusive_end)

    def _read_metadata(self, database: Database) -> None:
        for table, columns in (("schema", ("schema_version", "ros_distro")), ("metadata", ("metadata",))):
            if not set(columns) <= set(database.tables.get(table, ())):
                continue
            short = " AND ".join(f"length({c}) <= {self._max_record_bytes}" for c in columns)
            sql = f"SELECT {', '.join(columns)} FROM {table} WHERE {short} ORDER BY rowid DESC LIMIT 1"
            rows, error = database.rows(sql, max_bytes=2 * self._max_record_bytes)
            if error is not None:
                self._report("summary_unreadable", f"table {table}: {error}")
            for row in rows:
                self.findings.metadata[f"rosbag2_{table}"] = dict(zip(columns, map(text_of, row), strict=True))

    def _read_topics(self, database: Database) -> None:
        columns = database.tables.get("topics", [])
        if not {"id", "name", "type", "serialization_format"} <= set(columns):
            self._report("topics_unreadable", "the database holds no table of topics")
            return
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        type_hash = "type_description_hash" if "type_description_hash" in columns else "''"
        sql = (
            f"SELECT id, name, type, serialization_format, {qos}, {type_hash} FROM topics"
            f" WHERE length(name) + length(type) + length(serialization_format) <= ? AND length({qos}) <= ?"
            f" AND length({type_hash}) <= ? AND typeof(id) = 'integer'"
        )
        most = [self._max_record_bytes] * 3
        rows, error = database.rows(sql, *most, max_rows=MAX_CHANNELS, max_bytes=self._max_chunk_bytes)
        if error is not None:
            self._report("topics_unreadable", f"{len(rows)} topics could be read, then: {error}")
        definitions = self._read_definitions(database)
        for topic_id, *values in rows:
            topic, type_name, encoding, profiles, hash_text = map(text_of, values)
            channel_id = self._channel_id(topic_id)
            metadata = {"offered_qos_profiles": profiles} if profiles else {}
            channel = Channel(channel_id, channel_id, topic, encoding, metadata)
            text = definitions.get((type_name, hash_text)) or definitions.get((type_name, ""))
            schema = Schema(channel_id, type_name, *(text or ("ros2msg", self._common_text(type_name))))
            self.findings.definitions[channel_id] = defined(channel, schema)

    def _common_text(self, type_name: str) -> bytes:
        """What the distribution that recorded has for a type, where the bag names it; empty where it does not."""
        distribution = self.findings.metadata.get("rosbag2_schema", {}).get("ros_distro", "")
        found = ros2_definitions(type_name, distribution) if distribution else ()
        return found[0] if len(found) == 1 else b""

    def _read_definitions(self, database: Database) -> dict[tuple[str, str], tuple[str, bytes]]:
        """Encoding and text by type and hash; by type and no hash the first of the type."""
        names = ("topic_type", "encoding", "encoded_message_definition", "type_description_hash")
        if not set(names) <= set(database.tables.get("message_definitions", ())):
            return {}
        short = " AND ".join(f"length({name}) <= {self._max_record_bytes}" for name in names)
        sql = f"SELECT {', '.join(names)} FROM message_definitions WHERE {short}"
        rows, error = database.rows(sql, max_rows=MAX_CHANNELS, max_bytes=self._max_chunk_bytes)
        if error is not None:
            self._report("summary_unreadable", f"message definitions: {len(rows)} could be read, then: {error}")
        found: dict[tuple[str, str], tuple[str, bytes]] = {}
        for type_name, encoding, text, type_hash in rows:
            definition = (text_of(encoding), text if isinstance(text, bytes) else b"")
            found.setdefault((text_of(type_name), text_of(type_hash)), definition)
            found.setdefault((text_of(type_name), ""), definition)
        return found

    def _channel_id(self, topic_id: int) -> int:
        """A number of our own for a topic; one for all those beyond what a bag can have."""
        known = self._channel_ids.get(topic_id)
        if known is None:
            known = len(self._channel_ids) + 1 if len(self._channel_ids) < MAX_CHANNELS else 0
            if known:
                self._channel_ids[topic_id] = known
            if known not in self.findings.definitions:
                name = f"unknown_channel_{topic_id}" if known else "unknown_channels"
                self.findings.definitions[known] = Definition(Channel(known, 0, name, "", {}), None, "channel_unknown")
        return known

    def _messages(self, database: Database) -> Iterator[Block]:
        at = _FIRST_ROW
        while at <= _LAST_ROW and not self._problems.is_full:
            heads, error = database.rows(_HEADS, at, MAX_ROWS, max_rows=MAX_ROWS)
            if error is not None and not heads:
                heads, _ = database.rows(_HEADS, at, 1)
            heads, is_ordered = _ascending(heads, at)
            yield from self._deliver(database, heads)
            if self._nbr_lost > MAX_LOST_ROWS or self._nbr_salvages > MAX_PROBLEMS:
                self._flush_lost()
                self._report("too_many_problems", f"messages from row {at} on are given up")
                return
            if heads:
                at = heads[-1][0] + 1
            elif error is None and is_ordered:
                return
            else:
                at = self._salvage(database, at, str(error or "the rows are not in order"))

    def _salvage(self, database: Database, at: int, detail: str) -> int:
        """The next row id behind an unreachable range; found by doubling steps, then by halving the last."""
        self._nbr_salvages += 1
        bad, step = at, 1 if at > _FIRST_ROW else 2**63 + 1
        good = at + step
        while good <= _LAST_ROW and not _is_reachable(database, good):
            bad, step = good, step * 2
            good += step
        good = min(good, _LAST_ROW + 1)
        while good - bad > 1:
            middle = (good + bad) // 2
            if _is_reachable(database, middle):
                good = middle
            else:
                bad = middle
        self._lose(at, good - 1, "rows_unreadable", detail)
        return good

    def _deliver(self, database: Database, heads: list[Head]) -> Iterator[Block]:
        """Blocks of consecutive sound messages."""
        group: list[Head] = []
        nbr_bytes = 0
        for head in heads:
            row, _, _, length = head
            is_sound = None not in head and length <= self._max_chunk_bytes
            if group and (not is_sound or nbr_bytes + length > BLOCK_BYTES):
                yield from self._read_group(database, group)
                group, nbr_bytes = [], 0
            if is_sound:
                group.append(head)
                nbr_bytes += length
            elif None in head:
                self._lose(row, row, "row_invalid", "a column holds a value of another type")
            else:
                self._lose(row, row, "message_too_large", f"the message holds {length} bytes")
        if group:
            yield from self._read_group(database, group)

    def _read_group(self, database: Database, group: list[Head]) -> Iterator[Block]:
        while group and self._nbr_lost <= MAX_LOST_ROWS:
            data, error = _contents(database, group)
            if not data:
                data, error = _contents(database, group[:1])
            if data:
                for block in self._inflation.opened(self._block(group[: len(data)], data)):
                    self._settle(block)
                    yield block
            else:
                row = group[0][0]
                self._lose(row, row, "rows_unreadable", str(error or "the row is another at a second look"))
            group = group[max(len(data), 1) :]

    def _block(self, heads: list[Head], data: list[bytes]) -> Block:
        rows, topics, times, lengths = (np.array(column, np.int64) for column in zip(*heads, strict=True))
        ends = np.cumsum(lengths)
        channel_id = np.array([self._channel_id(topic_id) for topic_id in topics.tolist()], np.int32)
        self._read.add(rows, times)
        zeros = np.zeros(len(rows), np.int64)
        return Block(
            body=memoryview(b"".join(data)),
            definitions={c: self.findings.definitions[c] for c in np.unique(channel_id).tolist()},
            channel_id=channel_id,
            sequence=zeros.astype(np.uint32),
            log_time_ns=times.astype(np.uint64),
            publish_time_ns=zeros.astype(np.uint64),
            chunk_offset_bytes=zeros,
            message_offset_bytes=rows,
            start=ends - lengths,
            exclusive_end=ends,
        )

    def _settle(self, block: Block) -> None:
        """Looks at messages for the definition that their channel lacks."""
        for channel_id, definition in block.definitions.items():
            if definition.problem == "definition_missing":
                rows = np.flatnonzero(block.channel_id == channel_id)[:_SETTLING_MESSAGES]
                found = settled(definition, map(block.data, rows.tolist()))
                block.definitions[channel_id] = self.findings.definitions[channel_id] = found

    def _lose(self, first: int, last: int, reason: str, detail: str) -> None:
        """Notes rows that are lost; those that follow each other for one reason are one problem."""
        self._nbr_lost += first == last
        if self._lost is not None:
            before, until, *why = self._lost
            if until + 1 == first and why[0] == reason:
                self._lost = (before, last, reason, why[1])
                return
        self._flush_lost()
        self._lost = (first, last, reason, detail)

    def _flush_lost(self) -> None:
        if self._lost is not None:
            first, last, reason, detail = self._lost
            self._report(reason, f"messages, rows {first} to {last}: {detail}")
            self._lost = None

    def _compare_with_index(self, database: Database) -> None:
        """Row ids and times once more, from the index that lists them."""
        rows, error = database.rows(
            "SELECT x.name FROM pragma_index_list('messages') AS l, pragma_index_xinfo(l.name) AS x"
            " WHERE l.name = 'timestamp_idx' AND NOT l.partial AND x.key"
        )
        if error is not None or rows != [(b"timestamp",)]:
            return
        listed = _Fingerprint()
        at = (_FIRST_ROW, _FIRST_ROW)
        sql = (
            "SELECT timestamp, rowid FROM messages INDEXED BY timestamp_idx"
            " WHERE (timestamp, rowid) > (?, ?) AND typeof(timestamp) = 'integer' ORDER BY timestamp, rowid LIMIT ?"
        )
        while True:
            rows, error = database.rows(sql, *at, MAX_ROWS, max_rows=MAX_ROWS)
            if error is not None or (rows and rows[0] <= at):
                self._report("summary_unreadable", f"index of times: {error or 'it is not in order'}")
                return
            if not rows:
                break
            at = rows[-1]
            times, ids = (np.array(column, np.int64) for column in zip(*rows, strict=True))
            listed.add(ids, times)
        if listed != self._read:
            detail = f"the index of times lists {listed.count} messages, {self._read.count} were read"
            self._report("index_contradicted", f"{detail}, or their times are others")


class _Fingerprint:
    """Of a set of (row id, time), in whatever order."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, rows: np.ndarray, times: np.ndarray) -> None:
        mixed = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ times.astype(np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
        self.count += len(rows)
        self._sum = (self._sum + int(mixed.sum(dtype=np.uint64))) % 2**64

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fingerprint) and (self.count, self._sum) == (other.count, other._sum)

    __hash__ = None  # type: ignore[assignment]


def _contents(database: Database, heads: list[Head]) -> tuple[list[bytes], Exception | None]:
    """The data of messages, up to the first that cannot be read or is not what its head says."""
    most = sum(length for *_, length in heads)
    found, error = database.rows(_DATA, heads[0][0], heads[-1][0], len(heads), max_rows=len(heads), max_bytes=most)
    contents = []
    for (row, data), head in zip(found, heads, strict=False):
        if (row, len(data) if isinstance(data, bytes) else None) != (head[0], head[3]):
            break
        contents.append(data)
    return contents, error


def _ascending(heads: list[Head], at: int) -> tuple[list[Head], bool]:
    """The heads up to the first whose row id is not above the one before, and whether that is all of them."""
    rows = np.array([head[0] for head in heads], np.int64)
    odd = np.flatnonzero(rows[1:] <= rows[:-1])
    if len(rows) and rows[0] < at:
        return [], False
    return (heads[: int(odd[0]) + 1], False) if len(odd) else (heads, True)


def _is_reachable(database: Database, row: int) -> bool:
    found, error = database.rows(_PROBE, row)
    return error is None and (not found or found[0][0] >= row)
