"""An Airflow without a database: its home is a folder of this test run."""

import os
import tempfile
from pathlib import Path

import pytest

# Airflow reads these when it is first imported, so a fixture would come too late.
_HOME = tempfile.TemporaryDirectory(prefix="scenelake-airflow-tests-")
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).resolve().parents[2] / "dags")


@pytest.fixture
def scenelake_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of nobody's running stack: an empty home and no SCENELAKE_ variable."""
    for name in list(os.environ):
        if name.startswith("SCENELAKE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SCENELAKE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
