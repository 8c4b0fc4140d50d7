"""The stages one after the other in this process: real jobs' functions over files, a ledger and tables in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc

from scenelake.adapters.memory_ledger import MemoryLedger
from scenelake.adapters.objects import LocalObjects, ObjectInfo, write_json
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.drops import Batch, Drop
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release, TablePin
from scenelake.contracts.stages import Stage, StageArguments, StageOutcome
from scenelake.contracts.tables import GOLD, Table
from scenelake.decode.config import DecodeConfig
from scenelake.decode.job import DROPS_FILE, drop_lines
from scenelake.decode.task import DecodeTask
from scenelake.ledger.new_drop import ObjectVersion, StoredBytes, admit
from scenelake.ledger.protocol import ClaimLimits
from scenelake.ledger.settle_batch_job import settle_batch
from scenelake.quality.job import judge
from scenelake.runtime.job import StageContext
from scenelake.runtime.settings import Settings
from scenelake.serialise import job as serialise_job
from scenelake.serialise.canonical import digest
from scenelake.serialise.releases import latest_release
from scenelake.synchronise.job import synchronise
from scenelake_audit.compare import IGNORED_TABLES, comparable

SECOND_NS = 1_000_000_000
QUIET_NS = 60 * SECOND_NS
LIMITS = ClaimLimits(max_drops=256, max_bytes=2**40, lease_ns=600 * SECOND_NS, max_attempts=3, quiet_ns=QUIET_NS)


class MemoryTables:
    """``contracts.commits.Committer`` over Arrow tables."""

    def __init__(self) -> None:
        self._snapshots: list[tuple[pa.Table, frozenset[str]]] = []

    def commit(self, change: TableChange, token: CommitToken, base: TablePin | None) -> TablePin | None:
        empty = (change.table.schema.empty_table(), frozenset[str]())
        rows, files = self._snapshots[base.snapshot_id] if base else empty
        if change.payload_files:
            after = (rows, files | {f.uri for f in change.payload_files})
        else:
            others = rows.filter(pc.invert(pc.is_in(rows[change.owner_column], pa.array(change.owners, pa.string()))))
            kept = rows.slice(0, 0)
            if change.kept_scenes:
                kept = rows.filter(pc.is_in(rows["scene_id"], pa.array(sorted(change.kept_scenes))))
            after = (pa.concat_tables([others, kept, change.rows]), files)
        key = GOLD[change.table.name].key
        if (digest(after[0], key), after[1]) == (digest(rows, key), files):
            return None
        self._snapshots.append(after)
        return TablePin(len(self._snapshots) - 1, "memory", len(after[0]))

    def publish(self, pins: Mapping[str, TablePin], release_number: int) -> None:
        """There is no ``main`` to move."""

    def rows(
        self, table: Table, pin: TablePin, columns: Sequence[str], where: str, values: Sequence[str] | None = None
    ) -> pa.Table:
        held = self.held(pin)
        column = held[where]
        is_wanted = pc.is_valid(column) if values is None else pc.is_in(column, pa.array(values, pa.string()))
        return held.filter(is_wanted).select(list(columns))

    def held(self, pin: TablePin) -> pa.Table:
        return self._snapshots[pin.snapshot_id][0]

    def files(self, pin: TablePin) -> frozenset[str]:
        return self._snapshots[pin.snapshot_id][1]


@dataclass
class LocalContext(StageContext):
    """A stage's context without a cloud."""

    local_objects: LocalObjects = field(kw_only=True)
    local_ledger: MemoryLedger = field(kw_only=True)

    @cached_property
    def objects(self) -> LocalObjects:  # type: ignore[override]
        return self.local_objects

    @cached_property
    def ledger(self) -> MemoryLedger:  # type: ignore[override]
        return self.local_ledger


class VersionedObjects(LocalObjects):
    """A folder that keeps versions: ``<uri>@<version>``."""

    def read(self, uri: str, *, version_id: str | None = None) -> bytes:
        return super().read(f"{uri}@{version_id}" if version_id else uri)

    def read_range(self, uri: str, offset: int, length: int, *, version_id: str | None = None) -> bytes:
        return self.read(uri, version_id=version_id)[offset : offset + max(length, 0)]

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        return super().head(f"{uri}@{version_id}" if version_id else uri)


class Lake:
    """A landing bucket, a ledger and a lake of their own."""

    def __init__(self, folder: Path) -> None:
        self.objects = VersionedObjects(folder)
        self.ledger = MemoryLedger()
        self.tables = MemoryTables()
        self.settings = Settings(home=folder)
        self.paths = LakePaths(self.settings.lake_uri)
        self._now_ns = 1_000 * SECOND_NS

    def put(self, key: str, content: bytes) -> str:
        """Puts an object, tells the ledger and returns the drop's id."""
        self._now_ns += SECOND_NS
        version_id = str(self._now_ns)
        for version in (f"@{version_id}", ""):
            self.objects.write(f"s3://{self.settings.landing_bucket}/{key}{version}", content)
        found = ObjectVersion(self.settings.landing_bucket, key, version_id, len(content), "e")
        read = lambda _, limit: StoredBytes(content[:limit], self._now_ns)  # noqa: E731
        return admit(self.ledger, found, self._now_ns, read).drop.drop_id

    def wait(self, seconds: int) -> None:
        self._now_ns += seconds * SECOND_NS

    def build_all(self) -> list[Batch]:
        """Builds batches until the ledger hands out none."""
        batches = []
        while (batch := self.ledger.claim(LIMITS, self._now_ns)) is not None:
            self.build(batch)
            batches.append(batch)
        return batches

    def rebuild(self, drop_ids: Sequence[str]) -> None:
        batch = self.ledger.claim_drops(drop_ids, LIMITS, self._now_ns, rebuild=True)
        assert batch is not None
        self.build(batch)

    def build(self, batch: Batch, *, settle: bool = True) -> None:
        for stage, run in (
            (Stage.DECODE, self._decode),
            (Stage.SYNCHRONISE, synchronise),
            (Stage.QUALITY, judge),
            (Stage.SERIALISE, self._serialise),
        ):
            context = LocalContext(
                stage, StageArguments(batch.batch_id, batch.attempt), self.settings,
                local_objects=self.objects, local_ledger=self.ledger,
            )  # fmt: skip
            outcome = run(context)
            record = {"params": outcome.params, "git_commit": None, "image_digest": None}
            write_json(self.objects, f"{context.stage_uri()}/record.json", record)
        if settle:
            settle_batch(self.ledger, self.objects, self.paths, batch.batch_id, batch.attempt)

    def _decode(self, context: StageContext) -> StageOutcome:
        task = DecodeTask(lambda: self.objects, self.paths, DecodeConfig(), "recipe")
        lines = drop_lines(context, [task(drop) for drop in context.drops])
        write_json(self.objects, f"{context.stage_uri()}/{DROPS_FILE}", [_plain(line) for line in lines])
        return StageOutcome({}, {})

    def _serialise(self, context: StageContext) -> StageOutcome:
        with patch.object(serialise_job, "committer", lambda _: self.tables):
            return serialise_job.serialise(context)

    def release(self) -> Release | None:
        return latest_release(self.objects, self.paths)

    def rows(self, table: str) -> list[dict[str, Any]]:
        release = self.release()
        assert release is not None
        return self.tables.held(release.tables[table]).to_pylist() if table in release.tables else []

    def gold(self) -> dict[str, list[str]]:
        """Every gold table's rows as text, sorted, without what differs between two runs by nature."""
        release = self.release()
        assert release is not None
        found = {}
        for name, pin in release.tables.items():
            if name not in IGNORED_TABLES:
                found[name] = sorted([*self.tables.files(pin), *map(comparable, self.tables.held(pin).to_pylist())])
        return {name: rows for name, rows in found.items() if rows}

    def drops(self) -> Iterator[Drop]:
        return self.ledger.drops()


def _plain(line: Any) -> dict[str, Any]:
    return {name: getattr(line, name) for name in line.__slots__}
