"""Drops, batches and drive locks as DynamoDB items, and back."""

import json
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from scenelake.contracts.drops import Batch, BatchState, Drop, DropState

Item = dict[str, Any]

_SERIALIZER = TypeSerializer()
_DESERIALIZER = TypeDeserializer()


def drop_pk(drop_id: str) -> str:
    return f"DROP#{drop_id}"


def batch_pk(batch_id: str) -> str:
    return f"BATCH#{batch_id}"


def drive_pk(drive_id: str) -> str:
    return f"DRIVE#{drive_id}"


def key(pk: str) -> Item:
    return encode({"pk": pk})


def encode(item: Mapping[str, object]) -> Item:
    """Plain values in DynamoDB's attribute form."""
    return {name: _SERIALIZER.serialize(value) for name, value in item.items()}


def decode(item: Item) -> Item:
    """DynamoDB's attribute form as plain values; every number of the ledger is an integer."""
    return {name: _plain(_DESERIALIZER.deserialize(value)) for name, value in item.items()}


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def drop_item(drop: Drop) -> Item:
    """A drop's item. Index keys must not be empty, so a drop without a drive has no ``drive_id`` attribute."""
    item: Item = {
        "pk": drop_pk(drop.drop_id),
        "state_key": drop_pk(drop.state),
        **{name: getattr(drop, name) for name in _DROP_FIELDS},
        "state": str(drop.state),
        "outcome": json.dumps(drop.outcome),
    }
    return {name: value for name, value in item.items() if value is not None and (name, value) != ("drive_id", "")}


_DROP_FIELDS = tuple(f.name for f in fields(Drop) if f.name not in ("state", "outcome"))


def drop_of(item: Item) -> Drop:
    """A drop from a decoded item."""
    values = {name: item[name] for name in _DROP_FIELDS if name in item}
    values.setdefault("drive_id", "")
    return Drop(**values, state=DropState(item["state"]), outcome=json.loads(item["outcome"]))


def batch_of(item: Item) -> Batch:
    """A batch from a decoded item."""
    return Batch(
        batch_id=item["batch_id"],
        attempt=item["attempt"],
        lease_until_ns=item["lease_until_ns"],
        drop_ids=tuple(item["drop_ids"]),
        state=BatchState(item["state"]),
        failure=item.get("failure"),
    )
