"""Registers Scenelake with Airflow. Triggers, operators and assets need no registration: they are imported."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

REVIEW_PREFIX = "/scenelake"


class ReviewApp:
    """The review page as an ASGI app that is made at its first request.

    Every process of Airflow imports this file, and only the API server answers requests.
    """

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from scenelake_airflow.review_page import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


class ScenelakePlugin(AirflowPlugin):
    """The review page and the daily reports, under Browse in Airflow's UI."""

    name = "scenelake"
    fastapi_apps: ClassVar[list[Any]] = [{"app": ReviewApp(), "url_prefix": REVIEW_PREFIX, "name": "Scenelake review"}]
    external_views: ClassVar[list[Any]] = [
        {
            "name": "Review scenes",
            "href": f"{REVIEW_PREFIX}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "scenelake-review",
        },
        {
            "name": "Daily reports",
            "href": f"{REVIEW_PREFIX}/reports/",
            "destination": "nav",
            "category": "browse",
            "url_route": "scenelake-reports",
        },
    ]
