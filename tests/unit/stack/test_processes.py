import socket
import sys
import time
from pathlib import Path

import pytest

from scenelake.contracts.errors import ConfigurationError
from scenelake.runtime.settings import StackConfig, load_settings, load_stack_config
from scenelake.stack import airflow, up
from scenelake.stack.processes import ProcessId, check_port_is_free, end_trees, spawn
from scenelake.stack.state import SUPERVISOR, StackState, read_state, write_state

_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
"""


def wait_for(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_tree_is_ended_whole(tmp_path: Path) -> None:
    parent = spawn([sys.executable, "-c", f"{_PARENT}time.sleep(60)"], {}, tmp_path / "log", tmp_path)
    root = ProcessId.of(parent.pid)
    wait_for(lambda: root.process() and root.process().children())
    child = ProcessId.of(root.process().children()[0].pid)
    end_trees([root])
    assert not root.is_alive
    assert not child.is_alive
    parent.wait()


def test_orphans_of_a_process_that_died_are_ended_too(tmp_path: Path) -> None:
    parent = spawn([sys.executable, "-c", f"{_PARENT}time.sleep(1)"], {}, tmp_path / "log", tmp_path)
    root = ProcessId.of(parent.pid)
    parent.wait()
    orphan = ProcessId.of(int((tmp_path / "log").read_text()))
    assert orphan.is_alive
    end_trees([root])
    assert not orphan.is_alive


def test_a_pid_that_was_used_again_is_somebody_else(tmp_path: Path) -> None:
    process = spawn([sys.executable, "-c", "import time; time.sleep(60)"], {}, tmp_path / "log", tmp_path)
    real = ProcessId.of(process.pid)
    stale = ProcessId(process.pid, real.started_at_s - 1000)
    assert not stale.is_alive
    end_trees([stale])
    assert real.is_alive
    end_trees([real])
    process.wait()


def test_a_busy_port_names_itself_and_the_variable() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} .*SCENELAKE_AWS_PORT"):
            check_port_is_free(port, "SCENELAKE_AWS_PORT")
    check_port_is_free(port, "SCENELAKE_AWS_PORT")


def test_state_round_trips_and_settings_find_it(tmp_path: Path) -> None:
    state = StackState("ready", {"landing_bucket": "b"}, {"url": "u"}, {SUPERVISOR: ProcessId(1, 2.5)}, None)
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert load_settings({"SCENELAKE_HOME": str(tmp_path)}).landing_bucket == "b"
    assert not state.is_running
    assert read_state(tmp_path / "none") is None


def test_stopping_forgets_a_stale_stack(tmp_path: Path) -> None:
    write_state(tmp_path, StackState("ready", processes={SUPERVISOR: ProcessId(2**22 - 3, 1.0)}))
    assert up.status(tmp_path) is None
    assert not up.stop(tmp_path)
    assert read_state(tmp_path) is None


def test_starting_on_a_busy_port_starts_nothing(tmp_path: Path, repository: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        config = StackConfig(tmp_path, repository, airflow_port=busy.getsockname()[1], aws_port=0)
        with pytest.raises(ConfigurationError, match="SCENELAKE_AIRFLOW_PORT"):
            up.start(config, lambda _: None)
    assert read_state(tmp_path) is None


@pytest.mark.parametrize("value", ["x", "0", "70000"])
def test_a_port_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="SCENELAKE_AWS_PORT"):
        load_stack_config({"SCENELAKE_AWS_PORT": value})


def test_airflow_listens_on_loopback_alone_and_keeps_its_secrets(tmp_path: Path, repository: Path) -> None:
    config = StackConfig(tmp_path / "with space", repository)
    airflow.prepare(config)
    first = airflow.airflow_environment(config)
    password = airflow.password(config)
    airflow.prepare(config)
    assert airflow.airflow_environment(config) == first
    assert airflow.password(config) == password
    assert first["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert (config.home / "airflow_passwords.json").stat().st_mode & 0o077 == 0
    assert (config.home / "airflow_keys.json").stat().st_mode & 0o077 == 0
    for name in ("scheduler", "triggerer"):
        assert "--skip-serve-logs" in airflow.PROCESSES[name], "it would serve logs on every interface"
