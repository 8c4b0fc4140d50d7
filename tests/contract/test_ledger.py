"""The contract of the ledger, held to by the DynamoDB one (on the template's own table) and its twin in memory."""

from dataclasses import replace

import boto3
import pytest
from moto import mock_aws
from tests.contract.ledger_drops import LIMITS, a_drop, built, register, states

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.contracts.drops import BatchState, Drop, DropState, IgnoredEvent, Settlement
from scenelake.contracts.errors import ConfigurationError, FencedError, ScenelakeError
from scenelake.ledger.protocol import ClaimLimits, Ledger


def test_a_drop_comes_back_as_it_was_registered(ledger: Ledger) -> None:
    drop = a_drop("a", sequencer="0055", event_at_ns=1_700_000_000_123_456_789, at_ns=1_700_000_001_000_000_001)
    register(ledger, drop)
    assert ledger.get(drop.drop_id) == drop
    assert ledger.get("unknown") is None
    assert ledger.history("unknown") == []


def test_registering_again_changes_nothing(ledger: Ledger) -> None:
    drop = a_drop("a")
    register(ledger, drop)
    ledger.claim(LIMITS, 10)
    assert not ledger.register(a_drop("a", at_ns=99))
    kept = ledger.get(drop.drop_id)
    assert kept is not None
    assert (kept.state, kept.received_at_ns) == (DropState.CLAIMED, 1)


def test_a_rejected_drop_without_a_drive_is_kept_and_never_claimed(ledger: Ledger) -> None:
    stray = Drop("x", "landing", "stray.bin", "v", 1, "e", 1, "", "", "", "", DropState.REJECTED, reason="outside")
    register(ledger, stray)
    assert ledger.get("x") == stray
    assert ledger.claim(LIMITS, 10) is None
    assert ledger.claim_drops(["x"], LIMITS, 10, rebuild=True) is None


def test_drops_are_listed_oldest_first_by_state_and_by_drive(ledger: Ledger) -> None:
    c, a, b = a_drop("c", at_ns=3), a_drop("a", at_ns=1, drive="d2"), a_drop("b", at_ns=2, state=DropState.REJECTED)
    register(ledger, c, a, b)
    assert {d.key for d in ledger.drops()} == {a.key, b.key, c.key}
    assert [d.key for d in ledger.drops(state=DropState.PENDING)] == [a.key, c.key]
    assert [d.key for d in ledger.drops(drive_id=c.drive_id)] == [b.key, c.key]
    assert [d.key for d in ledger.drops(drive_id=c.drive_id, state=DropState.REJECTED)] == [b.key]


def test_a_claim_takes_pending_drops_and_persists_its_batch(ledger: Ledger) -> None:
    drop_ids = register(ledger, a_drop("a"), a_drop("b", at_ns=2))
    batch = ledger.claim(LIMITS, 10)
    assert batch is not None
    assert (batch.attempt, batch.lease_until_ns, list(batch.drop_ids)) == (1, 110, drop_ids)
    assert ledger.batch(batch.batch_id) == batch
    held = ledger.drops_of(batch.batch_id, 1)
    assert [(d.drop_id, d.state, d.batch_id, d.attempt) for d in held] == [
        (i, DropState.CLAIMED, batch.batch_id, 1) for i in drop_ids
    ]
    assert ledger.claim(LIMITS, 11) is None


def test_a_claim_keeps_to_its_limits(ledger: Ledger) -> None:
    register(ledger, *(a_drop(f"{i:02d}", at_ns=i, drive=f"d{i}") for i in range(5)))
    by_count = ledger.claim(ClaimLimits(2, 10_000, 100, 2), 10)
    by_bytes = ledger.claim(ClaimLimits(9, 250, 100, 2), 11)
    last = ledger.claim(LIMITS, 12)
    assert [len(b.drop_ids) for b in (by_count, by_bytes, last) if b] == [2, 2, 1]


def test_a_drop_larger_than_the_limit_is_claimed_alone(ledger: Ledger) -> None:
    huge, _ = register(ledger, a_drop("huge", size_bytes=99_999), a_drop("small", at_ns=2, drive="d2"))
    batch = ledger.claim(LIMITS, 10)
    assert batch is not None
    assert batch.drop_ids == (huge,)


def test_a_batch_of_more_items_than_one_transaction_holds_lives_like_a_small_one(ledger: Ledger) -> None:
    drives = [f"d{i // 5}" for i in range(200)]
    drop_ids = register(ledger, *(a_drop(f"{i:03d}", at_ns=i + 1, drive=drive) for i, drive in enumerate(drives)))
    drop_ids += register(ledger, *(a_drop(f"{i:03d}", at_ns=i + 1, drive="one") for i in range(200, 320)))
    limits = ClaimLimits(1000, 10**9, 100, 2)
    batch = ledger.claim(limits, 1000)
    assert batch is not None
    assert list(batch.drop_ids) == drop_ids
    assert states(ledger, drop_ids) == [DropState.CLAIMED] * 320
    again = ledger.claim(limits, 2000)
    assert again is not None
    assert [d.attempt for d in ledger.drops_of(batch.batch_id, 2)] == [2] * 320
    with pytest.raises(FencedError):
        ledger.settle(batch.batch_id, 1, built(*drop_ids), 2001)
    ledger.settle(batch.batch_id, 2, built(*drop_ids[:210]), 2001)
    assert ledger.claim(limits, 2001) is None
    late = register(ledger, a_drop("late", drive="one", at_ns=2002), a_drop("late", drive="d0", at_ns=2002))
    second = ledger.claim(limits, 2003)
    assert second is not None
    assert second.drop_ids == (late[1],), "a drive is free once all its drops have ended, and no sooner"
    ledger.settle(batch.batch_id, 2, built(*drop_ids), 2004)
    closed = ledger.batch(batch.batch_id)
    assert closed is not None
    assert closed.state is BatchState.CLOSED
    assert states(ledger, drop_ids) == [DropState.BUILT] * 320


def test_an_event_that_announces_no_drop_is_kept_once(ledger: Ledger) -> None:
    test = IgnoredEvent("s3:TestEvent", "S3 tests its notifications", 5, bucket="landing")
    gone = IgnoredEvent("ObjectRemoved:Delete", "announces no new object", 3, "landing", "f/v/d/a", "v1")
    for event in (test, gone, replace(gone, received_at_ns=9)):
        ledger.record_ignored(event)
    assert list(ledger.ignored()) == [gone, test]
    assert list(ledger.drops()) == []


def test_a_drive_goes_to_one_batch_at_a_time_and_as_a_whole(ledger: Ledger) -> None:
    a, b, c = register(ledger, a_drop("a", at_ns=1), a_drop("b", at_ns=2, drive="d2"), a_drop("c", at_ns=3))
    first = ledger.claim(ClaimLimits(2, 10_000, 100, 2), 10)
    assert first is not None
    assert first.drop_ids == (a, c), "the oldest drop's drive comes first, whole"
    (late,) = register(ledger, a_drop("late", at_ns=4))
    second = ledger.claim(LIMITS, 11)
    assert second is not None
    assert second.drop_ids == (b,), "the late drop waits for its drive"
    ledger.settle(first.batch_id, 1, built(a, c), 12)
    third = ledger.claim(LIMITS, 13)
    assert third is not None
    assert third.drop_ids == (late,)


def test_settling_ends_drops_closes_the_batch_and_can_be_repeated(ledger: Ledger) -> None:
    a, b = register(ledger, a_drop("a"), a_drop("b"))
    batch = ledger.claim(LIMITS, 10)
    assert batch is not None
    ends = [*built(a), Settlement(b, DropState.REJECTED, "not_mcap: b.mcap at byte 0")]
    for now_ns in (20, 30):
        ledger.settle(batch.batch_id, 1, ends, now_ns)
    assert states(ledger, [a, b]) == [DropState.BUILT, DropState.REJECTED]
    drop, rejected = ledger.get(a), ledger.get(b)
    assert drop is not None
    assert rejected is not None
    assert (drop.outcome, rejected.reason) == ({"nbr_scenes": 1, "seconds": 0.5}, "not_mcap: b.mcap at byte 0")
    closed = ledger.batch(batch.batch_id)
    assert closed is not None
    assert closed.state is BatchState.CLOSED
    assert [(e["state"], e["at_ns"]) for e in ledger.history(a)] == [("PENDING", 1), ("CLAIMED", 10), ("BUILT", 20)]


def test_a_batch_stays_open_until_its_last_drop_has_ended(ledger: Ledger) -> None:
    a, b = register(ledger, a_drop("a"), a_drop("b"))
    batch = ledger.claim(LIMITS, 10)
    assert batch is not None
    ledger.settle(batch.batch_id, 1, built(a), 20)
    assert [d.drop_id for d in ledger.drops_of(batch.batch_id, 1)] == [b]
    again = ledger.claim(LIMITS, 110)
    assert again is not None
    assert (again.batch_id, again.attempt) == (batch.batch_id, 2)
    assert states(ledger, [a, b]) == [DropState.BUILT, DropState.CLAIMED]
    ledger.settle(batch.batch_id, 2, built(a, b), 120)
    closed = ledger.batch(batch.batch_id)
    assert closed is not None
    assert closed.state is BatchState.CLOSED


def test_a_settlement_that_ends_nothing_is_a_bug(ledger: Ledger) -> None:
    (a,) = register(ledger, a_drop("a"))
    batch = ledger.claim(LIMITS, 10)
    assert batch is not None
    with pytest.raises(ScenelakeError, match="terminal"):
        ledger.settle(batch.batch_id, 1, [Settlement(a, DropState.CLAIMED)], 20)


def test_signs_of_life_keep_a_batch_from_being_taken_over(ledger: Ledger) -> None:
    register(ledger, a_drop("a"))
    batch = ledger.claim(LIMITS, 10)
    assert batch is not None
    assert ledger.renew(batch.batch_id, 1, 100).lease_until_ns == 200
    assert ledger.claim(LIMITS, 199) is None
    assert ledger.claim(LIMITS, 200) is not None


def test_a_lapsed_batch_returns_whole_and_fences_off_the_attempt_before(ledger: Ledger) -> None:
    a, b = register(ledger, a_drop("a"), a_drop("b"))
    batch = ledger.claim(LIMITS, 10)
    assert batch is not None
    again = ledger.claim(LIMITS, 110)
    assert again is not None
    assert (again.batch_id, again.attempt, again.drop_ids) == (batch.batch_id, 2, batch.drop_ids)
    for stale in (
        lambda: ledger.renew(batch.batch_id, 1, 120),
        lambda: ledger.drops_of(batch.batch_id, 1),
        lambda: ledger.settle(batch.batch_id, 1, built(a, b), 120),
        lambda: ledger.hand_back(batch.batch_id, 1, 120),
    ):
        with pytest.raises(FencedError):
            stale()
    assert states(ledger, [a, b]) == [DropState.CLAIMED] * 2
    ledger.settle(batch.batch_id, 2, built(a, b), 130)
    assert states(ledger, [a, b]) == [DropState.BUILT] * 2


def test_a_batch_that_is_handed_back_is_retried_at_once(ledger: Ledger) -> None:
    register(ledger, a_drop("a"))
    batch = ledger.claim(LIMITS, 10)
    assert batch is not None
    ledger.hand_back(batch.batch_id, 1, 11)
    again = ledger.claim(LIMITS, 12)
    assert again is not None
    assert (again.batch_id, again.attempt) == (batch.batch_id, 2)


def test_what_failed_is_told_in_the_history_and_in_the_reason(ledger: Ledger) -> None:
    (a,) = register(ledger, a_drop("a"))
    limits = ClaimLimits(10, 10_000, 100, 2)
    batch = ledger.claim(limits, 10)
    assert batch is not None
    ledger.hand_back(batch.batch_id, 1, 11, "decode broke")
    again = ledger.claim(limits, 12)
    assert again is not None
    assert again.failure is None
    assert ledger.history(a)[-1]["reason"] == "attempt 1 was handed back: decode broke"
    ledger.hand_back(batch.batch_id, 2, 13, "quality broke")
    assert ledger.renew(batch.batch_id, 2, 14).failure is None
    ledger.hand_back(batch.batch_id, 2, 15, "quality broke")
    assert ledger.claim(limits, 16) is None
    poison = ledger.get(a)
    assert poison is not None
    assert str(poison.reason).endswith("; attempt 2 was handed back: quality broke")
    assert "decode broke" in str(poison.reason)


def test_drops_past_their_last_attempt_are_rejected_as_poison_with_evidence(ledger: Ledger) -> None:
    a, b = register(ledger, a_drop("a"), a_drop("b", drive="d2", at_ns=999))
    first = ledger.claim(ClaimLimits(1, 10_000, 100, 2), 10)
    assert first is not None
    ledger.claim(LIMITS, 110)
    after = ledger.claim(LIMITS, 1_000)
    assert after is not None
    assert after.drop_ids == (b,), "the claim goes on to the next drops"
    poison = ledger.get(a)
    assert poison is not None
    assert poison.state is DropState.REJECTED
    assert poison.reason is not None
    assert poison.reason.startswith("poison: 2 attempt(s)")
    assert "attempt 1 took it" in poison.reason
    assert "attempt 2 took it" in poison.reason
    closed = ledger.batch(first.batch_id)
    assert closed is not None
    assert closed.state is BatchState.CLOSED
    with pytest.raises(FencedError):
        ledger.settle(first.batch_id, 2, built(a), 1_001)
    register(ledger, a_drop("next", at_ns=1_000))
    assert ledger.claim(LIMITS, 1_002) is not None, "its drive is free again"


def test_an_attempt_that_no_run_began_counts_for_nothing(ledger: Ledger) -> None:
    """Builds may take longer than a lease, and the next batch's run waits for a place in Airflow's queue."""
    (a,) = register(ledger, a_drop("a"))
    for attempt in range(1, 6):
        batch = ledger.claim(LIMITS, 1_000 * attempt, f"run {attempt}")
        assert batch is not None
        assert (batch.attempt, batch.is_waiting, batch.nbr_unbegun) == (attempt, True, attempt - 1)
    assert not ledger.renew(batch.batch_id, 5, 5_001).is_waiting
    last = ledger.claim(LIMITS, 6_000, "run 6")
    assert last is not None
    ledger.hand_back(last.batch_id, 6, 6_001, "decode failed")
    assert ledger.claim(LIMITS, 7_000, "run 7") is None
    assert states(ledger, [a]) == [DropState.REJECTED]
    assert "attempt 4 lapsed before a run began it" in (ledger.get(a).reason or "")


def test_what_brings_a_batch_down_takes_no_other_drive_with_it(ledger: Ledger) -> None:
    a, b, c = register(ledger, a_drop("a"), a_drop("b", drive="d2", at_ns=2), a_drop("c", drive="d2", at_ns=3))
    whole = ledger.claim(LIMITS, 10)
    assert whole is not None
    ledger.claim(LIMITS, 110)
    first = ledger.claim(LIMITS, 1_000)
    assert first is not None
    assert first.drop_ids == (a,), "given up as a whole, each drive is tried alone"
    with pytest.raises(FencedError):
        ledger.settle(whole.batch_id, 2, built(a, b, c), 1_001)
    new = register(ledger, a_drop("new", drive="d3", at_ns=1_000))
    second = ledger.claim(LIMITS, 1_001)
    assert second is not None
    assert second.drop_ids == (b, c), "nor does a new drive join a suspect one"
    ledger.settle(second.batch_id, 1, built(b, c), 1_002)
    ledger.claim(LIMITS, 1_200)
    after = ledger.claim(LIMITS, 2_000)
    assert after is not None
    assert after.drop_ids == tuple(new)
    assert states(ledger, [a, b, c]) == [DropState.REJECTED, DropState.BUILT, DropState.BUILT]


def test_one_bad_drive_of_many_is_found_by_halves(ledger: Ledger) -> None:
    drop_ids = register(ledger, *(a_drop("a", drive=f"d{i:02d}", at_ns=i + 1) for i in range(32)))
    bad, now_ns, batches = drop_ids[21], 1_000, set()
    limits = ClaimLimits(100, 10_000, 100, 2)
    while states(ledger, [bad]) != [DropState.REJECTED]:
        now_ns += 1_000
        batch = ledger.claim(limits, now_ns)
        if batch is None:
            continue
        batches.add(batch.batch_id)
        if bad not in batch.drop_ids:
            ledger.settle(batch.batch_id, batch.attempt, built(*batch.drop_ids), now_ns)
    while rest := ledger.claim(limits, now_ns):
        batches.add(rest.batch_id)
        ledger.settle(rest.batch_id, rest.attempt, built(*rest.drop_ids), now_ns)
    assert states(ledger, drop_ids) == [DropState.REJECTED if i == bad else DropState.BUILT for i in drop_ids]
    assert len(batches) <= 16, "one by one they would be 33"


def test_a_batch_that_a_release_holds_is_tried_until_it_is_settled(ledger: Ledger) -> None:
    (a,) = register(ledger, a_drop("a"))
    batch = ledger.claim(LIMITS, 10)
    assert batch is not None
    with pytest.raises(FencedError):
        ledger.note_release(batch.batch_id, 2, "r00000001")
    ledger.note_release(batch.batch_id, 1, "r00000001")
    for attempt in range(2, 6):
        again = ledger.claim(LIMITS, attempt * 1_000)
        assert again is not None
        assert (again.attempt, again.release_id) == (attempt, "r00000001")
    ledger.settle(batch.batch_id, 5, built(a), 6_000)
    assert states(ledger, [a]) == [DropState.BUILT]


@pytest.mark.parametrize("state", [DropState.BUILT, DropState.DUPLICATE, DropState.REJECTED])
def test_a_rebuild_that_is_given_up_leaves_a_drop_as_it_was(ledger: Ledger, state: DropState) -> None:
    """Its scenes are in gold, and the next build of its drive takes built drops and no rejected ones."""
    (a,) = register(ledger, a_drop("a"))
    first = ledger.claim(LIMITS, 10)
    assert first is not None
    ledger.settle(first.batch_id, 1, [Settlement(a, state, outcome={"decoded_uri": "s3://lake/x"})], 20)
    rebuild = ledger.claim_drops([a], LIMITS, 30, rebuild=True)
    assert rebuild is not None
    for now_ns in (1000, 2000, 3000):
        ledger.claim(LIMITS, now_ns)
    drop = ledger.get(a)
    assert drop is not None
    assert drop.state is state
    assert drop.reason is not None
    assert drop.reason.startswith(f"poison: 2 attempt(s) of batch {rebuild.batch_id}")
    assert drop.outcome == {"decoded_uri": "s3://lake/x"}


def test_a_person_may_claim_named_drops_and_rebuild_ended_ones(ledger: Ledger) -> None:
    a, b = register(ledger, a_drop("a"), a_drop("b", drive="d2", at_ns=2))
    named = ledger.claim_drops([b, "unknown"], LIMITS, 10, rebuild=False)
    assert named is not None
    assert named.drop_ids == (b,)
    ledger.settle(named.batch_id, 1, built(b), 20)
    assert ledger.claim_drops([b], LIMITS, 30, rebuild=False) is None
    rebuilt = ledger.claim_drops([a, b], LIMITS, 30, rebuild=True)
    assert rebuilt is not None
    assert rebuilt.drop_ids == (a, b)
    ledger.settle(named.batch_id, 1, built(b), 40)
    assert states(ledger, [a, b]) == [DropState.CLAIMED] * 2, "repeating the old settlement changes nothing"


def test_claiming_named_drops_takes_over_their_lapsed_batch(ledger: Ledger) -> None:
    (a,) = register(ledger, a_drop("a"))
    batch = ledger.claim_drops([a], LIMITS, 10, rebuild=False)
    assert batch is not None
    assert ledger.claim_drops([a], LIMITS, 50, rebuild=False) is None
    again = ledger.claim_drops([a], LIMITS, 110, rebuild=False)
    assert again is not None
    assert (again.batch_id, again.attempt) == (batch.batch_id, 2)


def test_an_unknown_batch_is_fenced(ledger: Ledger) -> None:
    with pytest.raises(FencedError, match="unknown"):
        ledger.renew("b-none", 1, 10)


def test_a_missing_table_is_a_matter_of_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws(), pytest.raises(ConfigurationError, match="absent"):
        DynamoLedger(boto3.client("dynamodb", region_name="eu-central-1"), "absent").get("x")
