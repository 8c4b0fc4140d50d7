"""Every example of docs/reading.md, and then the README's, runs on a simulated drive."""

import re
import shlex
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from scenelake.adapters.spark import spark_session
from scenelake.cli.main import app
from scenelake.runtime.settings import Settings
from scenelake.simulate.config import plan_default_drive
from scenelake.simulate.drive import simulate_drive

DECODED_CHANNELS = 13


@pytest.fixture
def pages(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The page and the README's part, in a folder with ``drive.mcap``."""
    monkeypatch.chdir(tmp_path)
    simulate_drive(plan_default_drive(7).model_copy(update={"duration_ns": 2_000_000_000}), Path("drive.mcap"))
    (short,) = re.findall(
        r"## Reading recordings directly\n.*?\n## ", (repository / "README.md").read_text(), re.DOTALL
    )
    return (repository / "docs" / "reading.md").read_text(), short


@pytest.mark.spark
def test_the_examples_run(pages: tuple[str, str], tmp_path: Path) -> None:
    page, short = pages
    commands = [line for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
        assert (result.exit_code, "/imu/data" in result.output) == (0, True)
    session = spark_session(Settings(home=tmp_path, spark_master="local[2]"), "tests")
    examples = re.findall(r"```python\n(.*?)```", page + short, re.DOTALL)
    assert len(examples) == 7
    names: dict = {}
    try:
        for example in examples:
            exec(compile(example, "docs/reading.md", "exec"), names)
        _check(names, session)
    finally:
        session.stop()


def _check(names: dict, session: SparkSession) -> None:
    count = names["messages"].count()
    assert count == names["decoded"].count() == names["rest"].count() > 300
    assert names["decoded"].where("status = 'decoded'").select("channel").distinct().count() == DECODED_CHANNELS
    assert names["imu"].count() == names["messages"].where("channel = '/imu/data'").count() > 100
    assert names["boxes"].count() > 0
    assert names["problems"].count() == 0
    assert session.sql("SELECT * FROM radar").count() > 0
