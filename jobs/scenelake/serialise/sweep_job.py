"""Removes from the lake what nobody refers to and what is older than a grace period. It never looks at landing.

It lists what is old, then reads everything that could refer to it (every snapshot that a branch, a tag or a release
leads to, and decode's outcomes of drops that need them), and removes the difference. What cannot be read ends the
job before anything is removed. The lake bucket keeps removed versions for a while.
"""

import argparse
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from scenelake.adapters.aws import aws_client
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.iceberg import open_catalog
from scenelake.adapters.iceberg_sweep import TableReach, table_reaches
from scenelake.adapters.objects import Objects, S3Objects, read_json, s3_objects, write_json
from scenelake.adapters.scratch_database import ScratchDatabase
from scenelake.contracts.drops import Batch, Drop, DropState
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import TablePin
from scenelake.runtime.command import run_command
from scenelake.runtime.faults import now_ns
from scenelake.runtime.settings import Settings
from scenelake.serialise.releases import list_releases, read_release
from scenelake.serialise.sweep import (
    SWEPT_SUFFIXES,
    attempt_of_branch,
    attempt_of_work,
    batch_of_file,
    needs_its_payload,
    object_of_payload,
    part_of_decoded,
)

log = logging.getLogger(__name__)

_DAY_NS = 86_400 * 1_000_000_000
_MAX_EXAMPLES = 20
_OLD = {"uri": pa.string(), "size_bytes": pa.int64(), "modified_at_ns": pa.int64(), "kind": pa.string(),
        "object_id": pa.string()}  # fmt: skip
_REFERENCED = {"uri": pa.string()}
_DROPS = {"drop_id": pa.string(), "object_id": pa.string()}


def main(argv: Sequence[str] | None = None) -> int:
    """Answers counts and bytes per kind of what was (or, in a dry run, would be) removed, and the report's URI."""
    parser = argparse.ArgumentParser(prog="scenelake-sweep", description="Removes what nobody refers to.")
    parser.add_argument("--remove", action="store_true", help="remove it; without this it is only reported")
    parser.add_argument("--grace-days", type=float, default=7.0, help="nothing younger is touched (default 7)")
    return run_command("sweep", parser, _sweep, argv)


def _sweep(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    at_ns = now_ns()
    run = arguments.dag_run_id or datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    folder_uri = LakePaths(settings.lake_uri).reconciliation(run)
    objects = s3_objects(settings)
    with tempfile.TemporaryDirectory(prefix="scenelake-sweep-") as folder, ScratchDatabase(Path(folder)) as scratch:
        sweep = Sweep(settings, objects, scratch, at_ns - int(arguments.grace_days * _DAY_NS))
        reaches = sweep.find()
        lines = Path(folder) / "sweep.jsonl"
        answer = {"is_dry_run": not arguments.remove, **_write_report(scratch, reaches, lines)}
        objects.write_file(f"{folder_uri}/sweep.jsonl", lines)
        if arguments.remove:
            for reach in reaches:
                reach.forget()
            answer["removed_files"] = sweep.remove()
    answer["report_uri"] = f"{folder_uri}/sweep.json"
    write_json(objects, answer["report_uri"], answer)
    return answer


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep of one lake.

    Attributes:
        scratch: receives what is old, and what is referred to.
        before_ns: what was written later is left alone.
    """

    settings: Settings
    objects: S3Objects
    scratch: ScratchDatabase
    before_ns: int

    def find(self) -> list[TableReach]:
        """Fills the table ``waste``; returns the gold tables, which know their own."""
        ledger = DynamoLedger.from_settings(self.settings)
        batch_of = lru_cache(maxsize=1024)(ledger.batch)
        for name, columns in (("old", _OLD), ("referenced", _REFERENCED), ("drops", _DROPS)):
            self.scratch.create(name, columns)
        self.scratch.insert("old", _OLD, self._old_gold({d.batch_id for d in ledger.drops(state=DropState.CLAIMED)}))
        self.scratch.insert("old", _OLD, self._old_work(batch_of))
        self.scratch.insert("old", _OLD, self._old_parts())
        reaches = self._reaches(batch_of)
        for reach in reaches:
            self.scratch.insert("referenced", _REFERENCED, ((uri,) for uri in reach.files()))
        self._keep_payload(ledger.drops)
        return reaches

    def remove(self) -> int:
        """Removes what was found, unless it was written again meanwhile; returns how many files that were."""
        nbr_removed = 0
        for uri, modified_at_ns in self.scratch.rows(f"SELECT uri, modified_at_ns FROM ({WASTE})"):
            try:
                is_same = self.objects.head(uri).modified_at_ns == modified_at_ns
            except FileNotFoundError:
                continue
            if is_same:
                self.objects.delete(uri)
                nbr_removed += 1
        return nbr_removed

    def _old_gold(self, open_batches: set[str | None]) -> Iterator[tuple[Any, ...]]:
        for found in self.objects.list(f"{LakePaths(self.settings.lake_uri).warehouse}/"):
            modified_at_ns = found.modified_at_ns or self.before_ns + 1
            if modified_at_ns > self.before_ns or not found.uri.endswith(SWEPT_SUFFIXES):
                continue
            batch_id = batch_of_file(found.uri)
            if batch_id is None or batch_id not in open_batches:
                yield found.uri, found.size_bytes, modified_at_ns, "gold", object_of_payload(found.uri)

    def _old_work(self, batch_of: Callable[[str], Batch | None]) -> Iterator[tuple[Any, ...]]:
        for found in self.objects.list(f"{self.settings.lake_uri}/work/batches/"):
            attempt = attempt_of_work(found.uri)
            modified_at_ns = found.modified_at_ns or self.before_ns + 1
            if attempt and modified_at_ns <= self.before_ns and attempt.is_superseded(batch_of(attempt.batch_id)):
                yield found.uri, found.size_bytes, modified_at_ns, "work", None

    def _old_parts(self) -> Iterator[tuple[Any, ...]]:
        """What the parts of an object left that its outcome does not name; without an outcome they may yet be used."""
        parts_of = lru_cache(maxsize=1)(self._parts)
        for found in self.objects.list(f"{self.settings.lake_uri}/work/decoded/"):
            part = part_of_decoded(found.uri)
            modified_at_ns = found.modified_at_ns or self.before_ns + 1
            if part is None or modified_at_ns > self.before_ns:
                continue
            named = parts_of(part.folder_uri)
            if named is not None and not part.is_needed(named):
                yield found.uri, found.size_bytes, modified_at_ns, "work", None

    def _parts(self, folder_uri: str) -> dict[str, list[int]] | None:
        try:
            parts: dict[str, list[int]] = read_json(self.objects, f"{folder_uri}/outcome.json").get("parts", {})
        except FileNotFoundError:
            return None
        return parts

    def _reaches(self, batch_of: Callable[[str], Batch | None]) -> list[TableReach]:
        def is_stale(branch: str) -> bool:
            attempt = attempt_of_branch(branch)
            return attempt is not None and attempt.is_over(batch_of(attempt.batch_id))

        pins = pins_of_releases(self.objects, LakePaths(self.settings.lake_uri))
        catalog = open_catalog(self.settings)
        return table_reaches(catalog, self.settings.glue_database, pins, self.before_ns, is_stale)

    def _keep_payload(self, all_drops: Callable[[], Iterator[Drop]]) -> None:
        """Marks the payload files that the outcome of a drop names; only drops that could name one are asked."""
        in_question = f"SELECT DISTINCT object_id FROM ({WASTE}) WHERE object_id IS NOT NULL"
        if next(self.scratch.rows(in_question), None) is None:
            return
        rows = ((d.drop_id, _object_id(d)) for d in all_drops() if needs_its_payload(d))
        self.scratch.insert("drops", _DROPS, rows)
        asked = f"SELECT drop_id FROM drops WHERE object_id IS NULL OR object_id IN ({in_question})"
        recipes = list(self._recipes())
        named = (uri for (drop_id,) in self.scratch.rows(asked) for uri in self._payload_of(drop_id, recipes))
        self.scratch.insert("referenced", _REFERENCED, ((uri,) for uri in named))

    def _recipes(self) -> Iterator[str]:
        pages = aws_client("s3", self.settings).get_paginator("list_objects_v2").paginate(
            Bucket=self.settings.lake_bucket, Prefix="work/decoded/", Delimiter="/"
        )  # fmt: skip
        yield from (e["Prefix"].split("/")[-2] for page in pages for e in page.get("CommonPrefixes", ()))

    def _payload_of(self, drop_id: str, recipes: Sequence[str]) -> Iterator[str]:
        for recipe in recipes:
            uri = f"{LakePaths(self.settings.lake_uri).decoded(recipe, drop_id)}/outcome.json"
            try:
                outcome = read_json(self.objects, uri)
            except FileNotFoundError:
                continue
            yield from (file["uri"] for file in outcome["payload_files"])


WASTE = "SELECT * FROM old ANTI JOIN referenced USING (uri)"


def pins_of_releases(objects: Objects, paths: LakePaths) -> dict[str, dict[int, TablePin]]:
    """What every release pins, by table and snapshot."""
    pins: dict[str, dict[int, TablePin]] = {}
    for number in list_releases(objects, paths):
        for table, pin in read_release(objects, paths, number).tables.items():
            pins.setdefault(table, {}).setdefault(pin.snapshot_id, pin)
    return pins


def _object_id(drop: Drop) -> str | None:
    sha256 = drop.outcome.get("object_sha256")
    return str(sha256)[:32] if sha256 else None


def _write_report(scratch: ScratchDatabase, reaches: Sequence[TableReach], lines: Path) -> dict[str, Any]:
    """Writes a line per file that is waste; returns counts, bytes and examples."""
    examples: list[str] = []
    with lines.open("w") as file:
        for uri, size_bytes, modified_at_ns, kind in scratch.rows(
            f"SELECT uri, size_bytes, modified_at_ns, kind FROM ({WASTE}) ORDER BY uri"
        ):
            if len(examples) < _MAX_EXAMPLES:
                examples.append(uri)
            line = {"uri": uri, "size_bytes": size_bytes, "modified_at_ns": modified_at_ns, "kind": kind}
            file.write(json.dumps(line) + "\n")
    found = {kind: (n, size) for kind, n, size in scratch.rows(
        f"SELECT kind, count(*), sum(size_bytes)::BIGINT FROM ({WASTE}) GROUP BY 1"
    )}  # fmt: skip
    counts = {
        f"{kind}_{unit}": found.get(kind, (0, 0))[i]
        for kind in ("gold", "work")
        for i, unit in enumerate(("files", "bytes"))
    }
    wasted = [reach.waste for reach in reaches]
    return {
        **counts,
        "branches": sum(len(w.branches) for w in wasted),
        "snapshots": sum(len(w.snapshots) for w in wasted),
        "examples": examples,
    }


if __name__ == "__main__":
    raise SystemExit(main())
