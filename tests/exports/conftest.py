"""Releases to export, and environments with the packages that exports are checked by."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from benchmarks.environments import CACHE, EnvironmentUnavailableError, PythonEnvironment
from tests.exports.lake import LakeReader, robot_lake, vehicle_lake

HERE = Path(__file__).resolve().parent
NUSCENES = PythonEnvironment("export-nuscenes", HERE / "requirements-nuscenes.txt", is_complete=True)
LEROBOT = PythonEnvironment(
    "export-lerobot", HERE / "requirements-lerobot.txt", torch=HERE / "requirements-torch.txt", is_complete=True
)
RERUN = PythonEnvironment("export-rerun", HERE / "requirements-view.txt", is_complete=True)
REGISTRY = "https://pypi.org/simple/uv/"
TORCH_REGISTRY = "https://download.pytorch.org/whl/cpu/"
Check = Callable[..., Any]
"""Runs a script with arguments in an environment and returns the JSON that it prints last."""


@pytest.fixture(scope="session")
def vehicle(tmp_path_factory: pytest.TempPathFactory) -> LakeReader:
    return LakeReader(vehicle_lake(tmp_path_factory.mktemp("vehicle")))


@pytest.fixture(scope="session")
def robot(tmp_path_factory: pytest.TempPathFactory) -> LakeReader:
    return LakeReader(robot_lake(tmp_path_factory.mktemp("robot")))


@pytest.fixture(scope="session")
def nuscenes() -> Check:
    return _check(NUSCENES)


@pytest.fixture(scope="session")
def lerobot() -> Check:
    return _check(LEROBOT)


@pytest.fixture(scope="session")
def rerun(repository: Path) -> Check:
    """Rerun beside our own packages, as the extra ``view`` puts it there."""
    (packages,) = _python(RERUN).parent.parent.glob("lib/python*/site-packages")
    found = [packages, repository, repository / "plugins", repository / "audit"]
    return _runner(Path(sys.executable), {"PYTHONPATH": os.pathsep.join(map(str, found))})


def _check(environment: PythonEnvironment) -> Check:
    return _runner(_python(environment), {})


def _python(environment: PythonEnvironment) -> Path:
    """The environment's Python; skips where it cannot be had."""
    try:
        return environment.python(CACHE / "exports", print_nothing)
    except EnvironmentUnavailableError as error:
        needed = [REGISTRY] if environment.torch is None else [REGISTRY, TORCH_REGISTRY]
        missing = [url for url in needed if not _is_reached(url)]
        if os.environ.get("SCENELAKE_REQUIRE_EXPORT_CHECKS") == "1" or not missing:
            pytest.fail(f"{environment.name}: {error}")
        pytest.skip(f"{environment.name} is not installed, and {', '.join(missing)} cannot be reached: {error}")


def _runner(python: Path, variables: Mapping[str, str]) -> Check:
    def run(script: str, *words: str | Path) -> Any:
        command = [str(python), str(HERE / script), *map(str, words)]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "MPLBACKEND": "Agg"}
        environment = {**os.environ, **offline, **variables}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


def print_nothing(_: str) -> None:
    """Progress of an installation, in a test."""


def _is_reached(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except (urllib.error.URLError, TimeoutError):
        return False
    return True
