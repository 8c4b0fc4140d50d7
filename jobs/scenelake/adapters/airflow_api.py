"""A small client of Airflow's public REST API: what runs, how far it is, and triggering a run."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from scenelake.contracts.errors import TransientError

_TIMEOUT_SECONDS = 15


@dataclass(frozen=True, slots=True)
class TaskState:
    """One task of one run, with Airflow's own ISO times."""

    task_id: str
    state: str | None
    start: str | None
    end: str | None


class AirflowApi:
    """Talks to one API server as one user.

    Args:
        url: base URL, without a trailing slash.
        user, password: of the simple auth manager.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._credentials = {"username": user, "password": password}
        self._token: str | None = None

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState] | None:
        """The run's tasks, or None while there is no such run."""
        try:
            answer = self.get(f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances?limit=200")
        except FileNotFoundError:
            return None
        return [
            TaskState(t["task_id"], t["state"], t.get("start_date"), t.get("end_date"))
            for t in answer["task_instances"]
        ]

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """State of a run, or None while there is no such run."""
        try:
            state: str = self.get(f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}")["state"]
        except FileNotFoundError:
            return None
        return state

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Starts a run by hand and returns its id."""
        body = {"conf": conf, "logical_date": None}
        run_id: str = self._call("POST", f"/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"]
        return run_id

    def get(self, path: str) -> Any:
        """The answer of a GET of the API, for what has no method of its own here: a path below ``/api/v2``."""
        return self._call("GET", path, None)

    def _call(self, method: str, path: str, body: Any) -> Any:
        if self._token is None:
            self._token = self._send("POST", f"{self._url}/auth/token", self._credentials)["access_token"]
        try:
            return self._send(method, f"{self._url}/api/v2{path}", body, self._token)
        except PermissionError:
            self._token = None
            raise TransientError(f"{self._url}: the API token was refused; log in again") from None

    def _send(self, method: str, url: str, body: Any, token: str | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            detail = error.read()[:300].decode(errors="replace")
            if error.code == 404:
                raise FileNotFoundError(url) from error
            if error.code in (401, 403):
                raise PermissionError(url) from error
            raise TransientError(f"{method} {url}: {error.code} {detail}") from error
        except (urllib.error.URLError, TimeoutError) as error:
            raise TransientError(f"{method} {url}: {error}") from error
