"""The gold rows of a drive."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.stages import DrivePlan
from scenelake.contracts.tables import GOLD
from scenelake.serialise.drives import DriveInput, DriveRows, drive_rows

from .synthetic import FRAMES, DriveMaker, rows_of, shuffled


def test_accepted_scenes_only_are_gold_and_the_others_leave_evidence(maker: DriveMaker) -> None:
    rows = drive_rows(maker.drive(scenes=3, verdicts=("warn", "quarantine", "reject")), "s3://q")
    assert len(rows.scenes) == 1
    for name in ("scene", "sample", "sample_data", "sync_index", "imu"):
        assert set(rows.rows[name]["scene_id"].to_pylist()) == set(rows.scenes), name
        assert rows.rows[name].schema == GOLD[name].schema
    states = dict(zip(*(rows.rows["quarantine"][c].to_pylist() for c in ("state", "evidence_uri")), strict=True))
    assert sorted(states) == ["QUARANTINED", "REJECTED"]
    assert set(states.values()) == set(rows.evidence)
    document = rows.evidence[states["QUARANTINED"]]
    assert (document["verdict"], document["reason"]) == ("quarantine", "why")
    assert [c["check_name"] for c in document["checks"]] == ["completeness"]
    (kept,) = rows.rows["release_scene"].to_pylist()
    assert (kept["is_kept"], kept["verdict"]) == (True, "warn")
    assert kept["kept_because"] == "quality says warn: why"
    assert kept["revision"] == rows.scenes[kept["scene_id"]]
    assert len(rows.payload_files) == 1


def test_a_match_in_a_scene_that_is_not_gold_is_a_miss(maker: DriveMaker) -> None:
    def built(*verdicts: str) -> tuple[str, DriveRows]:
        given = maker.drive(scenes=2, verdicts=verdicts)
        sync = given.tables["sync_index"].to_pylist()
        first, second = sync[0], next(r for r in sync if r["scene_id"] != sync[0]["scene_id"])
        crossing = {**first, "sample_data_id": second["sample_data_id"], "value": [1.0], "delta_ns": 7}
        table = rows_of("sync_index", [crossing, *sync[1:]])
        rows = drive_rows(replace(given, tables={**given.tables, "sync_index": table}), "s3://q")
        return first["scene_id"], rows

    scene, kept = built("pass", "pass")
    (row,) = (r for r in kept.rows["sync_index"].to_pylist() if r["delta_ns"] == 7)
    assert (row["is_match"], row["value"]) == (True, [1.0])
    scene, lost = built("pass", "quarantine")
    (row,) = (r for r in lost.rows["sync_index"].to_pylist() if r["delta_ns"] == 7)
    assert (row["is_match"], row["sample_data_id"], row["value"]) == (False, None, None)
    rows = lost.rows
    assert set(rows["sync_index"]["sample_data_id"].drop_null().to_pylist()) <= set(
        rows["sample_data"]["sample_data_id"].to_pylist()
    )
    assert lost.scenes[scene] != kept.scenes[scene], "else the rows of the last release would be kept as they are"
    assert rows["sync_index"].schema == GOLD["sync_index"].schema


def test_rows_of_small_tables_have_the_time_that_rules_their_message(maker: DriveMaker) -> None:
    given = maker.drive()
    assert len(given.batched["imu"])
    rows = given.tables["sample_data"]
    at = rows.schema.get_field_index("timestamp_ns")
    repaired = rows.set_column(at, rows.schema.field(at), pc.add(rows["timestamp_ns"], 7))
    tables = {**given.tables, "sample_data": repaired}
    imu = drive_rows(replace(given, tables=tables), "s3://q").rows["imu"]
    columns = (given.batched["imu"][n].to_pylist() for n in ("sample_data_id", "timestamp_ns"))
    recorded = dict(zip(*columns, strict=True))
    assert {r["timestamp_ns"] - recorded[r["sample_data_id"]] for r in imu.to_pylist()} == {7}
    assert imu.schema == GOLD["imu"].schema


def test_the_hash_is_in_the_scene_row_and_depends_on_batched_rows(maker: DriveMaker) -> None:
    one = drive_rows(maker.drive(), "s3://q")
    assert (
        dict(zip(*(one.rows["scene"][c].to_pylist() for c in ("scene_id", "content_hash")), strict=True)) == one.scenes
    )
    two = drive_rows(maker.drive(changed_scene=1, brightness=1.5), "s3://q")
    assert sum(one.scenes[s] != two.scenes[s] for s in one.scenes) == 1


def test_the_hash_does_not_depend_on_the_verdict_or_on_layout(maker: DriveMaker) -> None:
    given = maker.drive()
    messy = replace(
        given,
        tables={n: shuffled(t) for n, t in given.tables.items()},
        batched={n: shuffled(t) for n, t in given.batched.items()},
    )
    expected = drive_rows(given, "s3://q").scenes
    assert drive_rows(messy, "s3://q").scenes == expected
    assert drive_rows(maker.drive(verdicts=("warn", "warn")), "s3://q").scenes == expected


def test_batched_rows_outside_every_scene_stay_out(maker: DriveMaker) -> None:
    given = maker.drive()
    assert "outside" in given.batched["imu"]["sample_data_id"].to_pylist()
    rows = drive_rows(given, "s3://q").rows["imu"]
    assert len(rows) == 2 * FRAMES
    assert rows["drive_date"].null_count == rows["drive_id"].null_count == 0


def test_poses_that_synchronise_derived_join_the_recorded_ones(maker: DriveMaker) -> None:
    given = maker.drive(scenes=1)
    message = given.tables["sample_data"].slice(0, 1).to_pylist()[0]
    pose = {k: message[k] for k in ("scene_id", "drive_id", "drive_date", "timestamp_ns", "channel", "sample_data_id")}
    derived = replace(given, tables={**given.tables, "ego_pose": rows_of("ego_pose", [pose])})
    assert len(drive_rows(derived, "s3://q").rows["ego_pose"]) == 1
    assert drive_rows(derived, "s3://q").scenes != drive_rows(given, "s3://q").scenes


def test_a_drive_without_anything_has_no_rows() -> None:
    rows = drive_rows(DriveInput(DrivePlan("d", "f", "v", "d", {}), {}, {}, {}), "s3://q")
    assert not rows.scenes
    assert {n for n, t in rows.rows.items() if len(t)} == set()


def test_a_scene_without_a_verdict_is_a_bug(maker: DriveMaker) -> None:
    given = maker.drive()
    fewer = {**given.tables, "scene_verdict": given.tables["scene_verdict"].slice(1)}
    with pytest.raises(ScenelakeError, match="verdict for every scene"):
        drive_rows(replace(given, tables=fewer), "s3://q")


def test_a_payload_file_that_decode_does_not_list_is_a_bug(maker: DriveMaker) -> None:
    given = maker.drive()
    outcomes = {d: replace(o, payload_files=()) for d, o in given.outcomes.items()}
    with pytest.raises(ScenelakeError, match="no outcome lists"):
        drive_rows(replace(given, outcomes=outcomes), "s3://q")


def test_rows_keep_their_types_when_files_say_otherwise(maker: DriveMaker) -> None:
    given = maker.drive()
    sample = given.tables["sample"]
    wide = sample.set_column(
        sample.column_names.index("scene_id"), "scene_id", sample["scene_id"].cast(pa.large_string())
    )
    expected = drive_rows(given, "s3://q").scenes
    assert drive_rows(replace(given, tables={**given.tables, "sample": wide}), "s3://q").scenes == expected
