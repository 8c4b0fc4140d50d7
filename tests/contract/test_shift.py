"""Releases against each other, and the report of a day, on a real lake."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from tests.contract.audit_lake import T0_NS, SmallLake, recording
from tests.contract.catalog_server import KEYS, aws

from scenelake.cli.shift import shift
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.report.between import shifts_between
from scenelake.report.config import ReportConfig
from scenelake.report.job import build_report, folder_of

DAY = datetime.fromtimestamp(T0_NS // 10**9, UTC).date()


@pytest.fixture
def lake(
    repository: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SmallLake]:
    """Two releases: the second brings a drive whose IMU is stuck."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    # Scenes are few here.
    monkeypatch.setattr("scenelake.quality.shift.MIN_SCENES", 1)
    with aws(tmp_path_factory.mktemp("home")) as settings:
        made = SmallLake(settings, repository)
        made.drop("one", "fleet/car/d1/a.mcap", recording(tmp_path / "one.mcap", seed=1))
        made.build()
        stuck = recording(tmp_path / "two.mcap", seed=2, stuck_imu=range(40, 280))
        made.drop("two", "fleet/car/d2/a.mcap", stuck)
        made.build()
        yield made


def said(lake: SmallLake, *words: str, **options: Any) -> str:
    out = io.StringIO()
    workspace: Any = SimpleNamespace(settings=lake.settings)
    shift(Console(file=out, width=200), workspace, *words, **{"as_json": False, "lists_all": False, **options})
    return out.getvalue()


def test_releases_are_compared_by_what_the_later_one_brought(lake: SmallLake) -> None:
    found = shifts_between(lake.settings, "r00000001", "latest")
    added = lake.release().delta.added
    assert (found.before.number, found.after.number) == (1, 2)
    assert (found.nbr_before, found.nbr_arrived) == (len(found.before.scenes), len(added))
    by_key = {(s.channel, s.statistic): s for s in found.shifts}
    stuck = by_key["/imu", "imu.stuck"]
    assert (stuck.robot_id, stuck.nbr_before, stuck.nbr_after) == ("fleet/car", found.nbr_before, found.nbr_arrived)
    assert stuck.median_before < 10**9 < stuck.median_after
    assert stuck.ks == 1.0
    document = json.loads(said(lake, "r00000001", "latest", as_json=True))
    assert (document["before"], document["after"]) == ("r00000001", "r00000002")
    (row,) = (r for r in document["shifts"] if (r["channel"], r["statistic"]) == ("/imu", "imu.stuck"))
    assert (row["vehicle"], row["ks"], row["reading"]) == ("fleet/car", 1.0, str(stuck.reading))
    text = said(lake, "r00000001", "latest", lists_all=True)
    assert "imu.stuck" in text
    assert f"{found.nbr_arrived} scenes that r00000002 brought or built anew" in text


def test_a_release_has_brought_nothing_beyond_itself(lake: SmallLake) -> None:
    found = shifts_between(lake.settings, "latest", "latest")
    assert (found.nbr_arrived, found.shifts) == (0, [])
    assert "0 of 0 distributions" in said(lake, "latest", "latest")
    with pytest.raises(BadInputError) as caught:
        shifts_between(lake.settings, "r00000009", "latest")
    assert caught.value.reason == "not_found"


def test_the_report_of_a_day_is_written(lake: SmallLake) -> None:
    found = build_report(lake.settings, DAY, "latest", ReportConfig())
    assert (found["nbr_vehicles"], found["nbr_pages"], found["nbr_shifts"]) == (1, 2, 0)
    folder = LakePaths(lake.settings.lake_uri).report(DAY.isoformat())
    page = lake.objects.read(f"{folder}/{folder_of('fleet/car')}/index.html").decode()
    assert "None of them moved" in page, "it is the vehicle's first day"
    assert lake.objects.read(f"{folder}/volume.png").startswith(b"\x89PNG")
