"""Landing keys follow the layout or say why not."""

import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths, parse_drop_key, payload_slot, split_uri


def test_a_key_is_taken_apart() -> None:
    key = parse_drop_key("fleet/car-1/2026-01-02--03/part/0.mcap")
    assert (key.fleet, key.vehicle, key.drive, key.file) == ("fleet", "car-1", "2026-01-02--03", "part/0.mcap")


@pytest.mark.parametrize(
    "key", ["x.mcap", "a/b/c", "a//c/d.mcap", "a/b/c/", "../b/c/d.mcap", "a/b c/d/e.mcap", "/a/b/c", "a\n/b/c/d.mcap"]
)
def test_keys_outside_the_layout_name_themselves(key: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_drop_key(key)
    assert caught.value.reason == "key_outside_layout"
    assert repr(key) in str(caught.value)


def test_locations_are_functions_of_identities() -> None:
    paths = LakePaths("s3://lake")
    first = paths.payload_file("camera_frame", "2026-01-02", "ab" * 32, 3, 0, "cd" * 8)
    assert first == f"s3://lake/gold/camera_frame/data/drive_date=2026-01-02/{'ab' * 16}-3-000-cdcdcdcd.parquet"
    other = paths.payload_file("camera_frame", "2026-01-02", "ab" * 32, 3, 1, "ef" * 8)
    assert payload_slot(first) == payload_slot(other) != payload_slot(first.replace("-3-", "-4-"))
    assert paths.release(7) == "s3://lake/releases/00000007.json"
    assert split_uri(first)[0] == "lake"
