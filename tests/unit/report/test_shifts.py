"""Which measurements SQL gathers for a comparison: those that baselines are fitted to, each on its side."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from tests.unit.report.test_report import DAY, Rows, drive, measured

from scenelake.contracts.tables import GOLD
from scenelake.quality.baseline import groups_of, observations
from scenelake.quality.catalogue import CATALOGUE
from scenelake.report.shifts import bound_memory, shifts_of_day, shifts_of_releases

NBR_SCENES = 12


def many(of: dict[str, Any], start: float = 0.0, version: str = "1") -> list[dict[str, Any]]:
    """Scenes with a measurement and a statistic that is finite, and with others that are not."""
    found = []
    for k in range(NBR_SCENES):
        statistics = {"x": start + k, "none": None, "odd": "words"}
        scene = f"s{k}"
        found += [
            measured(of, "completeness", start + k / 10, scene=scene, statistics=statistics, nbr=3),
            measured(of, "gaps", float("nan"), scene=scene),
            measured(of, "coverage", None, scene=scene),
            measured(of, "robot.episode_length", start - k, "", scene) | {"channel": None},
        ]
    return [row | {"check_version": version} for row in found]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        yield made


def put(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    for name, listed in rows.items():
        connection.register(name, pa.Table.from_pylist(listed, GOLD[name].schema))


def test_what_is_compared_is_what_baselines_are_fitted_to(connection: duckdb.DuckDBPyConnection) -> None:
    before, now = drive("car", DAY - timedelta(days=1)), drive("car")
    rows = {"drive": [before, now], "qc_measurement": [*many(before), *many(now, 5.0), *many(before, 9.0, "old")]}
    put(connection, rows)
    found = shifts_of_day(connection, DAY, DAY - timedelta(days=14))
    versions = {name: check.version for name, check in CATALOGUE.items()}
    tables = {name: pa.Table.from_pylist(listed, GOLD[name].schema) for name, listed in rows.items()}
    expected = dict(groups_of(observations(tables["qc_measurement"], tables["drive"], versions)))
    assert [(s.robot_id, s.channel, s.statistic) for s in found] == [(f"f/{robot}", *rest) for robot, *rest in expected]
    assert [s.statistic for s in found] == ["robot.episode_length", "completeness", "completeness:x"]
    for shift in found:
        key = (shift.robot_id.removeprefix("f/"), shift.channel, shift.statistic)
        assert shift.nbr_before + shift.nbr_after == len(expected[key])
        assert (shift.histogram.low, shift.histogram.high) == (expected[key][0], expected[key][-1])


@pytest.mark.parametrize(
    ("other", "days_before"),
    [("another", 1), ("car", 15)],
    ids=["another vehicle", "longer ago than is looked at"],
)
def test_a_day_is_compared_with_the_same_vehicle_s_days_before(
    connection: duckdb.DuckDBPyConnection, other: str, days_before: int
) -> None:
    before, now = drive(other, DAY - timedelta(days=days_before)), drive("car")
    put(connection, {"drive": [before, now], "qc_measurement": [*many(before), *many(now)]})
    assert shifts_of_day(connection, DAY, DAY - timedelta(days=14)) == []


def test_releases_are_compared_by_what_the_later_one_brought(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    bound_memory(connection, tmp_path)
    shared, new = drive("car", DAY), drive("car", DAY + timedelta(days=1), "new")
    sides = {
        "before": [(shared, 0.0)],
        "after": [(shared, 100.0), (new, 50.0)],
    }
    for schema, drives in sides.items():
        connection.execute(f"CREATE SCHEMA {schema}")
        rows: Rows = {
            "drive": [of for of, _ in drives],
            "qc_measurement": [row for of, start in drives for row in many(of, start)],
            "scene": [{"scene_id": f"{of['drive_id']}/s{k}"} for of, _ in drives for k in range(NBR_SCENES - 1)],
        }
        for name, listed in rows.items():
            table = pa.Table.from_pylist(listed, GOLD[name].schema)
            connection.register("incoming", table)
            connection.execute(f"CREATE TABLE {schema}.{name} AS SELECT * FROM incoming")
    arrived = [f"{new['drive_id']}/s{k}" for k in range(NBR_SCENES)]
    connection.register("arrived", pa.table({"scene_id": arrived}))
    found = {shift.statistic: shift for shift in shifts_of_releases(connection)}
    assert set(found) == {"robot.episode_length", "completeness", "completeness:x"}
    shift = found["completeness:x"]
    assert (shift.nbr_before, shift.nbr_after) == (NBR_SCENES - 1, NBR_SCENES), "what is held back is in no release"
    assert (shift.median_before, shift.median_after) == (5.0, 55.5)


def test_a_lake_without_rows_has_nothing_to_compare(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, {"drive": [], "qc_measurement": []})
    assert shifts_of_day(connection, date(2026, 1, 2), date(2026, 1, 1)) == []
