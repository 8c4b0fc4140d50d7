"""``scenelake inspect``: looks at a recording wherever it lies, and shows what it holds."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from scenelake.adapters.recordings import NO_RECORDING, RecordingObject, Recordings
from scenelake.cli.plain import plain
from scenelake.cli.summary import human_bytes
from scenelake.contracts.errors import BadInputError
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.overview import Overview, Summarised
from scenelake.decode.inspection import ChannelInspection, Inspection, is_readable, nothing_read
from scenelake.decode.inspector import Inspector
from scenelake.runtime.settings import Settings

LOCAL_INDEX_READS = 4_096
REMOTE_INDEX_READS = 64
"""Chunks of one object whose message indexes a quick look reads: each is a request of its own in S3."""

_MAX_SHOWN = 20

Told = Callable[[int, int], None]


def inspect_recording(
    location: str, settings: Settings, *, is_deep: bool = False, told: Told | None = None
) -> Inspection:
    """Looks at a file, or at all below a folder, on disk or in S3.

    Args:
        is_deep: read every byte and decode every message, whatever the index says.
        told: called with bytes read so far, and their total.

    Raises:
        BadInputError: there is nothing there, or nothing of it can be read.
        ConfigurationError: S3 wants credentials, or others.
    """
    recordings, inspector = Recordings(settings), Inspector(is_deep=is_deep)
    found = recordings.find(location)
    total, done = sum(each.size_bytes for each in found), 0
    for each in found:
        _inspect_object(recordings, each, inspector, is_deep, partial(_tell, told, done, total))
        done += each.size_bytes
    inspection = inspector.inspection(location)
    if not is_readable(inspection):
        raise nothing_read(location, inspection)
    return inspection


def _tell(told: Told | None, done: int, total: int, at: int) -> None:
    if told is not None:
        told(done + at, total)


def _inspect_object(
    recordings: Recordings,
    found: RecordingObject,
    inspector: Inspector,
    is_deep: bool,
    progress: Callable[[int], None],
) -> None:
    config = DecodeConfig()
    try:
        overview, object_format = (None, "") if is_deep else _overview(recordings, found, config)
        if overview is not None:
            inspector.add_overview(found.uri, found.size_bytes, overview, object_format)
            return
        with recordings.reader(found, config) as reader:
            inspector.add_messages(found.uri, found.size_bytes, reader, progress)
    except BadInputError as error:
        if error.reason in NO_RECORDING and not found.is_named:
            inspector.add_other()
        else:
            inspector.add_bad(found.uri, found.size_bytes, error)


def _overview(recordings: Recordings, found: RecordingObject, config: DecodeConfig) -> tuple[Overview | None, str]:
    reads = REMOTE_INDEX_READS if found.uri.startswith("s3://") else LOCAL_INDEX_READS
    with recordings.reader(found, config, is_sparse=True) as reader:
        return (reader.overview(reads) if isinstance(reader, Summarised) else None), reader.format


def print_inspection(console: Console, location: str, settings: Settings, *, is_deep: bool, as_json: bool) -> None:
    """Prints what is in a recording, as tables or as one JSON object (docs/inspect.md)."""
    with _bar(console, is_hidden=as_json) as told:
        inspection = inspect_recording(location, settings, is_deep=is_deep, told=told)
    if as_json:
        typer.echo(json.dumps(inspection.to_json(), indent=1))
        return
    _print_head(console, inspection)
    console.print(_channels_table(inspection))
    if inspection.nbr_more_channels:
        console.print(f"… and {inspection.nbr_more_channels} more channels")
    _print_gaps(console, inspection)
    _print_problems(console, inspection)
    for note in dict.fromkeys(f.not_verified for f in inspection.files if f.not_verified):
        console.print(f"not verified: {note} (--deep reads and decodes all)", markup=False, highlight=False)


@contextmanager
def _bar(console: Console, *, is_hidden: bool) -> Iterator[Told]:
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=is_hidden or not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_head(console: Console, inspection: Inspection) -> None:
    lines = [
        ("format", f"{', '.join(inspection.formats)}, compression {', '.join(inspection.compressions) or 'unknown'}"),
        ("size", f"{human_bytes(inspection.size_bytes)} in {len(inspection.files)} file(s)"),
        ("messages", f"{inspection.message_count} in {len(inspection.channels)} channel(s)"),
    ]
    lost = sum(f.lost_message_count for f in inspection.files)
    if lost:
        lines.append(("lost", f"{lost} messages that the index counts"))
    if inspection.nbr_other_files:
        lines.append(("other files", f"{inspection.nbr_other_files} that are no recordings"))
    if inspection.start_ns is not None and inspection.last_ns is not None:
        lines.append(("time", f"{_utc(inspection.start_ns)} to {_utc(inspection.last_ns)}"))
        lines.append(("duration", f"{(inspection.last_ns - inspection.start_ns) / 1e9:.3f} s"))
    lines += [("header", _pairs(inspection.header))] if inspection.header else []
    lines += [(f"metadata {name}", _pairs(values)) for name, values in inspection.metadata.items()]
    console.print(f"[bold]{plain(inspection.uri)}[/]", highlight=False, soft_wrap=True)
    for name, text in lines[:_MAX_SHOWN]:
        console.print(f"  {plain(name)}: {plain(text)}", highlight=False, soft_wrap=True)
    if len(lines) > _MAX_SHOWN:
        console.print(f"  … and {len(lines) - _MAX_SHOWN} more metadata records (--json has all)")


def _channels_table(inspection: Inspection) -> Table:
    is_decoded = any(c.decoded is not None for c in inspection.channels)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, width in (("topic", 26), ("type", 26), ("encoding, schema", 8), ("table", 12)):
        table.add_column(name, overflow="fold", min_width=width)
    for name in ("messages", "Hz", "from s", "to s", "gaps", "bytes"):
        table.add_column(name, justify="right")
    if is_decoded:
        table.add_column("decoded", justify="right")
        table.add_column("not decoded", overflow="fold")
    for channel in inspection.channels:
        table.add_row(*(plain(cell) for cell in _cells(channel, inspection.start_ns or 0)))
    return table


def _cells(channel: ChannelInspection, start_ns: int) -> list[str]:
    cells = [
        channel.topic,
        channel.schema_name,
        f"{channel.message_encoding}, {channel.schema_encoding or 'no schema'}",
        channel.table if channel.raw_reason is None else f"{channel.table}: {channel.raw_reason}",
        _count(channel),
        "?" if channel.rate_hz is None else f"{channel.rate_hz:.2f}",
        *("?" if at is None else f"{(at - start_ns) / 1e9:.3f}" for at in (channel.start_ns, channel.last_ns)),
        "?" if channel.nbr_gaps is None else str(channel.nbr_gaps),
        "?" if channel.payload_bytes is None else human_bytes(channel.payload_bytes),
    ]
    if channel.decoded is not None:
        kept = [f"{n} {name}" for n, name in ((channel.raw, "raw"), (channel.undecodable, "undecodable")) if n]
        cells += [str(channel.decoded), ", ".join([*kept, *(f"{r}: {n}" for r, n in channel.reasons.items())])]
    return cells


def _count(channel: ChannelInspection) -> str:
    if channel.recorded_message_count in (None, channel.message_count):
        return str(channel.message_count)
    return f"{channel.message_count} of {channel.recorded_message_count}"


def _print_gaps(console: Console, inspection: Inspection) -> None:
    gaps = [(channel.topic, gap) for channel in inspection.channels for gap in channel.gaps or ()]
    gaps.sort(key=lambda g: g[1].start_ns - g[1].end_ns)
    start_ns = inspection.start_ns or 0
    for topic, gap in gaps[:_MAX_SHOWN]:
        at = f"{(gap.start_ns - start_ns) / 1e9:.3f}"
        text = f"gap of {(gap.end_ns - gap.start_ns) / 1e9:.3f} s at {at} s: {topic}"
        console.print(plain(text), highlight=False, soft_wrap=True)


def _print_problems(console: Console, inspection: Inspection) -> None:
    for problem in inspection.problems[:_MAX_SHOWN]:
        colour = "red" if problem.is_loss else "yellow"
        where = f"bytes {problem.start_byte} to {problem.exclusive_end_byte}"
        text = f"{problem.reason}: {problem.detail} ({where} of {problem.uri})"
        console.print(f"[{colour}]problem[/] {plain(text)}", highlight=False, soft_wrap=True)
    more = len(inspection.problems) - _MAX_SHOWN + inspection.nbr_more_problems
    if more > 0:
        console.print(f"… and {more} more problems (--json has up to 1000)")


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _utc(time_ns: int) -> str:
    try:
        seconds = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"
    return f"{seconds}.{time_ns % 1_000_000_000:09d} UTC"
