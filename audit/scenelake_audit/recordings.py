"""Counts the messages of a raw object without a word from the pipeline."""

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import zstandard
from mcap.exceptions import McapError
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader

_BROKEN = (
    McapError, EOFError, ValueError, KeyError, IndexError, OverflowError, struct.error, RuntimeError,
    zstandard.ZstdError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recording:
    """Messages by topic, and where the reference reader gave up.

    Attributes:
        problem: None for an intact recording; otherwise ``counts`` holds what came before the damage.
    """

    counts: dict[str, int]
    problem: str | None


def count_messages(path: Path) -> Recording:
    """Reads an MCAP file from front to end, chunk by chunk, checking CRCs."""
    topics: dict[int, str] = {}
    counts: Counter[str] = Counter()
    try:
        with path.open("rb") as file:
            for record in StreamReader(file, validate_crcs=True).records:
                if isinstance(record, Channel):
                    topics.setdefault(record.id, record.topic)
                elif isinstance(record, Message):
                    counts[topics[record.channel_id]] += 1
    except _BROKEN as error:
        return Recording(dict(counts), f"{type(error).__name__}: {error}")
    return Recording(dict(counts), None)
