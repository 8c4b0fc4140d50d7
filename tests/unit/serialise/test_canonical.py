"""Equal rows hash equally however they are laid out; any other row does not."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.tables import GOLD
from scenelake.serialise.canonical import HINTS, conform, digest, scene_hashes, sorted_rows

from .synthetic import DriveMaker, replace_value, shuffled

IMU = GOLD["imu"]


def imu(values: list[list[float | None] | None], scene: str = "s1") -> pa.Table:
    rows = [
        {"sample_data_id": f"m{i}", "scene_id": scene, "timestamp_ns": i, "linear_acceleration_m_s2": v}
        for i, v in enumerate(values)
    ]
    return pa.Table.from_pylist(rows, IMU.schema)


@pytest.fixture
def tables(maker: DriveMaker) -> dict[str, pa.Table]:
    made = maker.drive(scenes=2)
    return {name: made.tables[name] for name in ("scene", "sample", "sample_data", "sync_index")}


def test_order_and_chunks_do_not_matter(tables: dict[str, pa.Table]) -> None:
    assert scene_hashes({n: shuffled(t) for n, t in reversed(tables.items())}) == scene_hashes(tables)


def test_every_value_matters_but_hints(tables: dict[str, pa.Table]) -> None:
    before = scene_hashes(tables)
    other: dict[Any, Any] = {pa.string(): "other", pa.int32(): 77, pa.int64(): 77, pa.bool_(): False}
    checked = 0
    for name, table in tables.items():
        for column in table.schema:
            if column.type not in other or column.name == "scene_id":
                continue
            changed = {**tables, name: replace_value(table, column.name, other[column.type])}
            is_same = scene_hashes(changed) == before
            assert is_same == (column.name in HINTS), f"{name}.{column.name}"
            checked += 1
    assert checked > 30


def test_a_change_touches_its_own_scene_only(tables: dict[str, pa.Table]) -> None:
    before = scene_hashes(tables)
    after = scene_hashes({**tables, "sample": replace_value(tables["sample"], "timestamp_ns", 5)})
    assert sum(before[s] != after[s] for s in before) == 1


def test_a_missing_row_and_a_missing_table_matter(tables: dict[str, pa.Table]) -> None:
    before = scene_hashes(tables)
    assert scene_hashes({**tables, "sample": tables["sample"].slice(1)}) != before
    assert scene_hashes({n: t for n, t in tables.items() if n != "sync_index"}) != before
    assert scene_hashes({**tables, "imu": IMU.schema.empty_table()}) == before


def test_a_column_that_is_all_null_does_not_matter() -> None:
    rows = imu([[1.0], [2.0]])
    assert digest(rows.drop_columns(["frame_id"]), IMU.key) == digest(rows, IMU.key)


DISTINCT: list[list[list[float | None] | None]] = [
    [[1.0, 2.0], [3.0]],
    [[1.0], [2.0, 3.0]],
    [[1.0, 2.0, 3.0], []],
    [[1.0, 2.0, 3.0], None],
    [None, [1.0, 2.0, 3.0]],
    [[1.0, 2.0, None], None],
    [[1.0, 2.0, 0.0], None],
    [[1.0, 2.0, -0.0], None],
    [[1.0, 2.0, float("nan")], None],
]


def test_lists_nulls_and_zeros_are_told_apart() -> None:
    assert len({digest(imu(v), IMU.key) for v in DISTINCT}) == len(DISTINCT)


def test_strings_are_told_apart_by_their_lengths() -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("abc", None), (None, "abc")]
    assert len({digest(pa.Table.from_pylist([dict(zip("ab", p, strict=True))], schema), ("a",)) for p in pairs}) == 5


def test_structs_are_hashed_by_their_children() -> None:
    schema = GOLD["ego_pose"].schema
    pose = dict.fromkeys(("tx_m", "ty_m", "tz_m", "qw", "qx", "qy", "qz"), 1.0)
    made = [None, pose, {**pose, "qz": 2.0}, {**pose, "qz": None}]
    tables = [pa.Table.from_pylist([{"sample_data_id": "m", "world_from_ego": p}], schema) for p in made]
    assert len({digest(t, ("sample_data_id",)) for t in tables}) == len(made)


def test_slices_hash_like_copies() -> None:
    whole = imu([[float(i)] * (i % 3) for i in range(9)])
    part = whole.slice(2, 5)
    copy = pa.Table.from_pylist(part.to_pylist(), part.schema)
    assert digest(part, IMU.key) == digest(copy, IMU.key)


@settings(deadline=None)
@given(st.permutations(list(range(6))))
def test_rows_that_share_a_key_are_ordered_by_their_values(order: list[int]) -> None:
    schema = GOLD["transform"].schema
    rows = [
        {"sample_data_id": "m", "parent_frame_id": "a", "child_frame_id": "b", "timestamp_ns": i % 2,
         "parent_from_child": {"tx_m": float(i)}}
        for i in order
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema)
    expected = pa.Table.from_pylist(sorted(rows, key=lambda r: r["parent_from_child"]["tx_m"]), schema)
    assert digest(table, GOLD["transform"].key) == digest(expected, GOLD["transform"].key)
    assert len(sorted_rows(table, GOLD["transform"].key)) == 6


def test_conform_adds_casts_and_orders_columns() -> None:
    given_rows = pa.table({"timestamp_ns": pa.array([1], pa.int32()), "sample_data_id": ["m"]})
    made = conform(given_rows, IMU.schema)
    assert made.schema == IMU.schema
    assert made["timestamp_ns"].to_pylist() == [1]
    assert made["linear_acceleration_m_s2"].null_count == 1


def test_a_large_table_is_hashed_column_by_column() -> None:
    """200,000 rows take well under a second of processor time; per-row Python would take many."""
    n = 200_000
    rows = pa.table({"sample_data_id": [f"{i:09d}" for i in range(n)], "timestamp_ns": np.arange(n)})
    assert len(digest(conform(rows, IMU.schema), IMU.key)) == 64


def test_where_a_null_stands_matters_not_only_that_there_is_one() -> None:
    """Nulls are written as zeros, so the validity tells [null, 0] from [0, null]."""
    key = pa.array(["a", "b"])
    one, two = (pa.table({"k": key, "v": pa.array(v, pa.int64())}) for v in ([None, 0], [0, None]))
    assert digest(one, ("k",)) != digest(two, ("k",))
