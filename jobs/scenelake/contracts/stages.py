"""The stages, what a job is told, what it answers, and the small documents that stages leave each other.

A stage's tables lie in its folder (``paths.LakePaths.stage``). Beside them:

=============  ====================================  ==============================================
stage          document                              content
=============  ====================================  ==============================================
decode         ``<stage>/drops.json``                ``DecodedDrop`` per drop of the batch
decode         ``<decoded uri>/outcome.json``        ``DropOutcome`` of one drop
synchronise    ``<stage>/drives.json``               ``DrivePlan`` per drive touched by the batch
synchronise    ``<stage>/<drive>/clocks.json``       per channel: what its clock did (``ChannelClock``)
serialise      ``<stage>/release.json``              ``contracts.releases.Release``, or ``{}`` for none
serialise      ``<stage>/outcomes.json``             figures per drop, for the ledger
every stage    ``<stage>/record.json``               ``StageRecord``: the run as lineage tells it
=============  ====================================  ==============================================

Tables per drive: synchronise leaves ``drive``, ``raw_object``, ``scene``, ``sample``, ``sample_data``,
``sync_index``, ``calibrated_sensor``, ``ego_pose`` (poses found in transforms), ``clock_fault``, ``clock_segment``,
``sync_error`` and ``unassigned``;
quality leaves ``qc_measurement``, ``qc_result`` and ``scene_verdict``. All are Parquet files named after the table.
"""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa

from scenelake.contracts.columns import field as column

JsonObject = dict[str, Any]


class Stage(StrEnum):
    OPEN_BATCH = "open_batch"
    DECODE = "decode"
    SYNCHRONISE = "synchronise"
    QUALITY = "quality"
    SERIALISE = "serialise"
    LINEAGE = "lineage"
    SETTLE_BATCH = "settle_batch"


JOB_MODULES: dict[Stage, str] = {
    Stage.OPEN_BATCH: "scenelake.ledger.open_batch_job",
    Stage.DECODE: "scenelake.decode.job",
    Stage.SYNCHRONISE: "scenelake.synchronise.job",
    Stage.QUALITY: "scenelake.quality.job",
    Stage.SERIALISE: "scenelake.serialise.job",
    Stage.LINEAGE: "scenelake.lineage.job",
    Stage.SETTLE_BATCH: "scenelake.ledger.settle_batch_job",
}


@dataclass(frozen=True, slots=True)
class StageArguments:
    """Command line of every job: ``--batch-id B --attempt N [--dag-run-id R] [--result FILE]``.

    Attributes:
        batch_id: the batch; its drops are read from the ledger.
        attempt: fencing token; a job whose attempt is stale exits FENCED.
        dag_run_id: Airflow run, for lineage.
        result: local file for the job's answer (ids, URIs and counts only), for XCom.
    """

    batch_id: str
    attempt: int
    dag_run_id: str | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """One input or output of a stage: a table or object, its version and the hash of its content."""

    dataset: str
    version: str
    content_hash: str | None = None


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """What a stage's function returns to the runner.

    Attributes:
        result: ids, URIs and counts for XCom.
        params: the resolved configuration.
        inputs, outputs: for lineage.
        spark_conf: the full Spark configuration, where there is one.
    """

    result: JsonObject
    params: JsonObject
    inputs: tuple[DatasetVersion, ...] = ()
    outputs: tuple[DatasetVersion, ...] = ()
    spark_conf: JsonObject | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One run of one stage, as ``lineage_run`` and ``lineage_edge`` will hold it."""

    run_id: str
    batch_id: str
    attempt: int
    stage: str
    git_commit: str | None
    is_dirty: bool | None
    image_digest: str | None
    spark_conf: JsonObject | None
    params_hash: str
    params: JsonObject
    seed: int | None
    dag_run_id: str | None
    started_at_ns: int
    ended_at_ns: int
    inputs: tuple[DatasetVersion, ...]
    outputs: tuple[DatasetVersion, ...]

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, value: JsonObject) -> "StageRecord":
        edges = {k: tuple(DatasetVersion(**e) for e in value[k]) for k in ("inputs", "outputs")}
        return cls(**{**value, **edges})


class DropVerdict(StrEnum):
    DECODED = "decoded"
    SALVAGED = "salvaged"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Problem:
    """A byte range of an object that could not be used, half-open, and why."""

    reason: str
    detail: str
    start_byte: int
    exclusive_end_byte: int


@dataclass(frozen=True, slots=True)
class ChannelCount:
    """Messages of one channel (topic) of one object.

    Attributes:
        recorded: the recording's own count (Statistics record); where it has none, what was read.
        read: messages delivered, whatever became of them: decoded + raw + undecodable.
        undecodable: read, but their bytes contradict their schema. Messages lost to bad byte ranges
            are ``recorded - read``.
    """

    channel: str
    modality: str
    schema_name: str
    recorded: int
    read: int
    decoded: int
    raw: int
    undecodable: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class PayloadFile:
    """One payload file at its final path."""

    table: str
    uri: str
    drive_date: str
    slot: int
    nbr_rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SiblingVersion:
    """Another object of the drive that decode looked at for a drop, as it was then.

    Attributes:
        etag, size_bytes: None for one that was not there.
    """

    uri: str
    version_id: str | None = None
    etag: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DropOutcome:
    """Decode's answer for one drop.

    Attributes:
        reason, detail: code and text for a person, naming the file and the byte; None when all is well.
        metadata: the recording's metadata records by name, plus key ``"header"`` (profile, library).
        tables: batched tables present beside outcome.json (imu, gnss, …, calibration).
        parts: numbers of the parts of a split object that left a file of a table; empty for an object in one piece.
        siblings: other objects that the rows depend on, those among them that were not there.
    """

    drop_id: str
    verdict: DropVerdict
    reason: str | None
    detail: str | None
    format: str | None
    object_sha256: str | None
    size_bytes: int
    recipe: str
    start_ns: int | None
    exclusive_end_ns: int | None
    channels: tuple[ChannelCount, ...] = ()
    problems: tuple[Problem, ...] = ()
    payload_files: tuple[PayloadFile, ...] = ()
    tables: tuple[str, ...] = ()
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    parts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    siblings: tuple[SiblingVersion, ...] = ()

    def files(self, decoded_uri: str, table: str) -> tuple[str, ...]:
        """URIs of the files that hold a table, in the order of the object."""
        if not self.parts:
            return (f"{decoded_uri}/{table_file(table)}",)
        return tuple(f"{decoded_uri}/{table_file(table, number)}" for number in self.parts.get(table, ()))

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, value: JsonObject) -> "DropOutcome":
        return cls(
            **{
                **value,
                "verdict": DropVerdict(value["verdict"]),
                "channels": tuple(ChannelCount(**c) for c in value["channels"]),
                "problems": tuple(Problem(**p) for p in value["problems"]),
                "payload_files": tuple(PayloadFile(**f) for f in value["payload_files"]),
                "tables": tuple(value["tables"]),
                "parts": {table: tuple(numbers) for table, numbers in value.get("parts", {}).items()},
                "siblings": tuple(SiblingVersion(**s) for s in value.get("siblings", ())),
            }
        )


def table_file(table: str, part: int | None = None) -> str:
    """Name of a table's file in a drop's folder."""
    return f"{table}.parquet" if part is None else f"{table}-{part:05d}.parquet"


@dataclass(frozen=True, slots=True)
class DecodedDrop:
    """A line of decode's ``drops.json``: where a drop's output is, and how it went."""

    drop_id: str
    drive_id: str
    decoded_uri: str
    verdict: str
    reason: str | None
    detail: str | None
    object_sha256: str | None


@dataclass(frozen=True, slots=True)
class DrivePlan:
    """A drive that this batch rebuilds, from every object of it that decoded: this batch's and earlier ones'.

    Attributes:
        decoded: ``{drop_id: decoded uri}`` of the objects that make the drive; none when all that it was made of
            has been rejected.
        duplicates: ``{drop_id: drop_id}``: copies of an object, and the copy that survives.
    """

    drive_id: str
    fleet: str
    vehicle: str
    drive: str
    decoded: dict[str, str]
    duplicates: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChannelClock:
    """What one channel's clock did over a drive. Times are ns; counts are of messages.

    Attributes:
        nbr_duplicate_stamps: rows whose stamp equals the previous row's.
        nbr_backward_jumps, largest_backward_ns: stamps that go back in recording order.
        nbr_gaps, largest_gap_ns: steps longer than 3 median periods (and 100 ms).
        offset_from_reference_ns: the channel's first stamp minus the reference's first stamp, when the two
            spans do not overlap or barely do; None when they overlap.
        epoch: utc, or boot_time when stamps lie before 2000-01-01, or future.
        log_minus_stamp_ns: least log time less stamp at the first message: least latency less the clock's offset,
            which nothing in one channel can part. None where the log times are no clock of their own.
        drift_ppm, drift_error_ppm: what the stamps gain on the log times in most of the drive, and its standard
            error; None where it cannot be told.
        nbr_clock_jumps: steps of the clock against the log times.
        unobservable: what of this clock nobody can see, and why.
    """

    channel: str
    modality: str
    timestamp_basis: str
    nbr_messages: int
    start_ns: int
    exclusive_end_ns: int
    median_period_ns: int | None
    nbr_duplicate_stamps: int
    nbr_backward_jumps: int
    largest_backward_ns: int
    nbr_gaps: int
    largest_gap_ns: int
    offset_from_reference_ns: int | None
    epoch: str
    log_minus_stamp_ns: int | None = None
    drift_ppm: float | None = None
    drift_error_ppm: float | None = None
    nbr_clock_jumps: int = 0
    unobservable: str | None = None


class ClockFaultKind(StrEnum):
    """What can be wrong with times; docs/clocks.md tells of each."""

    DUPLICATE_STAMPS = "duplicate_stamps"
    BACKWARD_STAMP = "backward_stamp"
    MISSING_MESSAGES = "missing_messages"
    JITTER = "jitter"
    CLOCK_JUMP = "clock_jump"
    LEAP_SECOND = "leap_second"
    CLOCK_DRIFT = "clock_drift"
    CLOCK_OFF = "clock_off"
    EPOCH = "epoch"
    RATE_MISMATCH = "rate_mismatch"
    ERRATIC_CLOCK = "erratic_clock"
    LATENCY_CHANGE = "latency_change"
    CONVERSION_STAMPS = "conversion_stamps"
    LOG_CLOCK_JUMP = "log_clock_jump"
    LOG_CLOCK_OFF = "log_clock_off"
    MADE_UP_STAMPS = "made_up_stamps"


@dataclass(frozen=True, slots=True)
class ClockFault:
    """Something wrong with the times of a channel, or of the recorder: a row of ``clock_fault``.

    Attributes:
        channel, modality: None for the recorder's clock.
        start_ns, exclusive_end_ns: holds the messages concerned, or the hole where messages are missing.
        timestamp_basis: the clock that the interval is told in: log where log times are a clock of their own.
        size_ns: how far off, in ns of time; None where that has no meaning.
        nbr_affected: messages concerned; of a hole, the number that is missing as far as the period tells.
        evidence: JSON.
    """

    fault_kind: ClockFaultKind
    channel: str | None
    modality: str | None
    start_ns: int
    exclusive_end_ns: int
    timestamp_basis: str
    size_ns: int | None
    nbr_affected: int
    evidence: str


CLOCK_SEGMENT_SCHEMA = pa.schema(
    [
        column("drive_id"),
        column("channel"),
        column("start_ns"),
        column("exclusive_end_ns"),
        pa.field("begins", pa.string()),
        pa.field("nbr_messages", pa.int64()),
        pa.field("log_minus_stamp_ns", pa.int64()),
        pa.field("jump_ns", pa.int64()),
        pa.field("drift_ppm", pa.float64()),
        pa.field("drift_error_ppm", pa.float64()),
    ]
)
"""Stretches of a drive in which a channel's clock ran evenly against the log times, which the intervals are in.
``log_minus_stamp_ns`` is the least delay at the start; ``jump_ns`` is what the stamps gained there at once; ``begins``
is first, clock_jump, latency_change or drift_change (``timebase.observed_clock``)."""


SYNC_ERROR_SCHEMA = pa.schema(
    [
        column("scene_id"),
        column("channel"),
        pa.field("reference_channel", pa.string()),
        pa.field("nbr_reference", pa.int64()),
        pa.field("median_abs_delta_ns", pa.int64()),
        pa.field("p99_abs_delta_ns", pa.int64()),
        pa.field("max_abs_delta_ns", pa.int64()),
    ]
)
"""Nearest |delta| from *every* reference row of a scene (native rate, before any tolerance) to each channel."""

UNASSIGNED_SCHEMA = pa.schema(
    [column("sample_data_id"), column("object_sha256"), column("channel"), column("timestamp_ns"), column("reason")]
)
"""Messages that lie outside every scene, with the reason."""

SCENE_VERDICT_SCHEMA = pa.schema([column("scene_id"), column("verdict"), column("reason"), column("evidence")])
"""One row per scene: pass, warn, quarantine or reject."""
