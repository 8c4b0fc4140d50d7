"""Fixtures that every suite shares."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data"

ON_ONE_WORKER = ("tests/airflow/", "tests/e2e/", "tests/exports/", "tests/spark/")
"""Tests that share something large: a stack, Airflow's database, environments of peers, a Spark session."""


class _ByFileOrFolder(LoadScopeScheduling):  # type: ignore[misc]
    """Hands whole files to workers, in order, and some folders whole."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in ON_ONE_WORKER if nodeid.startswith(folder)), nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByFileOrFolder(config, log)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a folder of the real recordings that lie beside the checkout.

    Skips with a reason where they are absent; fails instead when SCENELAKE_REQUIRE_REAL_DATA=1.
    """

    def find(name: str) -> Path:
        folder = REAL_DATA / name
        if not folder.is_dir():
            message = f"real recording {name} is not beside the checkout (../shared/data/{name})"
            if os.environ.get("SCENELAKE_REQUIRE_REAL_DATA") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return folder

    return find


@pytest.fixture(autouse=True)
def usual_scheduling() -> Iterator[None]:
    """Under root, the AV1 encoder makes whoever calls it a real-time process: servers that tests start would starve."""
    yield
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
