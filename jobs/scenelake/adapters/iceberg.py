"""Iceberg: the catalog, the tables as the contracts define them, and commits that happen once.

Every table starts with an empty snapshot. A candidate for a release is committed to a branch of its own that
starts at the parent release's snapshot, and ``main`` follows once the release is written, so a batch that
dies half way leaves nothing that a reader or a later batch could see.
"""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError
from pyarrow.fs import AwsStandardS3RetryStrategy
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.expressions import NotNull
from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from pyiceberg.table.update.snapshot import ManageSnapshots
from pyiceberg.transforms import IdentityTransform

from scenelake.adapters.aws import LAPTOP_CREDENTIALS
from scenelake.adapters.iceberg_files import FilePlan, TableFiles, is_in
from scenelake.contracts.columns import field
from scenelake.contracts.commits import MAIN, CommitToken, TableChange
from scenelake.contracts.errors import CommitStateUnknownError, ScenelakeError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import TablePin, release_id
from scenelake.contracts.tables import Table
from scenelake.runtime.faults import durable_write
from scenelake.runtime.settings import Settings
from scenelake.serialise.canonical import conform

log = logging.getLogger(__name__)

CHANGE_PROPERTY = "scenelake.change"
_UNKNOWN = (CommitStateUnknownException, BotoCoreError, ClientError, OSError)
"""Errors after which a commit may have landed; a lost answer looks like any of them."""

_CANDIDATE = re.compile(r"(?P<release_id>r\d{8})\..+\.\d+")
"""``CommitToken.branch`` of a candidate. Every other branch or tag is a person's."""

_METRICS = (
    "drive_id", "scene_id", "sample_id", "sample_data_id", "channel", "timestamp_ns", "object_sha256", "run_id",
    "start_ns", "drop_id", "drive_date", "cluster_id",
)  # fmt: skip


class PatientRetries(AwsStandardS3RetryStrategy):  # type: ignore[misc]
    """Eight attempts at a request instead of three: at one error in five, three fail for 1 in 50 files."""

    def __init__(self) -> None:
        super().__init__(max_attempts=8)


def open_catalog(settings: Settings) -> Catalog:
    """The Glue catalog that the settings describe.

    Glue's client must not retry: a retried update whose first answer was lost is refused as a conflict, and
    pyiceberg would then delete the manifests of a commit that did land.
    """
    properties: dict[str, Any] = {
        "glue.region": settings.region,
        "glue.max-retries": 0,
        "s3.region": settings.region,
        "s3.request-timeout": "60",
        "s3.retry-strategy-impl": f"{__name__}.{PatientRetries.__name__}",
        "warehouse": LakePaths(settings.lake_uri).warehouse,
    }
    if settings.endpoint_url:
        properties |= {
            "glue.endpoint": settings.endpoint_url,
            "s3.endpoint": settings.endpoint_url,
            "s3.force-virtual-addressing": "false",
            "client.access-key-id": LAPTOP_CREDENTIALS["aws_access_key_id"],
            "client.secret-access-key": LAPTOP_CREDENTIALS["aws_secret_access_key"],
        }
    return GlueCatalog("glue", **properties)


@dataclass(frozen=True, slots=True)
class _Look:
    """A table as it is, the snapshot to build on, what is to do, and this commit's snapshot if it is there."""

    table: IcebergTable
    start: Snapshot
    plan: FilePlan
    landed: Snapshot | None


class IcebergCommitter:
    """Commits to the gold tables of one lake (``contracts.commits.Committer``). Safe to use from threads.

    Args:
        namespace: the Glue database.
        max_tries: bound on looks and commits of one change.
        backoff_seconds: first wait after a conflict; it doubles up to 2 s.
    """

    def __init__(
        self,
        catalog: Catalog,
        namespace: str,
        paths: LakePaths,
        *,
        max_tries: int = 10,
        backoff_seconds: float = 0.05,
    ) -> None:
        self._catalog = catalog
        self._namespace = namespace
        self._paths = paths
        self._max_tries = max_tries
        self._backoff_seconds = backoff_seconds

    def load(self, name: str) -> IcebergTable | None:
        """The table as the catalog has it now; None when it does not exist."""
        try:
            return self._catalog.load_table((self._namespace, name))
        except NoSuchTableError:
            return None

    def ensure_table(self, table: Table) -> IcebergTable:
        """Opens a table, creates it with an empty snapshot, or appends the columns that it lacks."""
        for attempt in range(self._max_tries):
            try:
                found = self.load(table.name)
                if found is None:
                    return self._create(table)
                if set(table.columns) <= set(found.schema().column_names):
                    return found
                with durable_write("iceberg.evolve"), found.update_schema() as update:
                    update.union_by_name(table.schema)
                return found
            except (CommitFailedException, TableAlreadyExistsError) as error:
                log.info("table changed under us, reading it again", extra={"table": table.name, "error": str(error)})
                self._wait(attempt)
        raise TransientError(f"table {table.name}: could not be created or evolved in {self._max_tries} tries")

    def _create(self, table: Table) -> IcebergTable:
        properties = {
            "format-version": "2",
            # The library's own retries cannot know whether a lost commit landed; the loop below can.
            "commit.retry.num-retries": "0",
            "commit.manifest-merge.enabled": "true",
            # Releases pin metadata files, so old ones must stay.
            "write.metadata.delete-after-commit.enabled": "false",
            "write.metadata.metrics.default": "none",
            **{f"write.metadata.metrics.column.{c}": "full" for c in _METRICS if c in table.columns},
        }
        identifier = (self._namespace, table.name)
        schema = assign_fresh_schema_ids(_pyarrow_to_schema_without_ids(table.schema, format_version=2))
        creation = self._catalog.create_table_transaction(
            identifier,
            schema,
            location=f"{self._paths.warehouse}/{table.name}",
            partition_spec=_partition_spec(table, schema),
            properties=properties,
        )
        with durable_write("iceberg.create"), creation as transaction:
            mapping = transaction.table_metadata.schema().name_mapping.model_dump_json()
            # Files that other engines and decode wrote carry no field ids.
            transaction.set_properties({"schema.name-mapping.default": mapping})
            with transaction.update_snapshot(snapshot_properties={"scenelake.step": "create"}).fast_append():
                pass
        return self._catalog.load_table(identifier)

    def commit(self, change: TableChange, token: CommitToken, base: TablePin | None) -> TablePin | None:
        """See ``contracts.commits.Committer``."""
        in_doubt: Exception | None = None
        for attempt in range(self._max_tries):
            try:
                look = self._look(change, token, base)
            except _UNKNOWN as error:
                log.warning("cannot look", extra={"table": change.table.name, "error": str(error)})
                self._wait(attempt)
                continue
            in_doubt = None
            if look is None:
                return None
            if look.landed is not None:
                return _pin(look.table, look.landed)
            try:
                return self._send(look, token)
            except CommitFailedException as error:
                log.info("commit conflict", extra={"table": change.table.name, "error": str(error)})
            except _UNKNOWN as error:
                in_doubt = error
                log.warning("commit state unknown, looking", extra={"table": change.table.name, "error": str(error)})
            self._wait(attempt)
        if in_doubt is not None:
            raise CommitStateUnknownError(f"table {change.table.name}: {in_doubt}") from in_doubt
        raise TransientError(f"table {change.table.name}: no commit in {self._max_tries} tries")

    def _look(self, change: TableChange, token: CommitToken, base: TablePin | None) -> "_Look | None":
        """What is there and what is still to do; None when nothing is."""
        has_content = bool(len(change.rows) or change.payload_files)
        if not has_content and token.release_id is not None and base is None:
            return None
        table = self.ensure_table(change.table) if has_content else self.load(change.table.name)
        if table is None:
            return None
        start = _start(table, token, base)
        plan = TableFiles(table, change.table, self._paths).plan(change, start, token.batch_id)
        landed = _landed(table, token, plan)
        return None if plan.is_empty and landed is None else _Look(table, start, plan, landed)

    def _send(self, look: "_Look", token: CommitToken) -> TablePin:
        table, start, plan = look.table, look.start, look.plan
        location = table.metadata_location
        properties = {**token.properties, CHANGE_PROPERTY: plan.digest}
        try:
            with durable_write("iceberg.commit"), table.transaction() as transaction:
                if token.branch != MAIN:
                    with ManageSnapshots(transaction) as snapshots:
                        snapshots.create_branch(start.snapshot_id, token.branch)
                update = transaction.update_snapshot(snapshot_properties=properties, branch=token.branch)
                producer = update.overwrite() if plan.remove else update.merge_append()
                with producer:
                    for file in plan.remove:
                        producer.delete_data_file(file)
                    for file in plan.add:
                        producer.append_data_file(file)
        except ValueError as error:
            # A commit to another branch takes the sequence number that this one was built with.
            if table.refresh().metadata_location == location:
                raise
            raise CommitFailedException(str(error)) from error
        head = table.metadata.snapshot_by_name(token.branch)
        if head is None:
            raise ScenelakeError(f"table {table.name()}: branch {token.branch} is gone right after its commit")
        return _pin(table, head)

    def publish(self, pins: Mapping[str, TablePin], release_number: int) -> None:
        """See ``contracts.commits.Committer``."""
        for name, pin in pins.items():
            self._publish(name, pin, release_number)

    def rows(
        self, table: Table, pin: TablePin, columns: Sequence[str], where: str, values: Sequence[str] | None = None
    ) -> pa.Table:
        """See ``contracts.commits.Committer``."""
        condition = NotNull(where) if values is None else is_in(where, values)  # type: ignore[call-arg,arg-type]
        for attempt in range(self._max_tries):
            try:
                found = self._catalog.load_table((self._namespace, table.name))
                scan = found.scan(condition, tuple(columns), snapshot_id=pin.snapshot_id)
                return conform(scan.to_arrow(), pa.schema([field(name) for name in columns]))
            except _UNKNOWN as error:
                log.warning("cannot read", extra={"table": table.name, "error": str(error)})
                self._wait(attempt)
        raise TransientError(f"table {table.name}: could not be read in {self._max_tries} tries")

    def _publish(self, name: str, pin: TablePin, release_number: int) -> None:
        for attempt in range(self._max_tries):
            try:
                self._move_main(name, pin, release_number)
                return
            except (CommitFailedException, *_UNKNOWN) as error:
                log.info("publish again", extra={"table": name, "error": str(error)})
                self._wait(attempt)
        raise TransientError(f"table {name}: main could not be moved in {self._max_tries} tries")

    def _move_main(self, name: str, pin: TablePin, release_number: int) -> None:
        table = self.load(name)
        if table is None:
            raise ScenelakeError(f"table {name} is in release {release_number} and not in the catalog")
        moves = _is_ahead(table, pin.snapshot_id)
        stale = [r for r in table.refs() if _is_settled(r, release_number)]
        if not moves and not stale:
            return
        publication = table.transaction()
        with durable_write("iceberg.publish"), publication as transaction, ManageSnapshots(transaction) as snapshots:
            if moves:
                snapshots.create_branch(pin.snapshot_id, MAIN)
            for branch in stale:
                snapshots.remove_branch(branch)

    def _wait(self, attempt: int) -> None:
        time.sleep(min(self._backoff_seconds * 2**attempt, 2.0))


def _partition_spec(table: Table, schema: Schema) -> PartitionSpec:
    if table.partition is None:
        return PartitionSpec()
    source_id = schema.find_field(table.partition).field_id
    return PartitionSpec(PartitionField(source_id, PARTITION_FIELD_ID_START, IdentityTransform(), table.partition))


def _start(table: IcebergTable, token: CommitToken, base: TablePin | None) -> Snapshot:
    """The snapshot that a commit builds on."""
    if token.release_id is None:
        found = table.current_snapshot()
    elif base is not None:
        found = table.snapshot_by_id(base.snapshot_id)
    else:
        found = next((s for s in table.snapshots() if s.parent_snapshot_id is None), None)
    if found is None:
        raise ScenelakeError(f"table {table.name()}: the snapshot to build on is gone (base {base})")
    return found


def _landed(table: IcebergTable, token: CommitToken, plan: FilePlan) -> Snapshot | None:
    """The snapshot of this very commit, when it is there already."""
    head = table.metadata.snapshot_by_name(token.branch)
    if head is None:
        return None
    wanted = token.properties
    if token.branch == MAIN:
        for snapshot in ancestors_of(head, table.metadata):
            if plan.is_empty and wanted.items() <= _summary(snapshot).items():
                return snapshot
        return None
    return head if _summary(head).get(CHANGE_PROPERTY) == plan.digest else None


def _summary(snapshot: Snapshot) -> dict[str, str]:
    return dict(snapshot.summary.additional_properties) if snapshot.summary else {}


def _is_ahead(table: IcebergTable, snapshot_id: int) -> bool:
    """True when ``main`` can move forward to the snapshot; False when it is there or past it."""
    main = table.current_snapshot()
    if main is None or main.snapshot_id == snapshot_id:
        return main is None
    target = table.snapshot_by_id(snapshot_id)
    if any(s.snapshot_id == snapshot_id for s in ancestors_of(main, table.metadata)):
        return False
    if not any(s.snapshot_id == main.snapshot_id for s in ancestors_of(target, table.metadata)):
        raise ScenelakeError(f"table {table.name()}: main {main.snapshot_id} is not in the history of {snapshot_id}")
    return True


def _is_settled(branch: str, release_number: int) -> bool:
    """True for a candidate whose release number is taken."""
    candidate = _CANDIDATE.fullmatch(branch)
    return candidate is not None and candidate["release_id"] <= release_id(release_number)


def _pin(table: IcebergTable, snapshot: Snapshot) -> TablePin:
    return TablePin(snapshot.snapshot_id, table.metadata_location, int(_summary(snapshot).get("total-records", 0)))


def committer(settings: Settings) -> IcebergCommitter:
    """The committer of the settings' lake."""
    return IcebergCommitter(open_catalog(settings), settings.glue_database, LakePaths(settings.lake_uri))
