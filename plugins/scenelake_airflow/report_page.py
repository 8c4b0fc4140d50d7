"""Daily reports inside Airflow's UI: routes of the review page's app, so behind Airflow's login."""

from functools import cache
from typing import Annotated

from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import HTMLResponse

from scenelake.report.shelf import ReportShelf

REPORTING_DAG_ID = "daily_report"
MAY_READ = requires_access_dag("GET", param_dag_id=REPORTING_DAG_ID)
_HEADERS = {
    "Cache-Control": "no-store",
    # A report brings its own style and pictures; it runs nothing.
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self';"
    " base-uri 'none'",
}

Day = Annotated[str, Path(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]

router = APIRouter(prefix="/reports", dependencies=[Depends(get_user), Depends(MAY_READ)])


@cache
def open_shelf() -> ReportShelf:
    """The shelf of this server, opened with the first request."""
    return ReportShelf.open()


@router.get("/")
def reports() -> HTMLResponse:
    """All days."""
    return HTMLResponse(open_shelf().list_page(), headers=_HEADERS)


@router.get("/{day}/{name:path}")
def report(day: Day, name: str) -> Response:
    """A page or picture of a day."""
    data, media_type = open_shelf().read(day, name)
    return Response(data, media_type=media_type, headers=_HEADERS)
