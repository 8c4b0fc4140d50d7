"""Two implementations of one format: the auditor's own and the pipeline's give the same hashes."""

from pathlib import Path

import pyarrow as pa
import pytest
from tests.unit.serialise.synthetic import DAY, DriveMaker, replace_value, rows_of, shuffled

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.tables import GOLD
from scenelake.serialise.canonical import scene_hashes
from scenelake.serialise.drives import SCENE_TABLES, drive_rows
from scenelake.serialise.merkle import release_root
from scenelake_audit.canonical import KEYS, SceneDigest
from scenelake_audit.releases import root_of


def derived(tables: dict[str, pa.Table]) -> dict[str, str]:
    scenes = sorted({s for t in tables.values() for s in t["scene_id"].to_pylist()})
    digests = {s: SceneDigest() for s in scenes}
    for name in sorted(tables):
        for scene, digest in digests.items():
            digest.add(name, tables[name].filter(pa.compute.equal(tables[name]["scene_id"], scene)))
    return {s: d.hexdigest() for s, d in digests.items()}


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, pa.Table]:
    maker = DriveMaker(LakePaths("s3://lake"), LocalObjects(tmp_path).write)
    rows = drive_rows(maker.drive(scenes=2), "s3://quarantine").rows
    found = {name: rows[name] for name in SCENE_TABLES if name in rows}
    assert {"scene", "sample", "sample_data", "sync_index", "imu"} <= set(found)
    return found


def test_the_auditor_knows_every_table_of_a_scene_and_its_key() -> None:
    assert {name: GOLD[name].key for name in SCENE_TABLES} == KEYS


def test_hashes_agree_whatever_the_order_of_rows(tables: dict[str, pa.Table]) -> None:
    expected = scene_hashes(tables)
    assert len(expected) == 2
    assert derived(tables) == expected
    assert derived({n: shuffled(t) for n, t in tables.items()}) == expected


def test_hashes_agree_for_structs_lists_nulls_blobs_and_equal_keys() -> None:
    common = {"scene_id": "s", "drive_id": "d", "drive_date": DAY, "sample_data_id": "m"}
    pose = {"tx_m": 1.5, "ty_m": None, "tz_m": -0.0, "qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": float("nan")}
    made = {
        "ego_pose": rows_of("ego_pose", [common | {"world_from_ego": pose}, common | {"sample_data_id": "n"}]),
        "can_frame": rows_of("can_frame", [common | {"data": b"\x00\xff", "can_id": -1, "is_extended": True}]),
        "robot_state": rows_of(
            "robot_state",
            [
                common | {"names": ["é", None, ""], "position": [], "velocity": None},
                common | {"sample_data_id": "z", "names": None, "position": [0.1, None]},
            ],
        ),
        "transform": rows_of(
            "transform",
            [
                common | {"parent_frame_id": "a", "child_frame_id": None, "timestamp_ns": 2, "parent_from_child": pose},
                common | {"parent_frame_id": "a", "child_frame_id": None, "timestamp_ns": 1},
                common | {"parent_frame_id": None, "child_frame_id": "b", "timestamp_ns": 3},
            ],
        ),
    }
    assert derived(made) == scene_hashes(made)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("sample_data", "payload_hash", "0"), ("sync_index", "delta_ns", 7), ("imu", "frame_id", "x")],
)
def test_any_changed_value_changes_the_hash(
    tables: dict[str, pa.Table], table: str, column: str, value: object
) -> None:
    changed = derived({**tables, table: replace_value(tables[table], column, value)})
    assert len([s for s, h in derived(tables).items() if changed[s] != h]) == 1


def test_merkle_roots_agree() -> None:
    scenes = {f"s{i}": (f"d{i % 3}", f"h{i}") for i in range(11)}
    assert root_of(scenes) == release_root(scenes)
    assert root_of({}) == release_root({})
