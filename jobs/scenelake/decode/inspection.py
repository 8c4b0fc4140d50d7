"""A recording looked at: what is in it, what decode would make of it, and what is wrong with it.

A recording may be many objects: their channels are one where topic, type and encoding agree, as those of a split bag.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from scenelake.contracts.errors import BadInputError
from scenelake.decode.time_line import Gap


class Mode(StrEnum):
    """How an object was looked at: by its index; every byte read; every message decoded, too."""

    INDEX = "index"
    SCAN = "scan"
    DEEP = "deep"


@dataclass(frozen=True, slots=True)
class ChannelInspection:
    """One channel.

    Attributes:
        schema_encoding: None for a channel without a schema.
        table: gold table that its messages go to; ``raw_message`` where they are kept as bytes.
        raw_reason: why they are; None where they are decoded.
        message_count: read, or said by the index.
        recorded_message_count: the objects' own count; None where one has none.
        start_ns, last_ns: log times of its first and last message; None where no message was seen.
        median_step_ns, rate_hz: of the median step between messages; None with fewer than two.
        nbr_gaps, gaps: steps of more than 3 medians and 100 ms, the longest listed; None where not every time was seen.
        nbr_out_of_order: later in the file than a message of a later time.
        payload_bytes: None where messages were not read.
        decoded, raw, undecodable: None unless messages were decoded.
        reasons: why messages are raw, undecodable or remarkable, with their counts.
    """

    topic: str
    schema_name: str
    message_encoding: str
    schema_encoding: str | None
    metadata: dict[str, str]
    table: str
    raw_reason: str | None
    message_count: int
    recorded_message_count: int | None
    start_ns: int | None
    last_ns: int | None
    median_step_ns: int | None
    rate_hz: float | None
    nbr_out_of_order: int | None
    nbr_gaps: int | None
    gaps: tuple[Gap, ...] | None
    payload_bytes: int | None
    decoded: int | None
    raw: int | None
    undecodable: int | None
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True)
class FileInspection:
    """One object of the recording.

    Attributes:
        format, mode: None for an object that could not be read at all; its reason is among the problems.
        recorded_message_count: the object's own count; None where it has none.
        lost_message_count: messages that its index counts in parts that could not be used.
        not_verified: what was believed without a look; None where every byte was read.
    """

    uri: str
    format: str | None
    mode: Mode | None
    size_bytes: int
    compressions: tuple[str, ...]
    message_count: int
    recorded_message_count: int | None
    lost_message_count: int
    not_verified: str | None


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A byte range of an object that is wrong, half-open; ``is_loss`` when messages may be lost to it."""

    uri: str
    reason: str
    detail: str
    start_byte: int
    exclusive_end_byte: int
    is_loss: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """A recording of one or many objects; ``docs/inspect.md`` has an example as JSON.

    Attributes:
        formats, modes, compressions: of all its objects, sorted.
        start_ns, last_ns: log times of the first and the last message; None without messages.
        nbr_other_files: objects in its folder that are no recordings.
        nbr_more_channels, nbr_more_problems: beyond those that are listed.
    """

    uri: str
    formats: tuple[str, ...]
    modes: tuple[Mode, ...]
    compressions: tuple[str, ...]
    size_bytes: int
    message_count: int
    start_ns: int | None
    last_ns: int | None
    duration_ns: int | None
    header: dict[str, str]
    metadata: dict[str, dict[str, str]]
    channels: tuple[ChannelInspection, ...]
    problems: tuple[FileProblem, ...]
    files: tuple[FileInspection, ...]
    nbr_other_files: int
    nbr_more_channels: int
    nbr_more_problems: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def is_readable(inspection: Inspection) -> bool:
    """Whether anything could be read: a message, or a whole recording that has none."""
    if inspection.message_count:
        return True
    is_damaged = any(problem.is_loss for problem in inspection.problems)
    return not is_damaged and any(file.format is not None for file in inspection.files)


def nothing_read(uri: str, inspection: Inspection) -> BadInputError:
    """The error for a recording of which nothing could be read."""
    if not inspection.problems:
        return BadInputError(f"{uri}: holds no recording", reason="not_found")
    first = next((p for p in inspection.problems if p.is_loss), inspection.problems[0])
    return BadInputError(
        f"{first.uri}: {first.detail} (byte {first.start_byte})", reason=first.reason, byte_offset=first.start_byte
    )
