"""``scenelake view``: what it does where Rerun or a display is missing."""

import tomllib
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tests.unit.view.tiny import SCENE, tiny_reader
from typer.testing import CliRunner

from scenelake.cli import view as command
from scenelake.cli.main import app
from scenelake.contracts.errors import BadInputError, ConfigurationError
from scenelake.runtime.settings import has_display
from scenelake.view import package
from scenelake.view.config import SheetConfig


def look(word: str = SCENE, **more: Path) -> str:
    console = Console(file=StringIO(), width=200, color_system=None)
    files = {"save": None, "sheet": None} | more
    command.view_scene(console, tiny_reader(), word, config=SheetConfig(nbr_columns=2), **files)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("is_installed", "why"), [(False, package.RERUN), (True, "there is no display")])
def test_without_rerun_or_a_display_the_sheet_is_written_and_the_reason_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(package, "is_installed", lambda: is_installed)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    text = look()
    assert why in text
    assert "scene-5a1e0001.png: contact sheet of r00000002: " in text
    assert [p.name for p in tmp_path.iterdir()] == ["scene-5a1e0001.png"]


def test_a_recording_without_rerun_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "is_installed", lambda: False)
    with pytest.raises(ConfigurationError, match="pip install 'rerun-sdk=="):
        look(save=tmp_path / "scene.rrd", sheet=tmp_path / "sheet.png")
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_the_command_is_there_and_says_what_it_takes() -> None:
    shown = CliRunner().invoke(app, ["view", "--help"])
    assert shown.exit_code == 0
    for word in ("SCENE", "--release", "--save", "--sheet", "latest"):
        assert word in shown.output


def test_a_wrong_scene_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="the nearest"):
        look("ffff", sheet=tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_whether_a_window_can_be_opened(environment: dict[str, str], platform: str, expected: bool) -> None:
    assert has_display(environment, platform) is expected


def test_the_extra_and_the_checks_pin_the_rerun_that_the_message_names(repository: Path) -> None:
    project = tomllib.loads((repository / "jobs" / "pyproject.toml").read_text())
    assert project["project"]["optional-dependencies"]["view"] == [package.RERUN]
    assert package.RERUN in (repository / "tests" / "exports" / "requirements-view.txt").read_text().splitlines()
