"""What commands say to a person: remedies instead of tracebacks, tables without dead columns."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from scenelake.adapters.memory_ledger import MemoryLedger
from scenelake.cli.main import app, run
from scenelake.cli.stack_commands import Workspace
from scenelake.cli.status import find_drop
from scenelake.cli.summary import _print_query, rows_table
from scenelake.contracts.errors import BadInputError, ConfigurationError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCENELAKE_HOME", str(tmp_path))
    for name in ("SCENELAKE_ENDPOINT_URL", "SCENELAKE_DOORBELL_QUEUE_URL"):
        monkeypatch.delenv(name, raising=False)
    # Somebody's own keys: without a stack, nothing may go to their account.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "somebody")
    return tmp_path


def test_without_a_stack_the_remedy_is_named(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="scenelake up"):
        Workspace.open()


def test_a_stack_that_died_is_no_stack(home: Path) -> None:
    dead = {"phase": "ready", "settings": {"endpoint_url": "http://127.0.0.1:9"}, "processes": {"supervisor": [1, 0.0]}}
    (home / "stack.json").write_text(json.dumps(dead))
    with pytest.raises(ConfigurationError, match="no stack runs"):
        Workspace.open()


def test_a_landing_zone_that_is_named_needs_no_stack(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENELAKE_DOORBELL_QUEUE_URL", "https://sqs.example/doorbell")
    assert Workspace.open().settings.doorbell_queue_url == "https://sqs.example/doorbell"


def test_an_unknown_drop_is_said_to_be_unknown() -> None:
    with pytest.raises(BadInputError, match="no drop has this id"):
        find_drop(MemoryLedger(), "nonsense")


def test_the_faults_are_listed_without_naming_a_file() -> None:
    answer = CliRunner().invoke(app, ["simulate", "--list-faults"])
    assert answer.exit_code == 0
    assert "frozen_camera" in answer.output


def test_a_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nowhere" / "drive.mcap"
    monkeypatch.setattr("sys.argv", ["scenelake", "simulate", str(out), "--seconds", "1"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 65
    assert "drive.mcap" in capsys.readouterr().err


def test_down_says_that_nothing_ran(home: Path) -> None:
    assert "no stack was running" in CliRunner().invoke(app, ["down"]).output


def text_of(*things: Any) -> str:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(*things)
    return captured.get()


def test_bytes_are_counted_and_brackets_kept() -> None:
    text = text_of(rows_table("", ["image", "[/]"], [(b"[/x]" * 512, "[/none]")]))
    assert "(2.0 KiB)" in text
    assert "[/none]" in text


def test_counts_that_are_zero_throughout_have_no_column() -> None:
    import duckdb

    console = Console(width=80)
    sql = "SELECT 'd' AS drive, '/imu' AS channel, 5 AS gold, 0 AS rejected, unnest([0, 2]) AS unassigned"
    with console.capture() as captured:
        _print_query(console, "", duckdb.connect(), sql, [])
    assert "unassigned" in captured.get()
    assert not any(word in captured.get() for word in ("rejected", "drive"))
