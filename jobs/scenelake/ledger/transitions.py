"""The rules of the ledger as values: history entries, identities of batches, and what poison looks like."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from scenelake.contracts.drops import Batch, Drop, DropState, Settlement
from scenelake.contracts.errors import ScenelakeError

RENEWABLE = frozenset({DropState.BUILT, DropState.REJECTED, DropState.DUPLICATE})
"""Terminal states that a rebuild, asked for by a person, may claim again; FORGOTTEN stays forgotten."""

SUSPECT = "the batch failed at every attempt; its drives are tried again by halves"


@dataclass(frozen=True, slots=True)
class Transition:
    """One entry of a drop's history."""

    at_ns: int
    state: DropState
    batch_id: str | None = None
    attempt: int = 0
    reason: str | None = None

    def to_item(self) -> dict[str, object]:
        return {
            "at_ns": self.at_ns,
            "state": str(self.state),
            "batch_id": self.batch_id,
            "attempt": self.attempt,
            "reason": self.reason,
        }


def registered(drop: Drop) -> Transition:
    """The first entry of every history."""
    return Transition(drop.received_at_ns, drop.state, reason=drop.reason)


def new_batch_id(drops: Sequence[Drop], now_ns: int) -> str:
    """Identity of a claim: its time to the second and eight hex digits of who was claimed, from what, and when.

    Two claims of the same drops in the same nanosecond share an id, and the ledger lets one of them win.
    """
    seen = sorted(f"{d.drop_id}:{d.state}:{d.batch_id}:{d.attempt}" for d in drops)
    digest = hashlib.sha256("\x1f".join((str(now_ns), *seen)).encode()).hexdigest()
    return f"b{utc_text(now_ns, '%Y%m%dT%H%M%SZ')}-{digest[:8]}"


def is_claimable(drop: Drop, *, rebuild: bool) -> bool:
    """PENDING, or ended and asked for again; a drop without a drive cannot be built at all."""
    if not drop.drive_id:
        return False
    return drop.state is DropState.PENDING or (rebuild and drop.state in RENEWABLE)


def after_last_attempt(
    drops: Sequence[Drop],
    batch: Batch,
    nbr_drives: int,
    histories: Callable[[str], Sequence[Mapping[str, object]]],
    now_ns: int,
) -> dict[str, Transition]:
    """Where the drops of a batch go that failed at every attempt, by drop id.

    One drive can bring down a batch of many, so only a batch of one drive is poison. The drives of a larger one
    go back to PENDING under the batch's name, which makes them suspects (``selection.select``).

    ``nbr_drives`` counts those that the batch was drawn up with, for some of its drops may have ended already.

    A drop that had ended before, and was taken again for a rebuild, ends as it did then: what it gave to gold is
    there, and the next build of its drive would drop it if it were REJECTED.
    """
    batch_id, attempt = batch.batch_id, batch.attempt
    if nbr_drives > 1:
        return {d.drop_id: Transition(now_ns, DropState.PENDING, batch_id, attempt, SUSPECT) for d in drops}
    told = {d.drop_id: histories(d.drop_id) for d in drops}
    return {
        drop_id: Transition(
            now_ns, _last_end(history) or DropState.REJECTED, batch_id, attempt,
            poison_reason(batch, history),
        )
        for drop_id, history in told.items()
    }  # fmt: skip


def _last_end(history: Sequence[Mapping[str, object]]) -> DropState | None:
    states = (DropState(str(entry["state"])) for entry in reversed(history))
    return next((state for state in states if state.is_terminal), None)


def check_settlements(settlements: Sequence[Settlement]) -> None:
    """A settlement ends a drop.

    Raises:
        ScenelakeError: for a state that is not terminal, or a drop that is settled twice.
    """
    for settlement in settlements:
        if not settlement.state.is_terminal:
            raise ScenelakeError(f"drop {settlement.drop_id}: expected a terminal state, got {settlement.state}")
    if len({s.drop_id for s in settlements}) != len(settlements):
        raise ScenelakeError("expected one settlement per drop, got two for the same one")


def unbegun(batch: Batch) -> int:
    """Attempts at a batch, whose lease has ended, that no run ever began."""
    return batch.nbr_unbegun + batch.is_waiting


def is_last_attempt(batch: Batch, max_attempts: int) -> bool:
    """Whether a batch, whose lease has ended, is to be given up.

    One that a release may hold never is (``Batch.release_id``).

    Where builds take longer than a lease, a batch's lease may end while its run still waits for a place in
    Airflow's queue. That fences the attempt off, as any other, but is no evidence against the drops.
    """
    return batch.release_id is None and batch.attempt - unbegun(batch) >= max_attempts


def why_ended(batch: Batch) -> str:
    """How the current attempt of a batch, whose lease has ended, came to its end."""
    if batch.is_waiting:
        return f"the lease of attempt {batch.attempt} lapsed before a run began it"
    return (
        f"attempt {batch.attempt} was handed back: {batch.failure}"
        if batch.failure
        else (f"the lease of attempt {batch.attempt} lapsed or was handed back")
    )


def poison_reason(batch: Batch, history: Sequence[Mapping[str, object]]) -> str:
    """Why a drop is given up, with its evidence: when each attempt took it, and how that ended."""
    starts = [e for e in history if e["state"] == str(DropState.CLAIMED) and e["batch_id"] == batch.batch_id]
    evidence = "; ".join(
        (f"{e['reason']}; " if e.get("reason") else "")
        + f"attempt {e['attempt']} took it at {utc_text(int(str(e['at_ns'])))}"
        for e in starts
    )
    attempts = f"{batch.attempt} attempt(s) of batch {batch.batch_id}"
    return f"poison: {attempts} ended without a verdict: {evidence}; {why_ended(batch)}"


def utc_text(at_ns: int, pattern: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    """A time for people and names, to the second."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime(pattern)
