"""Looks at the objects of one recording and sums them up as an ``Inspection``, in memory that they do not set."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import PAYLOAD_TABLE, MessageStatus, Modality
from scenelake.contracts.stages import Problem
from scenelake.decode.channels import ChannelDecoder
from scenelake.decode.formats.block_groups import grouped
from scenelake.decode.formats.blocks import Block, Definition, Findings, Reader
from scenelake.decode.formats.mcap_problems import HARMLESS_REASONS
from scenelake.decode.formats.overview import Compressed, Overview
from scenelake.decode.inspection import ChannelInspection, FileInspection, FileProblem, Inspection, Mode
from scenelake.decode.time_line import TimeLine

MAX_CHANNELS = 10_000
MAX_PROBLEMS = 1_000
MAX_METADATA_NAMES = 1_000

Progress = Callable[[int], None]


@dataclass(slots=True)
class _Seen:
    """One channel while it is looked at; ``has_all_times`` once fails for good."""

    definition: Definition
    decoder: ChannelDecoder
    line: TimeLine = field(default_factory=TimeLine)
    message_count: int = 0
    recorded_message_count: int | None = 0
    payload_bytes: int | None = 0
    has_all_times: bool = True
    is_start_known: bool = True
    is_end_known: bool = True
    statuses: Counter[MessageStatus] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def count_recorded(self, count: int | None) -> None:
        """Adds an object's own count; None for one that has none."""
        if count is None or self.recorded_message_count is None:
            self.recorded_message_count = None
        else:
            self.recorded_message_count += count

    def inspection(self, *, is_decoded: bool) -> ChannelInspection:
        schema, channel, line = self.definition.schema, self.definition.channel, self.line
        step_ns = line.median_step_ns
        modality, raw_reason = self.decoder.assumed_modality, self.decoder.raw_reason
        if raw_reason is None and modality is Modality.RAW:
            raw_reason = "modality_unknown"
        return ChannelInspection(
            topic=channel.topic,
            schema_name=self.decoder.schema_name,
            message_encoding=channel.message_encoding,
            schema_encoding=schema.encoding if schema else None,
            metadata=channel.metadata,
            table=PAYLOAD_TABLE[modality],
            raw_reason=raw_reason,
            message_count=self.message_count,
            recorded_message_count=self.recorded_message_count,
            start_ns=line.start_ns if self.is_start_known else None,
            last_ns=line.last_ns if self.is_end_known else None,
            median_step_ns=step_ns,
            rate_hz=round(1e9 / step_ns, 3) if step_ns else None,
            nbr_out_of_order=line.nbr_out_of_order if self.has_all_times else None,
            nbr_gaps=line.nbr_gaps if self.has_all_times else None,
            gaps=line.gaps if self.has_all_times else None,
            payload_bytes=self.payload_bytes,
            decoded=self.statuses[MessageStatus.DECODED] if is_decoded else None,
            raw=self.statuses[MessageStatus.RAW] if is_decoded else None,
            undecodable=self.statuses[MessageStatus.UNDECODABLE] if is_decoded else None,
            reasons=dict(sorted(self.reasons.items())),
        )


_Key = tuple[str, str, str, str | None]


class Inspector:
    """Looks at the objects of one recording, one after the other, in the order in which they were recorded.

    Args:
        is_deep: decode every message.
    """

    def __init__(self, *, is_deep: bool = False) -> None:
        self._is_deep = is_deep
        self._channels: dict[_Key, _Seen] = {}
        self._unlisted: set[_Key] = set()
        self._files: list[FileInspection] = []
        self._problems: list[FileProblem] = []
        self._nbr_more_problems = 0
        self._nbr_other_files = 0
        self._start_ns: int | None = None
        self._last_ns: int | None = None
        self._header: dict[str, str] = {}
        self._metadata: dict[str, dict[str, str]] = {}

    def add_overview(self, uri: str, size_bytes: int, overview: Overview, object_format: str) -> None:
        """Takes an object by its index."""
        for channel_id, count in overview.message_counts.items():
            if (seen := self._seen(overview.definitions[channel_id])) is not None:
                seen.message_count += count
                seen.count_recorded(count)
                seen.payload_bytes = None
                seen.has_all_times &= overview.is_complete
                seen.is_start_known &= channel_id in overview.start_known
                seen.is_end_known &= channel_id in overview.end_known
        for ids, times in overview.times:
            if not len(ids):
                for other in self._channels.values():
                    other.line.interrupt()
            for channel_id in np.unique(ids).tolist():
                if (timed := self._seen(overview.definitions[channel_id])) is not None:
                    timed.line.add(times[ids == channel_id])
        self._span(overview.start_ns, overview.last_ns)
        self._describe(overview.header, overview.metadata)
        total = sum(overview.message_counts.values())
        self._files.append(
            FileInspection(
                uri=uri,
                format=object_format,
                mode=Mode.INDEX,
                size_bytes=size_bytes,
                compressions=tuple(sorted(overview.compressions)),
                message_count=total,
                recorded_message_count=total,
                lost_message_count=0,
                not_verified=f"{overview.note}; messages and their checksums were not",
            )
        )

    def add_messages(self, uri: str, size_bytes: int, reader: Reader, progress: Progress | None = None) -> None:
        """Reads an object to its end; ``progress`` is called with the byte of the object that was come to."""
        counts: Counter[int] = Counter()
        decoders: dict[int, ChannelDecoder] = {}
        try:
            for block in grouped(reader.blocks()):
                self._take(block, counts, decoders)
                if progress is not None and len(block):
                    progress(int(block.chunk_offset_bytes[-1]))
        except BadInputError as error:
            if not counts and not reader.findings.problems:
                raise
            at = error.byte_offset or 0
            reader.findings.problems.append(Problem(error.reason, str(error), at, size_bytes))
        findings = reader.findings
        for channel_id in sorted({*counts, *findings.lost, *(findings.recorded or {})}):
            if (seen := self._seen(findings.definitions[channel_id])) is not None:
                seen.count_recorded(None if findings.recorded is None else findings.recorded.get(channel_id, 0))
        self._describe(findings.header, findings.metadata)
        for problem in [*findings.problems, *_contradictions(findings, counts)]:
            self._report(uri, problem)
        self._files.append(
            FileInspection(
                uri=uri,
                format=reader.format,
                mode=Mode.DEEP if self._is_deep else Mode.SCAN,
                size_bytes=size_bytes,
                compressions=tuple(sorted(reader.compressions)) if isinstance(reader, Compressed) else (),
                message_count=counts.total(),
                recorded_message_count=None if findings.recorded is None else sum(findings.recorded.values()),
                lost_message_count=sum(findings.lost.values()),
                not_verified=None if self._is_deep else "messages were not decoded",
            )
        )

    def add_bad(self, uri: str, size_bytes: int, error: BadInputError) -> None:
        """Takes an object that cannot be read at all."""
        at = error.byte_offset or 0
        self._report(uri, Problem(error.reason, str(error), at, max(size_bytes, at)))
        self._files.append(FileInspection(uri, None, None, size_bytes, (), 0, None, 0, None))

    def add_other(self) -> None:
        """Counts an object that is no recording."""
        self._nbr_other_files += 1

    def inspection(self, uri: str) -> Inspection:
        """What was seen so far, channels by topic."""
        files = self._files
        has_span = self._start_ns is not None and self._last_ns is not None
        return Inspection(
            uri=uri,
            formats=tuple(sorted({f.format for f in files if f.format})),
            modes=tuple(sorted({f.mode for f in files if f.mode})),
            compressions=tuple(sorted({c for f in files for c in f.compressions})),
            size_bytes=sum(f.size_bytes for f in files),
            message_count=sum(f.message_count for f in files),
            start_ns=self._start_ns,
            last_ns=self._last_ns,
            duration_ns=(self._last_ns or 0) - (self._start_ns or 0) if has_span else None,
            header=self._header,
            metadata=self._metadata,
            channels=tuple(
                self._channels[key].inspection(is_decoded=self._is_deep) for key in sorted(self._channels, key=_order)
            ),
            problems=tuple(self._problems),
            files=tuple(files),
            nbr_other_files=self._nbr_other_files,
            nbr_more_channels=len(self._unlisted),
            nbr_more_problems=self._nbr_more_problems,
        )

    def _take(self, block: Block, counts: Counter[int], decoders: dict[int, ChannelDecoder]) -> None:
        if len(block):
            self._span(int(block.log_time_ns.min()), int(block.log_time_ns.max()))
        for definition, rows in block.runs():
            counts[definition.channel.channel_id] += len(rows)
            seen = self._seen(definition)
            if seen is None:
                continue
            seen.message_count += len(rows)
            seen.line.add(block.log_time_ns[rows])
            if seen.payload_bytes is not None:
                seen.payload_bytes += int((block.exclusive_end[rows] - block.start[rows]).sum())
            if self._is_deep:
                self._decode(seen, definition, decoders, block, rows)

    def _decode(
        self, seen: _Seen, definition: Definition, decoders: dict[int, ChannelDecoder], block: Block, rows: np.ndarray
    ) -> None:
        decoder = decoders.get(definition.channel.channel_id)
        if decoder is None or decoder.definition != definition:
            # What a decoder learns of a channel, it learns for one object: so does the stage.
            decoder = decoders[definition.channel.channel_id] = ChannelDecoder(definition)
            seen.decoder = decoder
        for piece in decoder.decode(block, rows):
            seen.statuses[piece.status] += len(piece.rows)
            seen.reasons.update(piece.reason.values())

    def _seen(self, definition: Definition) -> _Seen | None:
        channel, schema = definition.channel, definition.schema
        name = schema.name if schema else ""
        key = (channel.topic, name, channel.message_encoding, schema.encoding if schema else None)
        seen = self._channels.get(key)
        if seen is None and len(self._channels) < MAX_CHANNELS:
            seen = self._channels[key] = _Seen(definition, ChannelDecoder(definition))
        elif seen is None and len(self._unlisted) < MAX_CHANNELS:
            self._unlisted.add(key)
        return seen

    def _span(self, start_ns: int | None, last_ns: int | None) -> None:
        if start_ns is not None:
            self._start_ns = start_ns if self._start_ns is None else min(self._start_ns, start_ns)
        if last_ns is not None:
            self._last_ns = last_ns if self._last_ns is None else max(self._last_ns, last_ns)

    def _describe(self, header: dict[str, str], metadata: dict[str, dict[str, str]]) -> None:
        self._header = self._header or header
        for name, values in metadata.items():
            if name in self._metadata or len(self._metadata) < MAX_METADATA_NAMES:
                self._metadata.setdefault(name, {}).update(values)

    def _report(self, uri: str, problem: Problem) -> None:
        if len(self._problems) >= MAX_PROBLEMS:
            self._nbr_more_problems += 1
            return
        self._problems.append(FileProblem(uri, **asdict(problem), is_loss=problem.reason not in HARMLESS_REASONS))


def _order(key: _Key) -> tuple[str, ...]:
    return tuple(part or "" for part in key)


def _contradictions(findings: Findings, counts: Counter[int]) -> Iterable[Problem]:
    """The object's own counts that are not what was read, where nothing else explains it."""
    if findings.recorded is None or any(p.reason not in HARMLESS_REASONS for p in findings.problems):
        return
    for channel_id in sorted({*findings.recorded, *counts}):
        recorded, read = findings.recorded.get(channel_id, 0), counts[channel_id]
        if recorded != read:
            topic = findings.definitions[channel_id].channel.topic
            detail = f"{topic}: the recording counts {recorded} messages, {read} were read"
            yield Problem("statistics_contradicted", detail, 0, 0)
