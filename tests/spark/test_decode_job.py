"""Decode under a real Spark session: two drops, one of them bad, on a local object store."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from scenelake.adapters.objects import LocalObjects, ObjectInfo
from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.adapters.spark import effective_conf, spark_conf, spark_session
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import ConfigurationError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.decode.config import DecodeConfig
from scenelake.decode.job import decode_drops, decode_params
from scenelake.decode.task import DecodeTask
from scenelake.runtime.settings import Settings

T0_NS = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    started = spark_session(Settings(home=tmp_path_factory.mktemp("home"), spark_master="local[2]"), "tests")
    yield started
    started.stop()


def _drop(objects: LocalObjects, name: str, data: bytes) -> Drop:
    key = f"fleet/car/drive/{name}"
    objects.write(f"s3://landing/{key}", data)
    drive_id = ids.drive_id("fleet", "car", "drive")
    return Drop(
        ids.drop_id("landing", key, "null"),
        "landing",
        key,
        "null",
        len(data),
        "e",
        0,
        "fleet",
        "car",
        "drive",
        drive_id,
    )


def _recording(path: Path) -> bytes:
    with RecordingWriter(path) as writer:
        writer.add_ros_channel("/joint_states", "sensor_msgs/msg/JointState")
        types = writer.ros.types
        for i in range(50):
            stamp = types["builtin_interfaces/msg/Time"](T0_NS // 10**9 + i, 0)
            header = types["std_msgs/msg/Header"](stamp, "base_link")
            empty = np.empty(0)
            message = types["sensor_msgs/msg/JointState"](header, ["a"], np.array([float(i)]), empty, empty)
            writer.write("/joint_states", message, T0_NS + i * 10**9)
    return path.read_bytes()


@pytest.mark.spark
def test_a_bad_drop_is_rejected_while_the_other_is_decoded(session: SparkSession, tmp_path: Path) -> None:
    root = tmp_path / "objects"
    objects = LocalObjects(root)
    good = _drop(objects, "good.mcap", _recording(tmp_path / "good.mcap"))
    bad = _drop(objects, "bad.mcap", b"this is not a recording")
    config = DecodeConfig()
    task = DecodeTask(partial(LocalObjects, root), LakePaths("s3://lake"), config, ids.recipe(decode_params(config)))
    outcomes = decode_drops(session, [bad, good], task)
    assert [(o.drop_id, o.verdict, o.reason) for o in outcomes] == [
        (bad.drop_id, "rejected", "not_mcap"),
        (good.drop_id, "decoded", None),
    ]
    assert outcomes[0].detail == (
        "s3://landing/fleet/car/drive/bad.mcap: expected the MCAP magic b'\\x89MCAP0\\r\\n', got b'this is '  (byte 0)"
    ).replace("  ", " ")
    assert outcomes[1].channels[0].decoded == 50
    written = {info.uri.rsplit("/", 1)[1] for info in objects.list("s3://lake/")}
    assert written == {"outcome.json", "message_index.parquet", "robot_state.parquet"}
    assert decode_drops(session, [bad, good], task) == outcomes


@pytest.mark.spark
def test_a_failure_that_is_not_the_datas_is_retried(session: SparkSession, tmp_path: Path) -> None:
    def flaky(value: int) -> int:
        marker = tmp_path / f"tried-{value}"
        if not marker.exists():
            marker.touch()
            raise RuntimeError("not this time")
        return value

    assert session.sparkContext.parallelize([1], 1).map(flaky).collect() == [1]


class OutOfReach(LocalObjects):
    """Storage that a worker cannot reach."""

    def head(self, uri: str, *, version_id: str | None = None) -> ObjectInfo:
        raise self.error(f"{uri}: out of reach")

    error: type[Exception] = TransientError


class Broken(OutOfReach):
    error = RuntimeError


@pytest.mark.spark
@pytest.mark.parametrize(("storage", "expected"), [(OutOfReach, TransientError), (Broken, Exception)])
def test_an_outage_stays_one_on_its_way_through_spark(
    session: SparkSession, tmp_path: Path, storage: type[LocalObjects], expected: type[Exception]
) -> None:
    """A bug ends the batch's attempt; an outage is worth another try of the stage."""
    drop = _drop(LocalObjects(tmp_path), "good.mcap", b"data")
    task = DecodeTask(partial(storage, tmp_path), LakePaths("s3://lake"), DecodeConfig(), "recipe")
    with pytest.raises(expected, match=r"good\.mcap: out of reach") as caught:
        decode_drops(session, [drop], task)
    assert isinstance(caught.value, TransientError) == (expected is TransientError)


@pytest.mark.spark
def test_the_full_configuration_is_known_for_lineage(session: SparkSession) -> None:
    conf = effective_conf(session)
    assert conf["spark.sql.session.timeZone"] == "UTC"
    assert conf["spark.ui.enabled"] == "false"
    assert conf["spark.master"] == "local[2,3]"


def test_extra_configuration_wins_and_is_checked() -> None:
    home = Path()
    conf = spark_conf(Settings(home=home, spark_conf="spark.driver.memory=2g; spark.x=a=b"))
    assert (conf["spark.driver.memory"], conf["spark.x"], conf["spark.master"]) == ("2g", "a=b", "local[*,3]")
    assert "spark.driver.memory" not in spark_conf(Settings(home=home, spark_master="spark://m:7077"))
    with pytest.raises(ConfigurationError, match="got 'nonsense'"):
        spark_conf(Settings(home=home, spark_conf="nonsense"))


def test_the_recipe_changes_with_the_configuration() -> None:
    plain, other = (ids.recipe(decode_params(DecodeConfig(slot_ns=ns))) for ns in (20_000_000_000, 10_000_000_000))
    assert plain != other
