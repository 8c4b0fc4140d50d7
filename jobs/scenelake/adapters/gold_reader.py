"""The newest release, for jobs that compare with gold and are no stage of a batch."""

import duckdb

from scenelake.adapters.duckdb_reader import attach_release
from scenelake.adapters.objects import s3_objects
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release
from scenelake.runtime.settings import Settings
from scenelake.serialise.releases import latest_release


def attach_newest_release(connection: duckdb.DuckDBPyConnection, settings: Settings) -> Release | None:
    """Makes the newest release's tables views of the connection; None, and no view, when there is no release."""
    release = latest_release(s3_objects(settings), LakePaths(settings.lake_uri))
    if release is not None:
        attach_release(connection, release)
    return release
