"""A pinned release reads as it was committed, payload rows too, wherever the files have gone since."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from scenelake.adapters.duckdb_reader import attach_release, connect
from scenelake.adapters.iceberg import committer
from scenelake.adapters.objects import s3_objects
from scenelake.adapters.release_reader import LakeReleaseReader, open_release
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.release_reader import ReleaseReader
from scenelake.contracts.releases import Release
from scenelake.contracts.tables import GOLD
from scenelake.runtime.settings import Settings
from scenelake.serialise.commit import BatchCommit, commit_batch
from scenelake.serialise.config import SerialiseConfig
from scenelake.serialise.drives import drive_rows

from ..unit.serialise.synthetic import FRAMES, DriveMaker  # noqa: TID252
from .catalog_server import KEYS, aws


@dataclass
class Lake:
    settings: Settings
    releases: list[Release]

    def open(self, number: int = 2) -> LakeReleaseReader:
        return open_release(self.settings, f"r{number:08d}")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Two releases: a drive of three scenes, then another drive with a quarantined scene."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with aws(tmp_path_factory.mktemp("home")) as settings:
            with pytest.raises(BadInputError, match="no release yet"):
                open_release(settings)
            objects, paths = s3_objects(settings), LakePaths(settings.lake_uri)
            maker = DriveMaker(paths, objects.write)
            batches = (
                maker.drive("d1", scenes=3),
                maker.drive("d2", scenes=2, verdicts=("pass", "quarantine")),
            )
            releases = []
            for number, drive in enumerate(batches):
                rows = (drive_rows(drive, settings.quarantine_uri),)
                batch = BatchCommit(f"b{number}", 1, "recipe", rows, lambda: 1, lambda _: None)
                release = commit_batch(batch, committer(settings), objects, paths, SerialiseConfig()).release
                assert release is not None
                releases.append(release)
            yield Lake(settings, releases)


def test_a_release_is_opened_by_name_or_as_the_newest(lake: Lake) -> None:
    assert lake.open(1).release == lake.releases[0]
    newest: ReleaseReader = open_release(lake.settings)
    assert newest.release == lake.releases[1]
    with pytest.raises(BadInputError, match="r00000009: there is none"):
        lake.open(9)


def test_scenes_are_the_kept_ones_by_drive_and_start(lake: Lake) -> None:
    scenes = lake.open().scenes()
    assert set(scenes["scene_id"].to_pylist()) == set(lake.releases[1].scenes)
    assert len(scenes) == 4
    assert set(scenes.column_names) == {*GOLD["scene"].columns, *GOLD["release_scene"].columns}
    assert len(scenes.column_names) == len(set(scenes.column_names))
    order = list(zip(*(scenes[c].to_pylist() for c in ("drive_id", "start_ns")), strict=True))
    assert order == sorted(order)
    assert len(lake.open(1).scenes()) == 3


def test_rows_are_typed_and_of_the_scenes_asked_for(lake: Lake) -> None:
    reader = lake.open()
    scene = reader.scenes()["scene_id"][0].as_py()
    samples = reader.rows("sample", [scene])
    assert samples.schema == GOLD["sample"].schema
    assert samples["frame_index"].to_pylist() == list(range(FRAMES))
    assert len(reader.rows("sample")) == 4 * FRAMES
    assert len(reader.rows("sample", [])) == 0
    assert len(reader.rows("sample_data", [scene], channels=["/imu", "/none"])) == FRAMES
    assert len(reader.rows("sample_data", channels=[])) == 0
    assert reader.rows("imu", [scene], ["linear_acceleration_m_s2"]).to_pylist()[0] == {
        "linear_acceleration_m_s2": [-3.5, 0.0, 9.81]
    }
    for table in ("annotation", "ego_pose"):
        empty = reader.rows(table)
        assert (len(empty), empty.schema) == (0, GOLD[table].schema)


def test_rows_of_tables_without_scenes_are_those_of_their_drives(lake: Lake) -> None:
    reader = lake.open()
    scenes = reader.scenes()
    drive = scenes["drive_id"][0].as_py()
    assert reader.rows("drive", [scenes["scene_id"][0].as_py()])["drive_id"].to_pylist() == [drive]
    assert len(reader.rows("drive", scenes["scene_id"].to_pylist())) == 2
    assert len(reader.rows("calibrated_sensor", ["no such scene"])) == 0


@pytest.mark.parametrize("table", ["camera_frame", "no_such"])
def test_tables_that_are_not_read_so_are_refused(lake: Lake, table: str) -> None:
    with pytest.raises(ValueError, match="expected a gold table"):
        lake.open().rows(table)
    with pytest.raises(ValueError, match="has no column nothing"):
        lake.open().rows("sample", columns=["nothing"])


def frames(reader: LakeReleaseReader) -> pa.Table:
    found = reader.rows("sample_data")
    return found.filter(pc.equal(found["channel"], "/camera"))


def expected_images(reader: LakeReleaseReader) -> dict[str, bytes]:
    with connect(reader.settings) as connection:
        attach_release(connection, reader.release)
        return dict(connection.execute("SELECT sample_data_id, image FROM camera_frame").fetchall())


def test_payloads_are_those_of_the_messages_in_their_order(lake: Lake) -> None:
    reader = lake.open()
    wanted = frames(reader)
    wanted = wanted.take(pa.array([(7 * i) % len(wanted) for i in range(len(wanted))]))
    found = reader.payloads(wanted)
    assert found.schema == GOLD["camera_frame"].schema
    images = expected_images(reader)
    assert found["sample_data_id"].to_pylist() == wanted["sample_data_id"].to_pylist()
    assert found["image"].to_pylist() == [images[i] for i in wanted["sample_data_id"].to_pylist()]
    assert reader.payloads(wanted.slice(3, 1), ["image_format", "image"]).column_names == ["image_format", "image"]


def misled(rows: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), rows.schema.field(column), values)


def test_hints_that_mislead_change_nothing(lake: Lake) -> None:
    reader = lake.open()
    wanted = frames(reader)
    right = reader.payloads(wanted)
    n = len(wanted)
    files = wanted["payload_file"].to_pylist()
    hints = (
        ("row_index", pa.array([0] * n, pa.int32())),
        ("row_index", pa.array([99] * n, pa.int32())),
        ("row_index", pa.nulls(n, pa.int32())),
        ("payload_file", pa.array(files[1:] + files[:1])),
        ("payload_file", pa.array([f"{files[0]}.gone", *files[1:]])),
        ("payload_file", pa.nulls(n, pa.string())),
    )
    for column, values in hints:
        assert reader.payloads(misled(wanted, column, values)).equals(right), column


def test_a_message_without_payload_is_named(lake: Lake) -> None:
    reader = lake.open()
    wanted = frames(reader).slice(0, 2)
    wanted = misled(wanted, "sample_data_id", pa.array([wanted["sample_data_id"][0].as_py(), "lost"]))
    with pytest.raises(BadInputError, match=r"message lost is not in s3://.*1 of 1 messages") as raised:
        reader.payloads(wanted)
    assert raised.value.reason == "payload_missing"


def test_a_reader_travels_to_another_process(lake: Lake) -> None:
    reader = lake.open()
    before = reader.payloads(frames(reader))
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.payloads(frames(copy)).equals(before)


def _frames_of(reader: LakeReleaseReader, answer: Connection) -> None:
    answer.send(len(reader.payloads(frames(reader))))


def test_a_reader_in_use_survives_a_fork(lake: Lake) -> None:
    reader = lake.open()
    reader.payloads(frames(reader))
    for _ in range(3):
        answer, far = Pipe()
        child = get_context("fork").Process(target=_frames_of, args=(reader, far))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert answer.recv() == 4 * FRAMES
    assert len(reader.rows("sample")) == 4 * FRAMES


def test_yesterdays_release_reads_with_columns_that_came_later(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = lake.open()
    present = reader._present
    monkeypatch.setattr(reader, "_present", lambda table: present(table) - {"is_key_frame", "image"})
    assert reader.rows("sample")["is_key_frame"].null_count == 4 * FRAMES
    wanted = misled(frames(reader), "row_index", pa.nulls(4 * FRAMES, pa.int32()))
    assert reader.payloads(wanted)["image"].null_count == 4 * FRAMES
