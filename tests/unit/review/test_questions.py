"""What waits, what is asked, and which drives a decision builds again."""

from dataclasses import replace

import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.reviews import MAX_NOTE_CHARACTERS, Decision, ReviewSource
from scenelake.review.answers import reviewed
from scenelake.review.filters import Filters
from scenelake.review.questions import HeldScene, Status, drives_to_build, picture_uri, question_words, with_reviews

HELD = HeldScene(
    "s1", "d1", "fleet", "car", "drive", 7, "QUARANTINED", "camera.black, sync_error", "s3://q/d1/s1-h.json", "h", None,
    None,
)  # fmt: skip


def answered(decision: str = "release", scene: HeldScene = HELD, note: str = "fine", at_ns: int = 10) -> HeldScene:
    review = reviewed(scene, scene.review_hash, decision, note, "ada", at_ns, ReviewSource.PAGE)
    return with_reviews([scene], [review])[0]


def test_a_question_goes_from_waiting_to_its_end() -> None:
    assert HELD.status is Status.WAITING
    assert answered("reprocess").status is Status.REPROCESS
    assert answered("release").status is Status.RELEASING
    assert answered("reject").status is Status.REJECTING
    built = replace(answered("release"), state="RELEASED", reviewer="ada", decided_at_ns=10)
    assert (built.status, built.is_honoured) == (Status.RELEASED, True)
    assert replace(HELD, state="REJECTED").status is Status.REJECTED


def test_reviews_of_another_revision_are_not_taken() -> None:
    review = answered().decision
    assert review is not None
    assert with_reviews([HELD], [replace(review, review_hash="other")]) == [HELD]


@pytest.mark.parametrize(
    ("decision", "began_ns", "is_built"),
    [("release", 5, True), ("reprocess", 5, True), ("release", 15, False), ("reprocess", 15, False),
     ("release", None, False)],
)  # fmt: skip
def test_a_decision_that_is_later_than_the_last_build_asks_for_another(
    decision: str, began_ns: int | None, is_built: bool
) -> None:
    scene = answered(decision)
    assert drives_to_build([scene], {"d1": began_ns}) == ({"d1": (scene,)} if is_built else {})


def test_many_decisions_of_a_drive_are_one_build_and_none_is_none() -> None:
    scenes = [answered(scene=replace(HELD, scene_id=f"s{i}")) for i in range(5)]
    assert {d: len(s) for d, s in drives_to_build([HELD, *scenes], {"d1": 1}).items()} == {"d1": 5}
    honoured = replace(answered(), state="RELEASED", reviewer="ada", decided_at_ns=10)
    assert drives_to_build([HELD, honoured], {"d1": 1}) == {}


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"decision": "perhaps"}, "bad_review", "expected one of RELEASE, REJECT, REPROCESS"),
        ({"review_hash": "old"}, "stale_review", "new revision"),
        ({"reviewer": "  "}, "bad_review", "reviewer"),
        ({"note": "x" * (MAX_NOTE_CHARACTERS + 1)}, "bad_review", "2000"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, str], reason: str, words: str) -> None:
    given = {"review_hash": "h", "decision": "release", "note": "", "reviewer": "ada", **changes}
    with pytest.raises(BadInputError, match=words) as refused:
        reviewed(HELD, **given, at_ns=1, source=ReviewSource.PAGE)
    assert refused.value.reason == reason


def test_a_scene_without_a_revision_cannot_be_decided_upon() -> None:
    with pytest.raises(BadInputError, match="build its drive again"):
        answered("reprocess", replace(HELD, review_hash=""))


def test_what_the_policy_rejects_can_only_be_processed_again() -> None:
    rejected = replace(HELD, state="REJECTED")
    with pytest.raises(BadInputError, match="change the policy"):
        answered("release", rejected)
    assert answered("reprocess", rejected).request is not None


def test_a_note_is_one_line_of_what_can_be_read() -> None:
    review = answered(note=" sun\nglare\x1b[31m \u202eback ").decision
    assert review is not None
    assert review.note == "sun glare□[31m □back"
    assert (review.decision, review.drive_id, review.evidence_uri) == (Decision.RELEASE, "d1", HELD.evidence_uri)


def test_a_reviewers_name_is_one_line_of_what_can_be_read() -> None:
    for given, expected in (("ad\x1b[2Ja\n", "ad□[2Ja"), ("a\ud800", "a□"), (" bob\x00 ", "bob□")):
        assert reviewed(HELD, "h", "reject", "", given, 1, ReviewSource.COMMAND).reviewer == expected
    with pytest.raises(BadInputError, match="reviewer"):
        reviewed(HELD, "h", "reject", "", "\x1c\n", 1, ReviewSource.COMMAND)


def test_an_answer_that_was_long_on_its_way_is_later_than_a_build_that_began_meanwhile() -> None:
    given = answered().decision
    assert given is not None
    late = replace(HELD, decision=replace(given, recorded_at_ns=20))
    assert late.decision == given, "it is the same decision, whenever it was put on record"
    assert drives_to_build([late], {"d1": 15}) == {"d1": (late,)}
    assert drives_to_build([late], {"d1": 25}) == {}


def test_pictures_lie_under_a_prefix_of_their_own_by_revision() -> None:
    folder, name = picture_uri(HELD.evidence_uri, {"verdict": "warn"}, "thumb.jpg").rsplit("/", 1)
    assert (folder.rsplit("/", 1)[0], name) == ("s3://q/pictures/d1/s1-h", "thumb.jpg")
    assert picture_uri(HELD.evidence_uri, {"verdict": "reject"}, name).rsplit("/", 1)[0] != folder


def test_the_question_shows_hostile_names_and_obeys_none() -> None:
    channel = "/cam`|![x](http://evil.example/p.png) <script> www.evil.example {{ 1 }}\n# big"
    finding = {"check_name": "camera.black", "channel": channel, "measured": 0.51234, "threshold": None, "reason": "r"}
    subject, body = question_words(HELD, "http://127.0.0.1:8080/scenelake", [finding])
    assert "(http://127.0.0.1:8080/scenelake/scene/s1)" in body
    row = next(line for line in body.splitlines() if "evil" in line)
    assert row.count(" | ") == 4, "the channel does not add a column"
    bare = row.replace("\\\\", "")
    for mark in ("`", "![", "](", "<", "www.", "http:", "{{", "# "):
        escaped = "".join(f"\\{c}" if not c.isalnum() and c != " " else c for c in mark)
        assert mark not in bare.replace(escaped, ""), mark
    assert "0\\.5123" in row
    assert subject == "Scene s1 @ h of drive: camera.black, sync_error"
    hostile = replace(HELD, drive="a\x00b\u202e\nc")
    assert question_words(hostile, "http://x", [])[0] == "Scene s1 @ h of a□b□ c: camera.black, sync_error"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, Filters()),
        ({"state": "nonsense", "days": "x", "page": "-1"}, Filters()),
        ({"state": "all", "days": "7", "page": "3", "check": "a"}, Filters("all", check="a", days=7, page=3)),
        ({"days": "99999999999999", "page": "0"}, Filters()),
        ({"days": "\u0661"}, Filters()),
    ],
)
def test_filters_take_what_a_browser_may_send(query: dict[str, str], expected: Filters) -> None:
    found = Filters.from_query(query)
    assert found == expected
    assert replace(Filters.from_query(found.query()), page=found.page) == found
