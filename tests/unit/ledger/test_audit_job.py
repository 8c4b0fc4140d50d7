"""The audit as a job: the auditor's answer decides, its report is kept, and each violation is named."""

import argparse
import json
import logging
import sys
from pathlib import Path

import pytest

from scenelake.adapters.objects import read_json, s3_objects
from scenelake.contracts.errors import ExitCode
from scenelake.ledger import audit_job
from scenelake.runtime.settings import Settings, load_settings
from scenelake_audit.cli import _parser

from .conftest import Zone

REPORT_URI = "s3://scenelake-lake/work/reconcile/run/audit.json"
VIOLATION = {"check": "I4.exists", "subject": "s3://lake/file", "expected": "a file", "found": "nothing"}


def audit(monkeypatch: pytest.MonkeyPatch, code: int, violations: list[dict[str, str]], *words: str) -> int:
    checks = {"I1.state": {"examined": 2, "violations": 0}, "I4.exists": {"examined": 1, "violations": len(violations)}}
    report = {"is_clean": not violations, "checks": checks, "violations": violations, "notes": []}
    program = f"import sys; print({json.dumps(report)!r}); print('no such table', file=sys.stderr); sys.exit({code})"
    monkeypatch.setattr(audit_job, "audit_command", lambda *_: [sys.executable, "-c", program])
    return audit_job.main(["--dag-run-id", "run", *words])


def test_a_clean_audit_answers_and_keeps_its_report(
    zone: Zone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = tmp_path / "answer.json"
    assert audit(monkeypatch, 0, [], "--result", str(result)) == ExitCode.OK
    assert json.loads(result.read_text()) == {"nbr_checks": 2, "report_uri": REPORT_URI}
    assert read_json(s3_objects(load_settings()), REPORT_URI)["is_clean"]


def test_violations_fail_the_job_by_name_and_the_report_is_kept(
    zone: Zone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [{**VIOLATION, "check": "I3.sync"}] * 50
    assert audit(monkeypatch, 1, [*many, VIOLATION]) == ExitCode.BUG
    errors = [line for line in map(json.loads, capsys.readouterr().err.splitlines()) if line["level"] == "ERROR"]
    assert len(errors) == 5 + 1 + 1, "many violations of one check do not hide the one of another"
    assert errors[5]["message"] == "I4.exists: s3://lake/file: expected a file, found nothing"
    assert f"the audit found violations: 51 x I4.exists; the report is {REPORT_URI}" in errors[-1]["message"]
    assert len(read_json(s3_objects(load_settings()), REPORT_URI)["violations"]) == 51


def test_an_audit_that_could_not_be_carried_out_is_tried_again(
    zone: Zone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(monkeypatch, 2, []) == ExitCode.TRANSIENT
    assert "the auditor could not audit: no such table" in capsys.readouterr().err
    logging.shutdown()


def test_the_auditor_understands_what_it_is_told(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, endpoint_url="http://127.0.0.1:1", ledger_table="t", lake_bucket="l")
    words = argparse.Namespace(grace_seconds=5.0, event_grace_seconds=300.0, deep=True)
    command = audit_job.audit_command(words, settings)
    assert command[1:3] == ["-m", "scenelake_audit.cli"]
    told = _parser().parse_args(command[3:])
    assert (told.json, told.deep, told.grace_seconds, told.event_grace_seconds) == (True, True, 5.0, 300.0)
    assert (told.endpoint_url, told.ledger, told.lake) == ("http://127.0.0.1:1", "t", "l")
    assert (told.landing, told.database, told.region) == ("scenelake-landing", "scenelake", "eu-central-1")
