"""Two releases side by side: which distributions moved."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from scenelake.adapters.duckdb_reader import attach_table, connect
from scenelake.adapters.release_reader import open_release
from scenelake.contracts.releases import Release
from scenelake.quality.shift import Shift
from scenelake.report.shifts import bound_memory, shifts_of_releases
from scenelake.runtime.settings import Settings

_TABLES = ("drive", "scene", "qc_measurement")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of two releases.

    Attributes:
        nbr_before: scenes of the earlier release.
        nbr_arrived: scenes of the later one that the earlier has not, or has in another revision.
        shifts: between the two.
    """

    before: Release
    after: Release
    nbr_before: int
    nbr_arrived: int
    shifts: list[Shift]


def shifts_between(settings: Settings, before_id: str, after_id: str) -> Comparison:
    """Compares what a release held with what another one brought or built anew; shared scenes would hide a shift.

    Args:
        before_id, after_id: ``r`` and eight digits, or ``latest``.

    Raises:
        BadInputError: reason ``not_found`` when there is no such release.
    """
    before, after = (open_release(settings, name).release for name in (before_id, after_id))
    arrived = [scene_id for scene_id, revision in after.scenes.items() if before.scenes.get(scene_id) != revision]
    with tempfile.TemporaryDirectory(prefix="scenelake-shift-") as scratch, connect(settings) as connection:
        bound_memory(connection, Path(scratch))
        for schema, release in (("before", before), ("after", after)):
            _attach(connection, schema, release)
        connection.register("arrived", pa.table({"scene_id": pa.array(arrived, pa.string())}))
        found = shifts_of_releases(connection)
    return Comparison(before, after, len(before.scenes), len(arrived), found)


def _attach(connection: duckdb.DuckDBPyConnection, schema: str, release: Release) -> None:
    connection.execute(f"CREATE SCHEMA {schema}")
    connection.execute(f"USE {schema}")
    for name in _TABLES:
        attach_table(connection, release, name)
    connection.execute("USE memory.main")
