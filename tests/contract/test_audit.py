"""The auditor on a true lake: it finds nothing, and finds each violation that is planted (I6)."""

import ast
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tests.contract.audit_lake import SmallLake, fill, recording
from tests.contract.audit_lake_plants import LAKE_PLANTS, Found
from tests.contract.audit_ledger_plants import LEDGER_PLANTS, LEGAL, open_batch
from tests.contract.audit_plants import Planter
from tests.contract.catalog_server import KEYS, aws

from scenelake.adapters.iceberg import committer
from scenelake.contracts import ids
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.tables import GOLD
from scenelake.runtime.settings import Settings
from scenelake_audit.audit import audit
from scenelake_audit.cli import CLEAN, COULD_NOT_AUDIT, VIOLATIONS, main
from scenelake_audit.compare import compare
from scenelake_audit.config import Depth, Lake
from scenelake_audit.report import CHECKS, Report

STRICT = Depth(is_deep=True, grace_seconds=0.0, event_grace_seconds=0.0)
LEDGER = replace(STRICT, is_ledger_only=True)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with aws(tmp_path_factory.mktemp("home")) as found:
            yield found


@pytest.fixture(scope="module")
def lake(settings: Settings, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    made = SmallLake(settings, repository)
    fill(made, tmp_path_factory.mktemp("recordings"))
    return made


def place(lake: SmallLake) -> Lake:
    s = lake.settings
    return Lake(s.endpoint_url, s.region, s.landing_bucket, s.lake_bucket, s.ledger_table, s.glue_database)


def test_a_true_lake_is_clean_and_every_check_looked_at_something(lake: SmallLake) -> None:
    report = audit(place(lake), STRICT)
    assert report.is_clean, report.to_text()
    assert not report.notes
    assert {c for c in CHECKS if not c.startswith("I5")} == set(+report.examined)
    assert audit(place(lake), LEDGER).is_clean


@pytest.mark.parametrize("bounds", [{"payload_bytes": 0, "recording_bytes": 0}, {"payload_files": 0, "recordings": 0}])
def test_bounds_leave_out_and_say_so(lake: SmallLake, bounds: dict[str, int]) -> None:
    report = audit(place(lake), Depth(scenes=1, releases=1, **bounds))
    assert report.is_clean, report.to_text()
    assert sorted(n.split(";")[0].split(" (")[0].lstrip("0123456789 ") for n in report.notes) == [
        "payload files were not hashed",
        "raw objects were not read",
        "releases before 3 were only counted",
        "the content hash of 8 scenes was not derived anew",
    ]


def test_another_seed_reads_another_part(lake: SmallLake) -> None:
    with Planter(lake) as planter:
        for uri in planter.live_files("camera_frame"):
            planter.put(uri, bytes(reversed(lake.objects.read(uri))))
        depths = [Depth(payload_files=6, scenes=0, recordings=0, seed=str(seed)) for seed in range(3)]
        found = [{v.subject for v in audit(place(lake), depth).violations} for depth in depths]
    assert len({frozenset(one) for one in found}) > 1


def test_an_earlier_release_is_clean_too(lake: SmallLake) -> None:
    report = audit(place(lake), replace(STRICT, release="r00000002"))
    assert report.is_clean, report.to_text()


@pytest.fixture(scope="module")
def caught() -> set[str]:
    """Checks that a planted violation has made fail."""
    return set()


@pytest.fixture(scope="module", autouse=True)
def reached() -> Iterator[set[tuple[str, int]]]:
    """Places in the auditor that have reported a violation: file name and line."""
    found: set[tuple[str, int]] = set()
    violate = Report.violate

    def noted(self: Report, check: str, subject: str, expected: object, found_there: object) -> None:
        caller = sys._getframe(1)
        found.add((Path(caller.f_code.co_filename).name, caller.f_lineno))
        violate(self, check, subject, expected, found_there)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "violate", noted)
        yield found


@pytest.mark.parametrize("name", LEDGER_PLANTS)
def test_a_wrong_ledger_is_caught(lake: SmallLake, caught: set[str], name: str) -> None:
    plant, expected = LEDGER_PLANTS[name]
    with Planter(lake) as planter:
        plant(planter)
        report = audit(place(lake), LEDGER)
        assert set(report.counts) == expected, report.to_text()
        assert all(v.subject and v.expected and v.found for v in report.violations)
    caught |= expected


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_is_not_called_wrong(lake: SmallLake, name: str) -> None:
    with Planter(lake) as planter:
        LEGAL[name](planter)
        report = audit(place(lake), LEDGER)
        assert report.is_clean, report.to_text()


def test_what_was_planted_is_taken_out_again(lake: SmallLake) -> None:
    report = audit(place(lake), LEDGER)
    assert report.is_clean, report.to_text()


@pytest.mark.parametrize("plant", LAKE_PLANTS, ids=lambda plant: plant.__name__)
def test_a_wrong_lake_is_caught(lake: SmallLake, caught: set[str], plant: Callable[[Planter], Found]) -> None:
    with Planter(lake) as planter:
        expected = plant(planter)
        report = audit(place(lake), STRICT)
    missed = [(c, s) for c, s in expected if not any(v.check == c and s in v.subject for v in report.violations)]
    assert not missed, f"missed {missed}\n{report.to_text()}"
    # A flawed release hides or disturbs a little more than what was planted; nothing else may be called wrong.
    collateral = {"I3.payload", "I4.sha256", "I4.orphan", "I2.recording", "I3.ancestry", "I3.content", "I2.gold"}
    assert set(report.counts) <= {c for c, _ in expected} | collateral, report.to_text()
    caught |= {check for check, _ in expected}


def test_a_file_that_is_not_read_is_missed_all_the_same(lake: SmallLake) -> None:
    with Planter(lake) as planter:
        missing = planter.live_files("camera_frame")[0]
        planter.put(missing, None)
        report = audit(place(lake), Depth(payload_files=0, scenes=0, recordings=0))
    assert ("I4.exists", missing) in {(v.check, v.subject) for v in report.violations}, report.to_text()


def test_a_file_of_a_batch_at_work_is_no_orphan(lake: SmallLake) -> None:
    with Planter(lake) as planter:
        batch_id = open_batch(planter)["batch_id"]
        planter.put(f"{lake.settings.lake_uri}/gold/imu/data/drive_date=2024-01-01/{batch_id}-0.parquet", b"soon")
        report = audit(place(lake), STRICT)
    assert report.is_clean, report.to_text()


def test_files_of_a_table_that_no_release_pins_are_no_orphans(lake: SmallLake) -> None:
    rows = pa.Table.from_pylist([{"run_id": "run", "batch_id": "b"}], GOLD["lineage_run"].schema)
    change = TableChange(GOLD["lineage_run"], rows, "run_id", ("run",))
    assert committer(lake.settings).commit(change, CommitToken("b", 1), None) is not None
    report = audit(place(lake), STRICT)
    assert report.is_clean, report.to_text()


def test_the_lake_is_clean_again_and_the_command_says_so(lake: SmallLake, capsys: pytest.CaptureFixture[str]) -> None:
    s = lake.settings
    options = ["--stack", ".scenelake/stack.json", "--endpoint-url", str(s.endpoint_url), "--region", s.region,
               "--landing", s.landing_bucket, "--lake", s.lake_bucket, "--ledger", s.ledger_table,
               "--database", s.glue_database, "--deep", "--grace-seconds", "0"]  # fmt: skip
    assert main(options) == CLEAN, capsys.readouterr().out
    assert capsys.readouterr().out.endswith("clean\n")
    assert main([*options, "--release", "r00000077"]) == COULD_NOT_AUDIT
    assert "r00000077" in capsys.readouterr().err


def test_a_table_that_is_not_there_cannot_be_audited(lake: SmallLake, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--endpoint-url", str(lake.settings.endpoint_url), "--ledger", "no-such-table"]) == COULD_NOT_AUDIT
    assert "could not audit" in capsys.readouterr().err


@pytest.fixture(scope="module")
def twin(repository: Path, lake: SmallLake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallLake]:
    """A lake behind another endpoint that was given the first lake's first drop, at another time."""
    folder = tmp_path_factory.mktemp("twin")
    with aws(folder) as settings:
        made = SmallLake(settings, repository)
        made.drop("first", "fleet/car/d1/a.mcap", recording(folder / "good.mcap", seed=1))
        made.build()
        yield made


def test_the_same_drops_make_the_same_lake(lake: SmallLake, twin: SmallLake) -> None:
    assert lake.names["first"] != twin.names["first"]
    report = compare((place(lake), "r00000001"), (place(twin), None))
    assert report.is_clean, report.to_text()
    assert report.examined["I5.payload"] > 3
    assert report.examined["I5.rows"] > 100
    assert report.examined["I5.root"] == 1


def test_differences_between_lakes_are_named(lake: SmallLake, twin: SmallLake, caught: set[str]) -> None:
    with Planter(twin) as planter:
        rows = planter.rows("imu")
        changed, lost = rows[0], rows.pop()
        changed["frame_id"] = "another"
        planter.commit_rows({"imu": rows})
        payload = next(i.uri for i in twin.objects.list(f"{twin.settings.lake_uri}/gold/camera_frame/data/"))
        planter.put(payload, b"not the same")
        report: Report = compare((place(lake), "r00000001"), (place(twin), None))
    assert report.counts == Counter({"I5.rows": 2, "I5.payload": 1}), report.to_text()
    caught |= set(report.counts)
    assert all(f"of drive {ids.drive_id('fleet', 'car', 'd1')}" in v.subject for v in report.violations)
    by_subject = {v.subject.split(" of drive ")[0]: v for v in report.violations}
    told = by_subject[f"imu {changed['sample_data_id']}"]
    assert (told.expected, told.found) == (
        'in the first: frame_id = "imu"',
        'in the second: frame_id = "another"',
    )
    assert by_subject[f"imu {lost['sample_data_id']}"].found == "only in the second: nothing"
    assert any(subject in payload for subject in by_subject if subject.startswith("gold/camera_frame/"))
    assert "imu: 2 row(s) differ" in report.notes


def test_equal_rows_under_another_root_are_a_difference(lake: SmallLake, twin: SmallLake, caught: set[str]) -> None:
    with Planter(twin) as planter:
        planter.edit_release(1, lambda d: d.update(merkle_root="0" * 64))
        report = compare((place(lake), "r00000001"), (place(twin), None))
    assert report.counts == Counter({"I5.root": 1}), report.to_text()
    caught |= set(report.counts)


def test_a_part_of_two_lakes_can_be_compared(
    lake: SmallLake, twin: SmallLake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line: the lakes as settings files of two endpoints, the report as a file."""
    names = ("endpoint_url", "region", "landing_bucket", "lake_bucket", "ledger_table", "glue_database")
    files = []
    for name, made in (("first", lake), ("second", twin)):
        files.append(str(tmp_path / f"{name}.json"))
        Path(files[-1]).write_text(json.dumps({n: getattr(made.settings, n) for n in names}))
    assert main(["compare", f"{files[0]}#r00000001", files[1]]) == CLEAN, capsys.readouterr().out
    assert main(["compare", f"{files[0]}#r00000002", files[1], "--prefix", "fleet/car/d1/"]) == CLEAN
    path = tmp_path / "report.md"
    assert main(["compare", f"{files[0]}#r00000002", files[1], "--report", str(path)]) == VIOLATIONS
    assert "lidar\\_sweep" in path.read_text()
    assert main(["compare", *files, "--prefix", "nobody/"]) == COULD_NOT_AUDIT
    assert "nobody/" in capsys.readouterr().err


def test_every_check_has_been_made_to_fail(
    caught: set[str], reached: set[tuple[str, int]], repository: Path, request: pytest.FixtureRequest
) -> None:
    """A check that no planted violation has ever tripped, in each of the ways that it names, checks nothing."""
    ran = {item.originalname for item in request.session.items if item.path == request.path}
    if not {"test_a_wrong_ledger_is_caught", "test_a_wrong_lake_is_caught"} <= ran:
        pytest.skip("needs every test of this file")
    assert caught == set(CHECKS)
    calls = [
        (file.name, node)
        for file in (repository / "audit" / "scenelake_audit").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "violate"
    ]
    assert len(calls) > 50
    missed = [
        f"{name}:{node.lineno} {ast.unparse(node)[:100]}"
        for name, node in calls
        if not any(name == at and node.lineno <= line <= (node.end_lineno or 0) for at, line in reached)
    ]
    assert not missed, "no plant makes the auditor say this"
