"""Claims that race for the same drops on DynamoDB: what an index proposes may be gone by the time it is claimed."""

import pytest

from scenelake.adapters.dynamo_ledger import MAX_TRIES, DynamoLedger
from scenelake.contracts.errors import TransientError
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
    stale = list(mine.drops())
    select = mine._select

    def late(drop_ids, limits, contended, *, rebuild):
        if contended:
            return select(drop_ids, limits, contended, rebuild=rebuild)
        assert other.claim_drops([a], LIMITS, 5, rebuild=False) is not None
        return stale

    monkeypatch.setattr(mine, "_select", late)
    batch = mine.claim(LIMITS, 6)
    assert batch is not None
    assert batch.drop_ids == (b, c)


def test_a_claim_that_never_wins_says_so(zone, monkeypatch) -> None:
    (a,) = register(zone.ledger, "f/v/d1/a")
    stale = list(zone.ledger.drops())
    zone.ledger.claim(LIMITS, 5)
    monkeypatch.setattr(zone.ledger, "_select", lambda *args, **kwargs: stale)
    with pytest.raises(TransientError, match=f"{MAX_TRIES} times"):
        zone.ledger.claim(LIMITS, 6)
    assert len(zone.ledger.history(a)) == 2, "a claim that lost left no trace"


def test_a_takeover_during_a_settlement_makes_it_fail_as_a_whole(zone, monkeypatch) -> None:
    from scenelake.contracts.drops import DropState, Settlement
    from scenelake.contracts.errors import FencedError

    ledger = zone.ledger
    ids_ = register(ledger, "f/v/d1/a", "f/v/d1/b")
    batch = ledger.claim(LIMITS, 5)
    settling = ledger._settling

    def taken_over(*args):
        writes = settling(*args)
        monkeypatch.setattr(ledger, "_settling", settling)
        assert ledger.claim(LIMITS, 1_000).attempt == 2
        return writes

    monkeypatch.setattr(ledger, "_settling", taken_over)
    with pytest.raises(FencedError):
        ledger.settle(batch.batch_id, 1, [Settlement(ids_[0], DropState.BUILT)], 1_001)
    assert {d.state for d in ledger.drops()} == {DropState.CLAIMED}
    assert {d.attempt for d in ledger.drops()} == {2}
