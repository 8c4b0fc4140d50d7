"""Decisions about held scenes: honoured by a build, under a hash that no neighbour can change."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.serialise.synthetic import FRAMES, DriveMaker, rows_of

from scenelake.contracts.reviews import Decision, Question, Review, ReviewSource
from scenelake.serialise.drives import DriveInput, DriveRows, ReviewLookup, drive_rows
from scenelake.serialise.outcomes import scene_counts


def deciding(decision: Decision, *scene_ids: str, asked: list[Question] | None = None) -> ReviewLookup:
    """A ledger in which somebody decided about the scenes, whatever their revision."""

    def reviews(questions: Sequence[Question]) -> list[Review]:
        if asked is not None:
            asked.extend(questions)
        return [
            Review(s, h, "d", decision, "ada", "looked", 7, ReviewSource.PAGE, "s3://q/x")
            for s, h in questions
            if s in scene_ids
        ]

    return reviews


def scene_ids(given: DriveInput) -> list[str]:
    found: list[str] = given.tables["scene"]["scene_id"].to_pylist()
    return found


def only(rows: DriveRows, table: str, scene_id: str) -> dict[str, Any]:
    (row,) = (r for r in rows.rows[table].to_pylist() if r["scene_id"] == scene_id)
    return row


def accounts(rows: DriveRows) -> dict[str, int]:
    return {k: v for k, v in scene_counts([rows]).items() if k.endswith("_messages") and v}


@pytest.mark.parametrize("verdict", ["quarantine", "reject", "pass"])
def test_a_released_scene_is_gold_and_keeps_what_quality_said(maker: DriveMaker, verdict: str) -> None:
    given = maker.drive(scenes=2, verdicts=("pass", verdict))
    scene = scene_ids(given)[1]
    rows = drive_rows(given, "s3://q", deciding(Decision.RELEASE, scene))
    assert scene in rows.scenes
    kept = only(rows, "release_scene", scene)
    assert (kept["verdict"], kept["is_kept"], kept["kept_because"]) == (verdict, True, "released by ada: looked")
    row = only(rows, "quarantine", scene)
    assert (row["state"], row["reviewer"], row["decided_at_ns"]) == ("RELEASED", "ada", 7)
    assert row["evidence_uri"] in rows.evidence
    assert [r.scene_id for r in rows.reviews] == [scene]
    assert set(accounts(rows)) == {"nbr_accepted_messages", "nbr_unassigned_messages", "nbr_undecodable_messages"}


@pytest.mark.parametrize("verdict", ["quarantine", "pass", "warn"])
def test_a_rejected_scene_stays_out_even_if_quality_would_take_it(maker: DriveMaker, verdict: str) -> None:
    given = maker.drive(scenes=2, verdicts=("pass", verdict))
    scene = scene_ids(given)[1]
    rows = drive_rows(given, "s3://q", deciding(Decision.REJECT, scene))
    assert scene not in rows.scenes
    row = only(rows, "quarantine", scene)
    assert (row["state"], row["reviewer"]) == ("REJECTED", "ada")
    assert row["reason"], "every absence has a reason"
    assert accounts(rows)["nbr_rejected_messages"] == 2 * FRAMES
    assert "nbr_quarantined_messages" not in accounts(rows)


def test_a_request_to_process_again_decides_nothing(maker: DriveMaker) -> None:
    given = maker.drive(scenes=2, verdicts=("pass", "quarantine"))
    scene = scene_ids(given)[1]
    rows = drive_rows(given, "s3://q", deciding(Decision.REPROCESS, scene))
    assert only(rows, "quarantine", scene)["state"] == "QUARANTINED"
    assert only(rows, "quarantine", scene)["reviewer"] is None
    assert rows.scenes == drive_rows(given, "s3://q").scenes
    assert not rows.reviews


@pytest.fixture
def crossing(maker: DriveMaker) -> Callable[..., DriveInput]:
    """Two scenes of which the first one's first keyframe matches a row of the second, and the other way round."""

    def make(*verdicts: str) -> DriveInput:
        given = maker.drive(scenes=2, verdicts=verdicts)
        first, second = scene_ids(given)
        sync = given.tables["sync_index"].to_pylist()
        of = {s: next(r["sample_data_id"] for r in sync if r["scene_id"] == s) for s in (first, second)}
        changed = []
        for scene, other in ((first, second), (second, first)):
            mine = [dict(r) for r in sync if r["scene_id"] == scene]
            mine[0] |= {"sample_data_id": of[other], "value": [1.0]}
            changed += mine
        return replace(given, tables={**given.tables, "sync_index": rows_of("sync_index", changed)})

    return make


def test_what_is_asked_about_a_scene_does_not_depend_on_its_neighbour(crossing: Callable[..., DriveInput]) -> None:
    found = []
    for verdicts in (("quarantine", "quarantine"), ("quarantine", "pass"), ("pass", "quarantine"), ("pass", "pass")):
        asked: list[Question] = []
        drive_rows(crossing(*verdicts), "s3://q", deciding(Decision.RELEASE, asked=asked))
        found.append(sorted(asked))
    assert found[0] == found[1] == found[2] == found[3]


def test_a_release_of_the_neighbour_does_not_undo_a_release(crossing: Callable[..., DriveInput]) -> None:
    given = crossing("quarantine", "quarantine")
    first, second = scene_ids(given)
    questions: list[Question] = []
    drive_rows(given, "s3://q", deciding(Decision.RELEASE, asked=questions))
    known = dict(questions)

    def ledger(*released: str) -> ReviewLookup:
        def reviews(asked: Sequence[Question]) -> list[Review]:
            made = deciding(Decision.RELEASE, *released)([(s, known[s]) for s in released])
            return [r for r in made if r.question in asked]

        return reviews

    alone = drive_rows(given, "s3://q", ledger(first))
    both = drive_rows(given, "s3://q", ledger(first, second))
    assert set(alone.scenes) == {first}
    assert set(both.scenes) == {first, second}
    assert alone.scenes[first] != known[first], "its match in the held neighbour is a miss"
    assert both.scenes[first] == known[first], "the content hash follows the neighbour, the question does not"
    assert only(alone, "quarantine", second)["review_hash"] == known[second]
    assert only(alone, "scene", first)["content_hash"] == alone.scenes[first]


def test_the_document_says_where_the_scene_can_be_read(maker: DriveMaker) -> None:
    given = maker.drive(scenes=2, verdicts=("pass", "quarantine"), duplicate=True)
    rows = drive_rows(replace(given, synchronised_uri="s3://lake/work/x"), "s3://q")
    ((uri, document),) = rows.evidence.items()
    assert document["synchronised"] == "s3://lake/work/x"
    assert set(document["decoded"]) == set(given.plan.decoded) - set(given.plan.duplicates)
    row = only(rows, "quarantine", scene_ids(given)[1])
    assert document["scene"]["content_hash"] == row["review_hash"]
    assert uri == f"s3://q/{row['drive_id']}/{row['scene_id']}-{row['review_hash'][:16]}.json"
