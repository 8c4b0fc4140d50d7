"""Drops, batches and drive locks as DynamoDB items, and back."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer

from scenelake.contracts.drops import Batch, BatchState, Drop, DropState, IgnoredEvent, RecordingParts
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.reviews import Decision, Question, Review, ReviewSource

Item = dict[str, Any]

IGNORED = "EVENT#IGNORED"
"""Key of the index ``by_state`` under which events that announced no drop are listed."""

REVIEWS = "REVIEW"
"""Key of the index ``by_state`` under which reviews are listed, by the time from which they are on record."""

MAX_PARTS_BYTES = 390_000
"""DynamoDB's items hold 400 KB; a key is at most 1 KB, and so are the rest of a manifest's attributes together."""

_SERIALIZER = TypeSerializer()
_DESERIALIZER = TypeDeserializer()


def drop_pk(drop_id: str) -> str:
    return f"DROP#{drop_id}"


def batch_pk(batch_id: str) -> str:
    return f"BATCH#{batch_id}"


def drive_pk(drive_id: str) -> str:
    return f"DRIVE#{drive_id}"


def parts_pk(drive_id: str, recording: str) -> str:
    return f"PARTS#{drive_id}#{recording}"


def review_pk(question: Question, *, is_final: bool) -> str:
    return "#".join(("REVIEW" if is_final else "REPROCESS", *question))


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
    if isinstance(value, Binary):
        return bytes(value)
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
        claimant=item.get("claimant"),
        is_waiting=bool(item.get("is_waiting")),
        nbr_unbegun=item.get("nbr_unbegun", 0),
        release_id=item.get("release_id"),
    )


def parts_item(parts: RecordingParts) -> Item:
    """A manifest's item. Twenty thousand keys would be more than DynamoDB's 400 KB, but for their likeness.

    Raises:
        BadInputError: reason ``bad_manifest`` for keys too many and too unlike to fit, random names for example.
    """
    sizes = zlib.compress(json.dumps(parts.sizes_bytes).encode())
    if len(sizes) > MAX_PARTS_BYTES:
        raise BadInputError(
            f"files: the names of {len(parts.sizes_bytes)} files take {len(sizes)} bytes compressed, expected at most "
            f"{MAX_PARTS_BYTES}: list fewer, as recordings of their own, or name them by number",
            reason="bad_manifest",
        )
    item: Item = {name: getattr(parts, name) for name in ("recording", "drop_id", "stored_at_ns")}
    return {
        "pk": parts_pk(parts.drive_id, parts.recording),
        # Not drive_id: the index of a drive's drops is not to list it.
        "of_drive_id": parts.drive_id,
        "rank": f"{parts.stored_at_ns:020d}#{parts.drop_id}",
        "sizes": sizes,
        **item,
    }


def parts_of(item: Item) -> RecordingParts:
    """A manifest from a decoded item."""
    return RecordingParts(
        drive_id=item["of_drive_id"],
        recording=item["recording"],
        drop_id=item["drop_id"],
        stored_at_ns=item["stored_at_ns"],
        sizes_bytes=json.loads(zlib.decompress(item["sizes"])),
    )


def ignored_item(event: IgnoredEvent) -> Item:
    """An ignored event's item; the same event told again, at whatever time, has the same key."""
    said = asdict(event)
    identity = json.dumps({name: said[name] for name in said if name != "received_at_ns"}, sort_keys=True)
    kept = {name: value for name, value in said.items() if value is not None}
    return {"pk": f"EVENT#{hashlib.sha256(identity.encode()).hexdigest()}", "state_key": IGNORED, **kept}


def ignored_of(item: Item) -> IgnoredEvent:
    """An ignored event from a decoded item."""
    return IgnoredEvent(**{f.name: item[f.name] for f in fields(IgnoredEvent) if f.name in item})


def review_item(review: Review) -> Item:
    """A review's item. The index of a drive's drops is not to list it, so it has no ``drive_id`` attribute."""
    renamed = ("drive_id", "recorded_at_ns")
    item: Item = {f.name: getattr(review, f.name) for f in fields(Review) if f.name not in renamed}
    return {
        **item,
        "pk": review_pk(review.question, is_final=review.decision.is_final),
        "state_key": REVIEWS,
        "received_at_ns": review.on_record_since_ns,
        "of_drive_id": review.drive_id,
        "decision": str(review.decision),
        "source": str(review.source),
    }


def review_of(item: Item) -> Review:
    """A review from a decoded item."""
    values = {f.name: item[f.name] for f in fields(Review) if f.name in item}
    enums = {"decision": Decision(item["decision"]), "source": ReviewSource(item["source"])}
    renamed = {"drive_id": item["of_drive_id"], "recorded_at_ns": item["received_at_ns"]}
    return Review(**{**values, **enums, **renamed})
