"""The ledger on one DynamoDB table.

Items: ``DROP#<id>`` (with its history), ``BATCH#<id>`` (with its lease), ``DRIVE#<id>`` (exists while a batch
holds the drive), ``PARTS#<drive>#<recording>`` (a manifest), ``EVENT#<hash>`` (an event that announced nothing),
``REVIEW#<scene>#<hash>`` (a person's decision) and ``REPROCESS#<scene>#<hash>`` (a person's newest request).
Indexes: ``by_state`` and ``by_drive`` in order of receipt, ``by_lease`` for lapsed batches. They lag and only
propose; conditions decide.

A batch, its drives and its drops change hands in one transaction, or in several where they are more than 100
items. Every one of several holds only while the batch is open at this attempt, so an attempt that died between
two is fenced off like any other, and the next one goes on from what it finds: a drop belongs to a batch when it is
CLAIMED under its name, whichever attempt wrote that.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Self

from botocore.exceptions import ClientError

from scenelake.adapters.aws import aws_client
from scenelake.adapters.ledger_items import (
    IGNORED,
    REVIEWS,
    Item,
    batch_of,
    batch_pk,
    drive_pk,
    drop_item,
    drop_of,
    drop_pk,
    ignored_item,
    ignored_of,
    parts_item,
    parts_of,
    parts_pk,
    review_item,
    review_of,
    review_pk,
)
from scenelake.adapters.ledger_table import ConditionFailedError, LedgerTable
from scenelake.adapters.ledger_transactions import DriveWrites, lost_ids, packed, transact, without
from scenelake.contracts.drops import Batch, BatchState, Drop, DropState, IgnoredEvent, RecordingParts, Settlement
from scenelake.contracts.errors import FencedError, TransientError
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
from scenelake.runtime.settings import Settings

log = logging.getLogger(__name__)

MAX_TRIES = 8
"""Times that a contended transaction is drawn up anew before the caller is told to come back later."""


class DynamoLedger:
    """``ledger.protocol.Ledger`` on DynamoDB."""

    def __init__(self, client: Any, table: str) -> None:
        self._table = LedgerTable(client, table)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(aws_client("dynamodb", settings), settings.ledger_table)

    def register(self, drop: Drop) -> bool:
        return self._table.put_new({**drop_item(drop), "history": [registered(drop).to_item()]})

    def expect_parts(self, parts: RecordingParts) -> None:
        self._table.put_newest(parts_item(parts), by="rank")

    def parts_of(self, drive_id: str, recordings: Sequence[str]) -> list[RecordingParts]:
        return [parts_of(item) for item in self._table.get_many([parts_pk(drive_id, r) for r in recordings])]

    def record_ignored(self, event: IgnoredEvent) -> None:
        self._table.put_new(ignored_item(event))

    def ignored(self) -> Iterator[IgnoredEvent]:
        yield from map(ignored_of, self._table.query("by_state", "state_key = :v", {":v": IGNORED}))

    def get(self, drop_id: str) -> Drop | None:
        item = self._table.get(drop_pk(drop_id))
        return drop_of(item) if item else None

    def drops(self, *, state: DropState | None = None, drive_id: str | None = None) -> Iterator[Drop]:
        if drive_id is not None:
            # A build that took a lagging state for the truth would leave out what was built a moment ago.
            found = self._drops([drop.drop_id for drop in self._proposed(drive_id)])
            yield from (d for d in found if state is None or d.state is state)
            return
        if state is None:
            # Not state by state: a drop that changes its state meanwhile would be missed.
            yield from map(drop_of, self._table.scan(drop_pk("")))
            return
        yield from map(drop_of, self._table.query("by_state", "state_key = :v", {":v": drop_pk(state)}))

    def history(self, drop_id: str) -> list[dict[str, object]]:
        item = self._table.get(drop_pk(drop_id))
        return list(item["history"]) if item else []

    def claim(self, limits: ClaimLimits, now_ns: int, claimant: str | None = None) -> Batch | None:
        lapsed = "state_key = :v AND lease_until_ns <= :now"
        for row in self._table.query("by_lease", lapsed, {":v": batch_pk(BatchState.OPEN), ":now": now_ns}):
            batch_id = row["pk"].removeprefix("BATCH#")
            try:
                batch = self._reclaim(batch_id, limits, now_ns, claimant)
            except ClientError as error:
                # One that the table refuses to change (histories of over 4 MB) must not hold up all the others. It
                # stays lapsed, which the reconciler reports.
                log.error("batch cannot be taken over: %s", error, extra={"batch_id": batch_id})
                continue
            if batch:
                return batch
        waiting = partial(self.drops, state=DropState.PENDING)
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
        holders = {d.batch_id for d in self._drops(drop_ids) if d.state is DropState.CLAIMED and d.batch_id}
        for batch_id in sorted(holders):
            batch = self._reclaim(batch_id, limits, now_ns, claimant)
            if batch:
                return batch
        named = [drop for drop in self._drops(drop_ids) if is_claimable(drop, rebuild=rebuild)]
        named.sort(key=lambda d: (d.received_at_ns, d.drop_id))

        def of_drive(drive_id: str) -> list[Drop]:
            held = self._table.get(drive_pk(drive_id))
            return [] if held else [d for d in named if d.drive_id == drive_id]

        reason = "rebuild" if rebuild else None
        return self._claim_new(lambda: iter(named), of_drive, limits, now_ns, reason, claimant)

    def batch(self, batch_id: str) -> Batch | None:
        item = self._table.get(batch_pk(batch_id))
        return batch_of(item) if item else None

    def open_batches(self) -> list[Batch]:
        rows = self._table.query("by_lease", "state_key = :v", {":v": batch_pk(BatchState.OPEN)})
        found = map(batch_of, self._table.get_many([row["pk"] for row in rows]))
        return [batch for batch in found if batch.state is BatchState.OPEN]

    def renew(self, batch_id: str, attempt: int, now_ns: int) -> Batch:
        item = self._open_batch(batch_id, attempt)
        return self._set_lease(batch_id, attempt, now_ns + item["lease_ns"])

    def drops_of(self, batch_id: str, attempt: int) -> tuple[Drop, ...]:
        item = self._open_batch(batch_id, attempt)
        return tuple(self._held(item))

    def settle(self, batch_id: str, attempt: int, settlements: Sequence[Settlement], now_ns: int) -> None:
        check_settlements(settlements)
        for _ in range(MAX_TRIES):
            item = self._batch_at(batch_id, attempt)
            if item["state"] == BatchState.CLOSED:
                return
            strangers = {s.drop_id for s in settlements} - set(item["drop_ids"])
            if strangers:
                raise FencedError(f"drop {min(strangers)} does not belong to batch {batch_id}")
            ends = {s.drop_id: Transition(now_ns, s.state, batch_id, attempt, s.reason) for s in settlements}
            try:
                self._end(item, ends, {s.drop_id: s.outcome for s in settlements})
            except ConditionFailedError:
                continue
            return
        raise TransientError(f"batch {batch_id}: still contended after {MAX_TRIES} tries to settle it")

    def note_release(self, batch_id: str, attempt: int, release_id: str) -> None:
        self._open_batch(batch_id, attempt)
        self._change(batch_id, attempt, {"release_id": release_id})

    def hand_back(self, batch_id: str, attempt: int, now_ns: int, failure: str | None = None) -> None:
        self._open_batch(batch_id, attempt)
        self._set_lease(batch_id, attempt, now_ns, failure)

    def decide(self, review: Review) -> Review:
        if review.decision.is_final and self._table.put_new(review_item(review)):
            return review
        stands = self._table.get(review_pk(review.question, is_final=True))
        if stands is None:
            self._table.put_newest(review_item(review), by="decided_at_ns")
        return review_of(stands) if stands else review

    def reviews(self, questions: Sequence[Question]) -> list[Review]:
        pks = [review_pk(question, is_final=is_final) for question in questions for is_final in (True, False)]
        return [review_of(item) for item in self._table.get_many(pks)]

    def reviews_since(self, since_ns: int) -> Iterator[Review]:
        condition, values = "state_key = :v AND received_at_ns >= :since", {":v": REVIEWS, ":since": since_ns}
        yield from map(review_of, self._table.query("by_state", condition, values))

    def _proposed(self, drive_id: str) -> list[Drop]:
        """A drive's drops as the index has them, oldest first."""
        return [drop_of(item) for item in self._table.query("by_drive", "drive_id = :v", {":v": drive_id})]

    def _ready(self, limits: ClaimLimits, now_ns: int, drive_id: str) -> list[Drop]:
        """The drive's drops that wait for nothing; none while a batch holds the drive."""
        found = {item["pk"] for item in self._table.get_many([drive_pk(drive_id), parts_pk(drive_id, "")])}
        if drive_pk(drive_id) in found:
            return []
        known = self._proposed(drive_id)
        pending = [drop for drop in known if drop.state is DropState.PENDING]
        recordings = {drop.recording for drop in pending}
        if recordings <= {""} and not found:
            return pending
        parts = self.parts_of(drive_id, ["", *sorted(recordings)])
        return ready(pending, known, parts, limits.quiet_ns, now_ns)

    def _suspects(self, batch_id: str) -> list[Drop]:
        """What is still waiting of a batch that was given up."""
        item = self._table.get(batch_pk(batch_id))
        found = self._drops(item["drop_ids"]) if item else []
        return [drop for drop in found if (drop.state, drop.batch_id) == (DropState.PENDING, batch_id)]

    def _claim_new(
        self,
        waiting: Callable[[], Iterator[Drop]],
        claimable: Callable[[str], Sequence[Drop]],
        limits: ClaimLimits,
        now_ns: int,
        reason: str | None = None,
        claimant: str | None = None,
    ) -> Batch | None:
        contended: set[str] = set()
        for _ in range(MAX_TRIES):
            drops = select(waiting(), limits, claimable=claimable, suspects=self._suspects, contended=contended)
            if not drops:
                return None
            drop_ids = tuple(drop.drop_id for drop in drops)
            batch = Batch(
                new_batch_id(drops, now_ns),
                1,
                now_ns + limits.lease_ns,
                drop_ids,
                claimant=claimant,
                is_waiting=claimant is not None,
            )
            lost = self._take(batch, drops, Transition(now_ns, DropState.CLAIMED, batch.batch_id, 1, reason), limits)
            if lost is None:
                return batch
            contended |= lost
        raise TransientError(f"the claim was contended {MAX_TRIES} times in a row; come back later")

    def _take(self, batch: Batch, drops: Sequence[Drop], claimed: Transition, limits: ClaimLimits) -> set[str] | None:
        """Writes a new batch and takes its drives and drops, less those that another claim takes first.

        Returns:
            None when the batch is there; else the ids for which it lost its first transaction, and so never was.
        """
        drives = list(dict.fromkeys(drop.drive_id for drop in drops))
        first, *rest = packed(self._taking(batch.batch_id, drops, claimed))
        try:
            transact(
                self._table, self._table.putting(_batch_item(batch, drives, limits.lease_ns, claimed.at_ns)), first
            )
        except ConditionFailedError as failed:
            return lost_ids(first, failed) | {batch.batch_id}
        lost: set[str] = set()
        for part in rest:
            lost |= self._take_more(batch.batch_id, 1, without(part, lost))
        return None

    def _take_more(self, batch_id: str, attempt: int, part: list[DriveWrites]) -> set[str]:
        """One more transaction of a claim, less the drives that lost a write; returns the ids of what was lost."""
        lost: set[str] = set()
        while part:
            try:
                transact(self._table, self._guard(batch_id, attempt), part)
                break
            except ConditionFailedError as failed:
                if 0 in failed.lost:
                    raise TransientError(f"batch {batch_id}: its lease lapsed before the claim had ended") from failed
                lost |= lost_ids(part, failed)
                lost |= {unit.drive_id for unit in part if not lost.isdisjoint(unit.ids)}
                part = without(part, lost)
        return lost

    def _taking(self, batch_id: str, drops: Sequence[Drop], claimed: Transition) -> Iterator[DriveWrites]:
        for drive_id, found in groupby(drops, key=lambda d: d.drive_id):
            mine = list(found)
            lock = self._table.putting({"pk": drive_pk(drive_id), "batch_id": batch_id})
            moves = [self._moving(drop, claimed) for drop in mine]
            yield DriveWrites(drive_id, (drive_id, *(d.drop_id for d in mine)), (lock, *moves))

    def _reclaim(self, batch_id: str, limits: ClaimLimits, now_ns: int, claimant: str | None = None) -> Batch | None:
        """Takes over a lapsed batch, or gives it up (``after_last_attempt``). None when nothing is left to work on."""
        item = self._table.get(batch_pk(batch_id))
        if item is None or item["state"] != BatchState.OPEN or item["lease_until_ns"] > now_ns:
            return None
        old, held = batch_of(item), self._held(item)
        lease = {"lease_until_ns": now_ns + limits.lease_ns, "lease_ns": limits.lease_ns}
        waits = {"is_waiting": True if claimant is not None else None, "nbr_unbegun": unbegun(old)}
        sets: Item = {"attempt": old.attempt + 1, "failure": None, "claimant": claimant, **waits, **lease}
        seen = {name: item[name] for name in ("attempt", "state", "lease_until_ns")}
        # Raising the attempt fences off whoever still works on the last one, so it comes first in every case.
        head = self._table.updating(item["pk"], sets, where=seen)
        taken = batch_of({**item, **sets})
        try:
            if not held or is_last_attempt(old, limits.max_attempts):
                self._table.update(head)
                self._end(
                    {**item, **sets}, after_last_attempt(held, old, len(item["drive_ids"]), self.history, now_ns), {}
                )
                return None
            claimed = Transition(now_ns, DropState.CLAIMED, batch_id, taken.attempt, why_ended(old))
            units = (DriveWrites(d.drive_id, (d.drop_id,), (self._moving(d, claimed),)) for d in held)
            first, *rest = packed(units)
            transact(self._table, head, first)
        except ConditionFailedError:
            return None
        # The batch is taken. A drop that the attempt before ended just now is lost to it, the others are not: what
        # is CLAIMED under the batch's name belongs to it, whichever attempt wrote that.
        for part in rest:
            self._take_more(batch_id, taken.attempt, part)
        return taken

    def _end(self, batch: Item, ends: Mapping[str, Transition], outcomes: Mapping[str, dict[str, object]]) -> None:
        """Ends drops that the batch holds; frees drives of which it holds no more, and closes when it holds none.

        Raises:
            ConditionFailedError: when the batch or a drop changed meanwhile.
        """
        held = self._held(batch)
        staying = {drop.drive_id for drop in held if drop.drop_id not in ends}
        units = []
        for drive_id, found in groupby(sorted(held, key=lambda d: d.drive_id), key=lambda d: d.drive_id):
            ending = [drop for drop in found if drop.drop_id in ends]
            writes = [self._moving(d, ends[d.drop_id], outcome=outcomes.get(d.drop_id)) for d in ending]
            if drive_id not in staying:
                writes.append(self._table.deleting(drive_pk(drive_id), where={"batch_id": batch["batch_id"]}))
            units.append(DriveWrites(drive_id, (*(d.drop_id for d in ending), drive_id)[: len(writes)], tuple(writes)))
        guard = self._guard(batch["batch_id"], batch["attempt"])
        where = {"attempt": batch["attempt"], "state": str(BatchState.OPEN)}
        last = guard if staying else self._table.updating(batch["pk"], _CLOSING, where=where)
        parts = list(packed(units)) or [[]]
        for position, part in enumerate(parts, 1):
            transact(self._table, last if position == len(parts) else guard, part)

    def _guard(self, batch_id: str, attempt: int) -> Item:
        """The check that a batch is open at an attempt."""
        return self._table.checking(batch_pk(batch_id), where={"attempt": attempt, "state": str(BatchState.OPEN)})

    def _held(self, batch: Item) -> list[Drop]:
        mine = (DropState.CLAIMED, batch["batch_id"])
        return [drop for drop in self._drops(batch["drop_ids"]) if (drop.state, drop.batch_id) == mine]

    def _moving(self, drop: Drop, to: Transition, outcome: dict[str, object] | None = None) -> Item:
        """The write that takes a drop, if it is still as it was read, to its next state, and into its history."""
        sets: Item = {
            "state": str(to.state),
            "state_key": drop_pk(to.state),
            "batch_id": to.batch_id,
            "attempt": to.attempt,
            "reason": to.reason if to.state.is_terminal else None,
        }
        if outcome is not None:
            sets["outcome"] = json.dumps(outcome)
        seen = {"state": str(drop.state), "batch_id": drop.batch_id, "attempt": drop.attempt}
        return self._table.updating(drop_pk(drop.drop_id), sets, where=seen, append=to.to_item())

    def _set_lease(self, batch_id: str, attempt: int, lease_until_ns: int, failure: str | None = None) -> Batch:
        return self._change(
            batch_id, attempt, {"lease_until_ns": lease_until_ns, "failure": failure, "is_waiting": None}
        )

    def _change(self, batch_id: str, attempt: int, sets: Item) -> Batch:
        where = {"attempt": attempt, "state": str(BatchState.OPEN)}
        update = self._table.updating(batch_pk(batch_id), sets, where=where)
        try:
            return batch_of(self._table.update(update))
        except ConditionFailedError as error:
            raise FencedError(f"batch {batch_id} passed from attempt {attempt} to a later one, or closed") from error

    def _batch_at(self, batch_id: str, attempt: int) -> Item:
        item = self._table.get(batch_pk(batch_id))
        if item is None:
            raise FencedError(f"batch {batch_id} is unknown to the ledger")
        if item["attempt"] != attempt:
            raise FencedError(f"batch {batch_id} is at attempt {item['attempt']}; attempt {attempt} is fenced off")
        return item

    def _open_batch(self, batch_id: str, attempt: int) -> Item:
        item = self._batch_at(batch_id, attempt)
        if item["state"] != BatchState.OPEN:
            raise FencedError(f"batch {batch_id} is closed")
        return item

    def _drops(self, drop_ids: Sequence[str]) -> list[Drop]:
        return [drop_of(item) for item in self._table.get_many([drop_pk(i) for i in drop_ids])]


_CLOSING: Item = {"state": str(BatchState.CLOSED), "state_key": batch_pk(BatchState.CLOSED)}


def _batch_item(batch: Batch, drive_ids: Sequence[str], lease_ns: int, now_ns: int) -> Item:
    return {
        "pk": batch_pk(batch.batch_id),
        "state_key": batch_pk(batch.state),
        "state": str(batch.state),
        "batch_id": batch.batch_id,
        "attempt": batch.attempt,
        "lease_ns": lease_ns,
        "lease_until_ns": batch.lease_until_ns,
        "drop_ids": list(batch.drop_ids),
        "drive_ids": list(drive_ids),
        "created_at_ns": now_ns,
        **({"claimant": batch.claimant, "is_waiting": True} if batch.claimant is not None else {}),
    }
