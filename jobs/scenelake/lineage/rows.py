"""Stage records as lineage rows."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from scenelake.contracts import ids
from scenelake.contracts.stages import DatasetVersion, StageRecord
from scenelake.contracts.tables import GOLD


def lineage_rows(records: Sequence[StageRecord]) -> tuple[pa.Table, pa.Table]:
    """Rows of ``lineage_run`` and ``lineage_edge``; an edge that a record repeats is told once."""
    runs = [_run(r) for r in records]
    edges = {
        (r.run_id, direction, e.dataset, e.version): e.content_hash
        for r in records
        for direction, versions in (("input", r.inputs), ("output", r.outputs))
        for e in versions
    }
    names = ("run_id", "direction", "dataset", "version")
    edge_rows = [{**dict(zip(names, key, strict=True)), "content_hash": edges[key]} for key in sorted(edges)]
    return (
        pa.Table.from_pylist(runs, GOLD["lineage_run"].schema),
        pa.Table.from_pylist(edge_rows, GOLD["lineage_edge"].schema),
    )


def raw_objects(raw: pa.Table) -> tuple[DatasetVersion, ...]:
    """Object versions that a batch was built from: ``uri`` at its S3 version, with ``object_sha256``."""
    rows = raw.select(["uri", "s3_version_id", "object_sha256"]).to_pylist()
    return tuple(
        sorted(
            {DatasetVersion(r["uri"], r["s3_version_id"] or "", r["object_sha256"]) for r in rows},
            key=lambda v: (v.dataset, v.version),
        )
    )


def _run(record: StageRecord) -> dict[str, Any]:
    names = ("run_id", "batch_id", "attempt", "stage", "git_commit", "is_dirty", "image_digest", "params_hash", "seed")
    times = ("dag_run_id", "started_at_ns", "ended_at_ns")
    return {
        **{name: getattr(record, name) for name in (*names, *times)},
        "params": ids.canonical_json(record.params),
        "spark_conf": None if record.spark_conf is None else ids.canonical_json(record.spark_conf),
    }
