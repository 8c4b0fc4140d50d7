"""Scenes that are held back in the newest release, as rows of ``quarantine`` with their drives."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

import duckdb

from scenelake.adapters.duckdb_reader import attach_table, connect
from scenelake.adapters.objects import Objects
from scenelake.contracts.errors import TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release
from scenelake.review.filters import PAGE_SCENES, Facets, Filters
from scenelake.review.questions import HeldScene
from scenelake.runtime.settings import Settings
from scenelake.serialise.releases import list_releases, read_release

_DAY_NS = 86_400 * 1_000_000_000
_FRESH_SECONDS = 3.0
_MEMORY = "512MB"
"""The reader lives in Airflow's API server, among other things."""
_COLUMNS = (
    "scene_id, drive_id, fleet, robot_id, drive_name, start_ns, state, reason, evidence_uri, review_hash, reviewer,"
    " decided_at_ns"
)
_ORDER = "ORDER BY start_ns DESC, drive_id, scene_id"


class QuarantineReader:
    """Reads the newest release; looks for a newer one every few seconds. Safe to use from threads.

    A page asks for a scene again with each of its pictures, and the tables have a file for each batch that held
    something back: they are read once a release, and what is asked of them is kept.
    """

    def __init__(self, settings: Settings, objects: Objects) -> None:
        self._settings, self._objects = settings, objects
        self._paths = LakePaths(settings.lake_uri)
        self._lock = RLock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._release: Release | None = None
        self._facets: tuple[str | None, Facets] | None = None
        self._looked_at_s = float("-inf")

    @property
    def release(self) -> Release | None:
        self._refresh()
        return self._release

    def scenes(self, filters: Filters) -> tuple[list[HeldScene], bool]:
        """One page of scenes, those of the newest drives first, and whether more follow."""
        wanted: dict[str, str | int | None] = {
            "state = ?": filters.table_state,
            "fleet = ?": filters.fleet,
            "robot_id = ?": filters.vehicle,
            "list_contains(string_split(reason, ', '), ?)": filters.check,
        }
        if filters.days:
            wanted["start_ns >= ?"] = time.time_ns() - filters.days * _DAY_NS
        terms = {term: value for term, value in wanted.items() if value}
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        offset = (filters.page - 1) * PAGE_SCENES
        sql = f"SELECT {_COLUMNS} FROM held {where} {_ORDER} LIMIT {PAGE_SCENES + 1} OFFSET {offset}"
        found = self._scenes(sql, list(terms.values()))
        return found[:PAGE_SCENES], len(found) > PAGE_SCENES

    def scene(self, scene_id: str) -> HeldScene | None:
        """One scene; None when it is not held back."""
        return next(iter(self._scenes(f"SELECT {_COLUMNS} FROM held WHERE scene_id = ?", [scene_id])), None)

    def of_drives(self, drive_ids: Sequence[str]) -> list[HeldScene]:
        """Held scenes of some drives."""
        if not drive_ids:
            return []
        marks = ", ".join("?" * len(drive_ids))
        return self._scenes(f"SELECT {_COLUMNS} FROM held WHERE drive_id IN ({marks}) {_ORDER}", list(drive_ids))

    def facets(self) -> Facets:
        """What the held scenes can be filtered by; worked out once for a release."""

        def values(expression: str) -> tuple[str, ...]:
            return tuple(v for (v,) in self._query(f"SELECT DISTINCT {expression} AS v FROM held ORDER BY v", []) if v)

        release_id = self.release.release_id if self.release else None
        if self._facets is None or self._facets[0] != release_id:
            reasons = values("unnest(string_split(reason, ', '))")
            self._facets = release_id, Facets(values("fleet"), values("robot_id"), reasons)
        return self._facets[1]

    def _scenes(self, sql: str, parameters: Sequence[Any]) -> list[HeldScene]:
        return [HeldScene(*row) for row in self._query(sql, parameters)]

    def _query(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._reaching():
            with self._lock:
                self._refresh()
                if self._connection is None:
                    return []
                cursor = self._connection.cursor()
            with cursor:
                rows: list[tuple[Any, ...]] = cursor.execute(sql, list(parameters)).fetchall()
                return rows

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Around what DuckDB reads from storage."""
        try:
            yield
        except duckdb.OperationalError as error:
            # A connection keeps the credentials that it was opened with, and those expire: the next one is a new one.
            with self._lock:
                self._connection, self._release, self._looked_at_s = None, None, float("-inf")
            raise TransientError(f"the quarantine of the newest release cannot be read: {error}") from error

    def _refresh(self) -> None:
        with self._lock, self._reaching():
            if time.monotonic() - self._looked_at_s < _FRESH_SECONDS:
                return
            numbers = list_releases(self._objects, self._paths)
            if numbers and (self._release is None or self._release.number != numbers[-1]):
                release = read_release(self._objects, self._paths, numbers[-1])
                # Cursors that still read the last one keep it alive.
                self._connection, self._release = self._opened(release), release
            self._looked_at_s = time.monotonic()

    def _opened(self, release: Release) -> duckdb.DuckDBPyConnection:
        connection = connect(self._settings)
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        for table in ("quarantine", "drive"):
            attach_table(connection, release, table)
        known = "SELECT column_name FROM duckdb_columns() WHERE table_name = 'quarantine'"
        # A release that was made before scenes had a hash to be reviewed under cannot be decided upon.
        has_hash = ("review_hash",) in connection.execute(known).fetchall()
        hashes = "coalesce(review_hash, '')" if has_hash else "''"
        kept = _COLUMNS.replace("review_hash", f"{hashes} AS review_hash")
        connection.execute(f"CREATE TABLE held AS SELECT {kept} FROM quarantine JOIN drive USING (drive_id)")
        return connection
