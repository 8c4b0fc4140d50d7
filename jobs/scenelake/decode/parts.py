"""What decoding one part of an object gave, and how the parts make the outcome of the drop."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import ChannelCount, DropOutcome, DropVerdict, JsonObject, PayloadFile, Problem
from scenelake.contracts.tables import MESSAGE_INDEX
from scenelake.decode.formats.mcap_problems import HARMLESS_REASONS
from scenelake.decode.values import INT64_MAX


@dataclass(frozen=True, slots=True)
class ChannelTally:
    """Messages of one topic in one part.

    Attributes:
        recorded: counted by the recording itself, over all its parts; None without such a count.
        lost: of unusable ranges of this part, where an index still counts them.
    """

    channel: str
    modality: str
    schema_name: str
    decoded: int = 0
    raw: int = 0
    undecodable: int = 0
    payload_bytes: int = 0
    recorded: int | None = None
    lost: int = 0

    @property
    def read(self) -> int:
        return self.decoded + self.raw + self.undecodable


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """Decode's answer for one part of an object, or for all of it.

    Attributes:
        number: of the part; None for a whole object.
        start_ns, exclusive_end_ns: of the messages read; None when there is none.
        tables: tables written, the message index among them.
    """

    number: int | None
    format: str
    start_ns: int | None
    exclusive_end_ns: int | None
    has_own_counts: bool
    channels: tuple[ChannelTally, ...]
    problems: tuple[Problem, ...]
    payload_files: tuple[PayloadFile, ...]
    tables: tuple[str, ...]
    metadata: dict[str, dict[str, str]]

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, value: JsonObject) -> "PartOutcome":
        return cls(
            **{
                **value,
                "channels": tuple(ChannelTally(**c) for c in value["channels"]),
                "problems": tuple(Problem(**p) for p in value["problems"]),
                "payload_files": tuple(PayloadFile(**f) for f in value["payload_files"]),
                "tables": tuple(value["tables"]),
            }
        )


def merge_parts(
    parts: Sequence[PartOutcome], drop: Drop, *, object_sha256: str, size_bytes: int, recipe: str
) -> DropOutcome:
    """The outcome of a drop of which every part was read, in order.

    Raises:
        BadInputError: no part holds a message, and the object does not describe a dataset either; with the first
            problem's reason, else ``no_messages``.
    """
    problems = [p for part in parts for p in part.problems]
    starts = [part.start_ns for part in parts if part.start_ns is not None]
    ends = [part.exclusive_end_ns for part in parts if part.exclusive_end_ns is not None]
    metadata = _metadata(parts)
    if not starts and "meta" not in metadata.get("dataset", {}):
        raise _nothing_read(problems)
    channels = _channel_counts(parts, problems)
    losses = [p for p in problems if p.reason not in HARMLESS_REASONS]
    first = next(iter(losses or problems), None)
    return DropOutcome(
        drop_id=drop.drop_id,
        verdict=DropVerdict.SALVAGED if losses else DropVerdict.DECODED,
        reason=first.reason if first else None,
        detail=f"{drop.uri}: {first.detail} (byte {first.start_byte})" if first else None,
        format=parts[0].format,
        object_sha256=object_sha256,
        size_bytes=size_bytes,
        recipe=recipe,
        start_ns=min(starts, default=None),
        exclusive_end_ns=max(ends, default=None),
        channels=channels,
        problems=tuple(problems),
        payload_files=tuple(sorted((f for part in parts for f in part.payload_files), key=lambda f: f.uri)),
        tables=tuple(sorted({t for part in parts for t in part.tables} - {MESSAGE_INDEX.name})),
        metadata=metadata,
        parts=_tables_of_parts(parts),
    )


def _metadata(parts: Sequence[PartOutcome]) -> dict[str, dict[str, str]]:
    merged: dict[str, dict[str, str]] = {}
    for part in parts:
        for name, values in part.metadata.items():
            merged.setdefault(name, {}).update(values)
    return merged


def _tables_of_parts(parts: Sequence[PartOutcome]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for part in parts:
        if part.number is not None:
            for table in part.tables:
                found[table] = (*found.get(table, ()), part.number)
    return found


def _channel_counts(parts: Sequence[PartOutcome], problems: list[Problem]) -> tuple[ChannelCount, ...]:
    """Counts per topic; the recording's own where it has them.

    A recording that counts fewer messages than were read is wrong, and is reported and overruled.
    """
    tallies: dict[str, list[ChannelTally]] = {}
    for part in parts:
        for tally in part.channels:
            tallies.setdefault(tally.channel, []).append(tally)
    is_lossless = not any(p.reason not in HARMLESS_REASONS for p in problems)
    answers = []
    for topic, found in sorted(tallies.items()):
        read = sum(t.read for t in found)
        expected = read + sum(t.lost for t in found)
        if parts[0].has_own_counts:
            expected = max(t.recorded or 0 for t in found)
        if not read <= expected <= INT64_MAX or (expected > read and is_lossless):
            detail = f"{topic}: the Statistics record counts {expected} messages, {read} were read"
            problems.append(Problem("statistics_contradicted", detail, 0, 0))
            expected = read if expected > INT64_MAX else max(expected, read)
        named = next((t for t in found if t.read), found[0])
        answers.append(
            ChannelCount(
                channel=topic,
                modality=named.modality,
                schema_name=named.schema_name,
                recorded=expected,
                read=read,
                decoded=sum(t.decoded for t in found),
                raw=sum(t.raw for t in found),
                undecodable=sum(t.undecodable for t in found),
                payload_bytes=sum(t.payload_bytes for t in found),
            )
        )
    return tuple(answers)


def _nothing_read(problems: Sequence[Problem]) -> BadInputError:
    if problems:
        first = problems[0]
        return BadInputError(first.detail, reason=first.reason, byte_offset=first.start_byte)
    return BadInputError("the recording holds no message", reason="no_messages")
