"""``scenelake review``: the same decisions as the page's, told in a line."""

import json
from typing import Any

import pytest
from tests.unit.review.test_questions import HELD
from typer.testing import CliRunner

from scenelake.cli.main import app
from scenelake.contracts.reviews import Decision, Review, ReviewSource
from scenelake.review.desk import Ruling
from scenelake.review.filters import Facets, Filters
from scenelake.review.page import Listing


class Stack:
    """A workspace and its desk, whose only scene is ``HELD``."""

    settings = None

    def __init__(self) -> None:
        self.airflow = self
        self.triggered: list[str] = []
        self.asked: list[Any] = []
        self.first: Review | None = None

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        self.triggered.append(dag_id)
        return "run"

    def listing(self, filters: Filters) -> Listing:
        self.asked.append(filters)
        return Listing([HELD], Facets(), filters, True, "r00000001")

    def scene(self, scene_id: str) -> Any:
        return HELD

    def document(self, scene: Any) -> dict[str, Any]:
        return {"verdict": "quarantine"}

    def decide(
        self, scene_id: str, review_hash: str, decision: str, note: str, reviewer: str, source: ReviewSource
    ) -> Ruling:
        given = Review(scene_id, review_hash, "d1", Decision(decision), reviewer, note, 1, source, "s3://q/x")
        return Ruling(self.first or given, self.first is None)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    made = Stack()
    monkeypatch.setattr("scenelake.cli.stack_commands.Workspace.open", lambda: made)
    monkeypatch.setattr("scenelake.review.desk.ReviewDesk.open", lambda settings: made)
    return made


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["review", *words])


def test_the_list_names_scene_drive_and_reason(stack: Stack) -> None:
    done = run("list", "--check", "camera.black", "--page", "2")
    assert done.exit_code == 0, done.output
    assert stack.asked == [Filters(check="camera.black", page=2)]
    assert "s1" in done.output
    assert "--page 3" in done.output
    (scene,) = json.loads(run("list", "--json").output)
    assert (scene["scene_id"], scene["status"], scene["reason"]) == ("s1", "waiting", "camera.black, sync_error")
    assert run("list", "--state", "perhaps").exit_code == 2


def test_a_scene_is_shown_with_its_evidence(stack: Stack) -> None:
    assert json.loads(run("show", "s1").output)["evidence"] == {"verdict": "quarantine"}


@pytest.mark.parametrize("word", ["release", "reject", "reprocess"])
def test_a_decision_is_recorded_and_applied(stack: Stack, word: str) -> None:
    done = run(word, "s1", "--as", "ada", "--note", "fine")
    assert done.exit_code == 0, done.output
    assert done.output == f"{word.upper()} is on record; the drive will be built again\n"
    assert stack.triggered == ["apply_reviews"]


def test_whoever_is_second_is_told_and_nothing_is_started(stack: Stack) -> None:
    stack.first = Review("s1", "h", "d1", Decision.REJECT, "bob", "", 1, ReviewSource.FORM, "s3://q/x")
    done = run("release", "s1")
    assert done.exit_code == 1
    assert "bob was first: REJECT" in done.output
    assert not stack.triggered
