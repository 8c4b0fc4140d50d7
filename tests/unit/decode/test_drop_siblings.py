"""A dataset's rows depend on the files beside them: the outcome names those, and a change of them is not overlooked."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DropOutcome, SiblingVersion
from scenelake.decode.config import DecodeConfig
from scenelake.decode.job import stage_inputs
from scenelake.decode.task import DecodeTask, finished_outcome

DRIVE = "s3://landing/fleet/arm/set"
PATHS = LakePaths("s3://lake")
DATA = "data/chunk-000/episode_000000.parquet"
T0_NS = 1_700_000_000_000_000_000


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    objects = LocalObjects(tmp_path)
    rows = {"timestamp": [0.0, 0.1, 0.2], "frame_index": [0, 1, 2], "episode_index": [0] * 3, "index": [0, 1, 2],
            "task_index": [0] * 3, "observation.state": [[1.0, 2.0]] * 3}  # fmt: skip
    table = pa.table(rows).cast(
        pa.schema([(n, pa.list_(pa.float32()) if n == "observation.state" else pa.float32() if n == "timestamp"
                    else pa.int64()) for n in rows])
    )  # fmt: skip
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    objects.write(f"{DRIVE}/{DATA}", sink.getvalue().to_pybytes())
    put_info(objects, ["x", "y"])
    return objects


def put_info(objects: LocalObjects, names: list[str]) -> None:
    info = {"codebase_version": "v2.1", "fps": 10, "features": {"observation.state": {"names": names}}}
    objects.write(f"{DRIVE}/meta/info.json", json.dumps(info).encode())


def drop_of(objects: LocalObjects) -> Drop:
    key = f"{DRIVE.removeprefix('s3://landing/')}/{DATA}"
    size_bytes = objects.head(f"s3://landing/{key}").size_bytes
    drop_id = ids.drop_id("landing", key, "v1")
    return Drop(
        drop_id,
        "landing",
        key,
        "v1",
        size_bytes,
        "e",
        T0_NS,
        "fleet",
        "arm",
        "set",
        ids.drive_id("fleet", "arm", "set"),
    )


def decoded(objects: LocalObjects) -> DropOutcome:
    return DecodeTask(lambda: objects, PATHS, DecodeConfig(), "recipe")(drop_of(objects))


def names_of(objects: LocalObjects, outcome: DropOutcome) -> Any:
    (uri,) = outcome.files(PATHS.decoded(outcome.recipe, outcome.drop_id), "robot_state")
    return pq.read_table(pa.BufferReader(objects.read(uri)))["names"][0].as_py()


def test_the_outcome_names_what_was_read_and_what_was_not_there(objects: LocalObjects) -> None:
    outcome = decoded(objects)
    info = objects.head(f"{DRIVE}/meta/info.json")
    found = {s.uri.removeprefix(f"{DRIVE}/"): s for s in outcome.siblings}
    assert found["meta/info.json"] == SiblingVersion(info.uri, info.version_id, info.etag, info.size_bytes)
    assert found["meta/modality.json"] == SiblingVersion(f"{DRIVE}/meta/modality.json")
    assert {"meta/tasks.jsonl", "meta/tasks.parquet"} <= found.keys()
    assert DropOutcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome


def test_an_older_decode_is_used_again_while_its_siblings_hold_the_same(objects: LocalObjects) -> None:
    first = decoded(objects)
    put_info(objects, ["x", "y"])
    objects.write(f"{DRIVE}/meta/other.json", b"{}")
    folder = PATHS.decoded(first.recipe, first.drop_id)
    at = objects.head(f"{folder}/outcome.json").modified_at_ns
    assert decoded(objects) == first
    assert objects.head(f"{folder}/outcome.json").modified_at_ns == at


def test_changed_siblings_are_decoded_anew_beside_the_older_decode(objects: LocalObjects) -> None:
    first = decoded(objects)
    put_info(objects, ["a", "b"])
    second = decoded(objects)
    assert (names_of(objects, first), names_of(objects, second)) == (["x", "y"], ["a", "b"])
    assert second.recipe != first.recipe
    assert decoded(objects) == second
    # Tasks that come later are new siblings of the second decode as of the first.
    objects.write(f"{DRIVE}/meta/tasks.jsonl", b'{"task_index": 0, "task": "pick"}\n')
    third = decoded(objects)
    assert len({first.recipe, second.recipe, third.recipe}) == 3
    assert decoded(objects) == third
    put_info(objects, ["x", "y"])
    objects.delete(f"{DRIVE}/meta/tasks.jsonl")
    assert decoded(objects) == first


def test_a_rejection_by_its_siblings_is_looked_at_again(objects: LocalObjects) -> None:
    objects.write(f"{DRIVE}/meta/info.json", b"{")
    bad = decoded(objects)
    assert (bad.verdict, bad.reason) == ("rejected", "dataset_meta_invalid")
    put_info(objects, ["x", "y"])
    assert decoded(objects).verdict == "decoded"


def test_an_older_decode_that_lost_a_file_is_not_overwritten_with_other_siblings(
    objects: LocalObjects, tmp_path: Path
) -> None:
    first = decoded(objects)
    folder = PATHS.decoded(first.recipe, first.drop_id)
    (uri,) = first.files(folder, "robot_state")
    objects.delete(uri)
    before = {p: p.read_bytes() for p in (tmp_path / "lake").rglob("*") if p.is_file()}
    put_info(objects, ["a", "b"])
    second = decoded(objects)
    assert second.recipe != first.recipe
    assert {p: p.read_bytes() for p in before} == before
    shutil.rmtree(tmp_path / "lake" / PATHS.decoded(second.recipe, second.drop_id).removeprefix("s3://lake/"))
    put_info(objects, ["x", "y"])
    assert decoded(objects) == first
    assert finished_outcome(objects, folder) == first


def test_lineage_tells_of_siblings_that_are_no_drops_of_the_batch(objects: LocalObjects) -> None:
    outcome = decoded(objects)
    drop = drop_of(objects)
    versions = stage_inputs([drop], [outcome])
    assert [(v.dataset, v.content_hash) for v in versions] == [
        (drop.uri, outcome.object_sha256), (f"{DRIVE}/meta/info.json", None),
    ]  # fmt: skip
    info = replace(drop, key=f"{DRIVE.removeprefix('s3://landing/')}/meta/info.json", version_id="")
    said = stage_inputs([drop, info], [outcome, replace(outcome, object_sha256="f" * 64)])
    assert [v.content_hash for v in said] == [outcome.object_sha256, "f" * 64]
