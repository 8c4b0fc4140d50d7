"""Drives and how far they are, for a terminal."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from scenelake.cli.plain import plain
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError
from scenelake.ledger.drive_status import DriveStatus, RecordingStatus, read_drive_status
from scenelake.ledger.protocol import Ledger

_SHOWN_PARTS = 5


def print_drives(console: Console, ledger: Ledger, quiet_seconds: int, *, as_json: bool) -> None:
    """Every drive with its state, oldest first."""
    by_drive: defaultdict[str, list[Drop]] = defaultdict(list)
    for drop in sorted(ledger.drops(), key=lambda d: d.received_at_ns):
        if drop.drive_id:
            by_drive[drop.drive_id].append(drop)
    found = [(_status(ledger, drops, quiet_seconds), drops) for drops in by_drive.values()]
    if as_json:
        console.print_json(json.dumps([asdict(status) for status, _ in found]))
        return
    counts = Counter(str(status.state) for status, _ in found)
    table = Table(title=", ".join(f"{n} {s}" for s, n in sorted(counts.items())) or "no drives", title_justify="left")
    for name in ("drive", "state", "drops", "recordings"):
        table.add_column(name, overflow="fold")
    for status, drops in found:
        states = Counter(str(d.state) for d in drops)
        table.add_row(
            plain(status.name),
            describe_state(status),
            ", ".join(f"{n} {s}" for s, n in sorted(states.items())),
            "\n".join(plain(describe_recording(r)) for r in status.recordings),
        )
    console.print(table)


def print_drive(console: Console, ledger: Ledger, name: str, quiet_seconds: int, *, as_json: bool) -> None:
    """One drive: its state, what its recordings wait for, and its drops.

    Args:
        name: ``<fleet>/<vehicle>/<drive>``.

    Raises:
        BadInputError: when nothing of such a drive has landed.
    """
    parts = name.strip("/").split("/")
    drops = list(ledger.drops(drive_id=ids.drive_id(*parts))) if len(parts) == 3 else []
    if not drops:
        raise BadInputError(
            f"--drive {name}: no drop of this drive; expected <fleet>/<vehicle>/<drive>, "
            "and `scenelake status --drives` lists them",
            reason="not_found",
        )
    status = _status(ledger, drops, quiet_seconds)
    if as_json:
        document = {"drive": asdict(status), "drops": [asdict(d) for d in drops]}
        console.print_json(json.dumps(document, default=str))
        return
    console.print(f"[bold]{plain(status.name)}[/] {describe_state(status)}\ndrive {status.drive_id}")
    for recording in status.recordings:
        console.print(f"• {describe_recording(recording)}", markup=False, highlight=False, soft_wrap=True)
    table = Table()
    for column in ("drop", "state", "file", "release", "reason"):
        table.add_column(column, overflow="fold")
    for d in drops:
        release = str(d.outcome.get("release_id") or "")
        file = "/".join(d.key.split("/")[3:])
        table.add_row(d.drop_id[:12], str(d.state), plain(file), release, plain(d.reason or ""))
    console.print(table)


def describe_state(status: DriveStatus) -> str:
    """``BUILT in r00000003``, ``BUILDING in batch b…``, ``OPEN, built before in r…``."""
    if status.batch:
        return f"{status.state} in batch {status.batch}"
    if status.release_id is None:
        return str(status.state)
    before = "" if status.state == "BUILT" else ", built before"
    return f"{status.state}{before} in {status.release_id}"


def describe_recording(status: RecordingStatus) -> str:
    """What of a recording is there, what is not, and until when it is waited for."""
    name = f"recording {status.recording!r}" if status.recording else "files in the drive itself"
    there = f"{status.nbr_objects} object(s)"
    if status.nbr_listed is not None:
        there = f"{status.nbr_listed - len(status.missing)} of {status.nbr_listed} listed parts"
    elif status.recording:
        there += ", no manifest"
    said = [f"{name}: {there}"]
    if status.missing:
        shown = ", ".join("/".join(key.split("/")[3:]) for key in status.missing[:_SHOWN_PARTS])
        said.append(f"missing: {shown}" + (", …" if len(status.missing) > _SHOWN_PARTS else ""))
    if status.waits:
        at = datetime.fromtimestamp(status.waits.quiet_at_ns // 1_000_000_000 + 1, UTC)
        said.append(f"built as it is at {at:%Y-%m-%d %H:%M:%S} unless more comes")
    return "; ".join(said)


def _status(ledger: Ledger, drops: Sequence[Drop], quiet_seconds: int) -> DriveStatus:
    return read_drive_status(ledger, drops, quiet_seconds * 1_000_000_000, time.time_ns())
