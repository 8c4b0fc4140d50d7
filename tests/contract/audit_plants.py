"""Plants violations in a small lake, and takes them out again."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from tests.contract.audit_lake import SmallLake

from scenelake.adapters.iceberg import IcebergCommitter, committer
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.paths import split_uri
from scenelake.contracts.tables import GOLD
from scenelake.serialise.canonical import conform

Rows = list[dict[str, Any]]


class Planter(ExitStack):
    """Changes a lake until it is closed."""

    def __init__(self, lake: SmallLake) -> None:
        super().__init__()
        self.lake = lake

    def put(self, uri: str, data: bytes | None) -> None:
        """Writes an object, or removes it for None, behind the pipeline's back."""
        bucket, key = split_uri(uri)
        before = self._read(uri)
        if data is None:
            self.lake.s3.delete_object(Bucket=bucket, Key=key)
        else:
            self.lake.s3.put_object(Bucket=bucket, Key=key, Body=data)
        if before is None:
            self.callback(self.lake.s3.delete_object, Bucket=bucket, Key=key)
        else:
            self.callback(self.lake.s3.put_object, Bucket=bucket, Key=key, Body=before)

    def _read(self, uri: str) -> bytes | None:
        try:
            return self.lake.objects.read(uri)
        except FileNotFoundError:
            return None

    def edit_release(self, number: int, edit: Callable[[dict[str, Any]], None]) -> None:
        uri = f"{self.lake.settings.lake_uri}/releases/{number:08d}.json"
        document = json.loads(self.lake.objects.read(uri))
        edit(document)
        self.put(uri, json.dumps(document).encode())

    def item(self, pk: str) -> dict[str, Any]:
        key = {"pk": {"S": pk}}
        found = self.lake.dynamo.get_item(TableName=self.lake.settings.ledger_table, Key=key)["Item"]
        plain = TypeDeserializer()
        return {k: plain.deserialize(v) for k, v in found.items()}

    def put_item(self, item: dict[str, Any]) -> None:
        table, key = self.lake.settings.ledger_table, {"pk": {"S": item["pk"]}}
        before = self.lake.dynamo.get_item(TableName=table, Key=key).get("Item")
        plain = TypeSerializer()
        self.lake.dynamo.put_item(TableName=table, Item={k: plain.serialize(v) for k, v in item.items()})
        if before:
            self.callback(self.lake.dynamo.put_item, TableName=table, Item=before)
        else:
            self.callback(self.lake.dynamo.delete_item, TableName=table, Key=key)

    def edit_drop(self, name: str, **values: Any) -> None:
        self.put_item({**self.item(f"DROP#{self.lake.names[name]}"), **values})

    def edit_outcome(self, name: str, **values: Any) -> None:
        outcome = json.loads(self.item(f"DROP#{self.lake.names[name]}")["outcome"])
        self.edit_drop(name, outcome=json.dumps({**outcome, **values}))

    def remove_item(self, pk: str) -> None:
        table, key = self.lake.settings.ledger_table, {"pk": {"S": pk}}
        before = self.lake.dynamo.get_item(TableName=table, Key=key)["Item"]
        self.lake.dynamo.delete_item(TableName=table, Key=key)
        self.callback(self.lake.dynamo.put_item, TableName=table, Item=before)

    def rows(self, table: str) -> Rows:
        """Rows of the newest release."""
        pin = self.lake.release().tables[table]
        found = committer(self.lake.settings).load(table)
        assert found is not None
        return conform(found.scan(snapshot_id=pin.snapshot_id).to_arrow(), GOLD[table].schema).to_pylist()

    def live_files(self, table: str) -> list[str]:
        """Data files of the newest release."""
        found = committer(self.lake.settings).load(table)
        assert found is not None
        tasks = found.scan(snapshot_id=self.lake.release().tables[table].snapshot_id).plan_files()
        return sorted(task.file.file_path for task in tasks)

    def commit_rows(self, changed: dict[str, Rows]) -> None:
        """Makes the newest release pin other rows: what a wrong pipeline would commit, files and hashes in order."""
        release = self.lake.release()
        writer = committer(self.lake.settings)
        token = CommitToken(release.batch_id, release.attempt, release.release_id)
        before = self._data_files()
        pins = {}
        for table, rows in changed.items():
            owners = tuple(sorted({r["drive_id"] for r in (*rows, *self.rows(table))}))
            change = TableChange(GOLD[table], pa.Table.from_pylist(rows, GOLD[table].schema), owners=owners)
            pin = writer.commit(change, token, release.tables[table])
            assert pin is not None, f"{table}: the planted rows are those that were there"
            pins[table] = {
                "snapshot_id": pin.snapshot_id,
                "metadata_location": pin.metadata_location,
                "nbr_rows": pin.nbr_rows,
            }
        self.callback(self._clean, writer, sorted(changed), before)
        self.edit_release(release.number, lambda document: document["tables"].update(pins))

    def _clean(self, writer: IcebergCommitter, tables: list[str], files: set[str]) -> None:
        """Drops the candidates' branches and their files; the release's own document is back already."""
        release = self.lake.release()
        writer.publish({t: release.tables[t] for t in tables}, release.number)
        for key in self._data_files() - files:
            self.lake.s3.delete_object(Bucket=self.lake.settings.lake_bucket, Key=key)

    def _data_files(self) -> set[str]:
        found = self.lake.objects.list(f"{self.lake.settings.lake_uri}/gold/")
        return {split_uri(info.uri)[1] for info in found if "/data/" in info.uri}
