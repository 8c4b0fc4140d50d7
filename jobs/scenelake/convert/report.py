"""What a conversion did: counts and times by topic, and everything odd that was seen on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class TopicReport:
    """One topic of the written recording.

    Attributes:
        topic: MCAP topic.
        type_name: ROS type or JSON schema name.
        nbr_messages: messages written.
        nbr_source_rows: rows, lines or files of the source that those messages hold.
        start_ns: smallest stamp.
        end_ns: largest stamp (inclusive: it is a message's own stamp).
    """

    topic: str
    type_name: str
    nbr_messages: int
    nbr_source_rows: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class ConversionReport:
    """The outcome of one conversion.

    Attributes:
        dataset: name of the converter.
        source: folder that was recognised as the recording.
        out: file written.
        topics: one entry per topic that has messages, sorted by topic.
        remarks: everything that was odd, left out or assumed, with counts.
    """

    dataset: str
    source: Path
    out: Path
    topics: tuple[TopicReport, ...]
    remarks: tuple[str, ...]

    @property
    def nbr_messages(self) -> int:
        """Messages in the file, over all topics."""
        return sum(topic.nbr_messages for topic in self.topics)

    @property
    def start_ns(self) -> int:
        """Smallest stamp of all topics."""
        return min(topic.start_ns for topic in self.topics)

    @property
    def end_ns(self) -> int:
        """Largest stamp of all topics, inclusive."""
        return max(topic.end_ns for topic in self.topics)


Progress = Callable[[float], None]
"""Called with the share done, from 0 to 1."""


class Converter(Protocol):
    """Turns one recording of a dataset into one MCAP file.

    Raises:
        BadInputError: the source is not such a recording, or a file of it is malformed.
    """

    def __call__(self, source: Path, out: Path, *, progress: Progress | None = None) -> ConversionReport: ...
