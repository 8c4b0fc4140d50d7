"""The review page inside Airflow's UI, behind Airflow's login. Routes only: what they show and do is scenelake.review.

Airflow leaves routes of plugins open: the dependencies of the app close every one of them, and there is no page of
documentation. Who may read the DAG ``review_quarantine`` may look; who may start ``apply_reviews`` may decide.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from airflow.configuration import conf
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict

from scenelake.contracts.errors import BadInputError, ConfigurationError, TransientError
from scenelake.contracts.reviews import ReviewSource
from scenelake.review.desk import ReviewDesk
from scenelake.review.looks import CSS, SCRIPT
from scenelake.review.questions import PICTURES
from scenelake.runtime.settings import load_settings
from scenelake_airflow import report_page
from scenelake_airflow.launchers import JobCommand, launcher_for

log = logging.getLogger(__name__)

ASKING_DAG_ID, APPLYING_DAG_ID = "review_quarantine", "apply_reviews"
MAY_LOOK = requires_access_dag("GET", param_dag_id=ASKING_DAG_ID)
MAY_DECIDE = requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=APPLYING_DAG_ID)
PICTURE_JOB = "scenelake.review.picture_job"
PICTURE_SECONDS, FAILED_SECONDS = 180.0, 300.0
_STATUS_OF = {"not_found": 404, "stale_review": 409}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self';"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_PICTURE_HEADERS = {
    # The address stays when the scene has another revision, and nobody is to decide by the old one's pictures.
    "Cache-Control": "private, no-cache",
    # An SVG that is opened by itself is a page: this one may style itself and nothing else.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}

SceneId = Annotated[str, Path(pattern="^[0-9a-f-]{36}$")]


class Answer(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: str
    review_hash: str
    note: str = ""


@cache
def open_desk() -> ReviewDesk:
    """The desk of this server, opened with the first request."""
    return ReviewDesk.open()


def same_origin(request: Request) -> None:
    """Refuses what another site makes a logged-in browser send. A token of the caller's own is no such thing."""
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return
    own = {request.headers.get("host"), urlsplit(conf.get("api", "base_url", fallback="")).netloc} - {"", None}
    is_own = urlsplit(request.headers.get("origin", "")).netloc in own
    if not is_own or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "a decision must come from the review page itself")
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise HTTPException(415, "expected application/json")


class Pictures:
    """Draws pictures that are not there yet, one at a time, each in a process of its own."""

    def __init__(self) -> None:
        self._one = asyncio.Semaphore(1)
        self._failed: dict[str, float] = {}

    async def get(self, desk: ReviewDesk, scene_id: str, name: str) -> bytes | None:
        """A picture; None where it cannot be drawn, which is not tried again for a while."""
        found = await run_in_threadpool(desk.picture, scene_id, name)
        if found is not None:
            return found
        async with self._one:
            found = await run_in_threadpool(desk.picture, scene_id, name)
            if found is None and time.monotonic() - self._failed.get(scene_id, float("-inf")) > FAILED_SECONDS:
                await self._draw(scene_id)
                found = await run_in_threadpool(desk.picture, scene_id, name)
        return found

    async def _draw(self, scene_id: str) -> None:
        launcher = launcher_for(load_settings())
        lines: deque[str] = deque(maxlen=3)
        job = run_in_threadpool(launcher.run, JobCommand(PICTURE_JOB, ("--scene-id", scene_id)), lines.append)
        task = asyncio.ensure_future(job)
        done, _ = await asyncio.wait([task], timeout=PICTURE_SECONDS)
        if not done:
            launcher.kill()
        end = await task
        if end.exit_code:
            self._failed[scene_id] = time.monotonic()
            log.warning("scene %s could not be drawn (exit %d): %s", scene_id, end.exit_code, " ".join(lines))


router = APIRouter(dependencies=[Depends(get_user), Depends(MAY_LOOK)])
pictures = Pictures()


@router.get("/")
def scenes(request: Request) -> HTMLResponse:
    """The list."""
    return HTMLResponse(open_desk().list_page(dict(request.query_params)), headers={"Cache-Control": "no-store"})


@router.get("/page.css")
def style() -> Response:
    return Response(CSS, media_type="text/css")


@router.get("/page.js")
def script() -> Response:
    return Response(SCRIPT, media_type="text/javascript")


@router.get("/scene/{scene_id}")
def scene(scene_id: SceneId) -> HTMLResponse:
    """One scene."""
    return HTMLResponse(open_desk().scene_page(scene_id), headers={"Cache-Control": "no-store"})


@router.get("/scene/{scene_id}/{name}")
async def picture(scene_id: SceneId, name: str) -> Response:
    """A picture of a scene; the first to ask waits for it to be drawn."""
    desk = await run_in_threadpool(open_desk)
    found = await pictures.get(desk, scene_id, name) if name in PICTURES else None
    if found is None:
        raise HTTPException(404, f"no picture {name} of this scene; the server's log says why")
    return Response(found, media_type=PICTURES[name], headers=_PICTURE_HEADERS)


@router.post("/scene/{scene_id}/decision", dependencies=[Depends(same_origin), Depends(MAY_DECIDE)])
def decide(scene_id: SceneId, answer: Answer, user: GetUserDep) -> JSONResponse:
    """Records a decision; 409 when somebody was first, or when the scene has another revision by now."""
    ruling = open_desk().decide(
        scene_id, answer.review_hash, answer.decision, answer.note, user.get_name(), ReviewSource.PAGE
    )
    if ruling.is_own:
        apply_soon(user.get_name())
    return JSONResponse({"message": ruling.message, "is_own": ruling.is_own}, 200 if ruling.is_own else 409)


async def with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Adds what keeps a browser from running or framing anything else."""
    response = await call_next(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def bad_input(request: Request, error: BadInputError) -> Response:
    return refusal(str(error), _STATUS_OF.get(error.reason, 422))


def malformed(request: Request, error: RequestValidationError) -> Response:
    """Says what is wrong and where, in the form's own words: FastAPI would repeat all that came."""
    return refusal("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()), 422)


def out_of_reach(request: Request, error: Exception) -> Response:
    log.error("the review page cannot reach the lake: %s", error)
    return refusal(f"the lake cannot be reached now: {error}", 503)


def refusal(detail: str, status_code: int) -> Response:
    """JSON can name halves of characters, which no answer can hold."""
    return JSONResponse({"detail": detail.encode(errors="replace").decode()}, status_code)


def create_app() -> FastAPI:
    """The app. It has no pages of documentation: those would need no login."""
    app = FastAPI(title="Scenelake review", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    app.include_router(report_page.router)
    app.middleware("http")(with_headers)
    app.exception_handler(BadInputError)(bad_input)
    app.exception_handler(RequestValidationError)(malformed)
    for error in (TransientError, ConfigurationError):
        app.exception_handler(error)(out_of_reach)
    return app


def apply_soon(user_name: str) -> None:
    """Starts ``apply_reviews``, unless a run of it waits already and so will see the decision.

    What goes wrong here only delays the decision's effect: the DAG also wakes by the clock.
    """
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import AirflowException
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if not DagRun.find(dag_id=APPLYING_DAG_ID, state=DagRunState.QUEUED):
            trigger_dag(APPLYING_DAG_ID, triggered_by=DagRunTriggeredByType.UI, triggering_user_name=user_name)
    except (AirflowException, SQLAlchemyError, ValueError) as error:
        log.warning("%s could not be started, its schedule will: %s", APPLYING_DAG_ID, error)
