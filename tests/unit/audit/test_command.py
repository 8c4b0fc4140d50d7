"""The command line: where defaults come from, what it writes, and its exit codes."""

import json
from pathlib import Path

import pytest

from scenelake_audit import cli
from scenelake_audit.config import AuditError, Depth, Lake, parse_lake
from scenelake_audit.report import CHECKS, MAX_KEPT, Report


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.json"
    path.write_text(json.dumps({"settings": {"endpoint_url": "http://127.0.0.1:1", "lake_bucket": "mine"}}))
    return path


@pytest.mark.parametrize(
    ("text", "lake", "release"),
    [
        ("bucket", Lake(lake="bucket"), None),
        ("s3://bucket/#r00000002", Lake(lake="bucket"), "r00000002"),
        ("bucket@http://h:1#r1", Lake("http://h:1", lake="bucket"), "r1"),
    ],
)
def test_a_lake_is_named_by_bucket_endpoint_and_release(text: str, lake: Lake, release: str | None) -> None:
    assert parse_lake(text, Path("no such file")) == (lake, release)


def test_a_plain_file_of_settings_is_a_lake_too(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"endpoint_url": "http://127.0.0.1:2", "ledger_table": "t"}))
    assert parse_lake(f"{path}#r1") == (Lake("http://127.0.0.1:2", ledger="t"), "r1")


def test_a_stack_file_gives_the_defaults(stack: Path) -> None:
    assert parse_lake(str(stack)) == (Lake("http://127.0.0.1:1", lake="mine"), None)
    assert parse_lake("other", stack)[0] == Lake("http://127.0.0.1:1", lake="other")


@pytest.mark.parametrize("text", ["", "s3://a/b", "missing.json"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(AuditError):
        parse_lake(text, Path("no such file"))


def test_options_reach_the_audit(stack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    seen: list[tuple[Lake, Depth]] = []

    def fake(lake: Lake, depth: Depth) -> Report:
        seen.append((lake, depth))
        return Report()

    monkeypatch.setattr(cli, "audit", fake)
    options = ["--stack", str(stack), "--landing", "land", "--deep", "--grace-seconds", "5", "--release", "r00000007",
               "--pending-seconds", "9", "--seed", "any"]  # fmt: skip
    assert cli.main(options) == cli.CLEAN
    assert seen == [
        (
            Lake("http://127.0.0.1:1", landing="land", lake="mine"),
            Depth(release="r00000007", is_deep=True, grace_seconds=5.0, pending_seconds=9.0, seed="any"),
        )
    ]
    assert capsys.readouterr().out.endswith("clean\n")


def test_violations_are_named_and_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    report = Report()
    report.examine("I1.state", 500)
    for i in range(MAX_KEPT + 3):
        report.violate("I1.state", f"drop {i}", "one state", "two")
    monkeypatch.setattr(cli, "audit", lambda lake, depth: report)
    assert cli.main(["--stack", ".scenelake/stack.json"]) == cli.VIOLATIONS
    text = capsys.readouterr().out
    assert "drop 7\n    expected: one state\n    found:    two" in text
    assert "and 3 more" in text
    assert cli.main(["--json"]) == cli.VIOLATIONS
    found = json.loads(capsys.readouterr().out)
    assert found["checks"] == {"I1.state": {"examined": 500, "violations": MAX_KEPT + 3}}
    assert found["violations"][0]["subject"] == "drop 0"


@pytest.mark.parametrize(
    ("name", "start"), [("r.json", '{\n "is_clean": false'), ("r.md", "# Audit: 1 violation(s)"), ("r.txt", "check ")]
)
def test_the_report_is_kept_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: str) -> None:
    report = Report()
    report.violate("I1.state", "drop a|b", "one state", "two\nstates")
    report.note("a note")
    monkeypatch.setattr(cli, "audit", lambda lake, depth: report)
    assert cli.main(["--report", str(tmp_path / name)]) == cli.VIOLATIONS
    text = (tmp_path / name).read_text()
    assert text.startswith(start)
    assert "a note" in text
    if name == "r.md":
        assert "| drop a\\|b | one state | two states |" in text


def test_every_day_reads_another_part_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[str] = []

    def fake(lake: Lake, depth: Depth) -> Report:
        seeds.append(depth.seed)
        return Report()

    monkeypatch.setattr(cli, "audit", fake)
    cli.main([])
    cli.main(["--seed", ""])
    assert len(seeds[0]) == len("2026-01-01")
    assert seeds[1] == ""


def test_what_cannot_be_audited_is_neither_clean_nor_wrong(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["--stack", str(tmp_path / "none.json")]) == cli.COULD_NOT_AUDIT
    assert "could not audit" in capsys.readouterr().err


def test_an_unknown_check_is_a_bug() -> None:
    with pytest.raises(ValueError, match=r"I9\.nothing"):
        Report().violate("I9.nothing", "", "", "")
    assert all(name[:3] in {"I1.", "I2.", "I3.", "I4.", "I5."} for name in CHECKS)
