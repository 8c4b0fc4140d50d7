"""Reports that are there, for the page inside Airflow's UI."""

import re
from typing import Self

from jinja2 import Template

from scenelake.adapters.objects import Objects, s3_objects
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.runtime.settings import Settings, load_settings

MEDIA_TYPES = {".html": "text/html; charset=utf-8", ".png": "image/png"}

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)?[A-Za-z0-9_-][A-Za-z0-9._-]*\.(?:html|png)")
_LIST = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Reports · Scenelake</title>
<style>:root{color-scheme:light dark}body{font:15px/1.6 system-ui,sans-serif;max-width:40rem;margin:2rem auto}</style>
</head><body><h1>Daily reports</h1>
{% for day in days %}<p><a href="{{ day }}/index.html">{{ day }}</a></p>
{% else %}<p>There is none yet: the DAG <b>daily_report</b> builds one a day, or trigger it with a day.</p>
{% endfor %}</body></html>""",
    autoescape=True,
)


class ReportShelf:
    """The reports of one lake."""

    def __init__(self, objects: Objects, paths: LakePaths) -> None:
        self._objects = objects
        self._paths = paths

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """The shelf of the lake that the settings, or else the environment, name."""
        settings = settings or load_settings()
        return cls(s3_objects(settings), LakePaths(settings.lake_uri))

    def list_page(self) -> str:
        """Links to all reports, the newest day first."""
        days = self._objects.folders(f"{self._paths.reports}/")
        page: str = _LIST.render(days=sorted((d for d in days if _DAY.fullmatch(d)), reverse=True))
        return page

    def read(self, day: str, name: str) -> tuple[bytes, str]:
        """A page or picture of a report, and its media type.

        Raises:
            BadInputError: reason ``not_found``.
        """
        try:
            if _DAY.fullmatch(day) and _NAME.fullmatch(name):
                data = self._objects.read(f"{self._paths.report(day)}/{name}")
                return data, MEDIA_TYPES[name[name.rindex(".") :]]
        except FileNotFoundError as error:
            raise BadInputError(f"report {day}: there is no {name}", reason="not_found") from error
        raise BadInputError(f"report {day}: there is no {name}", reason="not_found")
