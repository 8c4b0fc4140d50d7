"""A day's figures, charts and pages, from small gold tables."""

import json
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.tables import GOLD
from scenelake.quality.shift import Reading, called
from scenelake.report.charts import checks_chart, shifts_chart, sync_chart, volume_chart
from scenelake.report.config import ReportConfig
from scenelake.report.figures import DayFigures, day_figures
from scenelake.report.job import _pages, build_report, folder_of
from scenelake.report.page import page, unit_of
from scenelake.runtime.settings import Settings

DAY = date(2026, 3, 4)
MS = 1_000_000
PNG = b"\x89PNG\r\n\x1a\n"
HOSTILE = '/cam"><script>alert(1)</script>'
Rows = dict[str, list[dict[str, Any]]]


def drive(robot: str, day: date = DAY, name: str = "d", fleet: str = "f") -> dict[str, Any]:
    return {
        "drive_id": f"{fleet}-{robot}-{day}-{name}",
        "fleet": fleet,
        "robot_id": robot,
        "drive_name": name,
        "drive_date": day,
    }


def measured(
    of: dict[str, Any], check: str, value: float | None, channel: str = "/cam", scene: str = "s", **evidence: Any
) -> dict[str, Any]:
    return {
        "scene_id": f"{of['drive_id']}/{scene}", "drive_id": of["drive_id"], "channel": channel, "modality": "camera",
        "check_name": check, "check_version": "1", "measured": value, "description": "", "drive_date": of["drive_date"],
        "evidence": json.dumps(evidence),
    }  # fmt: skip


def judged(of: dict[str, Any], check: str, verdict: str, reason: str | None = None, scene: str = "s") -> dict[str, Any]:
    return {
        "scene_id": f"{of['drive_id']}/{scene}", "drive_id": of["drive_id"], "channel": "/cam", "check_name": check,
        "verdict": verdict,
        "reason": reason, "drive_date": of["drive_date"],
    }  # fmt: skip


@pytest.fixture
def rows() -> Rows:
    """Two vehicles today, one of them on five days before as well."""
    tables: Rows = {name: [] for name in GOLD}
    for robot, size in (("car-1", 10**9), ("car-2", 10**6)):
        today = drive(robot)
        tables["drive"].append(today)
        tables["raw_object"].append(
            {"drop_id": robot, "drive_id": today["drive_id"], "uri": f"s3://l/{robot}", "size_bytes": size}
        )
        tables["message_account"].append(
            {"drop_id": robot, "drive_id": today["drive_id"], "nbr_messages": 1000, "nbr_accepted": 990,
             "nbr_quarantined": 0, "nbr_undecodable": 10}
        )  # fmt: skip
        tables["scene"].append(
            {"scene_id": f"{today['drive_id']}/s", "drive_id": today["drive_id"], "start_ns": 0,
             "exclusive_end_ns": 20 * 10**9, "nbr_samples": 40, "drive_date": DAY}
        )  # fmt: skip
        tables["qc_measurement"] += [
            measured(today, "completeness", 0.5, median_period_ns=50 * MS),
            measured(today, "sync_error", 12.0 * MS, p99_abs_delta_ns=20 * MS),
            measured(today, "gaps", 300.0 * MS),
        ]
    car = drive("car-1")
    for back in range(1, 6):
        before = drive("car-1", DAY - timedelta(days=back))
        tables["drive"].append(before)
        for k in range(8):
            tables["qc_measurement"].append(measured(before, "completeness", 0.99 + k / 1e4, HOSTILE, f"s{k}"))
            tables["qc_measurement"].append(measured(before, "gaps", (100.0 + k) * MS, scene=f"s{k}"))
    for k in range(12):
        tables["qc_measurement"].append(measured(car, "completeness", 0.5 + k / 1e4, HOSTILE, f"later{k}"))
        tables["qc_measurement"].append(measured(car, "gaps", (100.0 + k % 8) * MS, "/cam", f"later{k}"))
    tables["qc_measurement"].append(measured(car, "camera_undecodable", 1.0) | {"scene_id": f"{car['drive_id']}/held"})
    tables["qc_result"] += [
        judged(car, "completeness", "warn", f"{HOSTILE}: 10 of 20 messages"),
        judged(car, "camera_undecodable", "quarantine", "no frame can be decoded", scene="held"),
    ]
    tables["quarantine"].append(
        {"scene_id": f"{car['drive_id']}/held", "drive_id": car["drive_id"], "state": "QUARANTINED"}
    )
    tables["lineage_run"] += [
        {"run_id": "b1.1.decode", "batch_id": "b1", "stage": "decode", "started_at_ns": 0, "ended_at_ns": 1800 * 10**9},
        {
            "run_id": "b1.1.quality",
            "batch_id": "b1",
            "stage": "quality",
            "started_at_ns": 0,
            "ended_at_ns": 360 * 10**9,
        },
        {"run_id": "b9.1.decode", "batch_id": "b9", "stage": "decode", "started_at_ns": 0, "ended_at_ns": 9 * 10**12},
    ]
    tables["lineage_edge"] += [
        {"run_id": "b1.1.decode", "direction": "input", "dataset": "s3://l/car-1"},
        {"run_id": "b9.1.decode", "direction": "input", "dataset": "s3://l/of-another-day"},
    ]
    return tables


def asked(rows: Rows, day: date = DAY) -> DayFigures:
    with duckdb.connect() as connection:
        for name, table in GOLD.items():
            connection.register(name, pa.Table.from_pylist(rows[name], table.schema))
        return day_figures(connection, "r00000007", day, ReportConfig())


@pytest.fixture
def figures(rows: Rows) -> DayFigures:
    return asked(rows)


def test_volume_is_of_the_day_and_by_vehicle(figures: DayFigures) -> None:
    one, two = figures.vehicles
    assert (one["vehicle"], one["nbr_drives"], one["size_bytes"], one["nbr_waiting"]) == ("f/car-1", 1, 10**9, 1)
    assert (one["nbr_messages"], one["nbr_undecodable"], one["nbr_scenes"]) == (1000, 10, 1)
    assert one["hours"] == pytest.approx(20 / 3600)
    assert (two["vehicle"], two["nbr_waiting"]) == ("f/car-2", 0)
    assert figures.size_bytes == 10**9 + 10**6


def test_cost_is_that_of_the_batches_behind_the_day(figures: DayFigures) -> None:
    assert [(row["stage"], row["hours"]) for row in figures.cost] == [("decode", 0.5), ("quality", 0.1)]
    assert figures.job_hours == pytest.approx(0.6)


def test_checks_count_what_passed_and_what_did_not(figures: DayFigures) -> None:
    found = {(r["vehicle"], r["check_name"]): (r["nbr_bad"], r["nbr_warn"], r["nbr_pass"]) for r in figures.checks}
    assert found["f/car-1", "camera_undecodable"] == (1, 0, 0)
    assert found["f/car-1", "completeness"] == (0, 1, 12)
    assert found["f/car-2", "completeness"] == (0, 0, 1)


def test_sensors_and_worst_scenes(figures: DayFigures) -> None:
    (row,) = figures.of(figures.sensors, "f/car-2")
    assert (row["completeness"], row["largest_gap_ms"], row["sync_error_ms"]) == (0.5, 300.0, 12.0)
    assert (row["rate_hz"], row["sync_error_p99_ms"]) == (20.0, 20.0)
    assert [(row["verdict"], row["kept"]) for row in figures.worst] == [("quarantine", False), ("warn", True)]


def test_what_moved_is_told_and_what_did_not_is_not(figures: DayFigures, rows: Rows) -> None:
    found = {(s.channel, s.statistic): s for s in figures.shifts}
    assert set(found) == {("/cam", "gaps"), (HOSTILE, "completeness")}, "of the others there are too few scenes"
    (moved,) = called(figures.shifts)
    assert (moved.robot_id, moved.channel, moved.statistic) == ("f/car-1", HOSTILE, "completeness")
    assert (moved.reading, moved.ks, moved.nbr_before, moved.nbr_after) == (Reading.LARGE, 1.0, 40, 12)
    assert figures.shifts_of("f/car-2") == []
    assert asked(rows, DAY - timedelta(days=5)).shifts == [], "nothing came before"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href")]


def test_pages_show_the_day_and_run_nothing_that_a_recording_says(figures: DayFigures) -> None:
    config = ReportConfig(usd_per_job_hour=2.0)
    kept = figures.worst[1]["scene_id"]
    whole = page(figures, config, {kept: "scenes/x.png"}, ("volume.png",), {"f/car-1": "car-1/index.html"})
    tags = _Tags()
    tags.feed(whole)
    assert "script" not in tags.opened
    assert "&lt;script&gt;" in whole
    assert {"volume.png", "scenes/x.png", "car-1/index.html"} <= set(tags.urls)
    assert not [url for url in tags.urls if url.startswith(("http", "//"))]
    for said in ("1 GB", "camera_undecodable", "no frame can be decoded", "in quarantine", "2026-03-04", "$1,199"):
        assert said in whole, said
    one = page(figures, config, {}, ("checks.png",), {}, "f/car-2")
    assert "/cam" in one
    assert "car-1" not in one


def test_what_moved_is_listed_with_its_size_and_leads_to_its_plot(figures: DayFigures) -> None:
    whole = page(figures, ReportConfig(), {}, (), {})
    tags = _Tags()
    tags.feed(whole)
    assert "script" not in tags.opened
    assert tags.urls.count("shifts.png") == 3, "the row's number, the picture, and the picture by itself"
    shift = called(figures.shifts)[0]
    for said in ("large", f"{shift.psi:.3g}", ">0.99<", ">0.501<", "2 distributions"):
        assert said in whole, said
    assert "all 2 comparisons" in page(figures, ReportConfig(), {}, (), {}, "f/car-1")
    quiet = page(figures, ReportConfig(), {}, (), {}, "f/car-2")
    assert "None of them moved" in quiet
    assert "shifts.png" not in quiet
    unplotted = page(figures, ReportConfig(nbr_shift_plots=0), {}, (), {})
    assert "shifts.png" not in unplotted


def test_a_day_without_drives_says_so(rows: Rows) -> None:
    empty = asked(rows, DAY + timedelta(days=9))
    assert "No drive of this day" in page(empty, ReportConfig(), {}, (), {})
    for chart in (volume_chart(empty), checks_chart(empty.checks), sync_chart(empty.sensors)):
        assert chart.startswith(PNG)


def test_charts_are_pictures_and_differ_with_what_they_show(figures: DayFigures) -> None:
    charts = [
        volume_chart(figures), checks_chart(figures.checks), sync_chart(figures.sensors),
        shifts_chart(figures.shifts, unit_of),
    ]  # fmt: skip
    assert charts[-1] == shifts_chart(figures.shifts, unit_of) != shifts_chart(figures.shifts[:1], unit_of)
    assert all(chart.startswith(PNG) for chart in charts)
    assert checks_chart(figures.of(figures.checks, "f/car-2")) != charts[1]


def test_a_vehicle_has_a_folder_of_its_own() -> None:
    assert folder_of("f/car-1").startswith("f_car-1-")
    assert not set("./") & set(folder_of("../../etc"))
    assert len({folder_of(f"f/a{sign}b") for sign in "_+=|"} | {folder_of("f_a/b"), folder_of("f/a/b")}) == 6


def test_vehicles_of_one_name_in_two_fleets_are_two(rows: Rows) -> None:
    other = drive("car-1", fleet="g")
    rows["drive"].append(other)
    rows["qc_measurement"] += [measured(other, "gaps", 1.0 * MS, scene=f"s{k}") for k in range(12)]
    rows["qc_result"].append(judged(other, "gaps", "warn", "only of g"))
    found = asked(rows)
    assert [row["vehicle"] for row in found.vehicles] == ["f/car-1", "f/car-2", "g/car-1"]
    assert found.shifts_of("g/car-1") == [], "the other fleet's days before are not its own"
    pages = _pages(found, ReportConfig(), {})
    assert len(pages) == 4
    assert "only of g" in pages[f"{folder_of('g/car-1')}/index.html"]
    assert "only of g" not in pages[f"{folder_of('f/car-1')}/index.html"]


def test_a_channel_may_look_like_a_formula() -> None:
    row = {"channel": r"/a$\bad$", "sync_error_ms": 1.0, "sync_error_p99_ms": 2.0}
    assert sync_chart([row]).startswith(PNG)


@pytest.mark.parametrize("day", [date.min, date(1970, 12, 31), date(2262, 1, 1), date.max])
def test_a_day_that_nanoseconds_cannot_count_is_refused(day: date, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="expected one from 1971-01-01 to 2261-12-31"):
        build_report(Settings(home=tmp_path), day, "latest", ReportConfig())
