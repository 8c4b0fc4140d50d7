"""Stage records as lineage rows."""

import json
from dataclasses import replace

import pyarrow as pa

from scenelake.contracts.stages import DatasetVersion, StageRecord
from scenelake.contracts.tables import GOLD
from scenelake.lineage.rows import lineage_rows, raw_objects

RECORD = StageRecord(
    "b.1.decode", "b", 1, "decode", "abc", True, None, {"spark.x": "1"}, "p", {"z": 1, "a": [2]}, None, "dag", 5, 9,
    (DatasetVersion("s3://landing/a", "v1", "h1"), DatasetVersion("s3://landing/a", "v1", "h1")),
    (DatasetVersion("table/scene", "77"),),
)  # fmt: skip


def test_runs_and_edges_say_what_the_record_says() -> None:
    runs, edges = lineage_rows([RECORD, replace(RECORD, run_id="b.1.quality", spark_conf=None, inputs=(), outputs=())])
    assert runs.schema == GOLD["lineage_run"].schema
    assert edges.schema == GOLD["lineage_edge"].schema
    first, second = runs.to_pylist()
    assert (first["run_id"], first["git_commit"], first["is_dirty"], first["dag_run_id"]) == (
        "b.1.decode",
        "abc",
        True,
        "dag",
    )
    assert json.loads(first["params"]) == RECORD.params
    assert json.loads(first["spark_conf"]) == RECORD.spark_conf
    assert second["spark_conf"] is None
    assert edges.to_pylist() == [
        {
            "run_id": "b.1.decode",
            "direction": "input",
            "dataset": "s3://landing/a",
            "version": "v1",
            "content_hash": "h1",
        },
        {
            "run_id": "b.1.decode",
            "direction": "output",
            "dataset": "table/scene",
            "version": "77",
            "content_hash": None,
        },
    ]


def test_raw_objects_are_told_once_each_at_their_version() -> None:
    rows = pa.table(
        {
            "uri": ["s3://b/x", "s3://a/y", "s3://a/y"],
            "s3_version_id": ["2", "1", "1"],
            "object_sha256": ["h", "g", "g"],
        }
    )
    assert raw_objects(rows) == (DatasetVersion("s3://a/y", "1", "g"), DatasetVersion("s3://b/x", "2", "h"))
