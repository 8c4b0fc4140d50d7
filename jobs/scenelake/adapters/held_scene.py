"""Reads one scene that no release holds, from what the stages left, for whoever draws it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cache, cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.adapters.objects import Objects, read_json, read_table
from scenelake.adapters.payload_rows import PayloadRows, in_order
from scenelake.adapters.release_reader import by_file, conformed
from scenelake.contracts.columns import field
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import BATCHED_TABLES, NOTE_TABLES
from scenelake.contracts.releases import Release
from scenelake.contracts.stages import DropOutcome
from scenelake.contracts.tables import GOLD, decoded_schema
from scenelake.serialise.canonical import conform
from scenelake.serialise.drives import in_scenes

_ID = "sample_data_id"
_OF_SYNCHRONISE = ("drive", "sample", "sample_data", "sync_index", "calibrated_sensor", "clock_fault")


class HeldSceneReader:
    """``contracts.release_reader.ReleaseReader`` of one held scene, which has no neighbours here.

    Args:
        document: the scene's evidence document.
        release: whose quarantine it is in.
    """

    def __init__(self, objects: Objects, document: Mapping[str, Any], release: Release) -> None:
        self.release = replace(release, release_id=f"none, held back in {release.release_id}")
        self._objects = objects
        self._document = document
        self._scene_id: str = document["scene"]["scene_id"]
        self._payload_rows = PayloadRows(objects)
        self._kept = cache(self._read)

    def scenes(self) -> pa.Table:
        """See ``ReleaseReader.scenes``: the one scene."""
        row = {**_dated(self._document["scene"]), "verdict": self._document["verdict"], "is_kept": False}
        names = dict.fromkeys([*GOLD["scene"].columns, *GOLD["release_scene"].columns])
        return pa.Table.from_pylist([row], pa.schema([field(name) for name in names]))

    def rows(
        self, table: str, scene_ids: Sequence[str] | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """See ``ReleaseReader.rows``. Tables that nobody makes before a commit are empty."""
        rows = self._kept(table)
        if scene_ids is not None and self._scene_id not in scene_ids and "scene_id" in rows.column_names:
            rows = rows.slice(0, 0)
        return rows.select(list(columns or GOLD[table].columns))

    def payloads(self, sample_data: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
        """See ``ReleaseReader.payloads``."""
        (table,) = pc.unique(sample_data["payload_table"]).to_pylist()
        wanted = list(columns or GOLD[table].columns)
        read = list(dict.fromkeys([_ID, *wanted]))
        schema = pa.schema([field(name) for name in read])
        parts, places = [], []
        for uri, at in by_file(sample_data):
            numbers = np.asarray(sample_data["row_index"].take(at), np.int64)
            parts.append(conformed(self._payload_rows.take(str(uri), numbers, read), schema))
            places.append(np.asarray(at))
            if not pc.all(pc.equal(parts[-1][_ID], sample_data[_ID].take(at))).as_py():
                said = f"scene {self._scene_id}: {uri} holds other messages than its rows say; build the drive again"
                raise BadInputError(said, reason="payload_missing")
        return in_order(parts, np.concatenate(places)).select(wanted)

    def _read(self, table: str) -> pa.Table:
        schema = GOLD[table].schema
        if table == "qc_result":
            return pa.Table.from_pylist([_dated(row) for row in self._document["checks"]], schema)
        if table == "ego_pose":
            return pa.concat_tables([self._batched(table), self._synchronised(table)])
        if table in _OF_SYNCHRONISE:
            return self._synchronised(table)
        return self._batched(table) if table in (*BATCHED_TABLES, *NOTE_TABLES) else schema.empty_table()

    def _synchronised(self, table: str) -> pa.Table:
        rows = conform(
            read_table(self._objects, f"{self._document['synchronised']}/{table}.parquet"), GOLD[table].schema
        )
        if "scene_id" not in rows.column_names:
            return rows
        return rows.filter(pc.equal(rows["scene_id"], self._scene_id))

    def _batched(self, table: str) -> pa.Table:
        parts = [
            conform(read_table(self._objects, file), decoded_schema(table))
            for uri, outcome in self._outcomes.items()
            if table in outcome.tables
            for file in outcome.files(uri, table)
        ]
        if not parts:
            return GOLD[table].schema.empty_table()
        return in_scenes(pa.concat_tables(parts), self._kept("sample_data"), table)

    @cached_property
    def _outcomes(self) -> dict[str, DropOutcome]:
        uris = self._document["decoded"].values()
        return {uri: DropOutcome.from_json(read_json(self._objects, f"{uri}/outcome.json")) for uri in uris}


def _dated(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of an evidence document, whose dates are text."""
    day = row.get("drive_date")
    return {**row, "drive_date": date.fromisoformat(day) if day else None}
