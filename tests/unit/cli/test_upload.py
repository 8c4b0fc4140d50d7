"""Where files and folders land, in which order, and what is said of paths that hold none."""

import hashlib
from pathlib import Path

import pytest

from scenelake.cli.upload import Put, Target, left_out, manifest_of, object_sha256, plan_puts
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.ids import MERKLE_BLOCK_BYTES
from scenelake.contracts.manifests import ManifestFile, read_manifest

TARGET = Target("fleet", "car", "monday")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of two parts, and a file that is none."""
    folder = tmp_path / "rec"
    for name in ("b/2.mcap", "a/1.mcap", "a/readme.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_folder_is_one_recording_whose_manifest_comes_last(folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.bin"
    odd.touch()
    puts = plan_puts([folder, odd], TARGET)
    assert puts == [
        Put("fleet/car/monday/rec/a/1.mcap", folder / "a/1.mcap"),
        Put("fleet/car/monday/rec/b/2.mcap", folder / "b/2.mcap"),
        Put("fleet/car/monday/rec/_MANIFEST.json", None),
        Put("fleet/car/monday/odd.bin", odd),
    ]
    assert read_manifest(manifest_of(puts[2], puts), "m") == tuple(
        ManifestFile(name, len(name), hashlib.sha256(name.encode()).hexdigest()) for name in ("a/1.mcap", "b/2.mcap")
    )


def test_without_a_drive_a_folder_names_its_own_and_a_manifest_can_be_left_out(folder: Path) -> None:
    puts = plan_puts([folder], Target("fleet", "car"), with_manifest=False)
    assert [p.key for p in puts] == ["fleet/car/rec/rec/a/1.mcap", "fleet/car/rec/rec/b/2.mcap"]


def test_a_folder_that_has_a_manifest_keeps_it(folder: Path) -> None:
    own = folder / "_MANIFEST.json"
    own.write_text("{}")
    assert plan_puts([folder], TARGET)[-1] == Put("fleet/car/monday/rec/_MANIFEST.json", own)


@pytest.mark.parametrize(
    ("there", "put"),
    [
        (["metadata.yaml", "run_0.db3", "run_1.db3.zstd"], ["run_0.db3", "run_1.db3.zstd"]),
        (["a.bag", "b.bag.bz2", "b.bag.active", "notes.txt"], ["a.bag", "b.bag.bz2"]),
        (
            [
                "README.md",
                ".cache/x.parquet",
                "meta/info.json",
                "meta/tasks.jsonl",
                "data/chunk-000/episode_000000.parquet",
            ],
            ["README.md", "data/chunk-000/episode_000000.parquet", "meta/info.json", "meta/tasks.jsonl"],
        ),
        (
            [
                "toy/1.0.0/dataset_info.json",
                "toy/1.0.0/features.json",
                "toy/1.0.0/toy-train.tfrecord-00000-of-00001",
                "x",
            ],
            ["toy/1.0.0/dataset_info.json", "toy/1.0.0/features.json", "toy/1.0.0/toy-train.tfrecord-00000-of-00001"],
        ),
        (["toy-train.tfrecord-00000-of-00001", "run.MCAP"], ["run.MCAP", "toy-train.tfrecord-00000-of-00001"]),
    ],
    ids=["rosbag2", "rosbag1", "LeRobot", "RLDS", "by name alone"],
)
def test_a_folder_is_dropped_as_a_whole_and_what_is_left_is_named(
    tmp_path: Path, there: list[str], put: list[str]
) -> None:
    folder = tmp_path / "rec"
    for name in there:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    puts = plan_puts([folder], TARGET)
    assert [p.key.removeprefix("fleet/car/monday/rec/") for p in puts] == [*put, "_MANIFEST.json"]
    left = {path.relative_to(folder).as_posix() for path in left_out([folder], puts)}
    assert left == set(there) - set(put)
    assert {file.path for file in read_manifest(manifest_of(puts[-1], puts), "m")} == set(put)


def test_checksums_are_those_of_decode(tmp_path: Path) -> None:
    path, told = tmp_path / "large", []
    blocks = [b"x" * MERKLE_BLOCK_BYTES, b"y"]
    path.write_bytes(b"".join(blocks))
    digests = [hashlib.sha256(block).digest() for block in blocks]
    assert object_sha256(path, progress=told.append) == hashlib.sha256(b"".join(digests)).hexdigest()
    assert told == [MERKLE_BLOCK_BYTES, 1]


def test_missing_and_empty_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nowhere"):
        plan_puts([tmp_path / "nowhere"], TARGET)
    with pytest.raises(BadInputError, match="no recording or robot dataset below it"):
        plan_puts([tmp_path], TARGET)


def test_each_file_is_its_own_drive_unless_one_is_named() -> None:
    path = Path("x/run-7.mcap")
    assert Target("fleet", "car").key(path) == "fleet/car/run-7/run-7.mcap"
    assert TARGET.key(path) == "fleet/car/monday/run-7.mcap"
    with pytest.raises(BadInputError, match="drive"):
        Target("fleet", "car", "a b").key(path)
