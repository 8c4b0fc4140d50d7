"""The tables that a release pins, opened by their metadata files: no catalog is needed to read a release."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import ManifestContent, ManifestEntryStatus, ManifestFile
from pyiceberg.table import StaticTable, Table
from pyiceberg.table.snapshots import Snapshot

from scenelake_audit.aws import stand_in_keys
from scenelake_audit.config import Lake
from scenelake_audit.releases import Pin, Release
from scenelake_audit.report import Report


@dataclass(frozen=True, slots=True)
class DataFile:
    """A live data file as a manifest describes it."""

    table: str
    uri: str
    size_bytes: int
    nbr_rows: int


def io_properties(lake: Lake) -> dict[str, str]:
    """How pyiceberg reaches the lake's files."""
    found = {"s3.region": lake.region, "s3.request-timeout": "60"}
    if lake.endpoint_url:
        found |= {"s3.endpoint": lake.endpoint_url, "s3.force-virtual-addressing": "false"}
    keys = stand_in_keys(lake.endpoint_url)
    if keys:
        found |= {
            "client.access-key-id": keys["aws_access_key_id"],
            "client.secret-access-key": keys["aws_secret_access_key"],
            "s3.access-key-id": keys["aws_access_key_id"],
            "s3.secret-access-key": keys["aws_secret_access_key"],
        }
    return found


class PinnedTable:
    """One table as one release pins it.

    Attributes:
        problem: why it cannot be read; None when it can.
    """

    def __init__(self, name: str, pin: Pin, lake: Lake) -> None:
        self.name, self.pin = name, pin
        self._properties = io_properties(lake)
        self.problem: str | None = None
        self._table: Table | None = None
        self.snapshot: Snapshot | None = None
        try:
            self._table = StaticTable.from_metadata(pin.metadata_location, self._properties)
        except (OSError, ValueError) as error:
            self.problem = f"{pin.metadata_location}: {error}"
            return
        self.snapshot = self._table.metadata.snapshot_by_id(pin.snapshot_id)
        if self.snapshot is None:
            self.problem = f"{pin.metadata_location} has no snapshot {pin.snapshot_id}"

    @property
    def summary(self) -> dict[str, str]:
        """What the commit said about itself."""
        summary = self.snapshot.summary if self.snapshot else None
        return dict(summary.additional_properties) if summary else {}

    @cached_property
    def ancestors(self) -> list[Snapshot]:
        """The pinned snapshot and those before it, newest first, as far as the metadata reaches."""
        found: list[Snapshot] = []
        at = self.snapshot
        while at is not None and self._table is not None:
            found.append(at)
            parent = at.parent_snapshot_id
            at = self._table.metadata.snapshot_by_id(parent) if parent is not None else None
        return found

    def files(self) -> Iterator[DataFile]:
        """Live data files of the pinned snapshot."""
        if self.snapshot is not None:
            for manifest in self._manifests(self.snapshot):
                yield from self._entries(manifest)

    def files_ever(self, seen: set[str]) -> Iterator[str]:
        """Data files of the pinned snapshot and its ancestors, from manifests that are not in ``seen`` yet."""
        for snapshot in self.ancestors:
            for manifest in self._manifests(snapshot):
                if manifest.manifest_path not in seen:
                    seen.add(manifest.manifest_path)
                    yield from (f.uri for f in self._entries(manifest))

    def _manifests(self, snapshot: Snapshot) -> list[ManifestFile]:
        if self._table is None:
            return []
        found = snapshot.manifests(self._table.io)
        deletes = [m.manifest_path for m in found if m.content == ManifestContent.DELETES]
        if deletes:
            raise ValueError(f"table {self.name}: expected no delete files, found manifests {deletes[:3]}")
        return found

    def _entries(self, manifest: ManifestFile) -> Iterator[DataFile]:
        if self._table is None:
            return
        for entry in manifest.fetch_manifest_entry(self._table.io, discard_deleted=True):
            if entry.status != ManifestEntryStatus.DELETED:
                file = entry.data_file
                yield DataFile(self.name, file.file_path, file.file_size_in_bytes, file.record_count)


class Catalog:
    """The Glue database, as far as the auditor asks it."""

    def __init__(self, lake: Lake) -> None:
        self._database = lake.database
        glue = {"glue.region": lake.region}
        if lake.endpoint_url:
            glue["glue.endpoint"] = lake.endpoint_url
        self._catalog = GlueCatalog("audit", **glue, **io_properties(lake))

    def beside(self, names: Collection[str]) -> Iterator[tuple[str, Pin]]:
        """Tables with other names than these, at their newest snapshot: lineage is in no release."""
        for identifier in self._catalog.list_tables(self._database):
            if identifier[-1] not in names:
                table = self._catalog.load_table(identifier)
                snapshot = table.current_snapshot()
                if snapshot is not None:
                    yield identifier[-1], Pin(snapshot.snapshot_id, table.metadata_location, 0)

    def history_of_main(self, name: str) -> list[int] | None:
        """Ids of ``main``'s snapshot and its ancestors; None when the catalog has no such table."""
        try:
            table = self._catalog.load_table((self._database, name))
        except NoSuchTableError:
            return None
        found: list[int] = []
        at = table.current_snapshot()
        while at is not None:
            found.append(at.snapshot_id)
            at = table.metadata.snapshot_by_id(at.parent_snapshot_id) if at.parent_snapshot_id is not None else None
        return found


def check_snapshots(
    releases: list[Release], newest: dict[str, PinnedTable], lake: Lake, is_open: bool, report: Report
) -> None:
    """Each release's new snapshots descend from its parent's and carry its maker's token; main has followed.

    Args:
        releases: oldest first; consecutive ones are compared.
        newest: tables of the audited release, whose metadata holds the history.
        is_open: the batch of the newest release is still at work, so main may yet be behind.
    """
    before: Release | None = None
    for release in releases:
        for name, pin in release.pins.items():
            old = before.pins.get(name) if before else None
            is_first = before is None and release.number > 1
            if pin != old and not is_first:
                _check_pin(release, name, pin, old, _history(name, pin, newest, lake), report)
        before = release
    catalog = Catalog(lake)
    for name, table in newest.items():
        if table.problem is None and not is_open:
            history = catalog.history_of_main(name)
            if history is None or table.pin.snapshot_id not in history:
                found = "no such table in the catalog" if history is None else f"main is at {history[:1]}"
                expected = f"main of the catalog at or after snapshot {table.pin.snapshot_id}"
                report.violate("I3.ancestry", f"table {name}", expected, found)


def _history(name: str, pin: Pin, newest: dict[str, PinnedTable], lake: Lake) -> list[Snapshot]:
    """The pinned snapshot and its ancestors, from metadata that is open already where that knows them."""
    known = newest[name].ancestors if name in newest else []
    at = next((i for i, s in enumerate(known) if s.snapshot_id == pin.snapshot_id), None)
    return known[at:] if at is not None else PinnedTable(name, pin, lake).ancestors


def _check_pin(release: Release, name: str, pin: Pin, old: Pin | None, history: list[Snapshot], report: Report) -> None:
    report.examine("I3.ancestry")
    subject = f"{release.release_id}, table {name}, snapshot {pin.snapshot_id}"
    if not history:
        report.violate("I3.ancestry", subject, f"the snapshot in {pin.metadata_location}", "none")
        return
    if old is not None and all(s.snapshot_id != old.snapshot_id for s in history):
        found = [s.snapshot_id for s in history[:5]]
        report.violate("I3.ancestry", subject, f"a descendant of the parent's snapshot {old.snapshot_id}", found)
    said = dict(history[0].summary.additional_properties) if history[0].summary else {}
    expected = {
        "scenelake.batch_id": release.batch_id,
        "scenelake.attempt": str(release.attempt),
        "scenelake.release_id": release.release_id,
    }
    found_token = {key: said.get(key) for key in expected}
    report.examine("I3.attempt")
    if found_token != expected:
        report.violate("I3.attempt", subject, expected, found_token)
