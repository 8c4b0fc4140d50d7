"""Names of the failpoints of objects."""

import pytest

from scenelake.adapters.object_kinds import kind_of
from scenelake.contracts.paths import LakePaths
from scenelake.runtime import logs

PATHS = LakePaths("s3://lake")


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        (PATHS.release(7), "serialise.release"),
        (PATHS.payload_file("image", "2024-01-01", "a" * 64, 3, 0, "b" * 64), "decode.payload_file"),
        (f"{PATHS.decoded('recipe', 'drop')}/outcome.json", "decode.outcome"),
        (f"{PATHS.decoded('recipe', 'drop')}/message_index.parquet", "decode.table"),
        (PATHS.stage_record("b1", 2, "quality"), "quality.record"),
        (f"{PATHS.stage('b1', 2, 'synchronise')}/drives.json", "synchronise.document"),
        (f"{PATHS.drive('b1', 2, 'synchronise', 'drive')}/scene.parquet", "synchronise.drive_file"),
        (f"{PATHS.drive('b1', 2, 'synchronise', 'drive')}/clocks.json", "synchronise.drive_file"),
    ],
)
def test_a_key_of_the_lake_names_its_stage_and_kind(uri: str, kind: str) -> None:
    assert kind_of(uri) == kind


def test_any_other_object_is_one_of_the_running_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(logs._constants, "stage", "reconcile")
    assert kind_of("s3://quarantine/drive/scene.json") == "reconcile.object"
