"""What to audit and how far to look."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3
STACK_FILE = Path(".scenelake") / "stack.json"


class AuditError(Exception):
    """The audit could not be carried out; it says nothing about the lake."""


@dataclass(frozen=True, slots=True)
class Lake:
    """Where one lake is.

    Attributes:
        endpoint_url: AWS endpoint override; None means AWS itself.
        landing, lake: bucket names.
        ledger: DynamoDB table.
        database: Glue database.
    """

    endpoint_url: str | None = None
    region: str = "eu-central-1"
    landing: str = "scenelake-landing"
    lake: str = "scenelake-lake"
    ledger: str = "scenelake-ledger"
    database: str = "scenelake"


@dataclass(frozen=True, slots=True)
class Depth:
    """How far to look.

    Attributes:
        release: id of the release to audit; None for the newest.
        is_ledger_only: only landing and ledger (I1): quick, for a check between two full ones.
        is_deep: without bounds: every payload file is hashed, every scene's content hash derived, every raw
            object's messages counted, every release of the chain read.
        grace_seconds: age below which an unreferenced file may still be waiting for its commit.
        event_grace_seconds: age below which an object version may still be waiting for its event, and a batch
            whose lease lapsed for its next claim.
        pending_seconds: how long a drop may wait to be claimed, once its recording is quiet and its drive free.
        payload_bytes, payload_files, recording_bytes, recordings, scenes, releases: bounds of what is read when
            not deep.
        seed: decides which part is read when not deep; another seed each day sees all of a lake in time.
    """

    release: str | None = None
    is_ledger_only: bool = False
    is_deep: bool = False
    grace_seconds: float = 3600.0
    event_grace_seconds: float = 60.0
    pending_seconds: float = 3600.0
    payload_bytes: int = 8 * GIB
    payload_files: int = 2000
    recording_bytes: int = 2 * GIB
    recordings: int = 1000
    scenes: int = 200
    releases: int = 100
    seed: str = ""


_SETTINGS = {
    "endpoint_url": "endpoint_url",
    "region": "region",
    "landing": "landing_bucket",
    "lake": "lake_bucket",
    "ledger": "ledger_table",
    "database": "glue_database",
}


def lake_of_stack(path: Path) -> Lake:
    """The lake that a stack's description file, or a plain file of settings, names, with defaults for the rest.

    Raises:
        AuditError: the file cannot be read.
    """
    try:
        document = json.loads(path.read_text())
        settings: Mapping[str, str] = document.get("settings", document)
    except (OSError, ValueError, AttributeError) as error:
        raise AuditError(f"{path}: {error}") from error
    return Lake(**{name: settings[key] for name, key in _SETTINGS.items() if settings.get(key)})


def parse_lake(text: str, stack_file: Path = STACK_FILE) -> tuple[Lake, str | None]:
    """A lake and a release id from ``BUCKET[@ENDPOINT_URL][#RELEASE]`` or ``PATH/stack.json[#RELEASE]``.

    Raises:
        AuditError: the text is neither.
    """
    place, _, release = text.partition("#")
    if place.endswith(".json"):
        return lake_of_stack(Path(place)), release or None
    bucket, _, endpoint = place.removeprefix("s3://").partition("@")
    bucket = bucket.rstrip("/")
    if not bucket or "/" in bucket:
        raise AuditError(f"{text!r}: expected BUCKET[@ENDPOINT_URL][#RELEASE] or a stack.json file")
    known = lake_of_stack(stack_file) if stack_file.is_file() else Lake()
    return Lake(endpoint or known.endpoint_url, known.region, lake=bucket), release or None
