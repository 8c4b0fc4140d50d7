"""What a wrong lake may look like: documents, files and rows, each with the check and the subject that must name it."""

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tests.contract.audit_plants import Planter, Rows

from scenelake.contracts import ids

Found = set[tuple[str, str]]


def plant_files_and_documents(p: Planter) -> Found:
    """Wrong documents and files; every one leaves the others alone."""
    lake, uri = p.lake, p.lake.settings.lake_uri
    drives = {n: ids.drive_id("fleet", "car", n) for n in ("d1", "d2")}
    payload = {
        (r["payload_table"], r["drive_id"]): r["payload_file"]
        for r in p.rows("sample_data")
        if r["payload_file"] and "/gold/" in r["payload_file"]
    }
    flipped, missing = payload["camera_frame", drives["d2"]], payload["lidar_sweep", drives["d1"]]
    data = bytearray(lake.objects.read(flipped))
    data[len(data) // 2] ^= 1
    reviewed = next(lake.ledger.reviews_since(0)).scene_id
    evidence = next(r for r in p.rows("quarantine") if r["scene_id"] == reviewed)
    cut = lake.ledger.get(lake.names["cut"])
    assert cut is not None
    p.edit_release(2, lambda d: d.update(parent="r00000009", merkle_root="0" * 64, attempt=9))
    p.edit_release(3, lambda d: d["delta"].update(replaced={}))
    p.edit_release(3, lambda d: d["tables"]["qc_measurement"].update(snapshot_id=1))
    p.edit_release(3, lambda d: d["tables"]["drive"].update(nbr_rows=99))
    p.put(flipped, bytes(data))
    p.put(missing, None)
    p.put(f"{uri}/gold/imu/data/drive_date=2024-01-01/stray.parquet", b"nobody asked for it")
    p.put(evidence["evidence_uri"], None)
    p.put(f"{cut.outcome['decoded_uri']}/outcome.json", None)
    for info in list(lake.objects.list(f"{uri}/gold/raw_object/metadata/")):
        if info.uri.endswith(".avro") and "/snap-" not in info.uri:
            p.put(info.uri, None)
    p.edit_outcome("late", object_sha256="0" * 64)
    p.edit_outcome("first", messages=1)
    return {
        ("I3.chain", "00000002.json"),
        ("I3.merkle", "r00000002"),
        ("I3.attempt", "r00000002"),
        ("I3.attempt", "r00000002, table scene, snapshot"),
        ("I3.built", lake.names["second"]),
        ("I3.delta", "r00000003 replaced"),
        ("I3.ancestry", "qc_measurement"),
        ("I4.rows", "table drive"),
        ("I4.sha256", flipped),
        ("I4.exists", missing),
        ("I4.exists", "table raw_object"),
        ("I4.rows", "table raw_object"),
        ("I4.orphan", "stray.parquet"),
        ("I4.tombstone", evidence["scene_id"]),
        ("I1.review", evidence["scene_id"]),
        ("I4.tombstone", lake.names["cut"]),
        ("I2.recording", lake.names["late"]),
        ("I2.account", lake.names["first"]),
    }


def plant_a_broken_chain(p: Planter) -> Found:
    releases = f"{p.lake.settings.lake_uri}/releases"
    p.put(f"{releases}/00000001.json", b"{")
    p.put(f"{releases}/00000002.json", None)
    small = p.live_files("drive")[0]
    p.put(small, p.lake.objects.read(small)[:-1] + b"?")
    cut = p.live_files("raw_object")[0]
    p.put(cut, p.lake.objects.read(cut)[:-1])
    return {
        ("I4.sha256", small),
        ("I4.exists", cut),
        ("I3.chain", "00000001.json"),
        ("I3.chain", "00000002.json"),
        ("I1.release", p.lake.names["second"]),
    }


def plant_a_second_release(p: Planter) -> Found:
    """The newest release once more under the next number: one batch, two releases."""
    document = p.lake.objects.read(f"{p.lake.settings.lake_uri}/releases/00000003.json")
    p.put(f"{p.lake.settings.lake_uri}/releases/00000004.json", document)
    return {("I3.chain", "00000004.json"), ("I3.attempt", "r00000003"), ("I3.delta", "replaced")}


def plant_a_rejected_drop_in_gold(p: Planter) -> Found:
    """A batch that was given up although a release holds it."""
    reason = "poison: 3 attempt(s) ended without a verdict"
    drop_id = p.lake.names["first"]
    *before, built = p.item(f"DROP#{drop_id}")["history"]
    ended = {"state": "REJECTED", "reason": reason}
    p.edit_drop("first", state_key="DROP#REJECTED", history=[*before, {**built, **ended}], **ended)
    return {("I2.account", drop_id)}


def plant_documents_that_do_not_follow(p: Planter) -> Found:
    """A table that a release loses, one that it takes from before its parent, and a release of nobody's."""
    uri = f"{p.lake.settings.lake_uri}/releases"
    first, second = (json.loads(p.lake.objects.read(f"{uri}/{number:08d}.json")) for number in (1, 2))
    p.edit_release(3, lambda d: d["tables"].update(qc_measurement=first["tables"]["qc_measurement"]))
    p.edit_release(3, lambda d: d["tables"].pop("raw_object"))
    p.remove_item(f"BATCH#{second['batch_id']}")
    return {
        ("I3.delta", "r00000003"),
        ("I3.ancestry", "table qc_measurement"),
        ("I3.attempt", "table qc_measurement"),
        ("I3.attempt", "r00000002"),
        ("I1.batch", p.lake.names["second"]),
    }


def plant_a_build_that_claims_to_be_a_judgement(p: Planter) -> Found:
    """A release that no batch made, and that changes scenes and more tables than those of verdicts."""
    p.edit_release(2, lambda d: d.update(batch_id="judge-0123456789abcdef"))
    return {("I3.attempt", "r00000002")}


def plant_files_that_lie(p: Planter) -> Found:
    """Payload whose size and recorded hash are right: one file is no Parquet, another lacks a row."""
    d1, d2 = (ids.drive_id("fleet", "car", name) for name in ("d1", "d2"))
    found = set()
    for table, drive_id, name in (("camera_frame", d1, "first"), ("lidar_sweep", d2, "second")):
        wanted = {
            r["payload_file"] for r in p.rows("sample_data") if (r["payload_table"], r["drive_id"]) == (table, drive_id)
        }
        uri = next(f["uri"] for f in _outcome(p, name)[1]["payload_files"] if f["uri"] in wanted)
        data = p.lake.objects.read(uri)
        rows = pq.read_table(io.BytesIO(data)).slice(0, 1)
        _put_payload(p, name, uri, bytes(len(data)) if name == "first" else _parquet_of_size(rows, len(data)))
        found.add(("I4.rows", uri))
    return found


def _outcome(p: Planter, name: str) -> tuple[str, dict[str, Any]]:
    """Where decode's outcome of a drop lies, and the outcome."""
    drop = p.lake.ledger.get(p.lake.names[name])
    assert drop is not None
    uri = f"{drop.outcome['decoded_uri']}/outcome.json"
    return uri, json.loads(p.lake.objects.read(uri))


def _put_payload(p: Planter, name: str, uri: str, data: bytes) -> None:
    """Writes a payload file of a drop, and its hash into decode's outcome."""
    outcome_uri, outcome = _outcome(p, name)
    file = next(f for f in outcome["payload_files"] if f["uri"] == uri)
    file["sha256"] = hashlib.sha256(data).hexdigest()
    p.put(uri, data)
    p.put(outcome_uri, json.dumps(outcome).encode())


def _parquet_of_size(rows: pa.Table, size: int) -> bytes:
    """Rows in so many bytes: what lies between pages and footer is never read."""
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd", write_statistics=False, store_schema=False)
    short = sink.getvalue()
    at = len(short) - 8 - int.from_bytes(short[-8:-4], "little")
    lie = short[:at] + bytes(max(size - len(short), 0)) + short[at:]
    assert len(lie) == size
    return lie


def plant_a_release_in_the_name_of_another(p: Planter) -> Found:
    """A held scene that counts as released by somebody who never said so, and is not in gold either."""
    rows = p.rows("quarantine")
    held = next(r for r in rows if r["state"] == "QUARANTINED")
    held |= {"state": "RELEASED", "reviewer": "mallory", "decided_at_ns": 5}
    p.commit_rows({"quarantine": rows})
    return {("I3.review", held["scene_id"])}


def plant_decisions_that_no_build_followed(p: Planter) -> Found:
    """One to release that is older than the drive's last build, and one to reject a scene that is in gold."""
    review = next(p.lake.ledger.reviews_since(0))
    item = p.item("#".join(("REVIEW", *review.question)))
    item |= {"decided_at_ns": 1, "received_at_ns": 1}
    p.put_item(item)
    live = next(r for r in p.rows("scene") if r["drive_id"] == ids.drive_id("fleet", "car", "d2"))
    about = {"scene_id": live["scene_id"], "review_hash": live["content_hash"], "of_drive_id": live["drive_id"]}
    key = f"REVIEW#{live['scene_id']}#{live['content_hash']}"
    p.put_item({**item, **about, "pk": key, "decision": "REJECT"})
    return {("I3.review", review.scene_id), ("I3.review", live["scene_id"])}


def plant_rows_of_nobody(p: Planter) -> Found:
    """An account without a drop, a scene of a later release, and one that is in gold although it is held back."""
    d2, d3 = (ids.drive_id("fleet", "car", name) for name in ("d2", "d3"))
    tables = {name: p.rows(name) for name in ("message_account", "release_scene", "quarantine")}
    account = dict(next(r for r in tables["message_account"] if r["drive_id"] == d2))
    tables["message_account"].append(account)
    account |= {n: 0 for n in account if n.startswith("nbr_")} | {"drop_id": "nobody"}
    later = next(r for r in tables["release_scene"] if r["drive_id"] == d2)
    later |= {"release_id": "r00000099", "kept_because": "planted"}
    held = {**next(r for r in tables["quarantine"] if r["drive_id"] == d3), "scene_id": later["scene_id"]}
    tables["quarantine"].append(held)
    p.commit_rows(tables)
    return {
        ("I2.account", "account of drop nobody"),
        ("I3.release_scene", later["scene_id"]),
        ("I3.scenes", held["scene_id"]),
    }


def plant_withheld_frames_that_can_be_seen(p: Planter) -> Found:
    """Three: one is not on record, one is matched to a keyframe, and one leads to a frame that has its bytes."""
    tables = {name: p.rows(name) for name in ("sample_data", "sync_index", "redaction")}
    withheld = sorted(r["sample_data_id"] for r in tables["redaction"] if r["redaction_status"] == "withheld")
    unsaid, matched, shown = withheld[:3]
    said = next(r for r in tables["redaction"] if r["sample_data_id"] == unsaid)
    said["redaction_status"] = "passed"
    by_id = {r["sample_data_id"]: r for r in tables["sample_data"]}
    drive_id, channel = by_id[matched]["drive_id"], by_id[matched]["channel"]
    match = next(r for r in tables["sync_index"] if (r["drive_id"], r["channel"]) == (drive_id, channel))
    match |= {"sample_data_id": matched, "is_match": True}
    place = ("payload_table", "payload_file", "row_index")
    frame = next(r for r in tables["sample_data"] if r["drive_id"] == drive_id and r["payload_table"] == "camera_frame")
    by_id[shown] |= {name: frame[name] for name in place}
    p.commit_rows(tables)
    return {("I3.redaction", unsaid), ("I3.redaction", matched), ("I3.redaction", shown), ("I3.payload", shown)}


def plant_a_withheld_frame_with_its_bytes(p: Planter) -> Found:
    """In the row of ``raw_message`` that it leads to, the file's recorded hash in order."""
    sample_data_id = next(r["sample_data_id"] for r in p.rows("redaction") if r["redaction_status"] == "withheld")
    row = next(r for r in p.rows("sample_data") if r["sample_data_id"] == sample_data_id)
    before = p.lake.objects.read(row["payload_file"])
    rows = pq.read_table(io.BytesIO(before))
    data = rows["data"].to_pylist()
    data[row["row_index"]] = b"a face"
    at = rows.schema.get_field_index("data")
    rows = rows.set_column(at, rows.schema.field(at), [data])
    _put_payload(p, "faces", row["payload_file"], _parquet_of_size(rows, len(before)))
    return {("I3.redaction", sample_data_id)}


def plant_rows(p: Planter) -> Found:
    """What a wrong pipeline would commit: files, hashes and tokens in order, and rows that are wrong."""
    d1, d2, d3, d4 = (ids.drive_id("fleet", "car", n) for n in ("d1", "d2", "d3", "d4"))
    tables: dict[str, Rows] = {
        name: p.rows(name)
        for name in (
            "scene", "sample", "sample_data", "sync_index", "imu", "release_scene", "message_account", "quarantine",
        )
    }  # fmt: skip

    def pick(table: str, drive: str, **values: Any) -> dict[str, Any]:
        rows = (r for r in tables[table] if r["drive_id"] == drive and values.items() <= r.items())
        return next(rows)

    lost = pick("sample_data", d2, channel="/odd")
    tables["sample_data"].remove(lost)
    misplaced = pick("sample_data", d1, channel="/lidar", row_index=1)
    misplaced["row_index"] = 0
    nowhere = pick("sample_data", d4, channel="/camera")
    nowhere["payload_file"] = "s3://elsewhere/nothing.parquet"
    twice = pick("sample_data", d1, channel="/odd")
    tables["sample_data"].append(dict(twice))
    dangling = pick("sync_index", d2, channel="/imu", is_match=True)
    dangling["sample_data_id"] = "nothing"
    unmatched = pick("sync_index", d2, channel="/camera", is_match=True)
    unmatched["sample_data_id"] = None
    doubled = pick("scene", d4)
    tables["scene"].append(dict(doubled))
    extra = {**pick("scene", d2), "scene_id": "extra"}
    tables["scene"].append(extra)
    unreleased = pick("release_scene", d2)
    tables["release_scene"].remove(unreleased)
    torn, twin = pick("release_scene", d1), pick("release_scene", d4)
    torn["split"] = next(s for s in ("train", "validation", "test") if s not in (torn["split"], twin["split"]))
    torn["cluster_id"] = twin["cluster_id"] = "torn"
    last = pick("sample", d4, next_sample_id=None)
    tables["sample"].remove(last)
    homeless = pick("imu", d1)
    homeless["scene_id"] = "homeless"
    changed = pick("imu", d2)
    changed["frame_id"] = "another"
    gone = pick("imu", d4)
    tables["imu"].remove(gone)
    unbalanced = pick("message_account", d4, channel="/imu", drop_id=p.lake.names["cut"])
    unbalanced["nbr_messages"] += 1
    unexplained = pick("message_account", d2, channel="/lidar", drop_id=p.lake.names["second"])
    unexplained |= {"nbr_accepted": unexplained["nbr_accepted"] - 1, "nbr_unassigned": 1}
    undercounted = pick("message_account", d4, channel="/lidar", drop_id=p.lake.names["cut"])
    undercounted |= {"nbr_messages": 0, "nbr_accepted": 0}
    overcounted = pick("message_account", d1, channel="/odd", drop_id=p.lake.names["late"])
    overcounted |= {"nbr_messages": overcounted["nbr_messages"] + 1, "nbr_accepted": overcounted["nbr_accepted"] + 1}
    tables["quarantine"] = [r for r in tables["quarantine"] if r["drive_id"] != d3]
    p.commit_rows(tables)
    return {
        ("I2.gold", f"{lost['object_sha256']}, /odd"),
        ("I2.gold", f"{unexplained['object_sha256']}, /lidar"),
        ("I2.reason", f"{p.lake.names['second']}, /lidar"),
        ("I2.reason", d3),
        ("I2.balance", f"{p.lake.names['cut']}, /imu"),
        ("I2.recording", "late.mcap), /odd"),
        ("I2.recording", f"{p.lake.names['cut']} (fleet/car/d4/a.mcap), /lidar"),
        ("I2.account", p.lake.names["cut"]),
        ("I3.payload", misplaced["sample_data_id"]),
        ("I3.payload", nowhere["sample_data_id"]),
        ("I3.payload", gone["sample_data_id"]),
        ("I3.keys", twice["sample_data_id"]),
        ("I3.sync", f"{dangling['sample_id']}, /imu"),
        ("I3.sync", f"{unmatched['sample_id']}, /camera"),
        ("I3.sync", f"{last['sample_id']}, /camera"),
        ("I3.scenes", doubled["scene_id"]),
        ("I3.scenes", "extra"),
        ("I3.release_scene", unreleased["scene_id"]),
        ("I3.splits", f"drive {d1}"),
        ("I3.splits", "cluster torn"),
        ("I3.keyframes", last["scene_id"]),
        ("I3.rows", "homeless"),
        ("I3.content", changed["scene_id"]),
        ("I3.content", lost["scene_id"]),
        ("I3.ancestry", "table scene"),
    }


LAKE_PLANTS: list[Callable[[Planter], Found]] = [
    plant_files_and_documents,
    plant_a_broken_chain,
    plant_a_second_release,
    plant_a_rejected_drop_in_gold,
    plant_documents_that_do_not_follow,
    plant_a_build_that_claims_to_be_a_judgement,
    plant_files_that_lie,
    plant_a_release_in_the_name_of_another,
    plant_decisions_that_no_build_followed,
    plant_rows_of_nobody,
    plant_withheld_frames_that_can_be_seen,
    plant_a_withheld_frame_with_its_bytes,
    plant_rows,
]
