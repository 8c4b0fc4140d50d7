"""Where things are. Every location is a function of identities, so a retry writes to the same place."""

import re
from dataclasses import dataclass

from scenelake.contracts.errors import BadInputError

_KEY_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+|-]*")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")
MANIFEST_NAME = "_MANIFEST.json"
LAYOUT = "<fleet>/<vehicle>/<drive>/<file>"


@dataclass(frozen=True, slots=True)
class DropKey:
    """A landing key taken apart: ``<fleet>/<vehicle>/<drive>/<file…>``; the file may have folders.

    A file in the drive itself is a recording alone. The files below a folder of the drive are one recording
    (a rosbag2 or LeRobot folder, a split bag, one file per sensor), named after that folder.
    """

    fleet: str
    vehicle: str
    drive: str
    file: str

    @property
    def recording(self) -> str:
        """First folder below the drive; empty for a file in the drive itself."""
        folder, _, name = self.file.partition("/")
        return folder if name else ""

    @property
    def sensor(self) -> str | None:
        """Folder of the file inside its recording (``<recording>/<sensor…>/<name>``), where there is one."""
        folders = self.file.split("/")[1:-1]
        return "/".join(folders) or None

    @property
    def is_manifest(self) -> bool:
        """Whether the file is the manifest of its recording, or of the drive (``contracts.manifests``)."""
        return self.file in (MANIFEST_NAME, f"{self.recording}/{MANIFEST_NAME}")


def parse_drop_key(key: str) -> DropKey:
    """Takes a landing key apart.

    Raises:
        BadInputError: reason ``key_outside_layout`` when the key does not follow the layout.
    """
    parts = key.split("/")
    if len(parts) < 4 or any(not part for part in parts):
        raise BadInputError(f"{key!r}: expected {LAYOUT}, got {len(parts)} part(s)", reason="key_outside_layout")
    fleet, vehicle, drive = parts[:3]
    for name, part in (("fleet", fleet), ("vehicle", vehicle), ("drive", drive)):
        if not _KEY_PART.fullmatch(part):
            raise BadInputError(f"{key!r}: {name} {part!r}: expected A-Z a-z 0-9 . _ = + | -, "
                                "starting with a letter or digit",
                                reason="key_outside_layout")  # fmt: skip
    return DropKey(fleet, vehicle, drive, "/".join(parts[3:]))


def split_uri(uri: str) -> tuple[str, str]:
    """``s3://bucket/key`` as (bucket, key)."""
    if not uri.startswith("s3://"):
        raise ValueError(f"expected an s3:// URI, got {uri!r}")
    bucket, _, key = uri[5:].partition("/")
    return bucket, key


def payload_slot(uri: str) -> str:
    """What a payload file is of, object and slot, whichever recipe wrote it: the name less part and recipe."""
    return uri.rsplit("/", 1)[-1].rsplit("-", 2)[0]


@dataclass(frozen=True, slots=True)
class LakePaths:
    """Locations in the lake bucket, all as s3:// URIs.

    Attributes:
        lake: ``s3://<lake bucket>``, without a trailing slash.
    """

    lake: str

    @property
    def warehouse(self) -> str:
        return f"{self.lake}/gold"

    def payload_file(self, table: str, drive_date: str, object_sha256: str, slot: int, part: int, recipe: str) -> str:
        """Final path of a slotted payload file; ``slot`` counts 20 s from the epoch.

        Another recipe writes other bytes and so other files: a release keeps the ones that it pinned.
        """
        name = f"{object_sha256[:32]}-{slot}-{part:03d}-{recipe[:8]}.parquet"
        return f"{self.warehouse}/{table}/data/drive_date={drive_date}/{name}"

    def batched_file(self, table: str, drive_date: str, batch_id: str, content_hash: str) -> str:
        """Path of a small table's file; the content hash keeps two attempts from sharing a name."""
        return f"{self.warehouse}/{table}/data/drive_date={drive_date}/{batch_id}-{content_hash[:16]}.parquet"

    def decoded(self, recipe: str, drop_id: str) -> str:
        """Folder of decode's output for one drop: outcome.json, message_index.parquet, <table>.parquet."""
        return f"{self.lake}/work/decoded/{recipe}/{drop_id}"

    def attempt(self, batch_id: str, attempt: int) -> str:
        return f"{self.lake}/work/batches/{batch_id}/{attempt:03d}"

    def stage(self, batch_id: str, attempt: int, stage: str) -> str:
        """Folder of one stage's output for one attempt."""
        return f"{self.attempt(batch_id, attempt)}/{stage}"

    def drive(self, batch_id: str, attempt: int, stage: str, drive_id: str) -> str:
        return f"{self.stage(batch_id, attempt, stage)}/{drive_id}"

    def stage_record(self, batch_id: str, attempt: int, stage: str) -> str:
        """``record.json``: the stage's run as lineage will tell it (contracts.stages.StageRecord)."""
        return f"{self.stage(batch_id, attempt, stage)}/record.json"

    @property
    def releases(self) -> str:
        return f"{self.lake}/releases"

    def release(self, number: int) -> str:
        return f"{self.releases}/{number:08d}.json"

    @property
    def all_baselines(self) -> str:
        return f"{self.lake}/baselines"

    def baselines(self, number: int) -> str:
        """What each robot's sensors usually look like, fitted to the release of that number."""
        return f"{self.all_baselines}/{number:08d}.parquet"

    @property
    def reports(self) -> str:
        return f"{self.lake}/reports"

    def report(self, day: str) -> str:
        """Folder of the report of a day's drives; ``day`` is a date, 2026-01-31."""
        return f"{self.reports}/{day}"

    def reconciliation(self, run_id: str) -> str:
        """Folder of what one run of the reconciler, the audit or the sweep reports."""
        return f"{self.lake}/work/reconcile/{_NOT_IN_A_NAME.sub('_', run_id)}"


@dataclass(frozen=True, slots=True)
class RestrictedPaths(LakePaths):
    """The lake as originals of redacted frames see it: payload files outside gold, under a prefix with its own access
    and its own lifecycle (deploy/landing_zone.yaml)."""

    def payload_file(self, table: str, drive_date: str, object_sha256: str, slot: int, part: int, recipe: str) -> str:
        """Path of originals of one object and slot."""
        name = f"{slot}-{part:03d}-{recipe[:8]}.parquet"
        return f"{self.lake}/restricted/{table}/drive_date={drive_date}/{object_sha256[:32]}/{name}"
