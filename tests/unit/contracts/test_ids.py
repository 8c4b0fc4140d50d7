"""Identities are functions of content; these values must never change."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts import ids


def test_ids_are_pinned() -> None:
    drive = ids.drive_id("fleet", "car", "drive")
    scene = ids.scene_id(drive, 42, "slots-20s/1")
    assert drive == "f08e5d6a-4011-5175-af00-077a71729cd8"
    assert scene == "32a4a5d9-31d1-5fa6-b288-6811155b50a9"
    assert ids.sample_id(scene, 1) == "336b598e-23df-5afa-b6ec-97a1a4e16248"
    assert ids.drop_id("b", "k", "v") == "c5f5da8c8878b1e687e43413504200c4b5cb13f991308cd2ea924470598ad20e"


def test_parts_cannot_run_into_each_other() -> None:
    assert ids.drive_id("a", "bc", "d") != ids.drive_id("ab", "c", "d")
    assert ids.drop_id("bucket", "key", "1") != ids.drop_id("bucket", "key1", "")


def test_one_block_is_its_own_root() -> None:
    digest = hashlib.sha256(b"abc").digest()
    assert ids.merkle_root([digest]) == digest.hex()
    assert ids.merkle_root([]) == hashlib.sha256(b"").hexdigest()


def test_root_of_three_blocks_by_hand() -> None:
    a, b, c = (hashlib.sha256(x).digest() for x in (b"a", b"b", b"c"))
    left = hashlib.sha256(a + b).digest()
    assert ids.merkle_root([a, b, c]) == hashlib.sha256(left + c).hexdigest()


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=9), st.data())
def test_root_changes_with_any_block(blocks: list[bytes], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(blocks) - 1))
    changed = list(blocks)
    changed[position] = hashlib.sha256(blocks[position]).digest()
    assert ids.merkle_root(changed) != ids.merkle_root(blocks)


def test_recipe_ignores_key_order_and_sees_values() -> None:
    assert ids.recipe({"a": 1, "b": 2}) == ids.recipe({"b": 2, "a": 1})
    assert ids.recipe({"a": 1}) != ids.recipe({"a": 2})
