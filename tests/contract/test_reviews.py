"""A revision of a scene is decided once, in either ledger, whoever is first."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.ledger_drops import a_drop, register

from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.ledger_items import encode, review_item
from scenelake.contracts.reviews import Decision, Review, ReviewSource
from scenelake.ledger.protocol import Ledger

RELEASE = Review(
    "s1", "h1", "d1", Decision.RELEASE, "ada", "sun glare, not a fault", 1_760_000_000_000_000_123, ReviewSource.PAGE, "s3://q/x"
)  # fmt: skip
REJECT = replace(RELEASE, decision=Decision.REJECT, reviewer="bob", note="", decided_at_ns=2, source=ReviewSource.FORM)
AGAIN = replace(RELEASE, decision=Decision.REPROCESS, reviewer="eve", decided_at_ns=5)


def test_a_review_comes_back_as_it_was_made(ledger: Ledger) -> None:
    assert ledger.decide(RELEASE) == RELEASE
    assert ledger.reviews([RELEASE.question]) == [RELEASE]
    assert ledger.reviews([("s1", "another revision"), ("s2", "h1")]) == []


def test_whoever_is_second_gets_the_first_ones_decision(ledger: Ledger) -> None:
    ledger.decide(RELEASE)
    assert ledger.decide(REJECT) == RELEASE
    assert ledger.decide(replace(AGAIN, decided_at_ns=9)) == RELEASE
    assert ledger.decide(RELEASE) == RELEASE, "a retry finds its own"
    assert ledger.reviews([RELEASE.question]) == [RELEASE]


def test_another_revision_is_another_question(ledger: Ledger) -> None:
    later = replace(REJECT, review_hash="h2")
    ledger.decide(RELEASE)
    assert ledger.decide(later) == later
    assert ledger.reviews([RELEASE.question, later.question]) == [RELEASE, later]


def test_a_request_to_process_again_decides_nothing_and_the_newest_is_kept(ledger: Ledger) -> None:
    newer = replace(AGAIN, reviewer="mallory", decided_at_ns=7)
    assert ledger.decide(newer) == newer
    ledger.decide(AGAIN)
    assert ledger.reviews([AGAIN.question]) == [newer]
    assert ledger.decide(RELEASE) == RELEASE
    assert ledger.reviews([AGAIN.question]) == [RELEASE, newer]


def test_reviews_are_listed_by_time(ledger: Ledger) -> None:
    others = [replace(REJECT, scene_id=f"t{i}", decided_at_ns=i) for i in (3, 1, 2)]
    for review in (*others, AGAIN):
        ledger.decide(review)
    assert [r.decided_at_ns for r in ledger.reviews_since(2)] == [2, 3, 5]


def test_it_is_kept_since_when_a_review_is_on_record(ledger: Ledger) -> None:
    late = replace(REJECT, recorded_at_ns=40)
    ledger.decide(late)
    assert ledger.decide(replace(REJECT, recorded_at_ns=50)) == late, "a retry finds its own"
    (kept,) = ledger.reviews([late.question])
    assert (kept, kept.on_record_since_ns) == (late, 40)
    assert list(ledger.reviews_since(41)) == []
    assert list(ledger.reviews_since(40)) == [late]


def test_a_review_is_no_drop_of_its_drive(ledger: Ledger) -> None:
    drop = a_drop("a")
    register(ledger, drop)
    ledger.decide(replace(RELEASE, drive_id=drop.drive_id))
    assert list(ledger.drops(drive_id=drop.drive_id)) == [drop]
    assert list(ledger.drops()) == [drop]


@pytest.mark.parametrize("round_number", range(3))
def test_page_and_form_race_and_one_wins(ledger: Ledger, round_number: int) -> None:
    start = threading.Barrier(8)
    given = [
        replace(RELEASE if i % 2 else REJECT, scene_id=f"race{round_number}", reviewer=f"r{i}", decided_at_ns=i)
        for i in range(8)
    ]

    def decide(review: Review) -> Review:
        start.wait()
        return ledger.decide(review)

    with ThreadPoolExecutor(len(given)) as pool:
        stands = list(pool.map(decide, given))
    assert len(set(stands)) == 1, "everybody is told of the same decision"
    assert [a for a, b in zip(given, stands, strict=True) if a == b] == [stands[0]]
    assert ledger.reviews([stands[0].question]) == [stands[0]]


def test_a_put_without_its_condition_would_lose_the_race(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race test can fail: the same put, unconditional, tells two people that they decided."""
    if not isinstance(ledger, DynamoLedger):
        pytest.skip("only the table puts under a condition")
    table: Any = ledger._table

    def put_anyway(item: dict[str, Any]) -> bool:
        table._client.put_item(TableName=table.name, Item=encode(item))
        return True

    monkeypatch.setattr(table, "put_new", put_anyway)
    assert ledger.decide(RELEASE) == RELEASE
    assert ledger.decide(REJECT) == REJECT
    assert review_item(REJECT)["pk"] == review_item(RELEASE)["pk"]
