"""The ledger in memory: the twin of the DynamoDB one for tests, held to the same contract suite."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from scenelake.contracts.drops import (
    Batch,
    BatchState,
    Drop,
    DropState,
    IgnoredEvent,
    RecordingParts,
    Settlement,
)
from scenelake.contracts.errors import FencedError
from scenelake.contracts.reviews import Question, Review
from scenelake.ledger.protocol import ClaimLimits
from scenelake.ledger.recordings import ready
from scenelake.ledger.selection import select
from scenelake.ledger.transitions import (
    Transition,
    after_last_attempt,
    check_settlements,
    is_claimable,
    is_last_attempt,
    new_batch_id,
    registered,
    unbegun,
    why_ended,
)


@dataclass(slots=True)
class _Row:
    drop: Drop
    history: list[dict[str, object]] = field(default_factory=list)


class MemoryLedger:
    """``ledger.protocol.Ledger`` in a process's memory, behind one lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows: dict[str, _Row] = {}
        self._batches: dict[str, Batch] = {}
        self._leases_ns: dict[str, int] = {}
        self._drives: dict[str, str] = {}
        self._parts: dict[tuple[str, str], RecordingParts] = {}
        self._ignored: dict[IgnoredEvent, IgnoredEvent] = {}
        self._reviews: dict[tuple[Question, bool], Review] = {}

    def register(self, drop: Drop) -> bool:
        with self._lock:
            if drop.drop_id in self._rows:
                return False
            self._rows[drop.drop_id] = _Row(drop, [registered(drop).to_item()])
            return True

    def expect_parts(self, parts: RecordingParts) -> None:
        with self._lock:
            kept = self._parts.get((parts.drive_id, parts.recording))
            if kept is None or _age(kept) <= _age(parts):
                self._parts[parts.drive_id, parts.recording] = parts

    def parts_of(self, drive_id: str, recordings: Sequence[str]) -> list[RecordingParts]:
        found = (self._parts.get((drive_id, recording)) for recording in dict.fromkeys(recordings))
        return [parts for parts in found if parts]

    def record_ignored(self, event: IgnoredEvent) -> None:
        with self._lock:
            self._ignored.setdefault(replace(event, received_at_ns=0), event)

    def ignored(self) -> Iterator[IgnoredEvent]:
        yield from sorted(self._ignored.values(), key=lambda event: event.received_at_ns)

    def get(self, drop_id: str) -> Drop | None:
        row = self._rows.get(drop_id)
        return row.drop if row else None

    def drops(self, *, state: DropState | None = None, drive_id: str | None = None) -> Iterator[Drop]:
        with self._lock:
            found = sorted((r.drop for r in self._rows.values()), key=lambda d: (d.received_at_ns, d.drop_id))
        for drop in found:
            if state in (None, drop.state) and drive_id in (None, drop.drive_id):
                yield drop

    def history(self, drop_id: str) -> list[dict[str, object]]:
        row = self._rows.get(drop_id)
        return [dict(entry) for entry in row.history] if row else []

    def claim(self, limits: ClaimLimits, now_ns: int, claimant: str | None = None) -> Batch | None:
        with self._lock:
            by_lease = sorted(self._batches.values(), key=lambda b: (b.lease_until_ns, b.batch_id))
            for old in by_lease:
                batch = self._reclaim(old, limits, now_ns, claimant)
                if batch:
                    return batch
            waiting = list(self.drops(state=DropState.PENDING))
            return self._claim_new(waiting, partial(self._ready, limits, now_ns), limits, now_ns, claimant=claimant)

    def claim_drops(
        self,
        drop_ids: Sequence[str],
        limits: ClaimLimits,
        now_ns: int,
        *,
        rebuild: bool,
        claimant: str | None = None,
    ) -> Batch | None:
        with self._lock:
            named = [self._rows[i].drop for i in dict.fromkeys(drop_ids) if i in self._rows]
            holders = {d.batch_id for d in named if d.state is DropState.CLAIMED and d.batch_id}
            for batch_id in sorted(holders):
                batch = self._reclaim(self._batches[batch_id], limits, now_ns, claimant)
                if batch:
                    return batch
            named = [d for d in (self._rows[d.drop_id].drop for d in named) if is_claimable(d, rebuild=rebuild)]
            named.sort(key=lambda d: (d.received_at_ns, d.drop_id))

            def of_drive(drive: str) -> list[Drop]:
                return [] if drive in self._drives else [d for d in named if d.drive_id == drive]

            return self._claim_new(named, of_drive, limits, now_ns, "rebuild" if rebuild else None, claimant)

    def batch(self, batch_id: str) -> Batch | None:
        return self._batches.get(batch_id)

    def open_batches(self) -> list[Batch]:
        with self._lock:
            found = (batch for batch in self._batches.values() if batch.state is BatchState.OPEN)
            return sorted(found, key=lambda batch: (batch.lease_until_ns, batch.batch_id))

    def renew(self, batch_id: str, attempt: int, now_ns: int) -> Batch:
        with self._lock:
            batch = self._open_batch(batch_id, attempt)
            lease_until_ns = now_ns + self._leases_ns[batch_id]
            return self._keep(replace(batch, lease_until_ns=lease_until_ns, failure=None, is_waiting=False))

    def drops_of(self, batch_id: str, attempt: int) -> tuple[Drop, ...]:
        with self._lock:
            return self._held(self._open_batch(batch_id, attempt))

    def settle(self, batch_id: str, attempt: int, settlements: Sequence[Settlement], now_ns: int) -> None:
        check_settlements(settlements)
        with self._lock:
            batch = self._batch_at(batch_id, attempt)
            if batch.state is BatchState.CLOSED:
                return
            strangers = {s.drop_id for s in settlements} - set(batch.drop_ids)
            if strangers:
                raise FencedError(f"drop {min(strangers)} does not belong to batch {batch_id}")
            held = {d.drop_id for d in self._held(batch)}
            for settlement in settlements:
                if settlement.drop_id in held:
                    ended = Transition(now_ns, settlement.state, batch_id, attempt, settlement.reason)
                    self._move(settlement.drop_id, ended, settlement.outcome)
            staying = {drop.drive_id for drop in self._held(batch)}
            self._free(batch, staying)
            if not staying:
                self._keep(replace(batch, state=BatchState.CLOSED))

    def note_release(self, batch_id: str, attempt: int, release_id: str) -> None:
        with self._lock:
            self._keep(replace(self._open_batch(batch_id, attempt), release_id=release_id))

    def hand_back(self, batch_id: str, attempt: int, now_ns: int, failure: str | None = None) -> None:
        with self._lock:
            batch = self._open_batch(batch_id, attempt)
            self._keep(replace(batch, lease_until_ns=now_ns, failure=failure, is_waiting=False))

    def decide(self, review: Review) -> Review:
        with self._lock:
            stands = self._reviews.get((review.question, True))
            if stands is not None:
                return stands
            key = (review.question, review.decision.is_final)
            kept = self._reviews.get(key)
            if kept is None or kept.decided_at_ns <= review.decided_at_ns:
                self._reviews[key] = review
            return review

    def reviews(self, questions: Sequence[Question]) -> list[Review]:
        found = (self._reviews.get((q, is_final)) for q in dict.fromkeys(questions) for is_final in (True, False))
        return [review for review in found if review]

    def reviews_since(self, since_ns: int) -> Iterator[Review]:
        with self._lock:
            found = sorted(self._reviews.values(), key=lambda r: r.on_record_since_ns)
        yield from (review for review in found if review.on_record_since_ns >= since_ns)

    def _ready(self, limits: ClaimLimits, now_ns: int, drive_id: str) -> list[Drop]:
        known = list(self.drops(drive_id=drive_id))
        pending = [drop for drop in known if drop.state is DropState.PENDING]
        if drive_id in self._drives:
            return []
        parts = self.parts_of(drive_id, ["", *(drop.recording for drop in pending)])
        return ready(pending, known, parts, limits.quiet_ns, now_ns)

    def _suspects(self, batch_id: str) -> list[Drop]:
        drops = (self._rows[i].drop for i in self._batches[batch_id].drop_ids)
        return [drop for drop in drops if (drop.state, drop.batch_id) == (DropState.PENDING, batch_id)]

    def _claim_new(
        self,
        waiting: Sequence[Drop],
        claimable: Callable[[str], Sequence[Drop]],
        limits: ClaimLimits,
        now_ns: int,
        reason: str | None = None,
        claimant: str | None = None,
    ) -> Batch | None:
        drops = select(waiting, limits, claimable=claimable, suspects=self._suspects)
        if not drops:
            return None
        batch_id = new_batch_id(drops, now_ns)
        self._leases_ns[batch_id] = limits.lease_ns
        self._drives.update({drop.drive_id: batch_id for drop in drops})
        claimed = Transition(now_ns, DropState.CLAIMED, batch_id, 1, reason)
        for drop in drops:
            self._move(drop.drop_id, claimed)
        drop_ids = tuple(d.drop_id for d in drops)
        lease_until_ns = now_ns + limits.lease_ns
        is_waiting = claimant is not None
        return self._keep(Batch(batch_id, 1, lease_until_ns, drop_ids, claimant=claimant, is_waiting=is_waiting))

    def _reclaim(self, old: Batch, limits: ClaimLimits, now_ns: int, claimant: str | None = None) -> Batch | None:
        if old.state is BatchState.CLOSED or old.lease_until_ns > now_ns:
            return None
        held = self._held(old)
        is_waiting = claimant is not None
        batch = self._keep(replace(old, attempt=old.attempt + 1, is_waiting=is_waiting, nbr_unbegun=unbegun(old)))
        if is_last_attempt(old, limits.max_attempts):
            nbr_drives = len({self._rows[i].drop.drive_id for i in old.drop_ids})
            ends = after_last_attempt(held, old, nbr_drives, self.history, now_ns)
            for drop_id, end in ends.items():
                self._move(drop_id, end)
            self._free(batch, set())
            self._keep(replace(batch, state=BatchState.CLOSED))
            return None
        for drop in held:
            again = Transition(now_ns, DropState.CLAIMED, old.batch_id, batch.attempt, why_ended(old))
            self._move(drop.drop_id, again)
        self._leases_ns[old.batch_id] = limits.lease_ns
        return self._keep(replace(batch, lease_until_ns=now_ns + limits.lease_ns, failure=None, claimant=claimant))

    def _move(self, drop_id: str, to: Transition, outcome: dict[str, object] | None = None) -> None:
        row = self._rows[drop_id]
        row.drop = replace(
            row.drop,
            state=to.state,
            batch_id=to.batch_id,
            attempt=to.attempt,
            reason=to.reason if to.state.is_terminal else None,
            outcome=row.drop.outcome if outcome is None else dict(outcome),
        )
        row.history.append(to.to_item())

    def _free(self, batch: Batch, staying: set[str]) -> None:
        """Frees the drives that the batch holds, less those that stay."""
        self._drives = {d: holder for d, holder in self._drives.items() if holder != batch.batch_id or d in staying}

    def _keep(self, batch: Batch) -> Batch:
        self._batches[batch.batch_id] = batch
        return batch

    def _held(self, batch: Batch) -> tuple[Drop, ...]:
        drops = (self._rows[i].drop for i in batch.drop_ids)
        return tuple(d for d in drops if (d.state, d.batch_id) == (DropState.CLAIMED, batch.batch_id))

    def _batch_at(self, batch_id: str, attempt: int) -> Batch:
        batch = self._batches.get(batch_id)
        if batch is None:
            raise FencedError(f"batch {batch_id} is unknown to the ledger")
        if batch.attempt != attempt:
            raise FencedError(f"batch {batch_id} is at attempt {batch.attempt}; attempt {attempt} is fenced off")
        return batch

    def _open_batch(self, batch_id: str, attempt: int) -> Batch:
        batch = self._batch_at(batch_id, attempt)
        if batch.state is BatchState.CLOSED:
            raise FencedError(f"batch {batch_id} is closed")
        return batch


def _age(parts: RecordingParts) -> tuple[int, str]:
    return parts.stored_at_ns, parts.drop_id
