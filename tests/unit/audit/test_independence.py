"""The auditor shares no code with the pipeline: it could not find a bug that it shares."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ALLOWED = {"scenelake_audit", "boto3", "botocore", "duckdb", "mcap", "pyarrow", "pyiceberg", "zstandard"}
MAX_LINES = 500


@pytest.fixture(scope="module")
def files(repository: Path) -> list[Path]:
    found = sorted((repository / "audit" / "scenelake_audit").rglob("*.py"))
    assert len(found) > 5
    return found


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "import_module":
            yield "importlib.import_module"


def test_the_auditor_imports_nothing_of_the_pipeline(files: list[Path]) -> None:
    modules = [(file.name, module) for file in files for module in imported(file)]
    assert modules
    bad = [m for m in modules if m[1].split(".")[0] not in ALLOWED | set(sys.stdlib_module_names)]
    dynamic = [m for m in modules if m[1].startswith("importlib")]
    assert not bad + dynamic, f"the auditor must derive everything itself: {bad + dynamic}"


def test_files_stay_short(files: list[Path]) -> None:
    long = {f.name: n for f in files if (n := len(f.read_text().splitlines())) > MAX_LINES}
    assert not long, long
