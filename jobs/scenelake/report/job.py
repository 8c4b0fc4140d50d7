"""Builds the report of a day and keeps it under ``reports/<day>/`` of the lake."""

import argparse
import hashlib
import logging
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from scenelake.adapters.duckdb_reader import OUTSIDE_RELEASES, attach_release, connect
from scenelake.adapters.gold_reader import attach_newest
from scenelake.adapters.objects import Objects, s3_objects
from scenelake.adapters.release_reader import LATEST, open_release
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.release_reader import ReleaseReader
from scenelake.quality.shift import called
from scenelake.report.charts import checks_chart, shifts_chart, sync_chart, volume_chart
from scenelake.report.config import ReportConfig
from scenelake.report.figures import DayFigures, day_figures
from scenelake.report.page import OVERVIEW, SHIFTS_CHART, merged_checks, page, unit_of
from scenelake.report.shifts import bound_memory
from scenelake.runtime.command import run_command
from scenelake.runtime.settings import Settings
from scenelake.view.choose import choose_scene, open_source
from scenelake.view.config import SheetConfig
from scenelake.view.opened import OpenedScene
from scenelake.view.sheet import write_sheet

log = logging.getLogger(__name__)

FIRST_DAY, LAST_DAY = date(1971, 1, 1), date(2261, 12, 31)
"""Days that int64 nanoseconds can count, with those before that a day is compared with."""
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_SHEET = SheetConfig(nbr_columns=4)


def main(argv: Sequence[str] | None = None) -> int:
    """Answers where the report lies and what is in it."""
    parser = argparse.ArgumentParser(prog="scenelake-report", description="Builds the report of a day.")
    parser.add_argument("--day", required=True, type=date.fromisoformat, help="UTC date of the drives, 2026-01-31")
    parser.add_argument("--release", default=LATEST, help="r and eight digits, or latest")
    parser.add_argument("--usd-per-job-hour", type=float, default=0.0, help="price of an hour of a job; 0: no money")
    return run_command("report", parser, _report, argv)


def _report(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    config = ReportConfig(usd_per_job_hour=arguments.usd_per_job_hour)
    return build_report(settings, arguments.day, arguments.release, config)


def build_report(settings: Settings, day: date, release_id: str, config: ReportConfig) -> dict[str, Any]:
    """Writes the pages and pictures of a day.

    Raises:
        BadInputError: there is no such release, or the day has no time in ns.
    """
    if not FIRST_DAY <= day <= LAST_DAY:
        raise BadInputError(f"day: expected one from {FIRST_DAY} to {LAST_DAY}, got {day}", reason="day_out_of_range")
    reader = open_release(settings, release_id)
    with tempfile.TemporaryDirectory(prefix="scenelake-report-") as scratch, connect(settings) as connection:
        bound_memory(connection, Path(scratch))
        attach_release(connection, reader.release)
        for name in sorted(OUTSIDE_RELEASES):
            attach_newest(connection, settings, name)
        figures = day_figures(connection, reader.release.release_id, day, config)
    folder_uri = LakePaths(settings.lake_uri).report(day.isoformat())
    objects = s3_objects(settings)
    pictures = _pictures(reader, figures, config, objects, folder_uri)
    for name, data in _charts(figures, config).items():
        objects.write(f"{folder_uri}/{name}", data)
    pages = _pages(figures, config, pictures)
    for name, text in pages.items():
        objects.write(f"{folder_uri}/{name}", text.encode())
    return {
        "uri": f"{folder_uri}/{OVERVIEW}",
        "day": day.isoformat(),
        "release_id": reader.release.release_id,
        "nbr_vehicles": len(figures.vehicles),
        "nbr_pages": len(pages),
        "nbr_pictures": len(pictures),
        "nbr_shifts": len(called(figures.shifts)),
    }


def folder_of(vehicle: str) -> str:
    """Name of a vehicle's folder; vehicles whose plain names are alike differ in their hash."""
    return f"{_NOT_IN_A_NAME.sub('_', vehicle)}-{hashlib.sha256(vehicle.encode()).hexdigest()[:8]}"


def _charts(figures: DayFigures, config: ReportConfig) -> dict[str, bytes]:
    charts = {"volume.png": volume_chart(figures), "checks.png": checks_chart(merged_checks(figures.checks))}
    for row in figures.vehicles:
        vehicle = row["vehicle"]
        folder = folder_of(vehicle)
        charts[f"{folder}/checks.png"] = checks_chart(figures.of(figures.checks, vehicle))
        charts[f"{folder}/sync.png"] = sync_chart(figures.of(figures.sensors, vehicle))
    for vehicle in (None, *sorted({shift.robot_id for shift in called(figures.shifts)})):
        drawn = called(figures.shifts_of(vehicle))[: config.nbr_shift_plots]
        if drawn:
            where = SHIFTS_CHART if vehicle is None else f"{folder_of(vehicle)}/{SHIFTS_CHART}"
            charts[where] = shifts_chart(drawn, unit_of)
    return charts


def _pages(figures: DayFigures, config: ReportConfig, pictures: Mapping[str, str]) -> dict[str, str]:
    vehicles = {row["vehicle"]: f"{folder_of(row['vehicle'])}/{OVERVIEW}" for row in figures.vehicles}
    pages = {OVERVIEW: page(figures, config, pictures, ("volume.png", "checks.png"), vehicles)}
    above = {scene: f"../{url}" for scene, url in pictures.items()}
    for vehicle, name in vehicles.items():
        pages[name] = page(figures, config, above, ("checks.png", "sync.png"), vehicles, vehicle)
    return pages


def _pictures(
    reader: ReleaseReader, figures: DayFigures, config: ReportConfig, objects: Objects, folder_uri: str
) -> dict[str, str]:
    """Contact sheets of the worst scenes in gold, of all vehicles and of each; relative URL by scene."""
    wanted: list[str] = []
    for vehicle in (None, *(row["vehicle"] for row in figures.vehicles)):
        worst = [row for row in figures.worst if vehicle in (None, row["vehicle"])][: config.nbr_worst_scenes]
        wanted += [row["scene_id"] for row in worst if row["kept"] and row["scene_id"] not in wanted]
    if not wanted:
        return {}
    found: dict[str, str] = {}
    source = open_source(reader)
    with tempfile.TemporaryDirectory(prefix="scenelake-report-") as folder:
        for scene_id in wanted:
            target = Path(folder) / f"{scene_id}.png"
            try:
                write_sheet(OpenedScene(source, choose_scene(source, scene_id)), target, _SHEET)
            except BadInputError as error:
                # A scene that the release no longer keeps, or whose payload cannot be drawn, has its line all the same.
                log.warning("no picture", extra={"scene_id": scene_id, "error": str(error)})
                continue
            objects.write_file(f"{folder_uri}/scenes/{scene_id}.png", target)
            found[scene_id] = f"scenes/{scene_id}.png"
    return found


if __name__ == "__main__":
    sys.exit(main())
