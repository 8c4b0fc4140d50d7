"""What commands share: the running stack's ledger, release and Airflow."""

from dataclasses import dataclass
from functools import cached_property

import duckdb

from scenelake.adapters.airflow_api import AirflowApi
from scenelake.adapters.duckdb_reader import attach_release, connect
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.objects import Objects, s3_objects
from scenelake.contracts.errors import ConfigurationError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release
from scenelake.runtime.settings import HOME_VARIABLE, Settings, load_settings
from scenelake.serialise.releases import latest_release, load_release
from scenelake.stack.state import read_state
from scenelake.stack.up import status


@dataclass
class Workspace:
    """Doors to one running stack, opened when first used."""

    settings: Settings

    @classmethod
    def open(cls) -> "Workspace":
        """The workspace that the environment and the stack's description name.

        Raises:
            ConfigurationError: no stack runs under the home folder, and nothing names a landing zone elsewhere.
        """
        settings = load_settings()
        state = read_state(settings.home)
        if state is None and (settings.endpoint_url or settings.doorbell_queue_url):
            return cls(settings)
        if state is None or not state.is_running:
            raise ConfigurationError(
                f"no stack runs under {settings.home}: start one with `scenelake up`, "
                f"or set {HOME_VARIABLE} to the home folder of one that runs"
            )
        if state.phase != "ready":
            raise ConfigurationError(f"the stack under {settings.home} is {state.phase}: wait for `scenelake up`")
        return cls(settings)

    @cached_property
    def objects(self) -> Objects:
        return s3_objects(self.settings)

    @cached_property
    def ledger(self) -> DynamoLedger:
        return DynamoLedger.from_settings(self.settings)

    @cached_property
    def paths(self) -> LakePaths:
        return LakePaths(self.settings.lake_uri)

    @cached_property
    def airflow(self) -> AirflowApi | None:
        """The laptop stack's Airflow; None where this stack is not a laptop's."""
        info = status(self.settings.home)
        return AirflowApi(info.airflow_url, info.airflow_user, info.airflow_password) if info else None

    def release(self, release_id: str | None = None) -> Release | None:
        """A release by id, or the newest; None when there is none yet."""
        if release_id is None:
            return latest_release(self.objects, self.paths)
        return load_release(self.objects, self.paths, release_id)

    def attach(self, release: Release) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection whose views are the release's tables."""
        connection = connect(self.settings)
        attach_release(connection, release)
        return connection
