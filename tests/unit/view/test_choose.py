"""Which scene a word means."""

from dataclasses import replace

import pytest
from tests.unit.view.tiny import OTHER, SCENE, THIRD, tiny_reader

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.releases import ReleaseDelta
from scenelake.view.choose import choose_scene, open_source


@pytest.mark.parametrize(
    ("word", "expected"),
    [(SCENE, SCENE), ("5a1e0001", SCENE), ("5A1E0002", OTHER), ("7", THIRD), ("latest", OTHER)],
)
def test_an_id_its_beginning_or_the_newest(word: str, expected: str) -> None:
    assert choose_scene(open_source(tiny_reader()), word).scene_id == expected


def test_latest_is_the_last_of_all_where_what_the_release_changed_is_gone() -> None:
    reader = tiny_reader()
    reader.release = replace(reader.release, delta=ReleaseDelta((), {}, (SCENE,)))
    assert choose_scene(open_source(reader), "latest").scene_id == THIRD


def test_a_beginning_of_several_is_refused_and_they_are_listed() -> None:
    with pytest.raises(BadInputError, match=r"2 scenes .* begin so") as caught:
        choose_scene(open_source(tiny_reader()), "5a1e")
    assert caught.value.reason == "ambiguous"
    assert SCENE in str(caught.value)
    assert OTHER in str(caught.value)
    assert THIRD not in str(caught.value)


@pytest.mark.parametrize(("word", "nearest"), [("77ab", THIRD), ("6a1e0002", OTHER), ("", None)])
def test_a_wrong_id_names_near_ones(word: str, nearest: str | None) -> None:
    with pytest.raises(BadInputError, match="the nearest: ") as caught:
        choose_scene(open_source(tiny_reader()), word)
    assert caught.value.reason == "not_found"
    text = str(caught.value)
    assert nearest is None or text.index(nearest) == min(text.index(s) for s in (SCENE, OTHER, THIRD))
    assert "f/r/n, 2025-10-09 08:53:20" in text


def test_a_release_without_scenes_has_none_to_look_at() -> None:
    reader = tiny_reader()
    reader.tables["scenes"] = reader.tables["scenes"].slice(0, 0)
    with pytest.raises(BadInputError, match="no scene"):
        choose_scene(open_source(reader), "latest")
