"""A drive that arrives in pieces, the last one late, through a real Airflow, real S3 events and real Spark."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from tests.unit.pieces.drive import simulate_parts
from tests.unit.pieces.pipeline import Lake

from scenelake.cli.audit import audit_command
from scenelake.cli.follow import Follower
from scenelake.cli.stack_commands import Workspace
from scenelake.cli.upload import Put, Upload, manifest_of, upload, upload_bytes
from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.releases import Release
from scenelake.ledger.drive_status import DriveState, read_drive_status

pytestmark = pytest.mark.e2e

TIMEOUT_SECONDS = 300
LATE = "camera_front/part_002.mcap"
FOLDER = "test/pieces/monday/rec"
QUIET_NS = 5_000_000_000


@dataclass
class Arrival:
    """The releases before and after the late part, and how every drop ended."""

    before: Release
    after: Release
    states: list[DriveState] = field(default_factory=list)
    drops: dict[str, Drop] = field(default_factory=dict)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Of camera and LiDAR alone: what matters here is the way they take."""
    found = simulate_parts(tmp_path_factory.mktemp("pieces"))
    return {name: content for name, content in found.items() if name.startswith(("camera_front/", "lidar/"))}


@pytest.fixture(scope="module")
def arrival(stack: Workspace, parts: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Arrival:
    """All parts but one, without a manifest; then, when they are built, the manifest and the part that was missing."""
    folder = tmp_path_factory.mktemp("upload")
    puts = [Put(f"{FOLDER}/{name}", _written(folder / name, content)) for name, content in parts.items()]
    late = next(put for put in puts if put.key.endswith(LATE))
    first = [upload(stack.settings, put.path, put.key) for put in puts if put is not late and put.path]
    states = [_state(stack, _follow(stack, first))]
    before = stack.release()
    manifest = Put(f"{FOLDER}/_MANIFEST.json", None)
    second = [upload_bytes(stack.settings, manifest_of(manifest, puts), manifest.key)]
    assert late.path is not None
    second.append(upload(stack.settings, late.path, late.key))
    drops = _follow(stack, second)
    after = stack.release()
    assert before is not None
    assert after is not None
    states.append(_state(stack, drops))
    return Arrival(before, after, states, {d.key.removeprefix(f"{FOLDER}/"): d for d in drops})


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _follow(stack: Workspace, uploads: Sequence[Upload]) -> list[Drop]:
    follower = Follower(stack.ledger, None, [u.drop_id for u in uploads])
    assert follower.watch(Console(file=sys.stderr), TIMEOUT_SECONDS), follower.seen.drops
    return list(follower.seen.drops.values())


def _state(stack: Workspace, drops: Sequence[Drop]) -> DriveState:
    siblings = list(stack.ledger.drops(drive_id=drops[0].drive_id))
    return read_drive_status(stack.ledger, siblings, QUIET_NS, drops[0].received_at_ns).state


def test_the_drive_was_built_when_it_was_quiet_and_again_when_it_was_whole(arrival: Arrival) -> None:
    assert arrival.states == [DriveState.BUILT, DriveState.BUILT]
    assert {name: (d.state, d.reason) for name, d in arrival.drops.items()} == {
        "_MANIFEST.json": (DropState.BUILT, None),
        LATE: (DropState.BUILT, None),
    }


def test_gold_is_what_the_whole_drive_gives_at_once(arrival: Arrival, parts: dict[str, bytes], tmp_path: Path) -> None:
    """A scene's hash is over its canonical rows in every table, and over its payload."""
    whole = Lake(tmp_path)
    for name, content in parts.items():
        whole.put(f"{FOLDER}/{name}", content)
    whole.wait(3600)
    whole.build_all()
    expected = whole.release()
    assert expected is not None
    assert len(expected.scenes) == 3
    (drive_id,) = {drive for drive, _ in expected.scenes.values()}
    assert {s: v for s, v in arrival.after.scenes.items() if v[0] == drive_id} == expected.scenes


def test_the_release_names_what_the_late_part_superseded_and_nothing_else(arrival: Arrival) -> None:
    before, after = arrival.before, arrival.after
    assert after.parent == before.release_id
    changed = {s for s in before.scenes if before.scenes[s] != after.scenes[s]}
    assert 0 < len(changed) < 3
    assert after.delta.replaced == {s: (before.scenes[s][1], after.scenes[s][1]) for s in changed}
    assert (after.delta.added, after.delta.removed) == ((), ())


def test_the_auditor_takes_manifests_for_what_they_are(arrival: Arrival, stack: Workspace) -> None:
    done = subprocess.run(audit_command(stack.settings.home, []), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
