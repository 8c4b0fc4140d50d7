"""Recordings read directly by Spark: every message once, however they are cut, and nothing lost in silence."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import CompressionType, IndexType, Writer
from moto.server import ThreadedMotoServer
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.datasource import InputPartition

from scenelake.adapters.aws import aws_client
from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.adapters.recordings import RecordingObject
from scenelake.adapters.spark import spark_session
from scenelake.adapters.spark_recording import FORMAT, ReadOptions, RecordingPartition, RecordingReader, register
from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Part
from scenelake.runtime.settings import Settings

pytestmark = pytest.mark.spark

T0_NS = 1_700_000_000_000_000_000
STEP_NS = 10_000_000
NBR = 600


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), spark_master="local[2]")
    started = spark_session(settings, "tests")
    register(started, settings)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IMU, transforms (two in each message), blobs without a table, in many chunks."""
    path = tmp_path_factory.mktemp("recordings") / "drive.mcap"
    with RecordingWriter(path, compression=CompressionType.NONE, chunk_size=16 * 1024) as writer:
        writer.add_ros_channel("/imu", "sensor_msgs/msg/Imu")
        writer.add_ros_channel("/tf", "tf2_msgs/msg/TFMessage")
        writer.add_json_channel("/blob", "my.Blob", {"type": "object"})
        for i in range(NBR):
            at_ns = T0_NS + i * STEP_NS
            writer.write("/imu", _imu(writer, at_ns, float(i)), at_ns)
            if i % 10 == 0:
                writer.write("/tf", _transforms(writer, at_ns), at_ns + 1)
                writer.write("/blob", {"i": i, "text": "x" * i}, at_ns + 2)
    return path


def _imu(writer: RecordingWriter, at_ns: int, value: float) -> object:
    types = writer.ros.types
    vector, zeros = types["geometry_msgs/msg/Vector3"](value, 0.0, 9.81), np.zeros(9)
    unit = types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    return types["sensor_msgs/msg/Imu"](_header(writer, at_ns, "imu_link"), unit, zeros, vector, zeros, vector, zeros)


def _transforms(writer: RecordingWriter, at_ns: int) -> object:
    types = writer.ros.types
    unit = types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    pose = types["geometry_msgs/msg/Transform"](types["geometry_msgs/msg/Vector3"](1.0, 2.0, 3.0), unit)
    stamped = types["geometry_msgs/msg/TransformStamped"]
    both = [stamped(_header(writer, at_ns, "base_link"), child, pose) for child in ("camera", "lidar")]
    return types["tf2_msgs/msg/TFMessage"](both)


def _header(writer: RecordingWriter, at_ns: int, frame_id: str) -> object:
    types = writer.ros.types
    stamp = types["builtin_interfaces/msg/Time"](at_ns // 10**9, at_ns % 10**9)
    return types["std_msgs/msg/Header"](stamp, frame_id)


def read(session: SparkSession, path: object, **options: object) -> DataFrame:
    return session.read.format(FORMAT).options(**options).load(str(path))


def rows(frame: DataFrame) -> list[tuple]:
    return sorted((tuple(row) for row in frame.collect()), key=str)


@pytest.mark.parametrize("payload", ["none", "bytes", "decoded"])
def test_one_part_and_many_give_equal_rows(session: SparkSession, recording: Path, payload: str) -> None:
    whole = read(session, recording, payload=payload, partBytes=0)
    split = read(session, recording, payload=payload, partBytes=40_000)
    assert whole.rdd.getNumPartitions() == 1
    assert split.rdd.getNumPartitions() > 3
    found = rows(whole)
    assert len(found) == NBR + 2 * NBR // 10
    assert found == rows(split)


def test_bytes_are_those_that_were_recorded(session: SparkSession, recording: Path) -> None:
    frame = read(session, recording, payload="bytes", topics="/blob")
    found = {row.log_time_ns: row for row in frame.collect()}
    assert len(found) == NBR // 10
    for i in range(0, NBR, 10):
        row = found[T0_NS + i * STEP_NS + 2]
        assert bytes(row.data) == b'{"i":%d,"text":"%s"}' % (i, b"x" * i)
        assert row.payload_bytes == len(row.data)
        assert (row.channel, row.schema_name, row.message_encoding) == ("/blob", "my.Blob", "json")
        assert (row.sequence, row.publish_time_ns, row.uri) == (i // 10, row.log_time_ns, str(recording))


def test_decoded_messages_are_rows_of_their_tables(session: SparkSession, recording: Path) -> None:
    frame = read(session, recording, payload="decoded")
    imu = (
        frame.where("channel = '/imu'")
        .selectExpr("sensor_time_ns", "frame_id", "inline(imu)")
        .orderBy("sensor_time_ns")
    )
    assert imu.count() == NBR
    second = imu.collect()[1]
    assert second.sensor_time_ns == T0_NS + STEP_NS
    assert (second[1], second.linear_acceleration_m_s2) == ("imu_link", [1.0, 0.0, 9.81])
    transforms = frame.selectExpr("log_time_ns", "inline(transform)")
    assert transforms.count() == 2 * NBR // 10
    assert {row.child_frame_id for row in transforms.collect()} == {"camera", "lidar"}
    raw = frame.where("status = 'raw'").collect()
    assert {(row.channel, row.reason, row.imu) for row in raw} == {("/blob", "no_table", None)}
    assert all(len(row.data) == row.payload_bytes for row in raw)


def test_topics_and_times_narrow_what_is_read(session: SparkSession, recording: Path) -> None:
    some = read(
        session,
        recording,
        topics="/tf, /blob",
        start_ns=T0_NS + 10 * STEP_NS,
        exclusive_end_ns=T0_NS + 20 * STEP_NS + 2,
    )
    assert sorted((row.channel, row.log_time_ns - T0_NS) for row in some.collect()) == [
        ("/blob", 10 * STEP_NS + 2),
        ("/tf", 10 * STEP_NS + 1),
        ("/tf", 20 * STEP_NS + 1),
    ]
    assert read(session, recording, topics="/nothing").count() == 0
    assert read(session, recording, exclusive_end_ns=0).count() == 0


def test_counts_stay_right_whatever_is_selected_and_in_which_order(session: SparkSession, recording: Path) -> None:
    """A Python data source that takes filters answers the second of these with the first one's rows."""
    frame = read(session, recording, payload="bytes")
    total = NBR + 2 * NBR // 10
    assert frame.where("channel = '/tf'").count() == NBR // 10
    assert frame.count() == total
    assert frame.select("channel").distinct().count() == 3
    assert frame.select("sequence", "uri").count() == total
    assert (
        frame.selectExpr("sum(payload_bytes) AS bytes", "sum(length(data)) AS data").collect()[0][:]
        == (frame.selectExpr("sum(payload_bytes)").collect()[0][0],) * 2
    )
    assert frame.where("channel = '/tf'").limit(5).count() == 5


def test_a_file_without_an_index_is_read(session: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "plain.mcap"
    with path.open("wb") as file:
        writer = Writer(
            file, use_chunking=False, use_statistics=False, use_summary_offsets=False, index_types=IndexType.NONE
        )
        writer.start()
        channel = writer.register_channel("/a", "json", 0)
        for i in range(100):
            writer.add_message(channel, T0_NS + i, b'{"i": %d}' % i, T0_NS + i, i)
        writer.finish()
    frame = read(session, path, payload="bytes", partBytes=1000)
    assert sorted((row.sequence, bytes(row.data)) for row in frame.collect()) == [
        (i, b'{"i": %d}' % i) for i in range(100)
    ]


@pytest.fixture
def damaged(recording: Path, tmp_path: Path) -> Path:
    """The recording with one bit of a message in the middle turned."""
    data = bytearray(recording.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "damaged.mcap"
    path.write_bytes(data)
    return path


def test_damage_fails_a_read_that_does_not_ask_for_the_rest(session: SparkSession, damaged: Path) -> None:
    with pytest.raises(PySparkException, match=r"damaged\.mcap: .*bytes \d+ to \d+.*option\('damaged', 'skip'\)"):
        read(session, damaged).count()


@pytest.mark.parametrize("part_bytes", [0, 40_000])
def test_damage_is_listed_and_the_rest_is_read(session: SparkSession, damaged: Path, part_bytes: int) -> None:
    (problem,) = read(session, damaged, problems="true", partBytes=part_bytes).collect()
    assert (problem.uri, problem.reason, problem.is_loss) == (str(damaged), "chunk_crc_mismatch", True)
    assert problem.start_byte < damaged.stat().st_size // 2 < problem.exclusive_end_byte
    rest = read(session, damaged, damaged="skip", partBytes=part_bytes).count()
    assert 0.9 * NBR < rest < NBR + 2 * NBR // 10
    assert read(session, damaged, problems="true", partBytes=part_bytes).count() == 1


def test_a_folder_holds_many_and_what_is_no_recording_is_passed_over(
    session: SparkSession, recording: Path, tmp_path: Path
) -> None:
    (tmp_path / "below").mkdir()
    for name in ("a.mcap", "below/b.mcap"):
        (tmp_path / name).write_bytes(recording.read_bytes())
    (tmp_path / "readme.txt").write_text("not a recording")
    frame = read(session, tmp_path)
    assert frame.rdd.getNumPartitions() == 1
    total = NBR + 2 * NBR // 10
    assert {row.uri: row["count"] for row in frame.groupBy("uri").count().collect()} == {
        str(tmp_path / "a.mcap"): total,
        str(tmp_path / "below/b.mcap"): total,
    }
    assert read(session, f"{tmp_path}/*.mcap").count() == total
    assert read(session, f"{tmp_path}/a.mcap,{tmp_path}/below").count() == 2 * total
    named = tmp_path / "readme.txt"
    with pytest.raises(PySparkException, match=r"readme\.txt: .*MCAP"):
        read(session, named).count()
    assert [row.uri for row in read(session, named, problems="true").collect()] == [str(named)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topic": "/imu"}, r"unknown option\(s\) topic; it has path, topics"),
        ({"payload": "all"}, "payload: expected none or bytes or decoded, got 'all'"),
        ({"start_ns": "soon"}, "start_ns: expected a whole number"),
        ({"problems": "maybe"}, "problems: expected true or false"),
    ],
)
def test_a_wrong_option_is_named(session: SparkSession, recording: Path, options: dict, message: str) -> None:
    with pytest.raises(PySparkException, match=message):
        read(session, recording, **options).count()


def test_s3_is_reached_by_the_settings(session: SparkSession, recording: Path, tmp_path: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        remote = Settings(home=tmp_path, endpoint_url=f"http://{host}:{port}")
        client = aws_client("s3", remote)
        client.create_bucket(Bucket="landing", CreateBucketConfiguration={"LocationConstraint": remote.region})
        client.upload_file(str(recording), "landing", "fleet/drive.mcap")
        register(session, remote)
        frame = read(session, "s3://landing/fleet", payload="bytes", partBytes=40_000)
        assert frame.rdd.getNumPartitions() > 3
        found = rows(frame.drop("uri"))
    finally:
        server.stop()
    assert found == rows(read(session, recording, payload="bytes").drop("uri"))
    with pytest.raises(PySparkException, match=r"s3://landing/fleet: .*Could not connect"):
        read(session, "s3://landing/fleet").count()


def test_an_untrue_plan_fails_and_an_empty_one_reads_nothing(recording: Path) -> None:
    reader = RecordingReader(
        ReadOptions.of({"path": recording.name}, recording.parent), Settings(home=recording.parent)
    )
    found = RecordingObject(str(recording), recording.stat().st_size, True)
    assert list(reader.read(InputPartition(None))) == []
    with pytest.raises(BadInputError, match=r"drive\.mcap: .*partBytes.*0") as caught:
        list(reader.read(RecordingPartition([(found, Part(0, 0, found.size_bytes // 2))])))
    assert caught.value.reason == "index_contradicted"


def test_what_is_not_there_is_named(session: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(PySparkException, match=r"nowhere\.mcap: no such file"):
        read(session, tmp_path / "nowhere.mcap").count()


def test_a_file_that_is_named_in_two_ways_is_read_once(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mcap").symlink_to(recording)
    spellings = [recording, recording.parent / ".." / recording.parent.name / recording.name, tmp_path / "link.mcap"]
    for count in (1, len(spellings)):
        options = ReadOptions.of({"path": ",".join(map(str, spellings[:count]))}, tmp_path)
        planned = RecordingReader(options, Settings(home=tmp_path)).partitions()
        assert [len(p.pieces) for p in planned if isinstance(p, RecordingPartition)] == [1]
