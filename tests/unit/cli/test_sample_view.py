"""The picture of a sample, from the tables of a small simulated drive."""

import cv2
import duckdb
import numpy as np
import pyarrow as pa
import pytest
from tests.unit.synchronise.stages import Synchronised, synchronise_recording

from scenelake.adapters.objects import read_table
from scenelake.cli.sample_view import SampleView
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.tables import GOLD
from scenelake.simulate.config import SECOND_NS, DriveConfig, Lidar, Mount, Odometry, plan_default_drive
from scenelake.simulate.drive import simulate_drive
from scenelake.synchronise.row_sources import read_all


@pytest.fixture(scope="module")
def synchronised(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    config = DriveConfig(
        duration_ns=SECOND_NS,
        cameras=(plan_default_drive().cameras[0].model_copy(update={"width_px": 160, "height_px": 96}),),
        lidars=(
            Lidar(
                topic="/lidar", frame_id="lidar", mount=Mount(z_m=1.9), rate_hz=10.0, azimuths=90, phase_ns=3_000_000
            ),
        ),
        odometry=Odometry(topic="/odometry", frame_id="base_link", rate_hz=50.0),
    )  # fmt: skip
    simulate_drive(config, folder / "drive.mcap")
    return synchronise_recording(folder / "drive.mcap", folder / "s3")


def connect(found: Synchronised, left_out: frozenset[str] = frozenset()) -> duckdb.DuckDBPyConnection:
    """A connection that sees what a release of the drive would hold."""
    tables = {name: schema.schema.empty_table() for name, schema in GOLD.items()} | found.tables
    for name in ("camera_frame", "lidar_sweep"):
        files = [f.uri for f in found.outcome.payload_files if f.table == name]
        tables[name] = pa.concat_tables([read_table(found.objects, uri) for uri in files])
    poses = read_all(found.input.tables["ego_pose"])
    tables["ego_pose"] = poses.append_column("drive_id", pa.array([found.drive["drive_id"]] * len(poses)))
    connection = duckdb.connect()
    for name, table in tables.items():
        kept = [c for c in table.column_names if c not in left_out]
        connection.register(name, table.select(kept))
    return connection


@pytest.mark.parametrize("left_out", [frozenset(), frozenset({"is_motion_compensated"})], ids=["today", "before"])
def test_a_sample_is_drawn_with_its_points_moved_to_the_cameras_time(synchronised, tmp_path, left_out):
    sample = synchronised.tables["sample"].to_pylist()[0]
    view = SampleView(connect(synchronised, left_out), sample["sample_id"])
    view.draw(tmp_path / "sample.png")
    assert cv2.imread(str(tmp_path / "sample.png")).shape[2] == 3
    assert view._problems == set()
    here, later = (view._cloud(sample["timestamp_ns"] + ns) for ns in (0, 50_000_000))
    # The ego makes about 11 m/s: what stands still comes half a metre nearer in 50 ms.
    assert np.median(here[:, 0] - later[:, 0]) == pytest.approx(0.55, abs=0.2)


def test_points_that_cannot_be_moved_are_drawn_as_recorded_and_said_to_be(synchronised, tmp_path):
    sample = synchronised.tables["sample"].to_pylist()[0]
    connection = connect(synchronised)
    connection.register("ego_pose", GOLD["ego_pose"].schema.empty_table())
    view = SampleView(connection, sample["sample_id"])
    view.draw(tmp_path / "sample.png")
    assert view._problems == {"/lidar is drawn as recorded, pose_gap"}


def test_a_sample_that_is_not_there_is_said_so(synchronised):
    with pytest.raises(BadInputError, match="sample nothing: not in this release"):
        SampleView(connect(synchronised), "nothing")
