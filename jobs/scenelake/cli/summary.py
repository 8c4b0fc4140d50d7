"""What a run of drops came to, as a person would want to read it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from scenelake.cli.follow import Followed, parse_time
from scenelake.cli.plain import plain
from scenelake.cli.upload import Upload
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.releases import Release
from scenelake.contracts.stages import Stage

MESSAGES_BY_SENSOR = """
SELECT coalesce(drive_name, a.drive_id) AS drive, channel, any_value(modality) AS modality,
       sum(nbr_messages) AS messages, sum(payload_bytes) AS bytes,
       sum(nbr_accepted) AS gold, sum(nbr_quarantined) AS quarantined, sum(nbr_rejected) AS rejected,
       sum(nbr_duplicate) AS duplicate, sum(nbr_unassigned) AS unassigned, sum(nbr_undecodable) AS undecodable
FROM message_account a LEFT JOIN drive v ON v.drive_id = a.drive_id
WHERE drop_id IN (SELECT unnest(?)) GROUP BY ALL ORDER BY drive, channel
"""

SYNC_BY_SENSOR = """
WITH native AS (
  SELECT drive_id, channel, sum(measured * nbr) / sum(nbr) AS middle, max(p99) AS p99, max(largest) AS largest
  FROM (SELECT drive_id, channel, measured, (evidence->>'nbr_reference')::DOUBLE AS nbr,
               (evidence->>'p99_abs_delta_ns')::DOUBLE AS p99, (evidence->>'max_abs_delta_ns')::DOUBLE AS largest
        FROM qc_measurement
        WHERE check_name = 'sync_error' AND measured IS NOT NULL AND drive_id IN (SELECT unnest($1)))
  WHERE nbr > 0 GROUP BY drive_id, channel)
SELECT drive_name AS drive, s.channel, count(*) FILTER (is_match) || ' of ' || count(*) AS matched,
       if(any_value(middle) IS NULL, 'keyframes', 'sweeps') AS "over",
       coalesce(any_value(middle), median(abs(delta_ns))) / 1e6 AS median,
       coalesce(any_value(p99), quantile_cont(abs(delta_ns), 0.99)) / 1e6 AS p99,
       coalesce(any_value(largest), max(abs(delta_ns))) / 1e6 AS max
FROM sync_index s JOIN drive v ON v.drive_id = s.drive_id
LEFT JOIN native n ON (n.drive_id, n.channel) = (s.drive_id, s.channel)
WHERE s.drive_id IN (SELECT unnest($1)) GROUP BY drive_name, s.channel ORDER BY drive_name, s.channel
"""
"""Errors are of the nearest message to every reference sweep while both sensors run (scenes weighted by sweeps), and
where quality did not measure that, to every keyframe; matches are at keyframes, within tolerance."""

VERDICTS = """
SELECT verdict, check_name, count(*) AS results, any_value(channel) AS "for example", any_value(reason) AS reason
FROM qc_result WHERE drive_id IN (SELECT unnest(?)) AND verdict NOT IN ('pass', 'unknown') GROUP BY check_name, verdict
UNION ALL
SELECT 'pass', count(DISTINCT check_name) || ' checks', count(*), NULL, NULL
FROM qc_measurement m ANTI JOIN qc_result q ON m.scene_id = q.scene_id AND m.check_name = q.check_name
AND m.channel IS NOT DISTINCT FROM q.channel
WHERE m.drive_id IN (SELECT unnest(?)) AND m.measured IS NOT NULL HAVING count(*) > 0
"""

_TEXT_COLUMNS = ("drive", "over", "channel", "for example", "modality", "method", "check_name", "verdict", "reason")

_FATES = ("quarantined", "rejected", "duplicate", "unassigned", "undecodable")

SCENES = """
SELECT count(*), coalesce(sum(nbr_samples), 0), coalesce(sum(exclusive_end_ns - start_ns), 0) / 1e9
FROM scene WHERE drive_id IN (SELECT unnest(?))
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the run came to what it should, and if not, why."""

    is_good: bool
    reasons: tuple[str, ...]


def judge(drops: Sequence[Drop | None], nbr_scenes: int) -> Verdict:
    """Good means: every drop ended, none was rejected, and at least one scene is in gold."""
    reasons = []
    unfinished = sum(d is None or not d.state.is_terminal for d in drops)
    if unfinished:
        reasons.append(f"{unfinished} drop(s) reached no terminal state")
    rejected = [d for d in drops if d is not None and d.state is DropState.REJECTED]
    reasons += [f"{d.uri} was rejected: {d.reason}" for d in rejected]
    if nbr_scenes == 0:
        reasons.append("no scene of these drops is in gold")
    return Verdict(not reasons, tuple(reasons))


def count_scenes(connection: duckdb.DuckDBPyConnection | None, drive_ids: Sequence[str]) -> tuple[int, int, float]:
    """Scenes, samples and seconds of these drives in the attached release."""
    if connection is None:
        return 0, 0, 0.0
    row = connection.execute(SCENES, [list(drive_ids)]).fetchone()
    return (int(row[0]), int(row[1]), float(row[2])) if row else (0, 0, 0.0)


def print_summary(
    console: Console,
    uploads: Sequence[Upload],
    seen: Followed,
    release: Release | None,
    connection: duckdb.DuckDBPyConnection | None,
) -> None:
    """Prints drops, scenes, sensors, synchronisation, verdicts, timing and the release."""
    drops = [seen.drops[u.drop_id] for u in uploads if u.drop_id in seen.drops]
    _print_drops(console, uploads, seen)
    if connection is not None and release is not None:
        drive_ids = sorted({d.drive_id for d in drops if d.drive_id})
        scenes, samples, seconds = count_scenes(connection, drive_ids)
        console.print(f"\n[bold]Gold[/]: {scenes} scenes, {samples} samples (keyframes), {seconds:.1f} s of driving")
        drop_ids = [d.drop_id for d in drops]
        _print_query(console, "Messages by sensor", connection, MESSAGES_BY_SENSOR, [drop_ids])
        _print_query(console, "Synchronisation error by sensor, ms", connection, SYNC_BY_SENSOR, [drive_ids])
        _print_query(console, "Quality verdicts", connection, VERDICTS, [drive_ids, drive_ids])
    _print_timing(console, uploads, seen, release)
    if release is not None and release.batch_id in {d.batch_id for d in drops}:
        _print_release(console, release)
    elif release is not None:
        console.print(f"\nNo release came of these drops; the newest is {release.release_id}.", highlight=False)


def _print_drops(console: Console, uploads: Sequence[Upload], seen: Followed) -> None:
    states = Counter(str(seen.drops[u.drop_id].state) if u.drop_id in seen.drops else "LANDED" for u in uploads)
    table = Table(title="Drops: " + ", ".join(f"{n} {s}" for s, n in sorted(states.items())), title_justify="left")
    for name in ("file", "state", "reason"):
        table.add_column(name, overflow="fold")
    table.add_column("size", justify="right")
    for upload in uploads:
        drop = seen.drops.get(upload.drop_id)
        state, reason = (str(drop.state), drop.reason or "") if drop else ("LANDED", "no event was received")
        table.add_row(plain(upload.uri), state, plain(reason), human_bytes(upload.size_bytes))
    console.print(table)


def _print_query(
    console: Console, title: str, connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any]
) -> None:
    cursor = connection.execute(sql, parameters)
    names = [column[0] for column in cursor.description or []]
    rows = cursor.fetchall()
    kept = [i for i, name in enumerate(names) if _tells_something(name, {row[i] for row in rows})]
    if rows:
        console.print(rows_table(title, [names[i] for i in kept], [[row[i] for i in kept] for row in rows]))


def _tells_something(name: str, values: set[Any]) -> bool:
    """Whether a column is worth its width: counts that are 0 throughout, and the only drive's name, are not."""
    return len(values) > 1 if name == "drive" else name not in _FATES or any(values)


def rows_table(title: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Rows of a query as a table for a terminal."""
    table = Table(title=title, title_justify="left")
    for name in names:
        is_text = name in _TEXT_COLUMNS
        table.add_column(plain(name), justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_text(name, value) for name, value in zip(names, row, strict=True)))
    return table


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "bytes":
        return human_bytes(int(value))
    if isinstance(value, bytes):
        return f"({human_bytes(len(value))})"
    return f"{value:.2f}" if isinstance(value, float) else plain(str(value))


def put_to_gold_seconds(upload: Upload, seen: Followed) -> float | None:
    """From the put's return to the end of serialise (the release is readable), or None when unknown."""
    end = _stage_end(upload, seen, Stage.SERIALISE)
    return None if end is None else end - upload.put_at_ns / 1e9


def _stage_end(upload: Upload, seen: Followed, stage: Stage) -> float | None:
    drop = seen.drops.get(upload.drop_id)
    if drop is None or not drop.batch_id or drop.state is not DropState.BUILT:
        return None
    for task in seen.tasks.get(ids.run_id(drop.batch_id, drop.attempt), ()):
        if task.task_id == stage and task.end:
            return parse_time(task.end).timestamp()
    return None


def _print_timing(console: Console, uploads: Sequence[Upload], seen: Followed, release: Release | None) -> None:
    spans = [s for u in uploads if (s := put_to_gold_seconds(u, seen)) is not None]
    if not spans:
        return
    console.print(
        f"\n[bold]PUT → gold[/]: p50 {median(spans):.1f} s, longest {max(spans):.1f} s, of {len(spans)} drop(s), "
        "to the end of serialise, when the release can be read"
    )
    table = Table(title="Where the time goes (first drop of each run)", title_justify="left")
    for name in ("step", "starts after the put", "takes"):
        table.add_column(name, justify="left" if name == "step" else "right")
    shown: set[str] = set()
    for upload in uploads:
        drop = seen.drops.get(upload.drop_id)
        run = ids.run_id(drop.batch_id, drop.attempt) if drop and drop.batch_id else None
        if drop is None or run is None or run in shown:
            continue
        shown.add(run)
        put = upload.put_at_ns / 1e9
        table.add_row("registered in the ledger", f"{drop.received_at_ns / 1e9 - put:.1f} s", "")
        for task in sorted(seen.tasks.get(run, ()), key=lambda t: t.start or ""):
            if task.start and task.end:
                start, end = parse_time(task.start).timestamp(), parse_time(task.end).timestamp()
                table.add_row(task.task_id, f"{start - put:.1f} s", f"{end - start:.1f} s")
    console.print(table)


def _print_release(console: Console, release: Release) -> None:
    table = Table(title=f"Release {release.release_id} (parent {release.parent or 'none'})", title_justify="left")
    for name in ("table", "rows", "snapshot id"):
        table.add_column(name, justify="left" if name == "table" else "right")
    for name, pin in sorted(release.tables.items()):
        table.add_row(name, str(pin.nbr_rows), str(pin.snapshot_id))
    console.print(table)
    console.print(
        f"{len(release.delta.added)} scenes added, {len(release.delta.replaced)} replaced, "
        f"{len(release.delta.removed)} removed; merkle root {release.merkle_root[:16]}…"
    )


def human_bytes(size: int) -> str:
    """A size a person can read, in powers of 1024."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
