"""What gold holds, for jobs that are no stage of a batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from scenelake.adapters.duckdb_reader import attach_pin, attach_release, connect
from scenelake.adapters.iceberg import committer
from scenelake.adapters.objects import Objects
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release, TablePin
from scenelake.runtime.settings import Settings
from scenelake.serialise.releases import latest_release

_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class NewestRelease:
    """The newest release of a lake, as it was when this was made; None when there was none."""

    settings: Settings
    release: Release | None

    @classmethod
    def open(cls, settings: Settings, objects: Objects) -> "NewestRelease":
        return cls(settings, latest_release(objects, LakePaths(settings.lake_uri)))

    @property
    def release_id(self) -> str | None:
        return self.release.release_id if self.release else None

    def drop_ids(self) -> Iterator[str]:
        """Drops that the release has an account of: every one that gave it messages."""
        if self.release is None:
            return
        with connect(self.settings) as connection:
            attach_release(connection, self.release)
            connection.execute("SELECT DISTINCT drop_id FROM message_account")
            while rows := connection.fetchmany(_ROWS_AT_ONCE):
                yield from (drop_id for (drop_id,) in rows)


def attach_newest(connection: duckdb.DuckDBPyConnection, settings: Settings, name: str) -> None:
    """Makes a view of a table that no release pins (lineage), as it is now; empty where there is none yet."""
    table = committer(settings).load(name)
    snapshot = table.current_snapshot() if table is not None else None
    if table is None or snapshot is None:
        attach_pin(connection, name, None)
    else:
        attach_pin(connection, name, TablePin(snapshot.snapshot_id, table.metadata_location, 0))
