"""Streams of stamped messages into one MCAP file, in recording order."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.contracts.errors import BadInputError
from scenelake.convert.report import ConversionReport, Progress, TopicReport

STAMP_RULE = "header stamp = publish time = log time = the recorded stamp"
PROGRESS_STEP = 256


@dataclass(frozen=True)
class Stream:
    """One topic: its stamps in the order they were recorded, and how to make each message.

    Attributes:
        topic: MCAP topic.
        type_name: ROS type, or the name of ``json_schema``.
        stamps_ns: int64, one per message, in recording order; need not rise.
        build: message by position; called once each, in order, so that payloads are read one at a time.
        json_schema: given for JSON channels.
        metadata: MCAP channel metadata.
        nbr_source_rows: rows of the source that the messages hold; the number of messages unless said.
    """

    topic: str
    type_name: str
    stamps_ns: npt.NDArray[np.int64]
    build: Callable[[int], Any]
    json_schema: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    nbr_source_rows: int | None = None


@dataclass(frozen=True)
class Recording:
    """Everything that one MCAP file will hold.

    Attributes:
        dataset: name of the converter.
        source: folder that was recognised as the recording.
        streams: topics; those without messages are left out of the file.
        drive: the ``scenelake.drive`` metadata record.
        records: further metadata records by name.
        remarks: everything odd; kept in the ``scenelake.conversion`` record as well as in the report.
    """

    dataset: str
    source: Path
    streams: Sequence[Stream]
    drive: Mapping[str, str]
    records: Mapping[str, Mapping[str, str]]
    remarks: Sequence[str]


def stamps(values: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64 array of stamps in ns."""
    return np.asarray(values, dtype=np.int64)


def recording_order(streams: Sequence[Stream]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """File order of all messages: (stream position, message position), each int64 ``[total]``.

    Streams are merged by stamp. Within a stream the recorded order is kept, also where its stamps go backwards:
    a message that jumps back comes right after the one before it. Ties go to the stream that is listed first.
    """
    owners = [np.full(len(stream.stamps_ns), i, dtype=np.int64) for i, stream in enumerate(streams)]
    positions = [np.arange(len(stream.stamps_ns), dtype=np.int64) for stream in streams]
    running = [np.maximum.accumulate(stream.stamps_ns) for stream in streams]
    owner, position = np.concatenate(owners), np.concatenate(positions)
    order = np.lexsort((position, owner, np.concatenate(running)))
    return owner[order], position[order]


def write_recording(recording: Recording, out: Path, progress: Progress | None = None) -> ConversionReport:
    """Writes the file beside ``out`` under another name and renames it at the end.

    Raises:
        BadInputError: there is no message at all, a stamp is negative, or a payload file turns out bad.
    """
    streams = [stream for stream in recording.streams if len(stream.stamps_ns)]
    if not streams:
        raise BadInputError(f"{recording.source}: nothing in it can be converted", reason="empty_recording")
    for stream in streams:
        if int(stream.stamps_ns.min()) < 0:
            raise BadInputError(
                f"{stream.topic}: stamp {int(stream.stamps_ns.min())} ns is negative; MCAP times are unsigned",
                reason="negative_stamp",
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        with RecordingWriter(partial) as writer:
            _write_all(writer, recording, streams, progress)
        os.replace(partial, out)
    except BaseException:
        with suppress(FileNotFoundError):
            partial.unlink()
        raise
    topics = sorted((_topic_report(stream) for stream in streams), key=lambda topic: topic.topic)
    return ConversionReport(recording.dataset, recording.source, out, tuple(topics), tuple(recording.remarks))


def _write_all(
    writer: RecordingWriter, recording: Recording, streams: Sequence[Stream], progress: Progress | None
) -> None:
    for stream in streams:
        if stream.json_schema is None:
            writer.add_ros_channel(stream.topic, stream.type_name, stream.metadata)
        else:
            writer.add_json_channel(stream.topic, stream.type_name, stream.json_schema, stream.metadata)
    writer.add_metadata("scenelake.drive", dict(sorted(recording.drive.items())))
    conversion = {"dataset": recording.dataset, "stamps": STAMP_RULE, "remarks": json.dumps(list(recording.remarks))}
    writer.add_metadata("scenelake.conversion", conversion)
    for name, values in sorted(recording.records.items()):
        writer.add_metadata(name, dict(sorted(values.items())))
    owners, positions = recording_order(streams)
    total = len(owners)
    for done, (owner, position) in enumerate(zip(owners.tolist(), positions.tolist(), strict=True), start=1):
        stream = streams[owner]
        writer.write(stream.topic, stream.build(position), int(stream.stamps_ns[position]))
        if progress is not None and (done % PROGRESS_STEP == 0 or done == total):
            progress(done / total)


def _topic_report(stream: Stream) -> TopicReport:
    count = len(stream.stamps_ns)
    return TopicReport(
        topic=stream.topic,
        type_name=stream.type_name,
        nbr_messages=count,
        nbr_source_rows=count if stream.nbr_source_rows is None else stream.nbr_source_rows,
        start_ns=int(stream.stamps_ns.min()),
        end_ns=int(stream.stamps_ns.max()),
    )
