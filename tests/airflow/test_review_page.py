"""The review page as Airflow serves it: nobody without a login, no other site's word, decisions by name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts.errors import BadInputError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.reviews import Decision, Review, ReviewSource
from scenelake.report.shelf import ReportShelf
from scenelake.review.desk import Ruling
from scenelake_airflow import report_page, review_page
from scenelake_airflow.launchers import JobCommand, JobEnd
from scenelake_plugin import REVIEW_PREFIX, ReviewApp, ScenelakePlugin

SCENE = "5a1e0001-0000-4000-8000-000000000001"
ORIGIN = {"Origin": "http://testserver"}
RELEASE = {"decision": "RELEASE", "review_hash": "h", "note": "fine"}


class User:
    def get_name(self) -> str:
        return "ada"


class Desk:
    """Answers like ``ReviewDesk``."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.pictures: dict[str, bytes] = {}
        self.first: Review | None = None
        self.error: Exception | None = None

    def list_page(self, query: dict[str, str]) -> str:
        if self.error:
            raise self.error
        self.asked.append(query)
        return "<!doctype html><p>the list</p>"

    def scene_page(self, scene_id: str) -> str:
        if scene_id != SCENE:
            raise BadInputError(f"scene {scene_id}: not held", reason="not_found")
        return "<!doctype html><p>the scene</p>"

    def picture(self, scene_id: str, name: str) -> bytes | None:
        return self.pictures.get(name)

    def decide(self, *words: Any) -> Ruling:
        if self.error:
            raise self.error
        self.asked.append(words)
        scene_id, review_hash, decision, note, reviewer, source = words
        given = Review(scene_id, review_hash, "d", Decision(decision), reviewer, note, 1, source, "s3://q/x")
        stands = self.first or given
        return Ruling(stands, stands == given)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr(review_page, "open_desk", lambda: made)
    monkeypatch.setattr(review_page, "pictures", review_page.Pictures())
    return made


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(review_page, "apply_soon", names.append)
    return names


@pytest.fixture
def logged_in(desk: Desk, started: list[str]) -> Iterator[TestClient]:
    app = review_page.create_app()
    permissions = (review_page.MAY_LOOK, review_page.MAY_DECIDE, report_page.MAY_READ)
    app.dependency_overrides = {get_user: User, **dict.fromkeys(permissions, User)}
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/page.css"), ("GET", "/page.js"), ("GET", f"/scene/{SCENE}"),
     ("GET", f"/scene/{SCENE}/sheet.png"), ("POST", f"/scene/{SCENE}/decision"), ("GET", "/reports/"),
     ("GET", "/reports/2026-01-31/index.html")],
)  # fmt: skip
def test_without_a_login_every_route_answers_401(desk: Desk, method: str, path: str) -> None:
    with TestClient(review_page.create_app()) as client:
        answer = client.request(method, path, headers=ORIGIN, json=RELEASE if method == "POST" else None)
    assert answer.status_code == 401
    assert not desk.asked


def test_there_is_no_open_page_of_documentation_and_no_forgotten_route() -> None:
    app = review_page.create_app()
    with TestClient(app) as client:
        assert [client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [404] * 3
    tested = {
        "/",
        "/page.css",
        "/page.js",
        "/scene/{scene_id}",
        "/scene/{scene_id}/{name}",
        "/scene/{scene_id}/decision",
    }
    assert {route.path for route in review_page.router.routes} == tested
    assert {route.path for route in report_page.router.routes} == {"/reports/", "/reports/{day}/{name:path}"}


def test_the_plugin_serves_the_page_where_its_link_leads(desk: Desk) -> None:
    (given,) = ScenelakePlugin.fastapi_apps
    hrefs = [view["href"] for view in ScenelakePlugin.external_views]
    assert hrefs == [f"{given['url_prefix']}{path}" for path in ("/", "/reports/")]
    assert given["url_prefix"] == REVIEW_PREFIX
    with TestClient(ReviewApp()) as client:
        assert [client.get(path).status_code for path in ("/", "/reports/")] == [401, 401]


def test_reports_are_shown_and_may_run_nothing(logged_in: TestClient, tmp_path: Path, monkeypatch: Any) -> None:
    objects = LocalObjects(tmp_path)
    objects.write("s3://lake/reports/2026-01-31/index.html", b"<!doctype html>the day")
    shelf = ReportShelf(objects, LakePaths("s3://lake"))
    monkeypatch.setattr(report_page, "open_shelf", lambda: shelf)
    assert "2026-01-31/index.html" in logged_in.get("/reports/").text
    answer = logged_in.get("/reports/2026-01-31/index.html")
    assert (answer.status_code, answer.text) == (200, "<!doctype html>the day")
    assert "script" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for name in ("other.html", "..%2F..%2Freleases%2F00000001.json"):
        assert logged_in.get(f"/reports/2026-01-31/{name}").status_code == 404
    assert logged_in.get("/reports/today/index.html").status_code == 422


def test_pages_are_shown_and_may_run_nothing_of_others(logged_in: TestClient, desk: Desk) -> None:
    answer = logged_in.get("/?state=all&check=x")
    assert (answer.status_code, answer.text) == (200, "<!doctype html><p>the list</p>")
    assert desk.asked == [{"state": "all", "check": "x"}]
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert logged_in.get(f"/scene/{SCENE}").text.endswith("the scene</p>")
    assert logged_in.get("/page.js").headers["content-type"].startswith("text/javascript")
    assert logged_in.get(f"/scene/{SCENE[:-1]}2").status_code == 404
    assert logged_in.get("/scene/--help").status_code == 422


def test_a_decision_is_recorded_in_the_users_name_and_applied(
    logged_in: TestClient, desk: Desk, started: list[str]
) -> None:
    answer = logged_in.post(f"/scene/{SCENE}/decision", json=RELEASE, headers=ORIGIN)
    assert (answer.status_code, answer.json()["is_own"]) == (200, True)
    assert desk.asked == [(SCENE, "h", "RELEASE", "fine", "ada", ReviewSource.PAGE)]
    assert started == ["ada"]


def test_whoever_is_second_is_told_who_was_first(logged_in: TestClient, desk: Desk, started: list[str]) -> None:
    desk.first = Review(SCENE, "h", "d", Decision.REJECT, "bob", "", 1, ReviewSource.FORM, "s3://q/x")
    answer = logged_in.post(f"/scene/{SCENE}/decision", json=RELEASE, headers=ORIGIN)
    assert answer.status_code == 409
    assert answer.json()["message"] == "not recorded: bob was first: REJECT (on the form)"
    assert not started


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({**ORIGIN, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**ORIGIN, "Sec-Fetch-Site": "same-site"}, 403),
        ({**ORIGIN, "Content-Type": "text/plain"}, 415),
        ({**ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({**ORIGIN, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Authorization": "Bearer own-token"}, 200),
    ],
)
def test_another_sites_word_is_no_decision(
    logged_in: TestClient, desk: Desk, headers: dict[str, str], status: int
) -> None:
    headers = {"Content-Type": "application/json", **headers}
    answer = logged_in.post(f"/scene/{SCENE}/decision", content=json.dumps(RELEASE), headers=headers)
    assert answer.status_code == status
    assert bool(desk.asked) == (status == 200)


@pytest.mark.parametrize("wrong", [{"decision": "RELEASE"}, {**RELEASE, "reviewer": "mallory"}, ["RELEASE"]])
def test_a_decision_that_is_not_one_is_refused(logged_in: TestClient, desk: Desk, wrong: Any) -> None:
    assert logged_in.post(f"/scene/{SCENE}/decision", json=wrong, headers=ORIGIN).status_code == 422
    assert not desk.asked


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"decision": "RELEASE", "review_hash": "h", "\\ud800": 1}',
        b'{"decision": "RELEASE", "review_hash": 1e999}',
        b'{"decision": "RELEASE", "review_hash": ["' + b"x" * 100_000 + b'"]}',
    ],
)
def test_a_refusal_says_why_and_repeats_nothing(logged_in: TestClient, desk: Desk, wrong: bytes) -> None:
    headers = {**ORIGIN, "Content-Type": "application/json"}
    answer = logged_in.post(f"/scene/{SCENE}/decision", content=wrong, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("body")
    assert len(answer.content) < 300


def test_half_a_character_is_refused_like_any_other_hash(logged_in: TestClient, desk: Desk) -> None:
    desk.error = BadInputError("looked at \ud800", reason="stale_review")
    given = json.dumps({**RELEASE, "review_hash": "\ud800"})
    headers = {**ORIGIN, "Content-Type": "application/json"}
    answer = logged_in.post(f"/scene/{SCENE}/decision", content=given, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (409, "looked at ?")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInputError("new revision", reason="stale_review"), 409),
        (BadInputError("a note", reason="bad_review"), 422),
        (TransientError("busy"), 503),
    ],
)
def test_what_goes_wrong_is_said(logged_in: TestClient, desk: Desk, error: Exception, status: int) -> None:
    desk.error = error
    answer = logged_in.post(f"/scene/{SCENE}/decision", json=RELEASE, headers=ORIGIN)
    assert answer.status_code == status
    assert str(error) in answer.json()["detail"]


class Launcher:
    """Draws, or fails to."""

    def __init__(self, desk: Desk, exit_code: int) -> None:
        self.desk, self.exit_code, self.commands = desk, exit_code, [JobCommand("", ())][:0]

    def run(self, command: JobCommand, on_line: Any) -> JobEnd:
        self.commands.append(command)
        if not self.exit_code:
            self.desk.pictures |= {"sheet.png": b"png", "timeline.svg": b"<svg/>"}
        on_line("what went wrong")
        return JobEnd(self.exit_code, None)


def test_a_picture_is_drawn_once_by_a_process_of_its_own(
    logged_in: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = Launcher(desk, 0)
    monkeypatch.setattr(review_page, "launcher_for", lambda settings: launcher)
    for name, kind in (("sheet.png", "image/png"), ("timeline.svg", "image/svg+xml")):
        answer = logged_in.get(f"/scene/{SCENE}/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert launcher.commands == [JobCommand("scenelake.review.picture_job", ("--scene-id", SCENE))]
    assert logged_in.get(f"/scene/{SCENE}/secrets.json").status_code == 404


def test_a_scene_that_cannot_be_drawn_is_not_tried_again_at_once(
    logged_in: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = Launcher(desk, 70)
    monkeypatch.setattr(review_page, "launcher_for", lambda settings: launcher)
    assert [logged_in.get(f"/scene/{SCENE}/sheet.png").status_code for _ in range(3)] == [404] * 3
    assert len(launcher.commands) == 1


@pytest.mark.parametrize(("queued", "expected"), [([], ["apply_reviews"]), (["a run"], [])])
def test_a_run_that_waits_already_is_enough(
    monkeypatch: pytest.MonkeyPatch, queued: list[str], expected: list[str]
) -> None:
    triggered: list[str] = []
    monkeypatch.setattr("airflow.models.dagrun.DagRun.find", lambda **asked: queued)
    monkeypatch.setattr("airflow.api.common.trigger_dag.trigger_dag", lambda dag_id, **words: triggered.append(dag_id))
    review_page.apply_soon("ada")
    assert triggered == expected


def test_a_start_that_fails_does_not_cost_the_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.exceptions import DagNotFound

    def fail(*words: Any, **more: Any) -> None:
        raise DagNotFound("not parsed yet")

    monkeypatch.setattr("airflow.models.dagrun.DagRun.find", fail)
    review_page.apply_soon("ada")
