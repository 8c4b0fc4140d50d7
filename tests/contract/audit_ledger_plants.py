"""What a wrong ledger may look like, and what may look wrong and is not; each with the checks that must say so."""

import json
import time
import zlib
from collections.abc import Callable
from typing import Any

from tests.contract.audit_lake import MISSING_PART
from tests.contract.audit_plants import Planter

from scenelake.contracts import ids

LEDGER_PLANTS: dict[str, tuple[Callable[[Planter], Any], set[str]]] = {
    "a ledger row is lost": (lambda p: p.remove_item(f"DROP#{p.lake.names['first']}"), {"I1.registered"}),
    "an object was never registered": (
        lambda p: _unregistered(p, "fleet/car/d9/unheard.mcap", b"unheard"),
        {"I1.registered"},
    ),
    "a folder marker was never registered": (
        lambda p: _unregistered(p, "fleet/car/d9/", b""),
        {"I1.registered"},
    ),
    "a listed part was never registered": (
        lambda p: _unregistered(p, "fleet/car/d8/rec/back.mcap", MISSING_PART),
        {"I1.registered", "I1.parts"},
    ),
    "an item of a kind that nobody knows": (lambda p: p.put_item({"pk": "GHOST#1", "state": "BUILT"}), {"I1.item"}),
    "parts that cannot be read": (
        lambda p: p.put_item({**_parts(p), "sizes": b"no zlib"}),
        {"I1.item", "I1.parts"},
    ),
    "an ignored event without a reason": (
        lambda p: p.put_item({"pk": "EVENT#1", "event": "s3:TestEvent"}),
        {"I1.event"},
    ),
    "an ignored event without a name": (lambda p: p.put_item({"pk": "EVENT#1", "reason": "a test"}), {"I1.event"}),
    "a review by nobody": (lambda p: p.put_item({**_review(p), "reviewer": ""}), {"I1.review"}),
    "a review that says nothing known": (lambda p: p.put_item({**_review(p), "decision": "MAYBE"}), {"I1.review"}),
    "a request that decides": (
        lambda p: p.put_item({**_review(p, "REPROCESS"), "decision": "RELEASE"}),
        {"I1.review"},
    ),
    "a review of another scene than its key's": (
        lambda p: p.put_item({**_review(p), "scene_id": "another"}),
        {"I1.review"},
    ),
    "a review of what nobody was asked": (
        lambda p: p.put_item({**_review(p), "evidence_uri": "s3://scenelake-quarantine/none.json"}),
        {"I1.review"},
    ),
    "an unknown state": (
        lambda p: p.edit_drop("first", state="DONE", state_key="DROP#DONE"),
        {"I1.state"},
    ),
    "two states: the index says another": (lambda p: p.edit_drop("first", state_key="DROP#PENDING"), {"I1.state"}),
    "two states: the history ends in another": (
        lambda p: p.edit_drop("first", history=_history(p, "first")[:-1]),
        {"I1.state"},
    ),
    "two holders: the history ends with another batch": (
        lambda p: p.edit_drop("first", batch_id=_item(p, "second")["batch_id"]),
        {"I1.state"},
    ),
    "two holders: the history ends with another attempt": (lambda p: p.edit_drop("first", attempt=7), {"I1.state"}),
    "rejected without a reason": (lambda p: p.edit_drop("noise", reason=""), {"I1.state"}),
    "a drop without a history": (lambda p: p.edit_drop("first", history=[]), {"I1.history", "I1.state"}),
    "built twice": (
        lambda p: p.edit_drop("first", history=[*_history(p, "first"), _history(p, "first")[-1]]),
        {"I1.history"},
    ),
    "built by a batch that never claimed it": (
        lambda p: p.edit_drop("first", history=[_history(p, "first")[0], _history(p, "first")[-1]]),
        {"I1.history"},
    ),
    "taken from a batch that had not let go": (lambda p: _stolen(p), {"I1.history"}),
    "a ledger row under another identity": (lambda p: _renamed(p), {"I1.identity", "I1.registered"}),
    "a ledger row with another size": (lambda p: p.edit_drop("first", size_bytes=1), {"I1.identity"}),
    "a ledger row with another ETag": (lambda p: p.edit_drop("first", etag="other"), {"I1.identity"}),
    "the batch is closed and its drop is claimed": (
        lambda p: p.put_item({**open_batch(p), "state": "CLOSED", "state_key": "BATCH#CLOSED"}),
        {"I1.claim", "I1.lock"},
    ),
    "the drop is ahead of its batch": (lambda p: p.put_item({**open_batch(p), "attempt": 0}), {"I1.claim"}),
    "the batch does not list its drop": (lambda p: p.put_item({**open_batch(p), "drop_ids": []}), {"I1.claim"}),
    "the batch of a claimed drop is lost": (lambda p: p.remove_item(open_batch(p)["pk"]), {"I1.claim", "I1.lock"}),
    "the drive of a claimed drop is free": (
        lambda p: p.remove_item(f"DRIVE#{_item(p, 'claimed')['drive_id']}"),
        {"I1.claim"},
    ),
    "the drive of a claimed drop is another batch's": (
        lambda p: p.put_item({"pk": f"DRIVE#{_item(p, 'claimed')['drive_id']}", "batch_id": "b-other"}),
        {"I1.claim", "I1.lock"},
    ),
    "a lapsed lease": (
        lambda p: p.put_item({**open_batch(p), "lease_until_ns": time.time_ns() - 10**9}),
        {"I1.lease"},
    ),
    "an open batch without a drop": (
        lambda p: p.put_item({**open_batch(p), "pk": "BATCH#b-nobody", "batch_id": "b-nobody"}),
        {"I1.batch"},
    ),
    "the batch of a built drop is lost": (
        lambda p: p.remove_item(f"BATCH#{_item(p, 'first')['batch_id']}"),
        {"I1.batch"},
    ),
    "a held drive that nobody holds": (
        lambda p: p.put_item({"pk": "DRIVE#d-nobody", "batch_id": "b-nobody"}),
        {"I1.lock"},
    ),
    "a held drive of which the batch holds no drop": (
        lambda p: p.put_item({"pk": "DRIVE#d-nobody", "batch_id": open_batch(p)["batch_id"]}),
        {"I1.lock"},
    ),
    "a drop that nobody claims": (lambda p: _aged(p), {"I1.waiting"}),
    "a drop of a quiet recording that nobody claims": (lambda p: _aged(p, recording="rec"), {"I1.waiting"}),
    "a manifest that the ledger does not know": (lambda p: p.remove_item(_parts(p)["pk"]), {"I1.parts"}),
    "a part that the ledger has with another size": (
        lambda p: p.put_item({**_parts(p), "sizes": _sizes(p, {"fleet/car/d8/rec/back.mcap": 1})}),
        {"I1.parts"},
    ),
    "the parts of another manifest": (lambda p: p.put_item({**_parts(p), "drop_id": "0" * 64}), {"I1.parts"}),
    "the parts of an older manifest": (lambda p: _newer_manifest(p), {"I1.parts"}),
    "built without a part, and no word of it": (lambda p: p.edit_drop("manifest", reason=""), {"I1.incomplete"}),
    "a duplicate of nothing": (lambda p: p.edit_outcome("copy", duplicate_of="0" * 64), {"I1.duplicate"}),
    "a duplicate of other content": (
        lambda p: p.edit_outcome("copy", duplicate_of=p.lake.names["first"]),
        {"I1.duplicate"},
    ),
    "a duplicate of a drop that was rejected": (
        lambda p: p.edit_outcome("copy", duplicate_of=p.lake.names["noise"]),
        {"I1.duplicate"},
    ),
    "a release that is not there": (lambda p: p.edit_outcome("first", release_id="r00000099"), {"I1.release"}),
    "an object version is gone without a tombstone": (lambda p: _vanished(p), {"I4.tombstone"}),
}  # fmt: skip

LEGAL: dict[str, Callable[[Planter], Any]] = {
    "a drop that lags behind its batch, whose last attempt died between two transactions": (
        lambda p: p.put_item({**open_batch(p), "attempt": 3})
    ),
    "a batch that lists a drop which it never got": (
        lambda p: p.put_item({**open_batch(p), "drop_ids": [p.lake.names["claimed"], p.lake.names["pending"]]})
    ),
    "a drop that waits for its drive": lambda p: _aged(p, drive_id=_item(p, "claimed")["drive_id"]),
    "a drop whose recording still grows": lambda p: _aged(p, drive_id=_item(p, "front")["drive_id"], recording="rec"),
    "a drop of a drive that still grows and has a manifest of its own": lambda p: _in_a_growing_drive(p),
    "a manifest whose event came before that of an older one": (
        lambda p: p.put_item({**_parts(p), "drop_id": _newer_manifest(p)})
    ),
    "an object version that is gone and forgotten": lambda p: _vanished(
        p, state="FORGOTTEN", state_key="DROP#FORGOTTEN", reason="erased",
        history=[*_history(p, "first"), {"state": "FORGOTTEN", "reason": "erased", "at_ns": 1}],
        batch_id=None, attempt=0,
    ),
}  # fmt: skip
"""What may look wrong and is not."""


def _item(p: Planter, name: str) -> dict[str, Any]:
    return p.item(f"DROP#{p.lake.names[name]}")


def _history(p: Planter, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _item(p, name)["history"]
    return found


def _review(p: Planter, kind: str = "REVIEW") -> dict[str, Any]:
    review = next(p.lake.ledger.reviews_since(0))
    return p.item("#".join((kind, *review.question)))


def _unregistered(p: Planter, key: str, data: bytes) -> None:
    where = {"Bucket": p.lake.settings.landing_bucket, "Key": key}
    version = p.lake.s3.put_object(**where, Body=data)["VersionId"]
    p.callback(p.lake.s3.delete_object, **where, VersionId=version)


def _renamed(p: Planter) -> None:
    item = _item(p, "first")
    p.remove_item(item["pk"])
    p.put_item({**item, "pk": f"DROP#{'0' * 64}"})


def _vanished(p: Planter, **values: Any) -> None:
    """A drop of an object version that the bucket lacks."""
    item = _item(p, "first")
    version = "gone"
    drop_id = ids.drop_id(item["bucket"], item["key"], version)
    p.put_item({**item, "pk": f"DROP#{drop_id}", "drop_id": drop_id, "version_id": version, **values})


def _stolen(p: Planter) -> None:
    """A drop that a second batch claims while the first one has it."""
    claim = {**_history(p, "claimed")[-1], "batch_id": "b-first"}
    history = [_history(p, "claimed")[0], claim, _history(p, "claimed")[-1]]
    p.edit_drop("claimed", history=history)


def _aged(p: Planter, **values: Any) -> None:
    """The pending drop as it would be if it had come two hours ago."""
    long_ago_ns = time.time_ns() - 7200 * 10**9
    history = [{**_history(p, "pending")[0], "at_ns": long_ago_ns}]
    p.edit_drop("pending", received_at_ns=long_ago_ns, history=history, **values)


def _in_a_growing_drive(p: Planter) -> None:
    drive_id = _item(p, "front")["drive_id"]
    parts = _parts(p)
    p.put_item({**parts, "pk": f"PARTS#{drive_id}#", "recording": "", "drop_id": "0" * 64})
    _aged(p, drive_id=drive_id)


def _parts(p: Planter) -> dict[str, Any]:
    return p.item(f"PARTS#{_item(p, 'manifest')['drive_id']}#rec")


def _newer_manifest(p: Planter) -> str:
    """A newer version of the manifest, of which the ledger heard before it heard of the older one."""
    item = _item(p, "manifest")
    where = {"Bucket": item["bucket"], "Key": item["key"]}
    body = p.lake.s3.get_object(**where, VersionId=item["version_id"])["Body"].read()
    version = p.lake.s3.put_object(**where, Body=body)["VersionId"]
    p.callback(p.lake.s3.delete_object, **where, VersionId=version)
    drop_id = ids.drop_id(item["bucket"], item["key"], version)
    heard = {"received_at_ns": item["received_at_ns"] - 10**9}
    p.put_item({**item, "pk": f"DROP#{drop_id}", "drop_id": drop_id, "version_id": version, **heard})
    return drop_id


def _sizes(p: Planter, values: dict[str, int]) -> bytes:
    sizes = json.loads(zlib.decompress(_parts(p)["sizes"].value))
    return zlib.compress(json.dumps(sizes | values).encode())


def open_batch(p: Planter) -> dict[str, Any]:
    return p.item(f"BATCH#{_item(p, 'claimed')['batch_id']}")
