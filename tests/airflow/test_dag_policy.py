"""What every DAG of this house promises. Each message names the remedy."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.serialization.serialized_objects import DagSerialization

REPOSITORY = Path(__file__).resolve().parents[2]
DAGS = REPOSITORY / "dags"
PLUGINS = REPOSITORY / "plugins"
DAG_FILES = sorted(DAGS.glob("*.py"))
MAX_LINES = 150
MAX_IMPORT_SECONDS = 0.3
ALLOWED_IMPORTS = ("airflow.sdk", "scenelake_airflow", "scenelake.contracts")
ALLOWED_STANDARD_LIBRARY = ("collections", "dataclasses", "datetime", "enum", "functools", "typing")
PARSE_TIME_READS = ("environ", "getenv", "Variable", "Connection", "open", "read_text", "load_settings")
UNDEFINED_WITHOUT_LOGICAL_DATE = re.compile(r"\{\{[^}]*\b(ds|ts|logical_date|data_interval_\w+|execution_date)\b")


@pytest.fixture(scope="module")
def bag() -> DagBag:
    bag = DagBag(str(DAGS))
    assert not bag.import_errors, f"DAG files that do not import: {bag.import_errors}"
    assert set(bag.dags) == {file.stem for file in DAG_FILES}, "name a DAG file after its one dag_id"
    assert bag.dags, "no DAG found: these checks would pass on nothing"
    return bag


@pytest.fixture(params=[file.stem for file in DAG_FILES])
def dag(request: pytest.FixtureRequest, bag: DagBag) -> DAG:
    return bag.dags[request.param]


def test_there_are_dag_files() -> None:
    assert {"ingest_drops", "build_scenes"} <= {file.stem for file in DAG_FILES}


def test_dag_is_documented(dag: DAG) -> None:
    assert len((dag.doc_md or "").split()) > 30, f"{dag.dag_id}: pass doc_md=__doc__ and write the docstring"
    assert dag.description, f"{dag.dag_id}: pass description, one line for the list of DAGs"
    assert dag.tags > {"scenelake"}, f"{dag.dag_id}: tag it 'scenelake' and by what it does"
    for task in dag.tasks:
        doc = task.partial_kwargs.get("doc_md") if isinstance(task, MappedOperator) else task.doc_md
        assert (doc or "").endswith("."), f"{dag.dag_id}.{task.task_id}: pass doc_md, a sentence for the UI"


def test_dag_bounds_its_runs(dag: DAG) -> None:
    assert dag.catchup is False, f"{dag.dag_id}: pass catchup=False; the ledger knows what was missed"
    assert 1 <= dag.max_active_runs <= 4, f"{dag.dag_id}: pass max_active_runs; the default of 16 floods a laptop"
    assert dag.dagrun_timeout, f"{dag.dag_id}: pass dagrun_timeout"
    assert dag.is_paused_upon_creation is False, f"{dag.dag_id}: pass is_paused_upon_creation=False"


def test_tasks_retry_and_end(dag: DAG) -> None:
    assert dag.tasks, f"{dag.dag_id} has no task"
    for task in dag.tasks:
        name = f"{dag.dag_id}.{task.task_id}"
        assert task.owner == "scenelake", f"{name}: set owner in default_args"
        assert (task.retries or 0) >= 1, f"{name}: set retries; every task is safe to repeat"
        assert task.retry_exponential_backoff >= 1, f"{name}: set retry_exponential_backoff"
        assert task.max_retry_delay, f"{name}: set max_retry_delay"
        # A task that asks a person runs for a moment and then waits without a worker, up to its response_timeout.
        timeout = task.execution_timeout or getattr(task, "response_timeout", None)
        assert timeout, f"{name}: set execution_timeout (or response_timeout, if it asks a person)"
        assert timeout <= dag.dagrun_timeout, f"{name}: its timeout exceeds the run's"


def test_params_are_typed_and_described(dag: DAG) -> None:
    for name in dag.params:
        param = dag.params.get_param(name)
        assert "type" in param.schema, f"{dag.dag_id}, param {name}: pass type, so that the UI shows the right field"
        assert param.description, f"{dag.dag_id}, param {name}: pass description"
        assert param.schema.get("title"), f"{dag.dag_id}, param {name}: pass title"


def test_dag_serialises(dag: DAG) -> None:
    DagSerialization.to_dict(dag)


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda f: f.stem)
def test_dag_file_is_short(file: Path) -> None:
    nbr_lines = len(file.read_text().splitlines())
    assert nbr_lines <= MAX_LINES, f"{file.name} has {nbr_lines} lines, at most {MAX_LINES}: move code to an operator"


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda f: f.stem)
def test_dag_file_imports_only_sdk_plugins_and_contracts(file: Path) -> None:
    allowed = (*ALLOWED_IMPORTS, *ALLOWED_STANDARD_LIBRARY)
    found = list(_imports(file))
    assert found, f"{file.name} imports nothing: not a DAG file"
    bad = [m for m in found if not any(m == a or m.startswith(a + ".") for a in allowed)]
    assert not bad, f"{file.name} imports {bad}; a DAG file imports {allowed} and nothing else"


@pytest.mark.parametrize("file", [*DAG_FILES, PLUGINS / "scenelake_airflow" / "assets.py"], ids=lambda f: f.stem)
def test_nothing_is_read_at_parse_time(file: Path) -> None:
    names = {n.id for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Name)}
    names |= {n.attr for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Attribute)}
    bad = sorted(names & set(PARSE_TIME_READS))
    assert not bad, f"{file.name} uses {bad} at parse time; read settings in the operator's execute instead"


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda f: f.stem)
def test_templates_do_without_a_logical_date(file: Path) -> None:
    bad = UNDEFINED_WITHOUT_LOGICAL_DATE.findall(file.read_text())
    assert not bad, f"{file.name} renders {bad}, undefined in asset runs and runs by hand: use run_id or params"


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda f: f.stem)
def test_importing_a_dag_file_adds_little_to_the_sdk(file: Path) -> None:
    # Processor time, because other work on the machine stretches the clock; the best of two for cold caches.
    seconds = min(_import_seconds(file) for _ in range(2))
    assert seconds <= MAX_IMPORT_SECONDS, (
        f"importing {file.name} takes {seconds:.2f} s beyond airflow.sdk, at most {MAX_IMPORT_SECONDS} s: "
        "import what is heavy inside execute (python -X importtime shows it)"
    )


@pytest.mark.parametrize("file", sorted(PLUGINS.rglob("*.py")), ids=lambda f: str(f.relative_to(PLUGINS)))
def test_plugins_read_no_environment(file: Path) -> None:
    names = {n.attr for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Attribute)}
    assert not names & {"environ", "getenv"}, f"{file.name}: take it from scenelake.runtime.settings"


def test_readme_lists_the_schedules(bag: DagBag) -> None:
    rows = dict(_schedule_rows((DAGS / "README.md").read_text()))
    assert rows == {dag_id: _schedule_words(dag, bag) for dag_id, dag in bag.dags.items()}, (
        "the schedule table of dags/README.md and the DAGs disagree: change the one that is wrong"
    )


def _schedule_rows(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in text.splitlines():
        if line.startswith("| `"):
            dag_id, woken_by, sweep, runs, *_ = (cell.strip() for cell in line.strip("|").split("|"))
            yield dag_id.strip("`"), (woken_by, sweep, runs)


def _schedule_words(dag: DAG, bag: DagBag) -> tuple[str, str, str]:
    condition = getattr(dag.timetable, "asset_condition", None)
    assets = sorted(asset.name for asset in condition.objects) if condition else []
    inner = getattr(dag.timetable, "timetable", dag.timetable)
    cron = getattr(inner, "expression", None)
    starters = sorted(d.dag_id for d in bag.dags.values() if dag.dag_id in {_started_by(task) for task in d.tasks})
    return (
        ", ".join(f"`{name}`" for name in assets) or ("–" if cron else ", ".join(["a person", *starters])),
        f"`{cron}`" if cron else "–",
        str(dag.max_active_runs),
    )


def _started_by(task: Any) -> str | None:
    """The DAG that a task starts."""
    given = task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)
    return given.get("build_dag_id") or given.get("redrive_dag_id")


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def _import_seconds(file: Path) -> float:
    script = (
        "import runpy, sys, time, airflow.sdk; sys.path.insert(0, sys.argv[2]); t = time.process_time(); "
        "runpy.run_path(sys.argv[1]); print(time.process_time() - t)"
    )
    words = [sys.executable, "-c", script, str(file), str(PLUGINS)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])
