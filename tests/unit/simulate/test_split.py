"""A recording in parts holds the same messages as the whole."""

from collections import Counter
from pathlib import Path

import pytest
from mcap.reader import make_reader
from typer.testing import CliRunner

from scenelake.cli.main import app
from scenelake.cli.upload import object_sha256
from scenelake.contracts.errors import ConfigurationError
from scenelake.contracts.manifests import read_manifest
from scenelake.simulate.config import SECOND_NS, Camera, DriveConfig, Imu, Mount
from scenelake.simulate.drive import simulate_drive
from scenelake.simulate.split import sensor_of, split_recording


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("split") / "whole.mcap"
    config = DriveConfig(
        duration_ns=21 * SECOND_NS, vehicles=0, pedestrians=0,
        cameras=(
            Camera(
                topic="/camera/front/image", frame_id="c", mount=Mount(z_m=1.5), rate_hz=1.0, width_px=16, height_px=16
            ),
        ),
        imu=Imu(topic="/imu/data", frame_id="imu", rate_hz=4.0),
    )  # fmt: skip
    simulate_drive(config, path)
    return path


def messages(path: Path) -> Counter[tuple[object, ...]]:
    with path.open("rb") as file:
        return Counter(
            (schema.name if schema else None, c.topic, tuple(c.metadata.items()), m.log_time, m.publish_time,
             m.sequence, m.data)
            for schema, c, m in make_reader(file).iter_messages()
        )  # fmt: skip


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("sensor", ["camera_front/000.mcap", "imu/000.mcap", "tf_static/000.mcap"]),
        ("time", ["part_000.mcap", "part_001.mcap", "part_002.mcap"]),
        ("2", ["part_000.mcap", "part_001.mcap"]),
        ("1", ["part_000.mcap"]),
    ],
)
def test_parts_hold_every_message_once(whole: Path, tmp_path: Path, split: str, names: list[str]) -> None:
    parts = split_recording(whole, tmp_path, split)
    assert [p.relative_to(tmp_path).as_posix() for p in parts] == names
    assert sum((messages(p) for p in parts), Counter()) == messages(whole)
    for part in parts:
        with part.open("rb") as file:
            assert "scenelake.drive" in {m.name for m in make_reader(file).iter_metadata()}


@pytest.mark.parametrize("split", ["0", "-1", "half", ""])
def test_a_split_that_makes_no_sense_is_named(whole: Path, tmp_path: Path, split: str) -> None:
    with pytest.raises(ConfigurationError, match="--split"):
        split_recording(whole, tmp_path, split)


def test_topics_of_a_namespace_are_one_sensor() -> None:
    assert sensor_of("/camera/front/image") == sensor_of("/camera/front/camera_info") == "camera_front"
    assert sensor_of("/odometry") == "odometry"


def test_the_command_writes_a_folder_with_its_manifest_and_truth(tmp_path: Path) -> None:
    out = tmp_path / "rec"
    words = ["simulate", str(out), "--seconds", "1", "--split", "sensor", "--manifest", "-q"]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    listed = read_manifest((out / "_MANIFEST.json").read_bytes(), "m")
    assert {out / f.path for f in listed} == set(out.rglob("*.mcap"))
    assert all(f.object_sha256 == object_sha256(out / f.path) for f in listed)
    assert (tmp_path / "rec.truth.json").is_file()
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, ConfigurationError)
