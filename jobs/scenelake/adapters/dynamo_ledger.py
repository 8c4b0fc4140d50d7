"""The ledger on one DynamoDB table.

Items: ``DROP#<id>`` (with its history), ``BATCH#<id>`` (with its lease), ``DRIVE#<id>`` (exists while a batch
holds the drive). Indexes: ``by_state`` and ``by_drive`` in order of receipt, ``by_lease`` for lapsed batches.
A claim is one transaction, so a batch, its drives and its drops change hands together or not at all; that is
why a batch, its drives and its drops are at most 100 items. Indexes lag and only propose; conditions decide.
"""

import heapq
import json
from collections.abc import Iterator, Sequence
from typing import Any, Self

from scenelake.adapters.aws import aws_client
from scenelake.adapters.ledger_items import Item, batch_of, batch_pk, drive_pk, drop_item, drop_of, drop_pk
from scenelake.adapters.ledger_table import ConditionFailedError, LedgerTable
from scenelake.contracts.drops import Batch, BatchState, Drop, DropState, Settlement
from scenelake.contracts.errors import FencedError, TransientError
from scenelake.ledger.protocol import ClaimLimits
from scenelake.ledger.selection import select
from scenelake.ledger.transitions import (
    Transition,
    after_last_attempt,
    check_settlements,
    is_claimable,
    new_batch_id,
    registered,
    why_ended,
)
from scenelake.runtime.settings import Settings

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

    def get(self, drop_id: str) -> Drop | None:
        item = self._table.get(drop_pk(drop_id))
        return drop_of(item) if item else None

    def drops(self, *, state: DropState | None = None, drive_id: str | None = None) -> Iterator[Drop]:
        if drive_id is not None:
            rows = self._table.query("by_drive", "drive_id = :v", {":v": drive_id})
            yield from (d for d in map(drop_of, rows) if state is None or d.state is state)
            return
        states = [state] if state else list(DropState)
        queues = [map(drop_of, self._table.query("by_state", "state_key = :v", {":v": drop_pk(one)})) for one in states]
        yield from heapq.merge(*queues, key=lambda d: (d.received_at_ns, d.drop_id))

    def history(self, drop_id: str) -> list[dict[str, object]]:
        item = self._table.get(drop_pk(drop_id))
        return list(item["history"]) if item else []

    def claim(self, limits: ClaimLimits, now_ns: int) -> Batch | None:
        lapsed = "state_key = :v AND lease_until_ns <= :now"
        for row in self._table.query("by_lease", lapsed, {":v": batch_pk(BatchState.OPEN), ":now": now_ns}):
            batch = self._reclaim(row["pk"].removeprefix("BATCH#"), limits, now_ns)
            if batch:
                return batch
        return self._claim_new(None, limits, now_ns, rebuild=False)

    def claim_drops(self, drop_ids: Sequence[str], limits: ClaimLimits, now_ns: int, *, rebuild: bool) -> Batch | None:
        holders = {d.batch_id for d in self._drops(drop_ids) if d.state is DropState.CLAIMED and d.batch_id}
        for batch_id in sorted(holders):
            batch = self._reclaim(batch_id, limits, now_ns)
            if batch:
                return batch
        return self._claim_new(drop_ids, limits, now_ns, rebuild=rebuild)

    def batch(self, batch_id: str) -> Batch | None:
        item = self._table.get(batch_pk(batch_id))
        return batch_of(item) if item else None

    def renew(self, batch_id: str, attempt: int, now_ns: int) -> Batch:
        item = self._open_batch(batch_id, attempt)
        return self._set_lease(batch_id, attempt, now_ns + item["lease_ns"])

    def drops_of(self, batch_id: str, attempt: int) -> tuple[Drop, ...]:
        item = self._open_batch(batch_id, attempt)
        return tuple(d for d in self._drops(item["drop_ids"]) if _is_held(d, batch_id, attempt))

    def settle(self, batch_id: str, attempt: int, settlements: Sequence[Settlement], now_ns: int) -> None:
        check_settlements(settlements)
        for _ in range(MAX_TRIES):
            item = self._batch_at(batch_id, attempt)
            if item["state"] == BatchState.CLOSED:
                return
            try:
                self._table.transact(self._settling(item, settlements, now_ns))
            except ConditionFailedError:
                continue
            return
        raise TransientError(f"batch {batch_id}: still contended after {MAX_TRIES} tries to settle it")

    def hand_back(self, batch_id: str, attempt: int, now_ns: int, failure: str | None = None) -> None:
        self._open_batch(batch_id, attempt)
        self._set_lease(batch_id, attempt, now_ns, failure)

    def _claim_new(
        self, drop_ids: Sequence[str] | None, limits: ClaimLimits, now_ns: int, *, rebuild: bool
    ) -> Batch | None:
        contended: set[str] = set()
        for _ in range(MAX_TRIES):
            drops = self._select(drop_ids, limits, contended, rebuild=rebuild)
            if not drops:
                return None
            drop_ids_taken = tuple(drop.drop_id for drop in drops)
            batch = Batch(new_batch_id(drops, now_ns), 1, now_ns + limits.lease_ns, drop_ids_taken)
            drives = list(dict.fromkeys(drop.drive_id for drop in drops))
            claimed = Transition(now_ns, DropState.CLAIMED, batch.batch_id, 1, "rebuild" if rebuild else None)
            writes = [
                self._table.putting(_batch_item(batch, drives, limits.lease_ns, now_ns)),
                *(self._table.putting({"pk": drive_pk(drive), "batch_id": batch.batch_id}) for drive in drives),
                *(self._moving(drop, claimed) for drop in drops),
            ]
            try:
                self._table.transact(writes)
            except ConditionFailedError as failed:
                rows = [batch.batch_id, *drives, *batch.drop_ids]
                contended.update(rows[position] for position in failed.lost)
                continue
            return batch
        raise TransientError(f"the claim was contended {MAX_TRIES} times in a row; come back later")

    def _select(
        self, drop_ids: Sequence[str] | None, limits: ClaimLimits, contended: set[str], *, rebuild: bool
    ) -> list[Drop]:
        if drop_ids is None:
            return select(
                self.drops(state=DropState.PENDING),
                limits,
                drops_of_drive=lambda drive: self.drops(state=DropState.PENDING, drive_id=drive),
                is_held=self._is_drive_held,
                contended=contended,
            )
        named = [drop for drop in self._drops(drop_ids) if is_claimable(drop, rebuild=rebuild)]
        named.sort(key=lambda d: (d.received_at_ns, d.drop_id))
        return select(
            named,
            limits,
            drops_of_drive=lambda drive: [d for d in named if d.drive_id == drive],
            is_held=self._is_drive_held,
            contended=contended,
        )

    def _reclaim(self, batch_id: str, limits: ClaimLimits, now_ns: int) -> Batch | None:
        """Takes over a lapsed batch, or gives it up (``after_last_attempt``). None when nothing is left to work on."""
        item = self._table.get(batch_pk(batch_id))
        if item is None or item["state"] != BatchState.OPEN or item["lease_until_ns"] > now_ns:
            return None
        held = [d for d in self._drops(item["drop_ids"]) if _is_held(d, batch_id, item["attempt"])]
        # Giving up raises the attempt too: it fences off whoever still works on the last one.
        sets: Item = {"attempt": item["attempt"] + 1}
        is_given_up = item["attempt"] >= limits.max_attempts
        if is_given_up:
            sets |= _CLOSING
            ends = after_last_attempt(held, batch_of(item), self.history, now_ns)
            moves = [self._moving(drop, ends[drop.drop_id]) for drop in held] + self._freeing(item)
        else:
            sets |= {"lease_until_ns": now_ns + limits.lease_ns, "lease_ns": limits.lease_ns, "failure": None}
            claimed = Transition(now_ns, DropState.CLAIMED, batch_id, sets["attempt"], why_ended(batch_of(item)))
            moves = [self._moving(drop, claimed) for drop in held]
        seen = {name: item[name] for name in ("attempt", "state", "lease_until_ns")}
        try:
            self._table.transact([self._table.updating(item["pk"], sets, where=seen), *moves])
        except ConditionFailedError:
            return None
        return None if is_given_up else batch_of({**item, **sets})

    def _settling(self, batch: Item, settlements: Sequence[Settlement], now_ns: int) -> list[Item]:
        batch_id, attempt = batch["batch_id"], batch["attempt"]
        drops = {d.drop_id: d for d in self._drops(batch["drop_ids"])}
        held = {i for i, d in drops.items() if _is_held(d, batch_id, attempt)}
        # The batch is always among the writes, so a takeover in between makes the whole settlement fail.
        where = {"attempt": attempt, "state": str(BatchState.OPEN)}
        moves: list[Item] = []
        for settlement in settlements:
            if settlement.drop_id not in drops:
                raise FencedError(f"drop {settlement.drop_id} does not belong to batch {batch_id}")
            if settlement.drop_id in held:
                ended = Transition(now_ns, settlement.state, batch_id, attempt, settlement.reason)
                moves.append(self._moving(drops[settlement.drop_id], ended, outcome=settlement.outcome))
                held.discard(settlement.drop_id)
        if held:
            return [self._table.updating(batch["pk"], {"attempt": attempt}, where=where), *moves]
        return [self._table.updating(batch["pk"], _CLOSING, where=where), *moves, *self._freeing(batch)]

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

    def _freeing(self, batch: Item) -> list[Item]:
        where = {"batch_id": batch["batch_id"]}
        return [self._table.deleting(drive_pk(drive), where=where) for drive in batch["drive_ids"]]

    def _set_lease(self, batch_id: str, attempt: int, lease_until_ns: int, failure: str | None = None) -> Batch:
        where = {"attempt": attempt, "state": str(BatchState.OPEN)}
        sets = {"lease_until_ns": lease_until_ns, "failure": failure}
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

    def _is_drive_held(self, drive_id: str) -> bool:
        return self._table.get(drive_pk(drive_id)) is not None


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
    }


def _is_held(drop: Drop, batch_id: str, attempt: int) -> bool:
    return (drop.state, drop.batch_id, drop.attempt) == (DropState.CLAIMED, batch_id, attempt)
