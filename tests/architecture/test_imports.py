"""Imports point one way (DESIGN section 7): contracts, timebase, stage modules, adapters, jobs; plugins; DAGs."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "jobs" / "scenelake"
STAGES = ("decode", "synchronise", "quality", "serialise", "lineage", "ledger", "review")
ENGINES = ("airflow", "pyspark", "boto3", "botocore", "aiobotocore", "torch", "moto")
EDGES = ("job.py", "register_drop.py", "desk.py")
"""Modules at the edge of a process: the only ones of a stage that may open doors."""

PAGES = {"review_page.py": "scenelake.review", "report_page.py": "scenelake.report.shelf"}
"""Plugins' pages, and what answers for them."""
MAX_LINES = 500
MAX_DAG_LINES = 150


@dataclass(frozen=True)
class Import:
    file: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(REPOSITORY)}:{self.line} imports {self.module}"


def imports_of(file: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(file, node.lineno, name.name)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield Import(file, node.lineno, "." * node.level + (node.module or ""))
            else:
                yield Import(file, node.lineno, node.module or "")


def python_files(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*.py"))
    assert files, f"no Python file below {folder}: this check would pass on nothing"
    return files


def is_edge(file: Path) -> bool:
    return file.name in EDGES or file.name.endswith("_job.py")


def starts_with(module: str, *prefixes: str) -> bool:
    return any(module == p or module.startswith(p + ".") for p in prefixes)


def violations(files: list[Path], forbidden: tuple[str, ...], *, except_for: tuple[str, ...] = ()) -> list[str]:
    return [
        str(i)
        for file in files
        for i in imports_of(file)
        if starts_with(i.module, *forbidden) and not starts_with(i.module, *except_for)
    ]


def test_contracts_depend_on_the_standard_library_and_pyarrow_alone() -> None:
    allowed = (*sys.stdlib_module_names, "pyarrow", "scenelake.contracts")
    bad = [
        str(i)
        for f in python_files(PACKAGE / "contracts")
        for i in imports_of(f)
        if not starts_with(i.module, *allowed)
    ]
    assert not bad, bad


def test_timebase_depends_on_contracts_and_numpy_alone() -> None:
    allowed = (*sys.stdlib_module_names, "numpy", "scenelake.contracts", "scenelake.timebase")
    bad = [
        str(i) for f in python_files(PACKAGE / "timebase") for i in imports_of(f) if not starts_with(i.module, *allowed)
    ]
    assert not bad, bad


def test_geometry_depends_on_contracts_timebase_numpy_and_pyarrow_alone() -> None:
    """Stages, loader, exports and viewer may all import it, so it imports none of them."""
    ours = ("scenelake.contracts", "scenelake.timebase", "scenelake.geometry")
    allowed = (*sys.stdlib_module_names, "numpy", "pyarrow", *ours)
    bad = [
        str(i) for f in python_files(PACKAGE / "geometry") for i in imports_of(f) if not starts_with(i.module, *allowed)
    ]
    assert not bad, bad


@pytest.mark.parametrize("stage", STAGES)
def test_stage_modules_are_pure_and_stages_never_import_each_other(stage: str) -> None:
    files = [f for f in python_files(PACKAGE / stage) if not is_edge(f)]
    doors = (*ENGINES, "scenelake.adapters", "scenelake.runtime", "scenelake.cli", "scenelake.stack")
    others = tuple(f"scenelake.{s}" for s in STAGES if s != stage)
    assert not violations(files, (*doors, *others))


@pytest.mark.parametrize("stage", STAGES)
def test_job_modules_do_not_import_other_stages(stage: str) -> None:
    files = [f for f in python_files(PACKAGE / stage) if is_edge(f)]
    others = tuple(f"scenelake.{s}" for s in STAGES if s != stage)
    forbidden = ("airflow", "scenelake.cli", "scenelake.stack", *others)
    assert not violations(files, forbidden, except_for=("scenelake.ledger.protocol",))


def test_adapters_know_protocols_but_no_job_and_no_orchestrator() -> None:
    assert not violations(python_files(PACKAGE / "adapters"), ("airflow", "scenelake.cli", "scenelake.stack"))


def test_plugins_know_contracts_settings_and_airflow() -> None:
    files = python_files(REPOSITORY / "plugins")
    known = ("scenelake.contracts", "scenelake.runtime.settings", "scenelake.runtime.faults")
    assert not violations([f for f in files if f.name not in PAGES], ("scenelake",), except_for=known)


def test_pages_answer_by_themselves_and_nothing_imports_them_early() -> None:
    """A person waits for a page: a process a click would cost seconds (docs/decisions/0019)."""
    pages = [f for f in python_files(REPOSITORY / "plugins") if f.name in PAGES]
    assert len(pages) == len(PAGES)
    for page in pages:
        known = ("scenelake.contracts", "scenelake.runtime.settings", PAGES[page.name])
        assert not violations([page], ("scenelake",), except_for=known)
    plugin = REPOSITORY / "plugins" / "scenelake_plugin.py"
    at_import = [node for node in ast.parse(plugin.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {ast.unparse(node) for node in at_import} == {
        "from typing import Any, ClassVar",
        "from airflow.plugins_manager import AirflowPlugin",
    }, "every process of Airflow imports the plugin: import what the page needs when it is first asked"


def test_dags_know_plugins_contracts_and_the_task_sdk() -> None:
    files = python_files(REPOSITORY / "dags")
    assert not violations(files, ("scenelake",), except_for=("scenelake.contracts",))
    assert not violations(files, (*ENGINES, "os"), except_for=("airflow.sdk", "airflow.providers"))


def test_imports_are_absolute() -> None:
    relative = [str(i) for f in python_files(PACKAGE) for i in imports_of(f) if i.module.startswith(".")]
    assert not relative


def attribute_uses(file: Path, owner: str, *names: str) -> list[str]:
    return [
        f"{file.relative_to(REPOSITORY)}:{node.lineno} uses {owner}.{node.attr}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == owner
        and node.attr in names
    ]


def test_one_module_reads_the_environment() -> None:
    files = [*python_files(PACKAGE), *python_files(REPOSITORY / "plugins"), *python_files(REPOSITORY / "dags")]
    reader = PACKAGE / "runtime" / "settings.py"
    assert attribute_uses(reader, "os", "environ"), "the settings module no longer reads the environment?"
    bad = [use for f in files if f != reader for use in attribute_uses(f, "os", "environ", "getenv")]
    assert not bad, f"read settings through scenelake.runtime.settings instead: {bad}"


def test_nobody_touches_the_module_search_path() -> None:
    files = [*python_files(PACKAGE), *python_files(REPOSITORY / "plugins"), *python_files(REPOSITORY / "dags")]
    assert not [use for f in files for use in attribute_uses(f, "sys", "path")]


def test_validation_raises_instead_of_asserting() -> None:
    bad = [
        f"{f.relative_to(REPOSITORY)}:{node.lineno}"
        for f in [*python_files(PACKAGE), *python_files(REPOSITORY / "plugins")]
        for node in ast.walk(ast.parse(f.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert not bad, f"raise one of contracts.errors instead: {bad}"


def test_files_stay_readable() -> None:
    files = [*python_files(PACKAGE), *python_files(REPOSITORY / "plugins"), *python_files(REPOSITORY / "tests")]
    long = {str(f.relative_to(REPOSITORY)): n for f in files if (n := len(f.read_text().splitlines())) > MAX_LINES}
    assert not long, f"split these by idea: {long}"
    dags = {
        f.name: n for f in python_files(REPOSITORY / "dags") if (n := len(f.read_text().splitlines())) > MAX_DAG_LINES
    }
    assert not dags, f"a DAG is at most {MAX_DAG_LINES} lines: {dags}"


def test_packages_say_what_they_are_and_hold_no_logic() -> None:
    for file in (f for f in python_files(PACKAGE) if f.name == "__init__.py"):
        body = ast.parse(file.read_text()).body
        assert body, f"{file} needs a docstring"
        assert isinstance(body[0], ast.Expr), f"{file} needs a docstring"
        logic = [type(n).__name__ for n in body[1:] if not isinstance(n, (ast.Import, ast.ImportFrom, ast.Assign))]
        assert not logic, f"{file}: {logic}"


def test_the_checker_sees_a_planted_violation(tmp_path: Path) -> None:
    planted = REPOSITORY / "tests" / "architecture" / "test_imports.py"
    assert violations([planted], ("ast",)), "imports_of no longer finds a plain import"
