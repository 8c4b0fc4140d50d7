"""A process that dies between two transactions of a claim, takeover or settlement leaves what another goes on with."""

from collections.abc import Callable

import pytest

from scenelake.adapters import ledger_transactions
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.ledger_table import LedgerTable
from scenelake.contracts.drops import BatchState, DropState, Settlement
from scenelake.contracts.errors import FencedError
from scenelake.ledger.new_drop import ObjectVersion, new_drop
from scenelake.ledger.protocol import ClaimLimits

LIMITS = ClaimLimits(100, 10**9, 100, 3)
KEYS = [f"f/v/d{drive}/{name}" for drive, nbr in enumerate((1, 2, 6, 1)) for name in range(nbr)]


class Killed(BaseException):
    """No code of the ledger may live on after it."""


@pytest.fixture
def dying(zone, monkeypatch) -> Callable[[int], DynamoLedger]:
    """A ledger whose process dies right after its n-th write (or never, for n beyond what it does)."""
    monkeypatch.setattr(ledger_transactions, "MAX_WRITES", 4)
    table = zone.ledger._table

    def after(nbr_writes: int) -> DynamoLedger:
        ledger = DynamoLedger(table._client, table.name)
        call, left = LedgerTable._call, [nbr_writes]

        def dies(operation: str, **request: object) -> object:
            answer = call(ledger._table, operation, **request)
            if operation in ("transact_write_items", "update_item", "put_item"):
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
            return answer

        monkeypatch.setattr(ledger._table, "_call", dies)
        return ledger

    return after


def holders(ledger: DynamoLedger) -> dict[str, str]:
    drives = {drop.drive_id for drop in ledger.drops()}
    items = ((drive, ledger._table.get(f"DRIVE#{drive}")) for drive in drives)
    return {drive: item["batch_id"] for drive, item in items if item}


def run_to_the_end(ledger: DynamoLedger, now_ns: int) -> None:
    """What the pipeline does after a crash: claims until nothing waits, and settles what it got."""
    for step in range(1, 20):
        batch = ledger.claim(LIMITS, now_ns + 1000 * step)
        if batch:
            ends = [Settlement(d.drop_id, DropState.BUILT) for d in ledger.drops_of(batch.batch_id, batch.attempt)]
            ledger.settle(batch.batch_id, batch.attempt, ends, now_ns + 1000 * step + 1)
    states = {drop.key: drop.state for drop in ledger.drops()}
    assert states == dict.fromkeys(KEYS, DropState.BUILT)
    assert holders(ledger) == {}, "no drive stays locked"
    batches = {str(e["batch_id"]) for d in ledger.drops() for e in ledger.history(d.drop_id) if e["batch_id"]}
    assert {ledger.batch(b).state for b in batches} == {BatchState.CLOSED}
    for drop in ledger.drops():
        built = [e for e in ledger.history(drop.drop_id) if e["state"] == DropState.BUILT]
        assert len(built) == 1, "built by exactly one attempt"


def register_all(ledger: DynamoLedger) -> None:
    for at_ns, key in enumerate(KEYS, 1):
        ledger.register(new_drop(ObjectVersion("b", key, "1", 1, "e"), at_ns))


@pytest.mark.parametrize("nbr_writes", range(1, 6))
def test_a_claim(zone, dying, nbr_writes: int) -> None:
    register_all(zone.ledger)
    with pytest.raises(Killed):
        dying(nbr_writes).claim(LIMITS, 100)
    run_to_the_end(zone.ledger, 1000)


def test_a_claim_needs_as_many_writes_as_were_tried(zone, dying) -> None:
    register_all(zone.ledger)
    assert dying(6).claim(LIMITS, 100) is not None


@pytest.mark.parametrize("nbr_writes", [1, 2, 3])
def test_a_takeover(zone, dying, nbr_writes: int) -> None:
    register_all(zone.ledger)
    batch = zone.ledger.claim(LIMITS, 100)
    with pytest.raises(Killed):
        dying(nbr_writes).claim(LIMITS, 1000)
    with pytest.raises(FencedError):
        zone.ledger.settle(batch.batch_id, 1, [Settlement(batch.drop_ids[0], DropState.BUILT)], 1001)
    run_to_the_end(zone.ledger, 2000)


@pytest.mark.parametrize("nbr_writes", range(1, 6))
def test_a_settlement(zone, dying, nbr_writes: int) -> None:
    register_all(zone.ledger)
    batch = zone.ledger.claim(LIMITS, 100)
    ends = [Settlement(drop_id, DropState.BUILT) for drop_id in batch.drop_ids]
    with pytest.raises(Killed):
        dying(nbr_writes).settle(batch.batch_id, 1, ends, 101)
    held = {drop.drive_id for drop in zone.ledger.drops(state=DropState.CLAIMED)}
    assert set(holders(zone.ledger)) == held, "a drive is locked exactly while drops of it are held"
    run_to_the_end(zone.ledger, 1000)


@pytest.mark.parametrize("nbr_writes", range(1, 7))
def test_giving_up(zone, dying, nbr_writes: int) -> None:
    register_all(zone.ledger)
    for attempt in range(1, 4):
        assert zone.ledger.claim(LIMITS, 1000 * attempt).attempt == attempt
    with pytest.raises(Killed):
        dying(nbr_writes).claim(LIMITS, 5000)
    run_to_the_end(zone.ledger, 6000)
