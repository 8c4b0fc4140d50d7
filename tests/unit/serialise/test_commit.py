"""A batch becomes one release, once, whatever happens on the way."""

import threading
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException

from scenelake.adapters.iceberg import IcebergCommitter
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.errors import FencedError, ScenelakeError
from scenelake.contracts.releases import Release, TablePin
from scenelake.serialise.releases import list_releases

from .conftest import Lake
from .synthetic import FRAMES, count

INDEX_TABLES = ("scene", "sample", "sample_data", "sync_index", "imu", "message_account", "release_scene")


class CrashError(Exception):
    """The process dies here."""


class CrashingCommitter(IcebergCommitter):
    """Dies when it reaches one table."""

    dies_at = "sync_index"

    def commit(self, change: TableChange, token: CommitToken, base: TablePin | None) -> TablePin | None:
        if change.table.name == self.dies_at:
            raise CrashError
        return super().commit(change, token, base)


class CrashAfterRelease(IcebergCommitter):
    def publish(self, *_: Any) -> None:
        raise CrashError


def rows_of(lake: Lake, release: Release) -> dict[str, list[dict[str, Any]]]:
    return {
        name: sorted(lake.table(release, name).drop_columns([]).to_pylist(), key=repr)
        for name in INDEX_TABLES
    }  # fmt: skip


def test_a_batch_becomes_a_release_that_pins_every_table(lake: Lake) -> None:
    done = lake.commit(lake.maker.drive(scenes=3, verdicts=("pass", "warn", "quarantine")))
    release = done.release
    assert release is not None
    assert (release.release_id, release.parent, release.number) == ("r00000001", None, 1)
    assert len(release.scenes) == 2
    assert release.delta.added == tuple(sorted(release.scenes))
    assert set(release.tables) == {
        "drive", "raw_object", "message_account", "scene", "sample", "sample_data", "sync_index", "calibrated_sensor",
        "camera_frame", "imu", "qc_measurement", "qc_result", "quarantine", "release_scene", "clock_fault",
    }  # fmt: skip
    assert {n: p.nbr_rows for n, p in release.tables.items()} == {
        n: len(lake.table(release, n)) for n in release.tables
    }
    assert len(lake.table(release, "sample_data")) == 2 * 2 * FRAMES
    assert len(lake.table(release, "imu")) == 2 * FRAMES
    assert len(lake.table(release, "camera_frame")) == 2 * FRAMES, "the quarantined scene's file must not join"
    assert lake.table(release, "quarantine")["state"].to_pylist() == ["QUARANTINED"]
    assert len(lake.table(release, "qc_result")) == 3
    assert set(lake.table(release, "release_scene")["release_id"].to_pylist()) == {"r00000001"}
    assert lake.main("sample").num_rows == 2 * FRAMES, "main follows the release"


def test_the_same_batch_twice_is_one_release(lake: Lake) -> None:
    first = lake.commit(lake.maker.drive())
    again = lake.commit(lake.maker.drive())
    assert again.release == first.release
    assert set(again.touched) == set(first.touched)
    assert list_releases(lake.objects, lake.documents) == [1]


def test_a_batch_that_has_its_release_makes_no_second_one(lake: Lake) -> None:
    """Whatever a later attempt found: drops were perhaps settled, and readers have pinned, what is there."""
    first = lake.commit(lake.maker.drive()).release
    again = lake.commit(lake.maker.drive(changed_scene=1, brightness=2.0), attempt=2).release
    assert again == first
    assert list_releases(lake.objects, lake.documents) == [1]


def test_a_batch_that_has_its_release_makes_no_second_one_after_anothers_either(lake: Lake) -> None:
    first = lake.commit(lake.maker.drive()).release
    lake.commit(lake.maker.drive("d2"), batch="b2")
    found_otherwise = lake.maker.drive(changed_scene=1, brightness=2.0)
    again = lake.commit(found_otherwise, attempt=2, noted="r00000001").release
    assert again == first
    assert list_releases(lake.objects, lake.documents) == [1, 2]


@pytest.mark.parametrize("noted", ["r00000001", "r00000002", "r00000009"])
def test_a_release_that_was_noted_and_never_written_is_made(lake: Lake, noted: str) -> None:
    """The attempt died in between, and the number may be another batch's since."""
    lake.commit(lake.maker.drive("d2"), batch="b2")
    release = lake.commit(lake.maker.drive(), attempt=2, noted=noted).release
    assert release is not None
    assert (release.release_id, release.batch_id) == ("r00000002", "b1")


def test_a_stale_attempts_release_is_found_behind_that_of_another_batch(lake: Lake) -> None:
    """Attempt 1 wakes between attempt 2's fence and its put, and a third batch is quick."""

    def overtaken() -> None:
        lake.commit(lake.maker.drive(), attempt=1)
        lake.commit(lake.maker.drive("d2"), batch="b2")

    found_otherwise = lake.maker.drive(changed_scene=1, brightness=2.0)
    done = lake.commit(found_otherwise, attempt=2, fence=overtaken)
    assert done.release is not None
    assert (done.release.release_id, done.release.attempt) == ("r00000001", 1)
    assert list_releases(lake.objects, lake.documents) == [1, 2]


def test_nothing_new_is_no_release(lake: Lake) -> None:
    lake.commit(lake.maker.drive())
    again = lake.commit(lake.maker.drive(), batch="b2")
    assert again.release is None
    assert again.parent is not None
    assert lake.commit(batch="b3").release is None
    assert list_releases(lake.objects, lake.documents) == [1]


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("table", ["scene", "sync_index", "camera_frame"])
def test_a_crash_between_tables_leaves_no_trace_after_the_next_try(lake: Lake, table: str, attempt: int) -> None:
    crashing = lake.committer(type("Crashing", (CrashingCommitter,), {"dies_at": table}))
    with pytest.raises(CrashError):
        lake.commit(lake.maker.drive(), committer=crashing)
    assert list_releases(lake.objects, lake.documents) == []
    release = lake.commit(lake.maker.drive(), attempt=attempt).release
    assert release is not None
    assert release.attempt == attempt
    assert len(lake.table(release, "sample")) == 2 * FRAMES
    assert len(lake.table(release, "sample_data")) == 2 * 2 * FRAMES
    assert len(lake.table(release, "camera_frame")) == 2 * FRAMES


def test_a_crash_leaves_nothing_in_the_releases_of_other_batches(lake: Lake) -> None:
    with pytest.raises(CrashError):
        lake.commit(lake.maker.drive("lost"), committer=lake.committer(CrashingCommitter))
    release = lake.commit(lake.maker.drive("d2"), batch="b2").release
    assert release is not None
    assert len(lake.table(release, "sample")) == 2 * FRAMES
    assert lake.main("sample").num_rows == 2 * FRAMES
    assert list(lake.catalog.load_table(("scenelake", "sample")).refs()) == ["main"], "the dead candidate is swept"


def test_a_crash_after_the_release_is_mended_by_the_next_try(lake: Lake) -> None:
    with pytest.raises(CrashError):
        lake.commit(lake.maker.drive(), committer=lake.committer(CrashAfterRelease))
    assert lake.main("sample").num_rows == 0
    done = lake.commit(lake.maker.drive(), attempt=2)
    assert done.release is not None
    assert done.release.attempt == 1
    assert lake.main("sample").num_rows == 2 * FRAMES


def test_a_changed_scene_replaces_its_rows_and_leaves_the_others_alone(lake: Lake) -> None:
    first = lake.commit(lake.maker.drive(scenes=3)).release
    second = lake.commit(lake.maker.drive(scenes=3, changed_scene=1, brightness=2.0), batch="b2").release
    assert first is not None
    assert second is not None
    (scene_id,) = second.delta.replaced
    assert second.delta.replaced[scene_id] == (first.scenes[scene_id][1], second.scenes[scene_id][1])
    assert (second.delta.added, second.delta.removed) == ((), ())
    imu = lake.table(second, "imu")
    assert len(imu) == 3 * FRAMES
    changed = [r["linear_acceleration_m_s2"][0] for r in imu.to_pylist() if r["scene_id"] == scene_id]
    assert changed == [-7.0] * FRAMES
    assert len(lake.table(second, "sample_data")) == 3 * 2 * FRAMES
    assert second.tables["camera_frame"] == first.tables["camera_frame"]
    assert second.tables["message_account"] == first.tables["message_account"], "an equal table gets no snapshot"
    assert len(lake.table(first, "imu")) == 3 * FRAMES, "the parent still reads as it was"


def test_a_scene_that_is_gone_or_turned_bad_leaves_gold(lake: Lake) -> None:
    lake.commit(lake.maker.drive("other"), batch="b0")
    first = lake.commit(lake.maker.drive(scenes=3)).release
    second = lake.commit(lake.maker.drive(scenes=3, verdicts=("pass", "quarantine", "pass")), batch="b2").release
    third = lake.commit(lake.maker.drive(scenes=1), batch="b3").release
    assert first is not None
    assert second is not None
    assert third is not None
    assert len(second.delta.removed) == len(third.delta.removed) == 1
    assert [len(lake.table(r, "sample")) for r in (first, second, third)] == [5 * FRAMES, 4 * FRAMES, 3 * FRAMES]
    assert [len(lake.table(r, "scene")) for r in (first, second, third)] == [5, 4, 3]
    assert len(lake.table(third, "quarantine")) == 0
    assert set(third.scenes) == set(lake.table(third, "scene")["scene_id"].to_pylist())


def test_two_batches_that_race_get_consecutive_numbers_and_lose_nothing(lake: Lake) -> None:
    drives = [lake.maker.drive(f"d{i}") for i in range(3)]
    barrier = threading.Barrier(len(drives))
    failures: list[BaseException] = []

    def run(i: int) -> None:
        barrier.wait()
        try:
            lake.commit(drives[i], batch=f"b{i}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(drives))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert list_releases(lake.objects, lake.documents) == [1, 2, 3]
    last = lake.commit(batch="b9").parent
    assert last is not None
    assert len(last.scenes) == 6
    assert len(lake.table(last, "sample")) == 6 * FRAMES
    assert len(lake.table(last, "camera_frame")) == 6 * FRAMES
    assert sorted(count(lake.table(last, "drive"), "drive_name", f"d{i}") for i in range(3)) == [1, 1, 1]


def test_a_fenced_attempt_writes_no_release(lake: Lake) -> None:
    def fenced() -> None:
        raise FencedError("a later attempt holds the batch")

    with pytest.raises(FencedError):
        lake.commit(lake.maker.drive(), fence=fenced)
    assert list_releases(lake.objects, lake.documents) == []


def test_a_stale_attempt_that_wakes_late_adds_nothing(lake: Lake) -> None:
    """Attempt 1 has committed all its candidates when attempt 2 does the whole batch."""

    def overtaken() -> None:
        lake.commit(lake.maker.drive(), attempt=2)

    done = lake.commit(lake.maker.drive(), attempt=1, fence=overtaken)
    assert done.release is not None
    assert done.release.attempt == 2
    assert list_releases(lake.objects, lake.documents) == [1]
    assert lake.main("sample").num_rows == 2 * FRAMES


def test_releases_do_not_depend_on_how_often_it_took(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(CrashError):
        lake.commit(lake.maker.drive(), committer=lake.committer(CrashingCommitter))
    lake.commit(lake.maker.drive("d2"), batch="b2")
    release = lake.commit(lake.maker.drive(), attempt=2).release
    assert release is not None
    straight = lake.commit(lake.maker.drive("d2"), lake.maker.drive(), batch="b7")
    assert straight.release is None, "the same drives, built at once, are what is there already"


def test_a_payload_file_that_is_not_what_decode_said_stops_the_batch(lake: Lake) -> None:
    drive = lake.maker.drive()
    files = next(iter(drive.outcomes.values())).payload_files
    path = files[0].uri.removeprefix("file://")
    with open(path, "ab") as file:
        file.write(b"x")
    with pytest.raises(ScenelakeError, match="bytes"):
        lake.commit(drive)


def test_conflicts_inside_the_loop_are_not_errors(lake: Lake) -> None:
    class Conflicting(IcebergCommitter):
        conflicts = 0

        def _send(self, look: Any, token: CommitToken) -> TablePin:
            if Conflicting.conflicts < 3:
                Conflicting.conflicts += 1
                raise CommitFailedException("someone else was first")
            return super()._send(look, token)

    release = lake.commit(lake.maker.drive(), committer=lake.committer(Conflicting)).release
    assert Conflicting.conflicts == 3
    assert release is not None
    assert len(lake.table(release, "sample")) == 2 * FRAMES
