"""Files of rows, and a folder that is taken into place."""

import json
from pathlib import Path

import pytest

from scenelake.export.folder import SUMMARY_FILE, JsonRows, new_folder


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_are_read_back(tmp_path: Path, count: int) -> None:
    rows = [{"a": i, "b": "ü"} for i in range(count)]
    for is_lines in (False, True):
        with JsonRows(tmp_path / "rows", is_lines=is_lines) as file:
            for row in rows:
                file.add(row)
            assert len(file) == count
        text = (tmp_path / "rows").read_text()
        assert ([json.loads(line) for line in text.splitlines()] if is_lines else json.loads(text)) == rows


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with JsonRows(tmp_path / "rows") as file, pytest.raises(ValueError, match="JSON compliant"):
        file.add({"a": float("nan")})


def test_an_earlier_export_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for number in (1, 2):
        with new_folder(target, is_overwrite=number == 2) as folder:
            (folder / SUMMARY_FILE).write_text(str(number))
            (folder / f"file-{number}").touch()
            assert target.exists() == (number == 2)
    assert sorted(p.name for p in target.iterdir()) == ["file-2", SUMMARY_FILE]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out", is_overwrite=False) as folder:
        (folder / "file").touch()
    assert (tmp_path / "out" / "file").exists()
