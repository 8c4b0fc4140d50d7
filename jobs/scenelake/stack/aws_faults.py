"""What goes wrong between a job and AWS, injected into the stand-in: a WSGI layer in front of moto's server.

The fault battery leaves ``aws.json`` in its folder (``Settings.faults``), replaces it, or takes it away; the
server reads it again whenever it changes. Per service, the share of requests that meet each fault::

    {"seed": 1,
     "s3": {"error_503": 0.05, "drop_before": 0.01, "drop_after": 0.02, "short_read": 0.05},
     "dynamodb": {"throttle": 0.05, "drop_before": 0.01, "conditional_lost": 0.02},
     "sqs": {"error_503": 0.05, "drop_before": 0.01, "drop_after": 0.02},
     "glue": {"throttle": 0.05, "drop_before": 0.01, "drop_after": 0.02},
     "events": {"copies": [1, 5], "shuffle_seconds": 3.0}}

``error_503`` and ``throttle`` answer as the overloaded service does. ``drop_before`` closes the connection before
anything is done; ``drop_after``, and ``conditional_lost`` for DynamoDB's writes, when all is done and only the answer
is missing. ``short_read`` closes it amid the body of a GET.

Only what jobs do with objects, items, messages and tables is touched: not what sets the stack up, nor writes to the
landing bucket, which are the outside world's. ``aws_counts.json`` tells how many requests of each service met which
fault since ``aws.json`` last changed.
"""

import heapq
import itertools
import json
import os
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from scenelake.contracts.errors import ConfigurationError

FAULTS: dict[str, tuple[str, ...]] = {
    "s3": ("error_503", "drop_before", "drop_after", "short_read"),
    "dynamodb": ("throttle", "drop_before", "conditional_lost"),
    "sqs": ("error_503", "drop_before", "drop_after"),
    "glue": ("throttle", "drop_before", "drop_after"),
}
_EVENTS = "events"
_COUNTS_EVERY = 100
_SCOPE = re.compile(r"/\d{8}/[^/]+/(?P<service>[a-z0-9-]+)/aws4_request")
_OPERATIONS = {
    "dynamodb": frozenset(
        {"GetItem", "BatchGetItem", "Query", "Scan", "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"}
    ),
    "sqs": frozenset(
        {
            "SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch",
            "ChangeMessageVisibility", "ChangeMessageVisibilityBatch",
        }
    ),
    "glue": frozenset({"GetTable", "CreateTable", "UpdateTable"}),
}  # fmt: skip
_BUSY: dict[str, tuple[str, str, bytes]] = {
    "s3": (
        "503 Slow Down",
        "application/xml",
        b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
    ),
    "dynamodb": (
        "400 Bad Request",
        "application/x-amz-json-1.0",
        b'{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",'
        b' "message": "The level of configured provisioned throughput for the table was exceeded."}',
    ),
    "sqs": (
        "503 Service Unavailable",
        "application/x-amz-json-1.0",
        b'{"__type": "com.amazonaws.sqs#ServiceUnavailable", "message": "The service is unavailable."}',
    ),
    "glue": (
        "400 Bad Request",
        "application/x-amz-json-1.1",
        b'{"__type": "ThrottlingException", "message": "Rate exceeded"}',
    ),
}

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """``aws.json``.

    Attributes:
        rates: share of requests by service and fault.
        copies: fewest and most times that an event of the landing bucket is sent.
        shuffle_seconds: longest delay of a copy; each draws its own.
    """

    seed: int = 0
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    copies: tuple[int, int] = (1, 1)
    shuffle_seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "FaultPlan":
        """The plan that the file holds.

        Raises:
            ConfigurationError: for a service or a fault that does not exist.
        """
        value = json.loads(path.read_text())
        rates = {name: value[name] for name in FAULTS if name in value}
        unknown = [
            f"{service}.{fault}" for service, of in rates.items() for fault in of if fault not in FAULTS[service]
        ]
        unknown += sorted(set(value) - {"seed", _EVENTS, *FAULTS})
        if unknown:
            raise ConfigurationError(f"{path}: {', '.join(unknown)}: no such fault; expected some of {FAULTS}")
        events = value.get(_EVENTS, {})
        fewest, most = events.get("copies", (1, 1))
        return cls(int(value.get("seed", 0)), rates, (fewest, most), float(events.get("shuffle_seconds", 0.0)))


class AwsFaults:
    """The plan in force, the dice and the counts; safe to use from the server's threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._read_at_ns = -1
        self._plan = FaultPlan()
        self._dice = random.Random(0)
        self._counts: dict[str, Counter[str]] = {}

    def draw(self, service: str, impossible: frozenset[str]) -> str | None:
        """The fault that one request meets, or None; it is counted."""
        with self._lock:
            self._refresh()
            rates = self._plan.rates.get(service)
            if rates is None:
                return None
            # One draw for each fault, possible or not, so that the dice fall alike whatever is asked.
            fallen = [fault for fault in FAULTS[service] if self._dice.random() < rates.get(fault, 0.0)]
            fault = next((f for f in fallen if f not in impossible), None)
            counts = self._counts.setdefault(service, Counter())
            counts["requests"] += 1
            if fault is not None:
                counts[fault] += 1
            if fault is not None or counts["requests"] % _COUNTS_EVERY == 0:
                self._write_counts()
            return fault

    def draw_delays(self) -> list[float]:
        """Seconds after which each copy of one event is sent."""
        with self._lock:
            self._refresh()
            nbr_copies = self._dice.randint(*self._plan.copies)
            delays = [self._dice.uniform(0.0, self._plan.shuffle_seconds) for _ in range(nbr_copies)]
            if self._plan.copies != (1, 1) or self._plan.shuffle_seconds:
                self._counts.setdefault(_EVENTS, Counter()).update(announced=1, sent=nbr_copies)
                self._write_counts()
            return delays

    def _refresh(self) -> None:
        path = self._folder / "aws.json"
        try:
            changed_at_ns = path.stat().st_mtime_ns
        except FileNotFoundError:
            self._plan, self._read_at_ns = FaultPlan(), -1
            return
        if changed_at_ns != self._read_at_ns:
            self._plan = FaultPlan.read(path)
            self._read_at_ns = changed_at_ns
            self._dice = random.Random(self._plan.seed)
            self._counts = {}

    def _write_counts(self) -> None:
        draft = self._folder / ".aws_counts.json"
        draft.write_text(json.dumps(self._counts, indent=1, sort_keys=True))
        os.replace(draft, self._folder / "aws_counts.json")


class EventCopies:
    """Sends each event of a bucket as often and as late as the dice say, from one thread of its own."""

    def __init__(self, send: Callable[..., None], faults: AwsFaults) -> None:
        self._send = send
        self._faults = faults
        self._waiting: list[tuple[float, int, tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="event-copies", daemon=True).start()

    def __call__(self, *event: Any) -> None:
        """Stands in for ``send`` and returns at once."""
        now = time.monotonic()
        with self._changed:
            for delay in self._faults.draw_delays():
                heapq.heappush(self._waiting, (now + delay, next(self._numbers), event))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting or self._waiting[0][0] > time.monotonic():
                    self._changed.wait(self._waiting[0][0] - time.monotonic() if self._waiting else None)
                _, _, event = heapq.heappop(self._waiting)
            self._send(*event)


class FaultyAws:
    """The WSGI application with the faults in front."""

    def __init__(self, app: WsgiApp, faults: AwsFaults, landing_bucket: str) -> None:
        self._app = app
        self._faults = faults
        self._landing_bucket = landing_bucket

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        service = job_service(environ, self._landing_bucket)
        if service is None:
            return self._app(environ, start_response)
        fault = self._faults.draw(service, _impossible(environ))
        if fault in ("error_503", "throttle"):
            _read_body(environ)
            status, content_type, body = _BUSY[service]
            start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
        if fault == "drop_before":
            _hang_up(environ)
        answer = self._app(environ, start_response)
        if fault in ("drop_after", "conditional_lost"):
            b"".join(answer)
            _hang_up(environ)
        return _broken_off(answer, environ) if fault == "short_read" else answer


def job_service(environ: Environ, landing_bucket: str) -> str | None:
    """The service whose data a job reads or writes with this request; None for everything else."""
    signed = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if signed is None:
        return None
    service = signed["service"]
    if service != "s3":
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        return service if operation in _OPERATIONS.get(service, ()) else None
    bucket, _, key = environ["PATH_INFO"].strip("/").partition("/")
    is_read = environ["REQUEST_METHOD"] in ("GET", "HEAD")
    # Listings are asked of the bucket; all else that is asked of a bucket alone sets it up.
    asked = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    is_data = key or (is_read and not asked.keys().isdisjoint(("list-type", "versions")))
    return service if is_data and (is_read or bucket != landing_bucket) else None


def _impossible(environ: Environ) -> frozenset[str]:
    """Faults that would not be faults of this request."""
    has_body = environ["REQUEST_METHOD"] == "GET"
    is_write = any(word in environ.get("HTTP_X_AMZ_TARGET", "") for word in ("Put", "Update", "Delete", "Write"))
    return frozenset(() if has_body else ("short_read",)) | frozenset(() if is_write else ("conditional_lost",))


def _read_body(environ: Environ) -> None:
    """Takes in what the client still sends, which would else be read as its next request."""
    is_chunked = environ.get("wsgi.input_terminated", False)
    environ["wsgi.input"].read(*(() if is_chunked else (int(environ.get("CONTENT_LENGTH") or 0),)))


def _broken_off(answer: Iterable[bytes], environ: Environ) -> Iterator[bytes]:
    """The head as it was, half of the body, and no more; a body without bytes goes as it is."""
    body = b"".join(answer)
    yield body[: len(body) // 2]
    if body:
        _hang_up(environ)


def _hang_up(environ: Environ) -> None:
    """Closes the connection.

    Raises:
        ConnectionAbortedError: always; the server takes it for a client that has gone.
    """
    with suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("closed on purpose")
