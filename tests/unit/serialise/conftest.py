"""A lake on a local folder: SQLite catalog, files, releases."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog

from scenelake.adapters.iceberg import IcebergCommitter
from scenelake.adapters.local_catalog import open_local_catalog
from scenelake.adapters.objects import LocalObjects
from scenelake.contracts.commits import Committer
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release
from scenelake.serialise.commit import BatchCommit, Committed, commit_batch
from scenelake.serialise.config import SerialiseConfig
from scenelake.serialise.drives import DriveInput, drive_rows

from .synthetic import DriveMaker

NAMESPACE = "scenelake"


@dataclass
class Lake:
    """One lake and the ways to change and read it."""

    catalog: Catalog
    files: LakePaths
    objects: LocalObjects
    maker: DriveMaker
    documents: LakePaths = field(default_factory=lambda: LakePaths("s3://lake"))
    clock_ns: int = 0

    def committer(self, kind: Callable[..., Committer] = IcebergCommitter) -> Committer:
        return kind(self.catalog, NAMESPACE, self.files, backoff_seconds=0.001)

    def commit(
        self,
        *drives: DriveInput,
        batch: str = "b1",
        attempt: int = 1,
        committer: Committer | None = None,
        fence: Callable[[], None] = lambda: None,
        noted: str | None = None,
    ) -> Committed:
        rows = tuple(drive_rows(d, "s3://quarantine") for d in drives)
        self.clock_ns += 1
        given = BatchCommit(batch, attempt, "recipe", rows, lambda: self.clock_ns, lambda _: fence(), noted)
        return commit_batch(
            given, committer or self.committer(), self.objects, self.documents, SerialiseConfig(nbr_threads=2)
        )

    def table(self, release: Release, name: str) -> pa.Table:
        """What a reader of the release sees."""
        found = self.catalog.load_table((NAMESPACE, name))
        return found.scan(snapshot_id=release.tables[name].snapshot_id).to_arrow()

    def main(self, name: str) -> pa.Table:
        return self.catalog.load_table((NAMESPACE, name)).scan().to_arrow()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    catalog = open_local_catalog(tmp_path, NAMESPACE)
    files = LakePaths(f"file://{tmp_path}/lake")

    def write(uri: str, data: bytes) -> None:
        path = Path(uri.removeprefix("file://"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    yield Lake(catalog, files, LocalObjects(tmp_path / "objects"), DriveMaker(files, write))
    catalog.close()


@pytest.fixture
def maker(lake: Lake) -> DriveMaker:
    return lake.maker
