"""What the gold tables still need of their files, and forgetting what lost candidates left in their metadata."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import StaticTable
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from pyiceberg.table.update.snapshot import ExpireSnapshots, ManageSnapshots

from scenelake.contracts.commits import MAIN
from scenelake.contracts.errors import ConfigurationError, TransientError
from scenelake.contracts.releases import TablePin
from scenelake.runtime.faults import durable_write

log = logging.getLogger(__name__)

_MILLISECOND_NS = 1_000_000
IsStale = Callable[[str], bool]
"""Whether the candidate that a branch's name stands for can never be released."""


@dataclass(frozen=True, slots=True)
class TableWaste:
    """What of a table's metadata nothing needs.

    Attributes:
        branches: of candidates that will never be released.
        snapshots: ids of snapshots that no other branch or tag, and no release, leads to.
    """

    branches: tuple[str, ...]
    snapshots: tuple[int, ...]


class TableReach:
    """One table and what leads to its snapshots.

    Args:
        pins: of every release that pins the table, by snapshot id.
        before_ns: younger snapshots are kept, whatever leads to them.
    """

    def __init__(self, table: IcebergTable, pins: Mapping[int, TablePin], before_ns: int, is_stale: IsStale) -> None:
        self._table, self._pins, self._before_ns = table, pins, before_ns
        self._stale = tuple(sorted(name for name, ref in table.refs().items() if self._is_waste(name, ref, is_stale)))
        self._kept = self._reachable()

    @property
    def waste(self) -> TableWaste:
        lost = [s.snapshot_id for s in self._table.metadata.snapshots if s.snapshot_id not in self._kept]
        return TableWaste(self._stale, tuple(sorted(lost)))

    def files(self) -> Iterator[str]:
        """URIs of every manifest list, manifest and data file that a kept snapshot leads to."""
        seen: set[str] = set()
        for snapshot in self._kept.values():
            yield snapshot.manifest_list
            for manifest in snapshot.manifests(self._table.io):
                if manifest.manifest_path in seen:
                    continue
                seen.add(manifest.manifest_path)
                yield manifest.manifest_path
                for entry in manifest.fetch_manifest_entry(self._table.io, discard_deleted=True):
                    if entry.status != ManifestEntryStatus.DELETED:
                        yield entry.data_file.file_path

    def forget(self) -> None:
        """Removes the wasted branches and snapshots from the table's metadata.

        Raises:
            TransientError: somebody else committed meanwhile.
        """
        waste = self.waste
        if not waste.branches and not waste.snapshots:
            return
        try:
            with durable_write("iceberg.forget"), self._table.transaction() as transaction:
                with ManageSnapshots(transaction) as snapshots:
                    for branch in waste.branches:
                        snapshots.remove_branch(branch)
                if waste.snapshots:
                    ExpireSnapshots(transaction).by_ids(list(waste.snapshots)).commit()
        except CommitFailedException as error:
            raise TransientError(f"table {self._table.name()}: changed while it was swept: {error}") from error

    def _is_waste(self, name: str, ref: object, is_stale: IsStale) -> bool:
        snapshot_id, kind = ref.snapshot_id, ref.snapshot_ref_type  # type: ignore[attr-defined]
        if name == MAIN or kind != SnapshotRefType.BRANCH or snapshot_id in self._pins:
            return False
        head = self._table.snapshot_by_id(snapshot_id)
        return head is not None and not self._is_young(head) and is_stale(name)

    def _is_young(self, snapshot: Snapshot) -> bool:
        return snapshot.timestamp_ms * _MILLISECOND_NS > self._before_ns

    def _reachable(self) -> dict[int, Snapshot]:
        metadata = self._table.metadata
        heads = [metadata.snapshot_by_id(r.snapshot_id) for n, r in metadata.refs.items() if n not in self._stale]
        heads += [s for s in metadata.snapshots if self._is_young(s)]
        found: dict[int, Snapshot] = {}
        for head in heads:
            _add_ancestors(found, head, self._table)
        for snapshot_id, pin in self._pins.items():
            if snapshot_id in found:
                continue
            known = metadata.snapshot_by_id(snapshot_id)
            at = self._table if known else StaticTable.from_metadata(pin.metadata_location, self._table.io.properties)
            _add_ancestors(found, at.snapshot_by_id(snapshot_id), at)
        return found


def _add_ancestors(found: dict[int, Snapshot], head: Snapshot | None, table: IcebergTable) -> None:
    for snapshot in ancestors_of(head, table.metadata) if head else ():
        if snapshot.snapshot_id in found:
            return
        found[snapshot.snapshot_id] = snapshot


def table_reaches(
    catalog: Catalog, namespace: str, pins: Mapping[str, Mapping[int, TablePin]], before_ns: int, is_stale: IsStale
) -> list[TableReach]:
    """Every table of the lake.

    Raises:
        ConfigurationError: the catalog lacks a table that a release pins; it is not this lake's, or is damaged.
    """
    names: Iterable[str] = (identifier[-1] for identifier in catalog.list_tables(namespace))
    tables: dict[str, IcebergTable] = {}
    for name in names:
        try:
            tables[name] = catalog.load_table((namespace, name))
        except NoSuchTableError:
            log.info("a table went while the catalog was listed", extra={"table": name})
    missing = sorted(set(pins) - set(tables))
    if missing:
        raise ConfigurationError(
            f"Glue database {namespace}: expected every table that a release pins, lacks {', '.join(missing)}; "
            "nothing was swept"
        )
    return [TableReach(table, pins.get(name, {}), before_ns, is_stale) for name, table in tables.items()]
