"""What the harness does to a landing bucket, kept so that it can be done again to another one."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.config import Config
from tests.faults.recordings import Part

from scenelake.adapters.aws import aws_session, client_config
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.contracts.drops import DropState
from scenelake.runtime.settings import Settings

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Operation:
    """A put, a delete marker, or the deletion of the version that the key's last put made.

    Attributes:
        kind: ``put``, ``mark`` or ``erase``.
    """

    kind: str
    key: str
    body: bytes = b""


@dataclass
class Journal:
    """Everything that was done to the landing bucket, in order."""

    operations: list[Operation] = field(default_factory=list)


@dataclass
class Landing:
    """One lake's landing bucket and ledger, seen from outside."""

    settings: Settings
    journal: Journal
    versions: dict[str, str] = field(default_factory=dict)
    """The version that the last put of a key made."""

    def __post_init__(self) -> None:
        self.s3 = self.client_of("s3", self.settings)
        self.sqs = self.client_of("sqs", self.settings)
        self.ledger = DynamoLedger(self.client_of("dynamodb", self.settings), self.settings.ledger_table)

    @staticmethod
    def client_of(service: str, settings: Settings) -> Any:
        """A client that outlasts the injected faults: the harness must see what is there."""
        config = client_config().merge(Config(retries={"max_attempts": _TRIES, "mode": "standard"}))
        return aws_session(settings).client(service, endpoint_url=settings.endpoint_url, config=config)

    def put(self, part: Part) -> None:
        self._do(Operation("put", part.key, part.body))

    def mark_deleted(self, key: str) -> None:
        """Leaves a delete marker: the object's version stays and must be built."""
        self._do(Operation("mark", key))

    def erase(self, key: str) -> None:
        """Deletes the version itself: nothing is left to build."""
        self._do(Operation("erase", key))

    def replay(self, journal: Journal) -> None:
        """Does to this bucket what was done to another."""
        for operation in journal.operations:
            self._do(operation)

    def _do(self, operation: Operation) -> None:
        bucket, key = self.settings.landing_bucket, operation.key
        match operation.kind:
            case "put":
                self.versions[key] = self.s3.put_object(Bucket=bucket, Key=key, Body=operation.body)["VersionId"]
            case "mark":
                self.s3.delete_object(Bucket=bucket, Key=key)
            case "erase":
                self.s3.delete_object(Bucket=bucket, Key=key, VersionId=self.versions[key])
            case kind:
                raise ValueError(f"operation {kind!r}: expected put, mark or erase")
        self.journal.operations.append(operation)

    def object_versions(self, prefix: str = "") -> set[tuple[str, str]]:
        """``(key, version id)`` of every object version that is there."""
        pages = self.s3.get_paginator("list_object_versions").paginate(
            Bucket=self.settings.landing_bucket, Prefix=prefix
        )
        return {(v["Key"], v["VersionId"]) for page in pages for v in page.get("Versions", ())}

    def unregistered(self) -> set[tuple[str, str]]:
        """Object versions that the ledger does not know."""
        listed = self.object_versions()
        return listed - {(d.key, d.version_id) for d in self.ledger.drops()}

    def nbr_waiting(self) -> int:
        """Drops that are PENDING or CLAIMED."""
        return sum(1 for state in (DropState.PENDING, DropState.CLAIMED) for _ in self.ledger.drops(state=state))

    def nbr_queued(self, queue_url: str) -> int:
        """Messages of a queue, hidden ones and delayed ones included."""
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        answer = self.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)
        return sum(int(n) for n in answer["Attributes"].values())

    def unfinished(self) -> list[str]:
        """What has not come to an end: unregistered object versions and drops that are in no terminal state."""
        lost = [f"{key} version {version} is not in the ledger" for key, version in sorted(self.unregistered())]
        states = (DropState.PENDING, DropState.CLAIMED)
        return lost + [f"{d.key} is {d.state}" for s in states for d in self.ledger.drops(state=s)]


def wait_until(deadline: float, condition: Callable[[], bool], poll_seconds: float = 1.0) -> bool:
    """Polls until the condition holds; False when it does not by the deadline (``time.monotonic``)."""
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_seconds)
    return True
