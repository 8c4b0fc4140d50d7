"""A whole stack of its own: AWS stand-in, landing zone from the template, event delivery, four Airflow processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from scenelake.cli.follow import Follower
from scenelake.cli.stack_commands import Workspace
from scenelake.cli.upload import Upload, upload
from scenelake.contracts.drops import Drop
from scenelake.contracts.releases import Release
from scenelake.convert.converters import CONVERTERS
from scenelake.runtime.settings import load_settings

TIMEOUT_SECONDS = 420


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Workspace]:
    """Starts ``scenelake up`` in a home of its own and stops it afterwards."""
    home = tmp_path_factory.mktemp("scenelake-home")
    environment = {
        **os.environ,
        "SCENELAKE_HOME": str(home),
        "SCENELAKE_AIRFLOW_PORT": str(free_port()),
        "SCENELAKE_AWS_PORT": str(free_port()),
        "SCENELAKE_QUIET_SECONDS": "5",
    }
    command = [str(Path(sys.executable).with_name("scenelake"))]
    done = subprocess.run(
        [*command, "up"], env=environment, cwd=repository, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        yield Workspace(load_settings({"SCENELAKE_HOME": str(home)}))
    finally:
        subprocess.run([*command, "down"], env=environment, cwd=repository, check=True, timeout=120)


@dataclass
class Dropped:
    """What was put into landing, by name, and what became of it."""

    workspace: Workspace
    uploads: dict[str, Upload] = field(default_factory=dict)
    drops: dict[str, Drop] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    release: Release | None = None

    def connection(self) -> duckdb.DuckDBPyConnection:
        assert self.release is not None, "no release was made"
        return self.workspace.attach(self.release)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory, real_data: Callable[[str], Path]) -> dict[str, Path]:
    """RADIATE and comma2k19 as MCAP, and four files that are wrong in different ways."""
    folder = tmp_path_factory.mktemp("recordings")
    found = {}
    for dataset, source in (("radiate", "radiate_tiny_foggy"), ("comma2k19", "comma2k19_example1")):
        found[dataset] = folder / f"{dataset}.mcap"
        CONVERTERS[dataset](real_data(source), found[dataset])
    whole = found["radiate"].read_bytes()
    wrong = {"empty": b"", "not_mcap": b"this is not a recording\n" * 40, "truncated": whole[: len(whole) * 2 // 3]}
    for name, data in wrong.items():
        found[name] = folder / f"{name}.mcap"
        found[name].write_bytes(data)
    return found


@pytest.fixture(scope="session")
def dropped(stack: Workspace, recordings: dict[str, Path]) -> Dropped:
    """Drops everything at once and follows it to its end."""
    result = Dropped(stack, paths=recordings)
    keys = {name: f"test/vehicle/{name}/{path.name}" for name, path in recordings.items()}
    for name, key in keys.items():
        result.uploads[name] = upload(stack.settings, recordings[name], key)
    result.uploads["outside"] = upload(stack.settings, recordings["comma2k19"], "outside.mcap")
    follower = Follower(stack.ledger, None, [u.drop_id for u in result.uploads.values()])
    in_time = follower.watch(Console(file=sys.stderr), TIMEOUT_SECONDS)
    result.drops = {
        n: follower.seen.drops[u.drop_id] for n, u in result.uploads.items() if u.drop_id in follower.seen.drops
    }
    assert in_time, f"not every drop ended in {TIMEOUT_SECONDS} s: {result.drops}"
    result.release = stack.release()
    return result
