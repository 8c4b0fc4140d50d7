"""The contact sheet of an awkward episode: every picture in its place, every miss said."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.unit.view.tiny import ABSENT, COLOURS, MISSED, OTHER, SCENE, tiny_reader

from scenelake.contracts.errors import BadInputError
from scenelake.view.choose import choose_scene, open_source
from scenelake.view.config import SheetConfig
from scenelake.view.opened import OpenedScene
from scenelake.view.pictures import pictured, strip
from scenelake.view.sheet import chosen_frames, write_sheet
from scenelake.view.words import words


def opened(scene_id: str = SCENE) -> OpenedScene:
    source = open_source(tiny_reader())
    return OpenedScene(source, choose_scene(source, scene_id))


def column_of(sheet: np.ndarray, colour: tuple[int, int, int]) -> float | None:
    """Middle of the columns where a picture's colour is; None where it is nowhere."""
    _, columns = np.nonzero((sheet == colour).all(axis=2))
    return float(columns.mean()) if len(columns) > 100 else None


def test_each_keyframe_shows_what_the_release_matched_to_it(tmp_path: Path) -> None:
    summary = write_sheet(opened(), tmp_path / "out" / "sheet.png", SheetConfig(nbr_columns=5, width_px=1500))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["sheet.png"]
    sheet = cv2.imread(str(tmp_path / "out" / "sheet.png"))[:, :, ::-1]
    assert sheet.shape[1] == 1500
    places = [column_of(sheet, colour) for colour in COLOURS]
    assert [p is None for p in places] == [frame in (MISSED, ABSENT) for frame in range(5)]
    width_px = (1500 - 40 - 190) / 5
    assert [round((p - 210) // width_px) for p in places if p is not None] == [0, 1, 3]
    assert summary.written["pictures"] == 3 + 4 + 5
    assert summary.written["plots of signals"] == 3


def test_every_miss_is_said_with_its_reason() -> None:
    scene = opened()
    shown = {s.channel: s for s in pictured(scene)}
    assert list(shown) == ["/head", "/depth", "/scan"]
    head = strip(scene, shown["/head"], np.arange(5), (200, 100))
    assert [t.caption for t in head.tiles] == [
        "+3.0 ms", "+3.0 ms", "no match: nearest +80.0 ms, tolerance 25.0 ms", "+3.0 ms", "no match: no message",
    ]  # fmt: skip
    assert head.size_px == (32, 24)
    depth = strip(scene, shown["/depth"], np.arange(5), (200, 100))
    assert [t.caption for t in depth.tiles] == ["+0.0 ms", "image_undecodable", "+0.0 ms", "+0.0 ms", "+0.0 ms"]


def test_pictures_fit_their_box() -> None:
    scene = opened()
    shown = {s.channel: s for s in pictured(scene)}
    for box_px in ((200, 100), (10, 100)):
        for channel in ("/head", "/scan"):
            tile = strip(scene, shown[channel], np.array([0]), box_px).tiles[0]
            height, width = tile.picture.shape[:2]
            assert width <= box_px[0]
            assert height <= box_px[1]
            assert width in range(box_px[0] - 1, box_px[0] + 1) or height in range(box_px[1] - 1, box_px[1] + 1)


@pytest.mark.parametrize(
    ("count", "columns", "expected"),
    [(0, 6, []), (1, 6, [0]), (3, 6, [0, 1, 2]), (11, 3, [0, 5, 10]), (40, 6, [0, 8, 16, 23, 31, 39]), (9, 1, [0])],
)
def test_keyframes_are_chosen_evenly(count: int, columns: int, expected: list[int]) -> None:
    assert chosen_frames(count, columns).tolist() == expected


def test_a_scene_without_keyframes_has_a_sheet_that_says_so(tmp_path: Path) -> None:
    summary = write_sheet(opened(OTHER), tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
    assert not summary.written["pictures"]


def test_rows_that_do_not_fit_are_named_and_counted(tmp_path: Path) -> None:
    summary = write_sheet(opened(), tmp_path / "sheet.png", SheetConfig(max_rows=1, max_signals=1))
    assert summary.left_out["rows of pictures", "sheet_is_full"] == 2
    assert summary.left_out["plots of signals", "sheet_is_full"] == 2


def test_a_payload_that_is_gone_leaves_no_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = opened()

    def gone(*_: object) -> None:
        raise BadInputError("the payload is gone", reason="payload_missing")

    monkeypatch.setattr(scene.source.reader, "payloads", gone)
    with pytest.raises(BadInputError, match="gone"):
        write_sheet(scene, tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n b\tc", "a b c"),
        ("$x^2$ costs $5", r"\$x^2\$ costs \$5"),
        ("\u5757 \x1b[31m", "\u25a1 \u25a1[31m"),
        ("x" * 12, "xxxxxxxxx…"),
    ],
)
def test_text_from_outside_is_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert words(text, 10 if len(text) == 12 else 160) == shown
