"""Release documents."""

from dataclasses import replace
from pathlib import Path

import pytest

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release, ReleaseDelta, TablePin, release_id
from scenelake.serialise.merkle import release_root
from scenelake.serialise.releases import (
    latest_release,
    list_releases,
    load_release,
    release_of_batch,
    scene_delta,
    write_release,
)

PATHS = LakePaths("s3://lake")


def release(number: int, batch: str = "b1") -> Release:
    return Release(
        release_id(number), number, release_id(number - 1) if number > 1 else None, batch, 1, "recipe", 5, "root",
        {"scene": TablePin(2**62, "s3://lake/x.json", 3)}, ReleaseDelta(("s1",), {"s2": ("a", "b")}, ("s3",)),
        {"s1": ("d1", "h1")},
    )  # fmt: skip


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path)


def test_releases_are_listed_read_and_found(objects: LocalObjects) -> None:
    assert latest_release(objects, PATHS) is None
    for number in (1, 2, 10):
        assert write_release(objects, PATHS, release(number))
    objects.write(f"{PATHS.releases}/notes.txt", b"not a release")
    assert list_releases(objects, PATHS) == [1, 2, 10]
    assert latest_release(objects, PATHS) == release(10)
    assert load_release(objects, PATHS, "r00000002") == release(2)


@pytest.mark.parametrize("name", ["r00000003", "3", "r3", "../r00000001"])
def test_a_release_that_is_not_there_is_bad_input(objects: LocalObjects, name: str) -> None:
    with pytest.raises(BadInputError) as error:
        load_release(objects, PATHS, name)
    assert error.value.reason == "not_found"


def test_a_number_is_given_once(objects: LocalObjects) -> None:
    assert write_release(objects, PATHS, release(1))
    assert write_release(objects, PATHS, release(1)), "the same document again is the lost answer of the first put"
    assert not write_release(objects, PATHS, release(1, "b2"))
    assert latest_release(objects, PATHS) == release(1)


def test_a_batch_is_found_among_the_newest(objects: LocalObjects) -> None:
    for number in range(1, 6):
        write_release(objects, PATHS, release(number, f"b{number}"))
    newest = latest_release(objects, PATHS)
    assert release_of_batch(objects, PATHS, newest, "b2", 50) == release(2, "b2")
    assert release_of_batch(objects, PATHS, newest, "b2", 3) is None
    assert release_of_batch(objects, PATHS, newest, "b9", 50) is None
    assert release_of_batch(objects, PATHS, None, "b9", 50) is None


def test_delta() -> None:
    before = {"a": ("d", "1"), "b": ("d", "1"), "c": ("d", "1")}
    after = {"b": ("d", "1"), "c": ("d", "2"), "e": ("d", "1")}
    assert scene_delta(before, after) == ReleaseDelta(("e",), {"c": ("1", "2")}, ("a",))


def test_the_root_is_of_content() -> None:
    scenes = {"s1": ("d1", "h1"), "s2": ("d1", "h2"), "s3": ("d2", "h3")}
    root = release_root(scenes)
    assert release_root(dict(reversed(scenes.items()))) == root
    others = [
        {**scenes, "s2": ("d1", "hx")},
        {**scenes, "s2": ("d2", "h2")},
        {k: v for k, v in scenes.items() if k != "s3"},
        {},
    ]
    assert len({root, *map(release_root, others)}) == len(others) + 1
    assert replace(release(1), merkle_root=root).merkle_root == root
