"""Recordings in a folder: what their manifest makes of their parts, in whatever order they come."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.manifests import ManifestFile, manifest_bytes
from scenelake.decode.config import DecodeConfig
from scenelake.decode.task import DecodeTask

from .pipeline import LIMITS, QUIET_NS, SECOND_NS, Lake
from .test_order_of_arrival import put_and_build

FOLDER = "fleet/car/monday/rec"
NAMES = ("gnss/part_000.mcap", "imu/part_000.mcap", "odometry/part_000.mcap")


def manifest(parts: dict[str, bytes], **sha256: str) -> bytes:
    """Lists the three parts; a checksum may be given by sensor instead."""
    true = {n: hashlib.sha256(parts[n]).hexdigest() for n in NAMES}
    return manifest_bytes([ManifestFile(n, len(parts[n]), sha256.get(n.split("/")[0], true[n])) for n in NAMES])


def put(lake: Lake, parts: dict[str, bytes], *names: str) -> list[str]:
    return [lake.put(f"{FOLDER}/{name}", parts[name]) for name in names]


def ended(lake: Lake, drop_id: str) -> Drop:
    drop = lake.ledger.get(drop_id)
    assert drop is not None
    return drop


def test_a_complete_recording_is_built_at_once_with_its_manifest(lake: Lake, parts: dict[str, bytes]) -> None:
    put(lake, parts, *NAMES)
    assert lake.build_all() == [], "without its manifest it waits"
    listed = lake.put(f"{FOLDER}/_MANIFEST.json", manifest(parts))
    (batch,) = lake.build_all()
    assert len(batch.drop_ids) == 4
    assert {d.state for d in lake.drops()} == {DropState.BUILT}
    assert (ended(lake, listed).reason, ended(lake, listed).outcome["messages"]) == (None, 0)
    assert len(lake.rows("raw_object")) == 3, "a manifest holds no message of the drive"
    assert {r["drop_id"] for r in lake.rows("message_account")} == {d.drop_id for d in lake.drops()} - {listed}


def test_the_manifest_may_come_first_and_changes_nothing(lake: Lake, parts: dict[str, bytes], tmp_path: Path) -> None:
    lake.put(f"{FOLDER}/_MANIFEST.json", manifest(parts))
    put(lake, parts, *NAMES[:2])
    assert lake.build_all() == []
    put(lake, parts, NAMES[2])
    assert len(lake.build_all()) == 1
    loose = put_and_build(Lake(tmp_path / "loose"), {n: parts[n] for n in NAMES}, [NAMES])
    assert lake.gold() == loose.gold()


def test_a_quiet_recording_is_built_as_it_is_and_again_when_the_rest_comes(lake: Lake, parts: dict[str, bytes]) -> None:
    put(lake, parts, *NAMES[:2])
    listed = lake.put(f"{FOLDER}/_MANIFEST.json", manifest(parts))
    assert lake.build_all() == []
    lake.wait(QUIET_NS // SECOND_NS)
    assert len(lake.build_all()) == 1
    drop = ended(lake, listed)
    assert drop.state is DropState.BUILT
    assert drop.reason == "incomplete when it was built: 1 of 3 parts missing: rec/odometry/part_000.mcap"
    (late,) = put(lake, parts, NAMES[2])
    (batch,) = lake.build_all()
    assert batch.drop_ids == (late,)
    release = lake.release()
    assert release is not None
    assert (release.number, len(release.delta.replaced) > 0) == (2, True)


def test_a_part_with_other_bytes_is_rejected_and_the_right_one_takes_its_place(
    lake: Lake, parts: dict[str, bytes]
) -> None:
    broken = parts[NAMES[0]][:-9] + b"x" + parts[NAMES[0]][-8:]
    wrong = lake.put(f"{FOLDER}/{NAMES[0]}", broken)
    put(lake, parts, *NAMES[1:])
    listed = lake.put(f"{FOLDER}/_MANIFEST.json", manifest(parts))
    lake.build_all()
    drop = ended(lake, wrong)
    assert drop.state is DropState.REJECTED
    assert (drop.reason or "").startswith(f"checksum_mismatch: {FOLDER}/{NAMES[0]}: s3://")
    assert "says object_sha256" in (drop.reason or "")
    assert "1 of 3 parts missing: rec/gnss/part_000.mcap" in (ended(lake, listed).reason or "")
    assert "/gnss/fix" not in {r["channel"] for r in lake.rows("sample_data")}


def test_a_part_of_another_size_is_rejected_once_it_was_quiet(lake: Lake, parts: dict[str, bytes]) -> None:
    lake.put(f"{FOLDER}/_MANIFEST.json", manifest(parts))
    wrong = lake.put(f"{FOLDER}/{NAMES[0]}", parts[NAMES[1]])
    put(lake, parts, *NAMES[1:])
    assert lake.build_all() == []
    lake.wait(QUIET_NS // SECOND_NS)
    lake.build_all()
    sizes = f"says {len(parts[NAMES[0]])} bytes, got {len(parts[NAMES[1]])}"
    assert sizes in (ended(lake, wrong).reason or "")


def test_a_manifest_that_contradicts_what_was_built_is_rejected_and_a_rebuild_mends_it(
    lake: Lake, parts: dict[str, bytes]
) -> None:
    put_ids = put(lake, parts, *NAMES)
    lake.wait(QUIET_NS // SECOND_NS)
    lake.build_all()
    listed = lake.put(f"{FOLDER}/_MANIFEST.json", manifest(parts, imu="0" * 64))
    lake.build_all()
    drop = ended(lake, listed)
    assert drop.state is DropState.REJECTED
    for word in ("checksum_mismatch", f"{FOLDER}/{NAMES[1]}", "rebuild", "'fleet/car/monday/'"):
        assert word in (drop.reason or ""), drop.reason
    lake.rebuild([*put_ids, listed])
    assert ended(lake, put_ids[1]).state is DropState.REJECTED
    assert ended(lake, listed).state is DropState.BUILT
    assert "/imu/data" not in {r["channel"] for r in lake.rows("sample_data")}
    assert put_ids[1] not in {r["drop_id"] for r in lake.rows("raw_object")}


def test_a_drive_whose_only_part_is_rejected_by_a_rebuild_is_gone_from_gold(
    lake: Lake, parts: dict[str, bytes]
) -> None:
    (only,) = put(lake, parts, NAMES[1])
    lake.wait(QUIET_NS // SECOND_NS)
    lake.build_all()
    assert lake.rows("scene")
    lake.put(f"{FOLDER}/_MANIFEST.json", manifest_bytes([ManifestFile(NAMES[1], len(parts[NAMES[1]]), "0" * 64)]))
    lake.build_all()
    lake.rebuild([only])
    assert ended(lake, only).state is DropState.REJECTED
    assert {t: lake.rows(t) for t in ("drive", "scene", "sample_data", "raw_object")} == {
        t: [] for t in ("drive", "scene", "sample_data", "raw_object")
    }


def test_a_retry_keeps_to_what_was_said_before_a_manifest_came(lake: Lake, parts: dict[str, bytes]) -> None:
    (only,) = put(lake, parts, NAMES[1])
    lake.wait(QUIET_NS // SECOND_NS)
    first = lake.ledger.claim(LIMITS, 2_000 * SECOND_NS)
    assert first is not None
    lake.build(first, settle=False)
    listed = lake.put(
        f"{FOLDER}/_MANIFEST.json", manifest_bytes([ManifestFile(NAMES[1], len(parts[NAMES[1]]), "0" * 64)])
    )
    lake.ledger.hand_back(first.batch_id, 1, 2_000 * SECOND_NS)
    again = lake.ledger.claim(replace(LIMITS, lease_ns=10**18), 2_001 * SECOND_NS)
    assert again is not None
    assert (again.batch_id, again.attempt) == (first.batch_id, 2)
    lake.build(again)
    assert ended(lake, only).state is DropState.BUILT
    assert lake.rows("scene"), "the first attempt's commit stands, so its verdict does"
    lake.build_all()
    assert "checksum_mismatch" in (ended(lake, listed).reason or "")


def test_a_drive_with_nothing_but_a_manifest_ends_well(lake: Lake, parts: dict[str, bytes]) -> None:
    listed = lake.put(f"{FOLDER}/_MANIFEST.json", manifest(parts))
    lake.wait(QUIET_NS // SECOND_NS)
    lake.build_all()
    drop = ended(lake, listed)
    assert drop.state is DropState.BUILT
    assert "3 of 3 parts missing" in (drop.reason or "")
    release = lake.release()
    assert release is None or not release.scenes


def test_only_the_newest_manifest_of_a_recording_rules(lake: Lake, parts: dict[str, bytes]) -> None:
    old = lake.put(f"{FOLDER}/_MANIFEST.json", manifest(parts, imu="0" * 64))
    lake.wait(1)
    new = ManifestFile(NAMES[1], len(parts[NAMES[1]]))
    lake.put(f"{FOLDER}/_MANIFEST.json", manifest_bytes([new]))
    (imu,) = put(lake, parts, NAMES[1])
    lake.wait(QUIET_NS // SECOND_NS)
    lake.build_all()
    assert ended(lake, imu).state is DropState.BUILT
    assert "a newer manifest rules" in (ended(lake, old).reason or "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "expected JSON"),
        (json.dumps({"version": 2, "files": []}).encode(), "version 1"),
        (json.dumps({"version": 1, "files": [{"path": "../x", "size_bytes": 1}]}).encode(), "files[0]: path"),
    ],
)
def test_decode_rejects_a_bad_manifest_naming_the_field(lake: Lake, content: bytes, said: str) -> None:
    key = f"{FOLDER}/_MANIFEST.json"
    lake.objects.write(f"s3://scenelake-landing/{key}", content)
    names = ("fleet", "car", "monday", "drive")
    drop = Drop("id", "scenelake-landing", key, "null", len(content), "e", 1, *names, recording="rec")
    outcome = DecodeTask(lambda: lake.objects, lake.paths, DecodeConfig(), "r")(drop)
    assert (outcome.verdict, outcome.reason, outcome.format) == ("rejected", "bad_manifest", None)
    assert said in (outcome.detail or "")
