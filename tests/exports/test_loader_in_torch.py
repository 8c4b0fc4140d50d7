"""The loader's tests under torch, in the environment that has it."""

import sysconfig
from pathlib import Path

from tests.exports.conftest import Check

NBR_TESTS = 14


def test_the_loader_passes_its_tests_under_torch(lerobot: Check, repository: Path) -> None:
    tests = repository / "tests" / "unit" / "loader" / "test_torch_dataset.py"
    ended = lerobot("with_torch.py", tests, sysconfig.get_paths()["purelib"])
    assert ended.get("failed", 0) == 0
    assert ended["passed"] >= NBR_TESTS
