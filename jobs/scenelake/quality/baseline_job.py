"""Fits what each robot's sensors usually look like, from the scenes of a release, and keeps it for later builds.

A file of baselines belongs to one release and is written once. A batch is judged by the newest one that was there
before the last of its drops, so building a drive again finds the same.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from scenelake.adapters.duckdb_reader import attach_table, connect
from scenelake.adapters.objects import s3_objects
from scenelake.adapters.release_reader import LATEST, open_release
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.quality.baseline import (
    BASELINE_SCHEMA,
    MIN_SCENES,
    baselines_from_parquet,
    baselines_to_parquet,
    fit,
    observations,
    version_of,
)
from scenelake.quality.catalogue import CATALOGUE
from scenelake.runtime.command import run_command
from scenelake.runtime.settings import Settings

log = logging.getLogger(__name__)

NBR_DAYS = 30
"""Long enough for every weather, short enough to follow a sensor that was exchanged."""

_DRIVES = """
SELECT drive_id, concat_ws('/', fleet, robot_id) AS robot_id FROM drive WHERE drive_date > $first ORDER BY 2, 1
"""
"""Fleets share names of vehicles."""
_MEASURED = """
SELECT q.drive_id, q.channel, q.check_name, q.check_version, q.measured, q.evidence FROM qc_measurement q
JOIN scene s USING (scene_id) WHERE q.drive_date > $first AND q.drive_id IN (SELECT unnest($drives))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Answers which file was written and what is in it."""
    parser = argparse.ArgumentParser(prog="scenelake-baselines", description="Fits baselines of robots' sensors.")
    parser.add_argument("--release", default=LATEST, help="r and eight digits, or latest")
    parser.add_argument("--days", type=int, default=NBR_DAYS, help=f"days of drives up to the newest ({NBR_DAYS})")
    parser.add_argument("--min-scenes", type=int, default=MIN_SCENES, help=f"fewer give no baseline ({MIN_SCENES})")
    return run_command("baselines", parser, _fit, argv)


def _fit(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    try:
        release = open_release(settings, arguments.release).release
    except BadInputError as error:
        if error.reason != "not_found" or arguments.release != LATEST:
            raise
        return {"uri": None, "reason": "there is no release yet"}
    objects, paths = s3_objects(settings), LakePaths(settings.lake_uri)
    with connect(settings) as connection:
        for name in ("drive", "scene", "qc_measurement"):
            attach_table(connection, release, name)
        parts = list(_fitted(connection, arguments.days, arguments.min_scenes))
    baselines = pa.concat_tables([BASELINE_SCHEMA.empty_table(), *parts])
    uri = paths.baselines(release.number)
    if not objects.write_if_absent(uri, baselines_to_parquet(baselines).to_pybytes()):
        log.info("the release has baselines already, which stay", extra={"uri": uri})
        baselines = baselines_from_parquet(pa.py_buffer(objects.read(uri)), uri)
    return {
        "uri": uri,
        "release_id": release.release_id,
        "version": version_of(baselines),
        "nbr_robots": len(baselines["robot_id"].unique()),
        "nbr_baselines": len(baselines),
    }


def _fitted(connection: duckdb.DuckDBPyConnection, days: int, min_scenes: int) -> Iterator[pa.Table]:
    """Baselines robot by robot: the measurements of one at a time fit into memory."""
    newest = connection.execute("SELECT max(drive_date) FROM drive").fetchone()
    if newest is None or newest[0] is None:
        return
    first: date = newest[0] - timedelta(days=days)
    drives = connection.execute(_DRIVES, {"first": first}).to_arrow_table()
    versions = {name: check.version for name, check in CATALOGUE.items()}
    for robot_id in drives["robot_id"].unique().to_pylist():
        mine = drives.filter(pa.array([r == robot_id for r in drives["robot_id"].to_pylist()]))
        parameters = {"first": first, "drives": mine["drive_id"].to_pylist()}
        measured = connection.execute(_MEASURED, parameters).to_arrow_table()
        yield fit(observations(measured, mine, versions), min_scenes)


if __name__ == "__main__":
    sys.exit(main())
