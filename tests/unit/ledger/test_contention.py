"""Claims that race for the same drops on DynamoDB: what an index proposes may be gone by the time it is claimed."""

import json
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from scenelake.adapters import dynamo_ledger, ledger_table, ledger_transactions
from scenelake.adapters.dynamo_ledger import MAX_TRIES, DynamoLedger
from scenelake.contracts.drops import BatchState, DropState, Settlement
from scenelake.contracts.errors import FencedError, TransientError
from scenelake.ledger.new_drop import ObjectVersion, new_drop
from scenelake.ledger.protocol import ClaimLimits

LIMITS = ClaimLimits(10, 1000, 100, 2)


def register(ledger: DynamoLedger, *keys: str) -> list[str]:
    drops = [new_drop(ObjectVersion("b", key, "1", 1, "e"), i) for i, key in enumerate(keys)]
    for drop in drops:
        ledger.register(drop)
    return [d.drop_id for d in drops]


def test_what_another_claim_took_is_left_out_and_the_rest_is_claimed(zone, monkeypatch) -> None:
    mine, other = zone.ledger, DynamoLedger(zone.ledger._table._client, zone.ledger._table.name)
    a, b, c = register(mine, "f/v/d1/a", "f/v/d2/b", "f/v/d3/c")
    stale = {drop.drive_id: [drop] for drop in mine.drops()}
    assert other.claim_drops([a], LIMITS, 5, rebuild=False) is not None
    monkeypatch.setattr(mine, "drops", lambda **_: iter([drop for [drop] in stale.values()]))
    monkeypatch.setattr(mine, "_ready", lambda limits, now_ns, drive_id: stale[drive_id])
    batch = mine.claim(LIMITS, 6)
    assert batch is not None
    assert batch.drop_ids == (b, c)


def test_a_claim_that_never_wins_says_so(zone, monkeypatch) -> None:
    (a,) = register(zone.ledger, "f/v/d1/a")
    stale = list(zone.ledger.drops())
    zone.ledger.claim(LIMITS, 5)
    monkeypatch.setattr(dynamo_ledger, "select", lambda *args, **kwargs: stale)
    with pytest.raises(TransientError, match=f"{MAX_TRIES} times"):
        zone.ledger.claim(LIMITS, 6)
    assert len(zone.ledger.history(a)) == 2, "a claim that lost left no trace"


@pytest.fixture
def small_transactions(monkeypatch) -> None:
    monkeypatch.setattr(ledger_transactions, "MAX_WRITES", 4)


@pytest.mark.usefixtures("small_transactions")
def test_a_large_claim_leaves_out_a_drive_that_another_took_meanwhile(zone, monkeypatch) -> None:
    mine, other = zone.ledger, DynamoLedger(zone.ledger._table._client, zone.ledger._table.name)
    keys = [f"f/v/d{i}/{name}" for i in range(4) for name in "ab"]
    drop_ids = register(mine, *keys)
    guard, taken = mine._guard, []

    def late(batch_id, attempt):
        if not taken:
            taken.append(other.claim_drops(drop_ids[4:5], LIMITS, 7, rebuild=False))
        return guard(batch_id, attempt)

    monkeypatch.setattr(mine, "_guard", late)
    batch = mine.claim(LIMITS, 6)
    assert batch is not None
    assert [d.drop_id for d in mine.drops_of(batch.batch_id, 1)] == drop_ids[:4] + drop_ids[6:]
    assert [d.drop_id for d in mine.drops_of(taken[0].batch_id, 1)] == drop_ids[4:5]


@pytest.mark.usefixtures("small_transactions")
def test_a_large_drive_that_another_took_meanwhile_is_left_out_as_a_whole(zone, monkeypatch) -> None:
    """Its drops go into several transactions, and only the first of them takes the drive."""
    mine, other = zone.ledger, DynamoLedger(zone.ledger._table._client, zone.ledger._table.name)
    drop_ids = register(mine, "f/v/d0/a", *(f"f/v/d1/{name}" for name in "abcdef"))
    guard, taken = mine._guard, []

    def late(batch_id, attempt):
        if not taken:
            taken.append(other.claim_drops(drop_ids[1:2], LIMITS, 7, rebuild=False))
        return guard(batch_id, attempt)

    monkeypatch.setattr(mine, "_guard", late)
    batch = mine.claim(LIMITS, 6)
    assert batch is not None
    assert [d.drop_id for d in mine.drops_of(batch.batch_id, 1)] == drop_ids[:1]
    mine.settle(batch.batch_id, 1, [Settlement(drop_ids[0], DropState.BUILT)], 8)
    assert mine.batch(batch.batch_id).state is BatchState.CLOSED


@pytest.mark.usefixtures("small_transactions")
def test_a_claim_that_outlives_its_lease_takes_nothing_more(zone, monkeypatch) -> None:
    mine, other = zone.ledger, DynamoLedger(zone.ledger._table._client, zone.ledger._table.name)
    drop_ids = register(mine, *(f"f/v/d{i}/a" for i in range(6)))
    guard = mine._guard

    def late(batch_id, attempt):
        assert other.claim(LIMITS, 1_000).attempt == 2
        return guard(batch_id, attempt)

    monkeypatch.setattr(mine, "_guard", late)
    with pytest.raises(TransientError, match="lease lapsed"):
        mine.claim(LIMITS, 6)
    states = [drop.state for drop in map(mine.get, drop_ids) if drop]
    assert states == [DropState.CLAIMED] * 2 + [DropState.PENDING] * 4


@pytest.mark.usefixtures("small_transactions")
def test_a_takeover_that_finds_a_drop_ended_meanwhile_goes_on_with_the_rest(zone, monkeypatch) -> None:
    ledger = zone.ledger
    drop_ids = register(ledger, *(f"f/v/d{i}/a" for i in range(6)))
    batch = ledger.claim(LIMITS, 5)
    assert batch is not None
    held = ledger._held

    def half_settled(item):
        found = held(item)
        monkeypatch.setattr(ledger, "_held", held)
        ledger.settle(batch.batch_id, 1, [Settlement(drop_ids[5], DropState.BUILT)], 1_000)
        return found

    monkeypatch.setattr(ledger, "_held", half_settled)
    again = ledger.claim(LIMITS, 1_000)
    assert again is not None, "the attempt was raised, so whoever raised it must get the batch"
    assert [d.drop_id for d in ledger.drops_of(batch.batch_id, again.attempt)] == drop_ids[:5]


def test_a_write_that_meets_a_transaction_is_not_fenced_off(zone, monkeypatch) -> None:
    register(zone.ledger, "f/v/d1/a")
    batch = zone.ledger.claim(LIMITS, 5)
    met = ClientError({"Error": {"Code": "TransactionConflictException"}}, "UpdateItem")
    client = Mock(update_item=Mock(side_effect=met), get_item=zone.ledger._table._client.get_item)
    monkeypatch.setattr(zone.ledger._table, "_client", client)
    with pytest.raises(TransientError, match="TransactionConflict"):
        zone.ledger.renew(batch.batch_id, 1, 6)


def test_keys_that_a_busy_table_leaves_out_are_asked_for_again_and_not_for_ever(zone, monkeypatch) -> None:
    (a,) = register(zone.ledger, "f/v/d1/a")
    table, pauses = zone.ledger._table, []
    monkeypatch.setattr(ledger_table.time, "sleep", pauses.append)
    read = table._client.batch_get_item

    def busy(nbr_times: int) -> None:
        left = {"Responses": {}, "UnprocessedKeys": {table.name: {"Keys": [{"pk": {"S": f"DROP#{a}"}}]}}}
        answers = iter([left] * nbr_times)
        client = Mock(batch_get_item=lambda **request: next(answers, None) or read(**request))
        monkeypatch.setattr(table, "_client", client)

    busy(3)
    assert [item["drop_id"] for item in table.get_many([f"DROP#{a}"])] == [a]
    assert pauses == [0.05, 0.1, 0.2]
    busy(100)
    with pytest.raises(TransientError, match="busy"):
        table.get_many([f"DROP#{a}"])


def test_a_batch_that_the_table_refuses_to_change_holds_up_no_other(zone, monkeypatch) -> None:
    register(zone.ledger, "f/v/d1/a")
    lapsed = zone.ledger.claim(LIMITS, 5)
    (b,) = register(zone.ledger, "f/v/d2/b")
    transact, refused = zone.ledger._table.transact, []

    def refuses(writes):
        if lapsed.batch_id in json.dumps(writes):
            refused.append(lapsed.batch_id)
            raise ClientError({"Error": {"Code": "ValidationException"}}, "TransactWriteItems")
        transact(writes)

    monkeypatch.setattr(zone.ledger._table, "transact", refuses)
    batch = zone.ledger.claim(LIMITS, 1_000)
    assert refused
    assert batch.drop_ids == (b,)


def test_a_drive_is_told_as_it_is_and_not_as_the_index_has_it(zone, monkeypatch) -> None:
    """A build takes in what an earlier one built, and that may have ended a moment ago."""
    (a,) = register(zone.ledger, "f/v/d1/a")
    stale = list(zone.ledger._table.query("by_drive", "drive_id = :v", {":v": zone.ledger.get(a).drive_id}))
    batch = zone.ledger.claim(LIMITS, 5)
    zone.ledger.settle(batch.batch_id, 1, [Settlement(a, DropState.BUILT)], 6)
    monkeypatch.setattr(zone.ledger._table, "query", lambda *_: iter(stale))
    assert [d.state for d in zone.ledger.drops(drive_id=stale[0]["drive_id"])] == [DropState.BUILT]


def test_a_takeover_during_a_settlement_makes_it_fail_as_a_whole(zone, monkeypatch) -> None:
    ledger = zone.ledger
    ids_ = register(ledger, "f/v/d1/a", "f/v/d1/b")
    batch = ledger.claim(LIMITS, 5)
    held = ledger._held

    def taken_over(item):
        found = held(item)
        monkeypatch.setattr(ledger, "_held", held)
        assert ledger.claim(LIMITS, 1_000).attempt == 2
        return found

    monkeypatch.setattr(ledger, "_held", taken_over)
    with pytest.raises(FencedError):
        ledger.settle(batch.batch_id, 1, [Settlement(ids_[0], DropState.BUILT)], 1_001)
    assert {d.state for d in ledger.drops()} == {DropState.CLAIMED}
    assert {d.attempt for d in ledger.drops()} == {2}
