"""Where files land, and what is said of paths that hold none."""

from pathlib import Path

import pytest

from scenelake.cli.upload import Target, find_recordings
from scenelake.contracts.errors import BadInputError


def test_a_folder_gives_its_recordings_in_order_and_a_file_itself(tmp_path: Path) -> None:
    for name in ("b/2.mcap", "a/1.mcap", "a/readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    odd = tmp_path / "odd.bin"
    odd.touch()
    assert find_recordings([tmp_path, odd]) == [tmp_path / "a/1.mcap", tmp_path / "b/2.mcap", odd]


def test_missing_and_empty_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nowhere"):
        find_recordings([tmp_path / "nowhere"])
    with pytest.raises(BadInputError, match=r"no \.mcap file"):
        find_recordings([tmp_path])


def test_each_file_is_its_own_drive_unless_one_is_named() -> None:
    path = Path("x/run-7.mcap")
    assert Target("fleet", "car").key(path) == "fleet/car/run-7/run-7.mcap"
    assert Target("fleet", "car", "monday").key(path) == "fleet/car/monday/run-7.mcap"
    with pytest.raises(BadInputError, match="drive"):
        Target("fleet", "car", "a b").key(path)
