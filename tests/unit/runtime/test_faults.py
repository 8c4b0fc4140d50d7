"""Failpoints, in processes that really die."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scenelake.runtime.faults import Faults
from scenelake.runtime.settings import environment_for

PASSING = """
import sys
from scenelake.runtime.faults import durable_write
from scenelake.runtime.logs import configure_logging
configure_logging(stage="stage")
print("ready", flush=True)
sys.stdin.readline()
with durable_write("stage.thing"):
    pass
print("alive")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "faults"
    for name in ("armed", "fired"):
        (folder / name).mkdir(parents=True)
    return folder


def passing(folder: Path | str, home: Path) -> subprocess.Popen[str]:
    """A process that waits for a line, then writes something."""
    environment = environment_for({"SCENELAKE_FAULTS": str(folder), "SCENELAKE_HOME": str(home)})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", PASSING], env=environment, text=True, **pipes)


def arm(folder: Path, order: str, action: str = "kill") -> None:
    (folder / "armed" / order).write_text(json.dumps({"action": action}))


def fired(folder: Path) -> dict[str, dict[str, object]]:
    return {p.stem: json.loads(p.read_text()) for p in (folder / "fired").glob("*.json")}


def test_one_of_many_processes_takes_an_order_and_dies_of_it(folder: Path, tmp_path: Path) -> None:
    arm(folder, "stage.thing.before@1")
    arm(folder, "stage.thing.after@1")
    processes = [passing(folder, tmp_path) for _ in range(4)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    answers = [process.communicate("go\n") for process in processes]
    codes = sorted(process.returncode for process in processes)
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0, 0], answers
    assert not list((folder / "armed").iterdir())
    dead = {process.pid for process in processes if process.returncode}
    assert {found["pid"] for found in fired(folder).values()} == dead
    assert {(f["name"], f["component"], f["action"]) for f in fired(folder).values()} == {
        ("stage.thing.before", "stage", "kill"),
        ("stage.thing.after", "stage", "kill"),
    }


def test_nothing_is_written_and_nobody_dies_without_a_folder(folder: Path, tmp_path: Path) -> None:
    arm(folder, "stage.thing.before@1")
    out, _ = passing("", tmp_path).communicate("go\n")
    assert out == "ready\nalive\n"
    assert not fired(folder)


def test_a_relative_folder_is_refused(tmp_path: Path) -> None:
    _, said = passing("faults", tmp_path).communicate("go\n")
    assert "SCENELAKE_FAULTS: expected an absolute path" in said


def test_a_halted_process_waits_until_it_is_let_go(folder: Path, tmp_path: Path) -> None:
    arm(folder, "stage.thing.before@1", "halt")
    process = passing(folder, tmp_path)
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()
    deadline = time.monotonic() + 20
    while not fired(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)
    (folder / "fired" / "stage.thing.before@1.done").touch()
    assert process.communicate()[0].endswith("alive\n")


def test_orders_of_one_point_are_taken_one_a_passage_and_the_lowest_first(folder: Path) -> None:
    faults = Faults(folder)
    for number in (10, 9):
        arm(folder, f"a.b.before@{number}", "halt")
        (folder / "fired" / f"a.b.before@{number}.done").touch()
    arm(folder, "a.b.before_that@1", "kill")
    faults.pass_point("a.b.before")
    assert list(fired(folder)) == ["a.b.before@9"]
    faults.pass_point("a.b.before")
    faults.pass_point("a.b.before")
    assert sorted(fired(folder)) == ["a.b.before@10", "a.b.before@9"]


def test_passages_are_recorded_while_that_is_asked_for(folder: Path) -> None:
    faults = Faults(folder)
    faults.pass_point("a.b.before")
    assert not list((folder / "seen").iterdir())
    (folder / "record").touch()
    faults.pass_point("a.b.before")
    assert [p.name for p in (folder / "seen").iterdir()] == ["a.b.before"]


def test_a_clock_jumps_once_and_within_bounds(folder: Path) -> None:
    faults = Faults(folder)
    assert faults.clock_jump_ns() == 0
    (folder / "clock.json").write_text(json.dumps({"max_jump_seconds": 5, "seed": 1}))
    jump_ns = faults.clock_jump_ns()
    assert 0 < abs(jump_ns) <= 5_000_000_000
    assert faults.clock_jump_ns() == jump_ns
    assert Faults(folder).clock_jump_ns() == jump_ns
    (folder / "clock.json").unlink()
    assert faults.clock_jump_ns() == 0
