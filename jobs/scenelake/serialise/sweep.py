"""What the names in the lake say of who needs them: the rules of the sweep that need no reading."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scenelake.contracts.drops import Batch, BatchState, Drop, DropState

_BRANCH = re.compile(r"r\d{8}\.(?P<batch_id>.+)\.(?P<attempt>\d+)")
_PAYLOAD = re.compile(r"/(?P<object>[0-9a-f]{32})-\d+-\d{3,}-[0-9a-f]{8}\.parquet$")
_BATCHED = re.compile(r"/(?P<batch_id>b\d{8}T\d{6}Z-[0-9a-f]{8})-[0-9a-f]{16}\.parquet$")
_ATTEMPT = re.compile(r"/work/batches/(?P<batch_id>[^/]+)/(?P<attempt>\d+)/")
_PART = re.compile(
    r"(?P<folder>.*/work/decoded/[^/]+/[^/]+)/(?:part-(?P<part>\d{5,})\.json|(?P<table>\w+)-(?P<number>\d{5,})\.parquet)"
)

SWEPT_SUFFIXES = (".parquet", ".avro")
"""Data files, manifests and manifest lists. Metadata files stay: they are the tables' history and open releases."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a batch."""

    batch_id: str
    attempt: int

    def is_over(self, batch: Batch | None) -> bool:
        """Whether the attempt will write nothing more. A batch that the ledger does not know says nothing."""
        return batch is not None and (batch.state is BatchState.CLOSED or batch.attempt > self.attempt)

    def is_superseded(self, batch: Batch | None) -> bool:
        """Whether a later attempt ended the batch, so that nobody asks for this one's work any more."""
        return batch is not None and batch.state is BatchState.CLOSED and batch.attempt > self.attempt


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file that the task for one part of a large object left.

    Attributes:
        folder_uri: of the object's drop.
        table: None for the part's own outcome.
    """

    folder_uri: str
    table: str | None
    number: int

    def is_needed(self, parts: Mapping[str, Sequence[int]]) -> bool:
        """Whether the drop's outcome names it: an object whose index lied was read whole in the end, and names none.

        Args:
            parts: ``DropOutcome.parts``.
        """
        tables = parts.values() if self.table is None else [parts.get(self.table, ())]
        return any(self.number in numbers for numbers in tables)


def part_of_decoded(uri: str) -> PartFile | None:
    """The part of an object that a file below ``work/decoded`` is of; None for any other file."""
    match = _PART.fullmatch(uri)
    return PartFile(match["folder"], match["table"], int(match["part"] or match["number"])) if match else None


def attempt_of_branch(name: str) -> Attempt | None:
    """The attempt whose candidate a branch is; None for a branch of somebody else's."""
    match = _BRANCH.fullmatch(name)
    return Attempt(match["batch_id"], int(match["attempt"])) if match else None


def attempt_of_work(uri: str) -> Attempt | None:
    """The attempt that a file below ``work/batches`` belongs to."""
    match = _ATTEMPT.search(uri)
    return Attempt(match["batch_id"], int(match["attempt"])) if match else None


def object_of_payload(uri: str) -> str | None:
    """First half of the ``object_sha256`` that a payload file was decoded from; None for any other file."""
    match = _PAYLOAD.search(uri)
    return match["object"] if match else None


def batch_of_file(uri: str) -> str | None:
    """The batch that wrote a small table's file; None for any other file."""
    match = _BATCHED.search(uri)
    return match["batch_id"] if match else None


def needs_its_payload(drop: Drop) -> bool:
    """Whether what decode wrote for a drop is needed, or may yet be: by its scenes, or by the next attempt."""
    is_without = drop.state in (DropState.REJECTED, DropState.FORGOTTEN)
    return not is_without or bool(drop.outcome.get("decoded_uri"))
