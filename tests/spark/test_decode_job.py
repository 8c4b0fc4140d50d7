"""Decode under a real Spark session: two drops, one of them bad, on a local object store."""

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from scenelake.adapters import spark_archive
from scenelake.adapters.objects import LocalObjects
from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.adapters.spark import effective_conf, spark_conf, spark_session
from scenelake.contracts import ids
from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import ConfigurationError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.decode.config import DecodeConfig
from scenelake.decode.job import (
    DROP_OVERHEAD_BYTES,
    PACK_BYTES,
    PACKS_PER_CORE,
    decode_drops,
    decode_params,
    pack_drops,
)
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


def _recording(path: Path, **options: int) -> bytes:
    with RecordingWriter(path, **options) as writer:
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
        (bad.drop_id, "rejected", "format_unknown"),
        (good.drop_id, "decoded", None),
    ]
    assert outcomes[0].detail == (
        "s3://landing/fleet/car/drive/bad.mcap: expected an MCAP file, a ROS bag, or a part of a LeRobot or RLDS "
        "dataset, got b'this is ' (byte 0)"
    )
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
    """Storage from which a worker cannot read a drop."""

    def read(self, uri: str, *, version_id: str | None = None) -> bytes:
        if uri.endswith(".mcap"):
            raise self.error(f"{uri}: out of reach")
        return super().read(uri, version_id=version_id)

    error: type[Exception] = TransientError


class Broken(OutOfReach):
    error = RuntimeError


class Misconfigured(OutOfReach):
    error = ConfigurationError


@pytest.mark.spark
@pytest.mark.parametrize(
    ("storage", "expected"),
    [(OutOfReach, TransientError), (Misconfigured, ConfigurationError), (Broken, Exception)],
)
def test_an_outage_stays_one_on_its_way_through_spark(
    session: SparkSession, tmp_path: Path, storage: type[LocalObjects], expected: type[Exception]
) -> None:
    """A bug ends the batch's attempt; an outage is worth another try of the stage; a setting needs a person."""
    drop = _drop(LocalObjects(tmp_path), "good.mcap", b"data")
    task = DecodeTask(partial(storage, tmp_path), LakePaths("s3://lake"), DecodeConfig(), "recipe")
    with pytest.raises(expected, match=r"good\.mcap: out of reach") as caught:
        decode_drops(session, [drop], task)
    assert isinstance(caught.value, (TransientError, ConfigurationError)) == (expected is not Exception)


class BrokenFor(LocalObjects):
    """Storage with which one object makes the code fail."""

    def read(self, uri: str, *, version_id: str | None = None) -> bytes:
        if uri.endswith("/cursed.mcap"):
            raise RuntimeError(f"{uri}: a bug")
        return super().read(uri, version_id=version_id)


@pytest.mark.spark
def test_a_drop_that_breaks_the_code_keeps_none_of_its_pack_from_its_outcome(
    session: SparkSession, tmp_path: Path
) -> None:
    root = tmp_path / "objects"
    objects = LocalObjects(root)
    recording = _recording(tmp_path / "good.mcap")
    drops = [_drop(objects, f"{i:02d}.mcap", recording) for i in range(20)]
    drops.insert(7, _drop(objects, "cursed.mcap", recording))
    drops.insert(3, _drop(objects, "bad.mcap", b"this is not a recording"))
    (pack,) = [pack for pack in pack_drops(drops, 2) if any("cursed" in drop.key for drop in pack)]
    task = DecodeTask(partial(BrokenFor, root), LakePaths("s3://lake"), DecodeConfig(), "recipe")
    with pytest.raises(Exception, match=r"cursed\.mcap: a bug"):
        decode_drops(session, drops, task)
    done = {info.uri.split("/")[-2] for info in objects.list("s3://lake/") if info.uri.endswith("/outcome.json")}
    neighbours = {drop.drop_id for drop in pack if "cursed" not in drop.key}
    assert neighbours
    assert neighbours <= done
    healthy = DecodeTask(partial(LocalObjects, root), LakePaths("s3://lake"), DecodeConfig(), "recipe")
    outcomes = decode_drops(session, drops, healthy)
    assert [o.drop_id for o in outcomes] == [d.drop_id for d in drops]
    assert [o.reason for o in outcomes if o.verdict == "rejected"] == ["format_unknown"]


def _sized(number: int, size_bytes: int) -> Drop:
    return Drop(f"{number:03d}", "landing", f"k{number}", "null", size_bytes, "e", 0, "f", "v", "d", "drive")


@pytest.mark.parametrize(
    ("sizes", "expected_packs"),
    [
        ([10_000] * 600, -(-600 * (DROP_OVERHEAD_BYTES + 10_000) // PACK_BYTES)),
        ([10_000] * 5, 5),
        ([10_000] * 40, 2 * PACKS_PER_CORE),
        ([PACK_BYTES * 8] * 4 + [10_000] * 100, None),
        ([1], 1),
    ],
)
def test_small_drops_share_tasks_and_large_ones_do_not(sizes: list[int], expected_packs: int | None) -> None:
    drops = [_sized(i, size) for i, size in enumerate(sizes)]
    packs = pack_drops(drops, 2)
    assert sorted(d.drop_id for pack in packs for d in pack) == [d.drop_id for d in drops]
    assert packs == pack_drops(list(reversed(drops)), 2)
    assert expected_packs in (None, len(packs))
    for pack in packs:
        large = [d for d in pack if d.size_bytes >= PACK_BYTES]
        assert not large or len(pack) == 1
        assert large or sum(d.size_bytes for d in pack) <= 2 * PACK_BYTES


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


def test_a_class_archive_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    archive = tmp_path / "spark.jsa"
    monkeypatch.setattr(spark_archive, "archive_path", lambda: archive)
    laptop, cluster = Settings(home=tmp_path), Settings(home=tmp_path, spark_master="spark://m:7077")
    assert "SharedArchiveFile" not in spark_conf(laptop)["spark.driver.extraJavaOptions"]
    archive.write_bytes(b"not an archive")
    options = spark_conf(laptop)["spark.driver.extraJavaOptions"]
    assert options.endswith(f"-XX:SharedArchiveFile={archive}")
    assert "spark.driver.extraJavaOptions" not in spark_conf(cluster)
    # An archive that does not fit, for example of another Java, must not keep the JVM from starting.
    subprocess.run(["java", *options.split(), "-version"], check=True, capture_output=True)


def test_the_recipe_changes_with_the_configuration() -> None:
    plain, other = (ids.recipe(decode_params(DecodeConfig(slot_ns=ns))) for ns in (20_000_000_000, 10_000_000_000))
    assert plain != other


@pytest.mark.spark
def test_a_large_drop_is_decoded_by_several_tasks(session: SparkSession, tmp_path: Path) -> None:
    outcomes = {}
    for name, config in (("whole", DecodeConfig()), ("split", DecodeConfig(part_bytes=1000))):
        root = tmp_path / name
        objects = LocalObjects(root)
        data = _recording(tmp_path / "large.mcap", chunk_size=500)
        drops = [_drop(objects, "large.mcap", data), _drop(objects, "other.mcap", data[:-100])]
        task = DecodeTask(partial(LocalObjects, root), LakePaths("s3://lake"), config, "0" * 16)
        outcomes[name] = decode_drops(session, drops, task)
    for whole, split in zip(outcomes["whole"], outcomes["split"], strict=True):
        assert (split.object_sha256, split.channels, split.verdict) == (
            whole.object_sha256,
            whole.channels,
            whole.verdict,
        )
    large, without_index = outcomes["split"]
    assert len(large.parts["robot_state"]) > 2
    assert without_index.parts == {}, "without its index it is read whole"
