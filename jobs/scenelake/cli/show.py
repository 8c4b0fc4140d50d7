"""What a release holds."""

import base64
import json
from pathlib import Path

import duckdb
from rich.console import Console

from scenelake.cli.stack_commands import Workspace
from scenelake.cli.summary import rows_table
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.releases import Release

SCENES = """
SELECT left(s.scene_id, 8) AS scene, d.drive_name AS drive,
       strftime(make_timestamp(s.start_ns // 1000), '%Y-%m-%d %H:%M:%S') AS start,
       (s.exclusive_end_ns - s.start_ns) / 1e9 AS seconds, s.nbr_samples AS samples, r.verdict, s.task
FROM scene s JOIN drive d USING (drive_id) JOIN release_scene r USING (scene_id) ORDER BY s.start_ns, s.scene_id
"""

SENSORS = """
SELECT d.channel, d.modality, count(*) AS messages, sum(d.payload_bytes) AS bytes, count(DISTINCT d.scene_id) AS scenes,
       any_value(d.payload_table) AS payload_table
FROM sample_data d GROUP BY d.channel, d.modality ORDER BY d.modality, d.channel
"""

MIDDLE_SAMPLE = """
SELECT s.sample_id FROM sample s LEFT JOIN sync_index i ON i.sample_id = s.sample_id AND i.is_match
GROUP BY s.sample_id, s.timestamp_ns
ORDER BY count(DISTINCT i.modality) DESC, count(i.channel) DESC,
         abs(s.timestamp_ns - (SELECT median(timestamp_ns) FROM sample)) LIMIT 1
"""


def show_release(
    console: Console,
    workspace: Workspace,
    release_id: str | None,
    *,
    sample: str | None,
    picture: Path | None,
    sql: str | None,
    as_json: bool,
) -> None:
    """Prints a release as tables or JSON, runs a query over it, or draws one of its samples.

    Raises:
        BadInputError: when there is no such release or sample, or the query is wrong.
    """
    release = workspace.release(release_id)
    if release is None:
        raise BadInputError("there is no release yet: drop a recording first", reason="no_release")
    connection = workspace.attach(release)
    if picture is not None or sample is not None:
        from scenelake.cli.sample_view import SampleView

        target = picture or Path("sample.png")
        SampleView(connection, sample or _middle_sample(connection)).draw(target)
        console.print(f"wrote {target}")
        return
    if as_json and sql is None:
        console.print_json(json.dumps(release.to_json()))
        return
    if sql is not None:
        _print_rows(console, connection, "", sql, as_json=as_json)
        return
    console.print(
        f"[bold]Release {release.release_id}[/] · {len(release.scenes)} scenes · merkle root {release.merkle_root}"
    )
    _print_delta(console, release)
    _print_rows(console, connection, "Scenes", SCENES, as_json=False)
    _print_rows(console, connection, "Sensors", SENSORS, as_json=False)


def _print_delta(console: Console, release: Release) -> None:
    """What changed against the parent: which revision of a scene superseded which."""
    delta = release.delta
    console.print(
        f"against {release.parent or 'nothing'}: {len(delta.added)} scenes added, {len(delta.replaced)} superseded by "
        f"a new revision, {len(delta.removed)} removed",
        highlight=False,
    )
    revisions = [(scene[:8], old[:16], new[:16]) for scene, (old, new) in sorted(delta.replaced.items())]
    if revisions:
        console.print(rows_table("Superseded revisions", ("scene", "old", "new"), revisions))


def _print_rows(
    console: Console, connection: duckdb.DuckDBPyConnection, title: str, sql: str, *, as_json: bool
) -> None:
    try:
        cursor = connection.execute(sql)
    except duckdb.Error as error:
        raise BadInputError(f"query: {error}", reason="bad_query") from error
    names = [column[0] for column in cursor.description or []]
    rows = cursor.fetchall()
    if as_json:
        console.print_json(json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=_json))
    else:
        console.print(rows_table(title, names, rows))


def _json(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _middle_sample(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute(MIDDLE_SAMPLE).fetchone()
    if row is None:
        raise BadInputError("the release has no samples", reason="no_samples")
    return str(row[0])
