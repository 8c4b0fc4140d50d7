"""The Glue catalog's twin for tests: SQLite. Apart, because it costs every process that imports it a second."""

from pathlib import Path

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog


def open_local_catalog(folder: Path, namespace: str) -> Catalog:
    """A catalog in a folder; its tables lie wherever the committer's paths say."""
    folder.mkdir(parents=True, exist_ok=True)
    catalog = SqlCatalog("local", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace_if_not_exists(namespace)
    return catalog
