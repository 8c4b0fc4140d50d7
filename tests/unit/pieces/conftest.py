"""Parts of one drive, and an empty lake."""

from pathlib import Path

import pytest

from .drive import simulate_parts
from .pipeline import Lake


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return simulate_parts(tmp_path_factory.mktemp("pieces"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)
