"""The audit's answer decides what is printed and returned."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from scenelake.cli import audit

REPORT = "check  examined\nI1.state  2\nI2.balance  26\nI2.gold  13\n"


def answer(monkeypatch: pytest.MonkeyPatch, code: int) -> tuple[bool, str]:
    program = f"import sys; print({REPORT!r}); print('why', file=sys.stderr); sys.exit({code})"
    monkeypatch.setattr(audit, "audit_command", lambda home: [sys.executable, "-c", program])
    out = io.StringIO()
    return audit.audit_stack(Console(file=out, width=120), Path("home")), out.getvalue()


def test_a_clean_audit_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    is_clean, text = answer(monkeypatch, 0)
    assert is_clean
    assert text.strip() == "Audit: 3 checks of landing zone, ledger and lake, no violation"


@pytest.mark.parametrize("code", [1, 2])
def test_anything_else_is_shown_whole(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    is_clean, text = answer(monkeypatch, code)
    assert not is_clean
    assert "I2.balance" in text
    assert "why" in text


def test_the_auditor_is_asked_about_this_home_s_stack(tmp_path: Path) -> None:
    words = audit.audit_command(tmp_path, ["--deep"])
    assert words[1:] == ["-m", "scenelake_audit.cli", "--stack", str(tmp_path / "stack.json"), "--deep"]
