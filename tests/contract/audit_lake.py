"""A small true lake on the stand-in for AWS, filled by the stages themselves, for the auditor to judge."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import simplejpeg

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.iceberg import committer
from scenelake.adapters.objects import read_json, s3_objects, write_json
from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.contracts.drops import Batch, Drop, IgnoredEvent
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.manifests import ManifestFile, manifest_bytes
from scenelake.contracts.releases import Release
from scenelake.contracts.reviews import Decision, Review, ReviewSource
from scenelake.contracts.stages import DecodedDrop, DrivePlan, Stage, StageArguments, StageOutcome
from scenelake.decode.config import DecodeConfig
from scenelake.decode.privacy import loading
from scenelake.decode.privacy.config import PrivacyPolicy
from scenelake.decode.privacy.detections import DETECTOR_FAILED, Detections
from scenelake.decode.task import DecodeTask
from scenelake.ledger.new_drop import ObjectVersion, StoredBytes, admit
from scenelake.ledger.protocol import ClaimLimits
from scenelake.ledger.verdicts import manifest_remarks, settlements
from scenelake.quality.job import judge
from scenelake.runtime.job import StageContext
from scenelake.runtime.settings import Settings
from scenelake.serialise.job import serialise
from scenelake.serialise.releases import latest_release
from scenelake.stack.template import load_template
from scenelake.synchronise.job import synchronise

T0_NS = 1_700_000_000_000_000_000
LIMITS = ClaimLimits(max_drops=20, max_bytes=10**9, lease_ns=3600 * 10**9, max_attempts=3)
MISSING_PART = b"the part that never comes"
_DECODE_RECIPE, _PRIVATE_RECIPE = "0123456789abcdef", "fedcba9876543210"
_PRIVACY = PrivacyPolicy(detector="/of/tests.onnx", sha256="d" * 64)
_DARK = 12


class CornerDetector:
    """Finds something in the corner of every frame, but fails where that is dark."""

    def detect(self, rgb: np.ndarray) -> Detections:
        if rgb[0, 0].max() < _DARK:
            raise BadInputError("too dark", reason=DETECTOR_FAILED)
        return Detections(np.float32([[0, 0, 8, 8]]), np.ones(1, np.float32), np.zeros(1, np.int64))


def recording(
    path: Path, *, seconds: int = 30, seed: int = 0, is_camera_broken: bool = False, stuck_imu: range = range(0)
) -> bytes:
    """A drive of two slots: camera and LiDAR at 2 Hz, IMU at 5 Hz, and a type that nobody decodes.

    Args:
        stuck_imu: tenths of a second in which the IMU repeats itself.
    """
    random = np.random.default_rng(seed)
    stuck: Any = None
    with RecordingWriter(path, chunk_size=4096) as writer:
        types = writer.ros.types
        for topic, kind in (
            ("/camera", "sensor_msgs/msg/CompressedImage"),
            ("/lidar", "sensor_msgs/msg/PointCloud2"),
            ("/imu", "sensor_msgs/msg/Imu"),
            ("/odd", "std_msgs/msg/ColorRGBA"),
        ):
            writer.add_ros_channel(topic, kind)

        def header(at_ns: int, frame: str) -> Any:
            stamp = types["builtin_interfaces/msg/Time"](at_ns // 10**9, at_ns % 10**9)
            return types["std_msgs/msg/Header"](stamp, frame)

        for tick in range(seconds * 10):
            at_ns = T0_NS + tick * 100_000_000
            if tick % 2 == 0:
                imu = _imu(types, header(at_ns, "imu"), random)
                if tick in stuck_imu:
                    stuck = stuck or imu
                    imu = replace(stuck, header=imu.header)
                writer.write("/imu", imu, at_ns)
            if tick % 5 == 0:
                image = np.frombuffer(b"broken" if is_camera_broken else _jpeg(random), np.uint8)
                message = types["sensor_msgs/msg/CompressedImage"](header(at_ns, "camera"), "jpeg", image)
                writer.write("/camera", message, at_ns)
                writer.write("/lidar", _cloud(types, header(at_ns, "lidar"), random), at_ns)
            if tick % 10 == 0:
                writer.write("/odd", types["std_msgs/msg/ColorRGBA"](1.0, 0.5, 0.0, 1.0), at_ns)
    return path.read_bytes()


def _jpeg(random: np.random.Generator) -> bytes:
    """A small grey picture with something in it."""
    blocks = random.integers(0, 255, (8, 8, 1), dtype=np.uint8)
    data: bytes = simplejpeg.encode_jpeg(np.kron(blocks, np.ones((4, 4, 1), np.uint8)), 10, "GRAY")
    return data


def _imu(types: Any, header: Any, random: np.random.Generator) -> Any:
    x, y, z = random.normal(size=3).tolist()
    vector, zeros = types["geometry_msgs/msg/Vector3"], np.zeros(9)
    turn = types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    return types["sensor_msgs/msg/Imu"](header, turn, zeros, vector(0.0, 0.0, z), zeros, vector(x, y, 9.8), zeros)


def _cloud(types: Any, header: Any, random: np.random.Generator) -> Any:
    points = random.normal(size=(8, 3)).astype("<f4")
    fields = [types["sensor_msgs/msg/PointField"](name, at * 4, 7, 1) for at, name in enumerate("xyz")]
    data = np.frombuffer(points.tobytes(), np.uint8)
    return types["sensor_msgs/msg/PointCloud2"](header, 1, 8, fields, False, 12, 96, data, True)


class SmallLake:
    """Landing zone, ledger and lake behind one endpoint.

    Args:
        settings: of a stand-in that has the lake's buckets and its database.
    """

    def __init__(self, settings: Settings, repository: Path) -> None:
        self.settings = settings
        where = {"region_name": settings.region, "endpoint_url": settings.endpoint_url}
        self.s3: Any = boto3.client("s3", **where)
        self.dynamo: Any = boto3.client("dynamodb", **where)
        self.objects = s3_objects(settings)
        self.ledger = DynamoLedger.from_settings(settings)
        self.names: dict[str, str] = {}
        self.outcomes: dict[tuple[str, Stage], StageOutcome] = {}
        place = {"LocationConstraint": settings.region}
        self.s3.create_bucket(Bucket=settings.landing_bucket, CreateBucketConfiguration=place)
        self.s3.put_bucket_versioning(Bucket=settings.landing_bucket, VersioningConfiguration={"Status": "Enabled"})
        table = load_template(repository / "deploy" / "landing_zone.yaml")["Resources"]["LedgerTable"]["Properties"]
        kept = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
        self.dynamo.create_table(TableName=settings.ledger_table, **{name: table[name] for name in kept})

    def drop(self, name: str, key: str, data: bytes) -> str:
        """Puts an object and registers it; ``name`` is how tests call the drop."""
        put = self.s3.put_object(Bucket=self.settings.landing_bucket, Key=key, Body=data)
        found = ObjectVersion(
            self.settings.landing_bucket, key, put["VersionId"], len(data), put["ETag"].strip('"')
        )  # fmt: skip
        now_ns = time.time_ns()
        admission = admit(self.ledger, found, now_ns, lambda version, limit: StoredBytes(data, now_ns))
        assert admission.is_new
        self.names[name] = admission.drop.drop_id
        return admission.drop.drop_id

    def claim(self) -> Batch:
        batch = self.ledger.claim(LIMITS, time.time_ns())
        assert batch is not None
        return batch

    def build_again(self, *names: str) -> Batch:
        """Claims drops that have ended and takes them through every stage once more."""
        drop_ids = [self.names[name] for name in names]
        batch = self.ledger.claim_drops(drop_ids, LIMITS, time.time_ns(), rebuild=True)
        assert batch is not None
        return self.build(batch)

    def build(self, batch: Batch | None = None) -> Batch:
        """Claims what is pending, where no batch is given, and takes it through every stage."""
        batch = batch or self.claim()
        arguments = StageArguments(batch.batch_id, batch.attempt)
        decode = StageContext(Stage.DECODE, arguments, self.settings)
        lines = _decode(decode)
        self._record(decode)
        for stage, function in ((Stage.SYNCHRONISE, synchronise), (Stage.QUALITY, judge), (Stage.SERIALISE, serialise)):
            context = StageContext(stage, arguments, self.settings)
            run: Callable[[StageContext], StageOutcome] = function
            self.outcomes[batch.batch_id, stage] = run(context)
            self._record(context)
        self._settle(decode, lines)
        return batch

    def _record(self, context: StageContext) -> None:
        empty = {"params": {}, "git_commit": None, "image_digest": None}
        write_json(context.objects, f"{context.stage_uri()}/record.json", empty)

    def _settle(self, context: StageContext, lines: Iterable[DecodedDrop]) -> None:
        plans = [DrivePlan(**p) for p in self._document(context, Stage.SYNCHRONISE, "drives.json")]
        duplicates = {copy: first for plan in plans for copy, first in plan.duplicates.items()}
        release = self._document(context, Stage.SERIALISE, "release.json").get("release_id")
        figures = self._document(context, Stage.SERIALISE, "outcomes.json")
        remarks = self._remarks([drop for drop in context.drops if drop.is_manifest])
        ends = settlements(context.drops, {d.drop_id: d for d in lines}, duplicates, figures, release, remarks)
        self.ledger.settle(context.arguments.batch_id, context.arguments.attempt, ends, time.time_ns())

    def _remarks(self, manifests: Sequence[Drop]) -> dict[str, str]:
        remarks: dict[str, str] = {}
        for drop in manifests:
            parts = self.ledger.parts_of(drop.drive_id, [drop.recording])
            remarks |= manifest_remarks([drop], parts, list(self.ledger.drops(drive_id=drop.drive_id)), ())
        return remarks

    def _document(self, context: StageContext, stage: Stage, name: str) -> Any:
        return read_json(self.objects, f"{context.stage_uri(stage)}/{name}")

    def held(self, reviewer: str = "ada") -> Review:
        """What somebody says who releases the one scene that is held back, now."""
        release = self.release()
        found = committer(self.settings).load("quarantine")
        assert found is not None
        rows = found.scan(snapshot_id=release.tables["quarantine"].snapshot_id).to_arrow().to_pylist()
        row = next(r for r in rows if r["state"] == "QUARANTINED")
        return Review(
            row["scene_id"], row["review_hash"], row["drive_id"], Decision.RELEASE, reviewer, "looked", time.time_ns(),
            ReviewSource.PAGE, row["evidence_uri"],
        )  # fmt: skip

    def release(self) -> Release:
        found = latest_release(self.objects, StageContext(Stage.DECODE, StageArguments("", 1), self.settings).paths)
        assert found is not None
        return found


def _decode(context: StageContext) -> list[DecodedDrop]:
    storage = partial(s3_objects, context.settings)
    plain = DecodeTask(storage, context.paths, DecodeConfig(), _DECODE_RECIPE)
    private = DecodeTask(storage, context.paths, DecodeConfig(), _PRIVATE_RECIPE, _PRIVACY)

    def line(drop: Drop) -> DecodedDrop:
        task = private if drop.fleet == "private" else plain
        found = task(drop)
        uri = context.paths.decoded(task.recipe, drop.drop_id)
        return DecodedDrop(
            drop.drop_id, drop.drive_id, uri, found.verdict, found.reason, found.detail, found.object_sha256
        )

    lines = [line(drop) for drop in context.drops]
    write_json(context.objects, f"{context.stage_uri()}/drops.json", [asdict(one) for one in lines])
    return lines


def fill(lake: SmallLake, folder: Path) -> None:
    """Three releases, and a drop in every state: built, salvaged, duplicate, rejected, held back, pending, claimed.

    One recording is of two parts, of which one never comes; another goes past a detector.
    """
    loading._OF_THIS_PROCESS[_PRIVACY.sha256, _PRIVACY.device] = CornerDetector()
    good = recording(folder / "good.mcap", seed=1)
    other = recording(folder / "other.mcap", seed=2)
    lake.drop("first", "fleet/car/d1/a.mcap", good)
    lake.build()
    lake.drop("second", "fleet/car/d2/a.mcap", other)
    lake.drop("copy", "fleet/car/d2/b.mcap", other)
    lake.drop("dark", "fleet/car/d3/a.mcap", recording(folder / "dark.mcap", seed=3, is_camera_broken=True))
    lake.drop("cut", "fleet/car/d4/a.mcap", recording(folder / "cut.mcap", seed=4)[:28_000])
    lake.drop("noise", "fleet/car/d4/noise.mcap", b"this is no recording" * 10)
    lake.drop("outside", "outside.mcap", good)
    front = recording(folder / "front.mcap", seed=6, seconds=10)
    files = [ManifestFile("front.mcap", len(front)), ManifestFile("back.mcap", len(MISSING_PART))]
    lake.drop("front", "fleet/car/d8/rec/front.mcap", front)
    lake.drop("manifest", "fleet/car/d8/rec/_MANIFEST.json", manifest_bytes(files))
    lake.drop("faces", "private/car/d9/a.mcap", recording(folder / "faces.mcap", seed=13))
    lake.build()
    lake.drop("late", "fleet/car/d1/late.mcap", recording(folder / "late.mcap", seed=5, seconds=10))
    lake.build()
    lake.drop("claimed", "fleet/car/d5/a.mcap", good)
    lake.claim()
    lake.drop("pending", "fleet/car/d6/a.mcap", good)
    lake.drop("marker", "fleet/car/d7/", b"")
    landing = lake.settings.landing_bucket
    lake.s3.delete_object(Bucket=landing, Key="fleet/car/d2/b.mcap")
    held = lake.held()
    lake.ledger.decide(replace(held, decision=Decision.REPROCESS))
    lake.ledger.decide(held)
    lake.ledger.record_ignored(IgnoredEvent("ObjectRemoved:DeleteMarkerCreated", "an object was deleted", 1, landing))
