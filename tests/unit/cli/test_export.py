"""What ``scenelake release ls`` and ``scenelake export`` show."""

import json
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from scenelake.adapters.objects import LocalObjects
from scenelake.cli.export import print_summary
from scenelake.cli.releases import print_releases
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release, ReleaseDelta, TablePin, release_id
from scenelake.export.summary import Summary
from scenelake.serialise.releases import write_release


def release(number: int) -> Release:
    scenes = {f"s{i}": (f"d{i // 2}", "hash") for i in range(number + 1)}
    delta = ReleaseDelta((f"s{number}",), {"s0": ("old", "hash")}, ())
    parent = release_id(number - 1) if number > 1 else None
    return Release(
        release_id(number), number, parent, "batch", 1, "recipe", 1_760_000_000_000_000_000 + number, "root",
        {"sample": TablePin(1, "uri", 10 * number)}, delta, scenes,
    )  # fmt: skip


def workspace(folder: Path, count: int) -> Any:
    objects, paths = LocalObjects(folder), LakePaths("s3://lake")
    for number in range(1, count + 1):
        assert write_release(objects, paths, release(number))
    return SimpleNamespace(objects=objects, paths=paths)


def printed(draw: Any) -> str:
    console = Console(file=StringIO(), width=200, color_system=None)
    draw(console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_newest_release_comes_last(tmp_path: Path) -> None:
    lake = workspace(tmp_path, 3)
    listed = json.loads(printed(lambda c: print_releases(c, lake, as_json=True)))
    assert [r["release_id"] for r in listed] == ["r00000001", "r00000002", "r00000003"]
    assert [r["parent"] for r in listed] == [None, "r00000001", "r00000002"]
    last = listed[-1]
    assert (last["nbr_drives"], last["nbr_scenes"], last["nbr_samples"]) == (2, 4, 30)
    assert (last["nbr_added"], last["nbr_replaced"], last["nbr_removed"]) == (1, 1, 0)
    assert last["committed_at"] == "2025-10-09T08:53:20+00:00"
    table = printed(lambda c: print_releases(c, lake, as_json=False))
    assert table.index("r00000002") < table.rindex("r00000003")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_lake_without_a_release_has_an_empty_list(tmp_path: Path, as_json: bool) -> None:
    text = printed(lambda c: print_releases(c, workspace(tmp_path, 0), as_json=as_json))
    assert json.loads(text) == [] if as_json else "no release yet" in text


def test_what_was_left_out_is_said_and_not_obeyed() -> None:
    summary = Summary("nuscenes", release(1), {})
    summary.wrote("scenes", 2)
    summary.leave_out("boxes", "frame_unknown", "frame '[red]\x1b[31m'", 3)
    summary.leave_out("boxes", "never", "nothing", 0)
    summary.remark("there is no map")
    text = printed(lambda c: print_summary(c, summary, Path("out")))
    assert "out: nuscenes of r00000001: 2 scenes" in text
    assert "left out: 3 boxes: frame_unknown (for example frame '[red]\\x1b[31m')" in text
    assert "never" not in text
    assert "note: there is no map" in text
