"""Fixtures that every suite shares."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data"


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


SHARED_BY_SUITE = ("e2e", "exports")
"""Suites with session fixtures that take minutes: their files run in one worker."""

LONGEST_FIRST = ("e2e", "contract/test_audit.py", "faults/test_battery.py", "exports", "spark", "contract", "airflow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests run in several workers, keeps a file's together and starts what takes longest first."""
    if not getattr(config.option, "dist", "no").startswith("load"):
        return
    folder = Path(__file__).resolve().parent

    def place(item: pytest.Item) -> str:
        return item.path.relative_to(folder).as_posix()

    def rank(item: pytest.Item) -> int:
        known = (n for n, start in enumerate(LONGEST_FIRST) if place(item).startswith(start))
        return next(known, len(LONGEST_FIRST))

    for item in items:
        suite = place(item).split("/")[0]
        item.add_marker(pytest.mark.xdist_group(suite if suite in SHARED_BY_SUITE else place(item)))
    items.sort(key=rank)
