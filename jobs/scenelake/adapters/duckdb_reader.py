"""DuckDB over a dataset release: plain SQL on the release's tables, read from where they lie."""

import importlib
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa

from scenelake.adapters.aws import aws_session
from scenelake.contracts.errors import ConfigurationError
from scenelake.contracts.releases import Release, TablePin
from scenelake.contracts.tables import GOLD
from scenelake.runtime.settings import Settings

EXTENSIONS = ("httpfs", "avro", "iceberg")
"""In this order: iceberg asks for avro, and would try to download it."""

OUTSIDE_RELEASES = frozenset({"lineage_run", "lineage_edge"})
"""Tables that tell how releases were made; no release pins them."""


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that can read the settings' lake, without asking the internet for extensions.

    Raises:
        ConfigurationError: an extension's package is missing or is built for another DuckDB.
    """
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for name in EXTENSIONS:
        connection.execute(f"LOAD {_text(str(_extension(name)))}")
    secret = {"TYPE": "s3", "REGION": settings.region}
    credentials = aws_session(settings).get_credentials()
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        secret |= {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key}
        if frozen.token:
            secret["SESSION_TOKEN"] = frozen.token
    if settings.endpoint_url:
        endpoint = urlsplit(settings.endpoint_url)
        ssl = "true" if endpoint.scheme == "https" else "false"
        secret |= {"ENDPOINT": endpoint.netloc, "URL_STYLE": "path", "USE_SSL": ssl}
    connection.execute(f"CREATE SECRET lake ({', '.join(f'{k} {_text(v)}' for k, v in secret.items())})")
    return connection


def attach_release(connection: duckdb.DuckDBPyConnection, release: Release) -> None:
    """Makes a view per gold table that shows exactly the release's rows, whatever is committed later.

    Tables that the release does not have yet become empty views, so that a query need not know.
    """
    for name in (*release.tables, *sorted(set(GOLD) - set(release.tables) - OUTSIDE_RELEASES)):
        attach_table(connection, release, name)


def attach_table(connection: duckdb.DuckDBPyConnection, release: Release, name: str) -> None:
    """Makes the view of one gold table, as ``attach_release`` does of all: each costs a look at its metadata."""
    attach_pin(connection, name, release.tables.get(name))


def attach_pin(connection: duckdb.DuckDBPyConnection, name: str, pin: TablePin | None) -> None:
    """Makes the view of one gold table at a snapshot; an empty one for None."""
    if pin is None:
        columns = ", ".join(f"NULL::{_sql_type(f.type)} AS {_name(f.name)}" for f in GOLD[name].schema)
        rows = f"SELECT {columns} WHERE false"
    else:
        rows = (
            f"SELECT * FROM iceberg_scan({_text(pin.metadata_location)}, snapshot_from_id = {pin.snapshot_id}::UBIGINT)"
        )
    connection.execute(f"CREATE OR REPLACE VIEW {_name(name)} AS {rows}")


def _extension(name: str) -> Path:
    package = f"duckdb_extension_{name}"
    try:
        folder = Path(str(importlib.import_module(package).__file__)).parent
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"DuckDB's {name} extension: the package {package} is not installed") from error
    path = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not path.is_file():
        raise ConfigurationError(f"{package}: expected a build for DuckDB {duckdb.__version__} at {path}")
    return path


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{_name(f.name)} {_sql_type(f.type)}' for f in kind)})"
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    return {
        "string": "VARCHAR",
        "int32": "INTEGER",
        "int64": "BIGINT",
        "float": "FLOAT",
        "double": "DOUBLE",
        "bool": "BOOLEAN",
        "binary": "BLOB",
        "date32[day]": "DATE",
    }[str(kind)]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
