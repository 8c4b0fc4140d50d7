"""Baselines in the lake."""

import pyarrow as pa

from scenelake.adapters.objects import Objects
from scenelake.contracts.paths import LakePaths
from scenelake.quality.baseline import baselines_from_parquet


def read_baselines(objects: Objects, paths: LakePaths, before_ns: int) -> tuple[str, pa.Table] | None:
    """The newest baselines that were written before a time, and where they lie; None without any."""
    found = [
        info.uri
        for info in objects.list(f"{paths.all_baselines}/")
        if info.modified_at_ns is not None and info.modified_at_ns <= before_ns
    ]
    if not found:
        return None
    uri = max(found)
    return uri, baselines_from_parquet(pa.py_buffer(objects.read(uri)), uri)
