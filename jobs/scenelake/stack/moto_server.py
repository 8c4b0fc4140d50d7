"""The stand-in for AWS: moto's server on loopback, with what keeps it from being a fair one put right.

``python -m scenelake.stack.moto_server --port N``. It keeps everything in memory: a restart forgets it all.
"""

import argparse
import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from moto.core.responses import EmptyResult
from moto.dynamodb.responses import DynamoHandler
from moto.glue.exceptions import GlueClientError
from moto.glue.responses import GlueResponse
from moto.s3.models import FakeKey
from moto.s3.responses import S3Response
from moto.server import main as serve
from moto.sqs.models import Queue

HOST = "127.0.0.1"


def keep_objects_as_bytes() -> None:
    """Makes a range GET cost its range: stock moto copies the whole object out of a spooled file every time."""

    def get(self: Any) -> bytes:
        content: bytes = self.__dict__.get("_content", b"")
        return content

    def put(self: Any, value: bytes | bytearray | str) -> None:
        content = value.encode() if isinstance(value, str) else bytes(value)
        self.__dict__["_content"] = content
        self.contentsize = len(content)

    def etag(self: Any) -> str:
        if self._etag is None:
            self._etag = hashlib.md5(get(self), usedforsecurity=False).hexdigest()
        return f'"{self._etag}"'

    FakeKey.value = property(get, put)
    FakeKey.etag = property(etag)


def check_glue_versions() -> None:
    """Makes UpdateTable refuse a stale ``VersionId``: stock moto ignores it and loses concurrent commits."""
    lock = threading.Lock()

    def update_table(self: Any) -> EmptyResult:
        database, table_input = self.parameters["DatabaseName"], self.parameters["TableInput"]
        expected = self.parameters.get("VersionId")
        with lock:
            current = self.glue_backend.get_table(database, table_input["Name"])._current_version
            if expected is not None and str(expected) != str(current):
                raise GlueClientError(
                    "ConcurrentModificationException", f"VersionId {expected} is not the current one, {current}"
                )
            self.glue_backend.update_table(database, table_input["Name"], table_input)
        return EmptyResult()

    GlueResponse.update_table = update_table


def make_conditional_puts_atomic() -> None:
    """Lets one PUT at a time check its condition and write: stock moto checks, then writes, without a lock."""
    S3Response.put_object = _one_at_a_time(S3Response.put_object)


def make_transactions_atomic() -> None:
    """The same for DynamoDB writes, whose conditions moto also checks before it writes, without a lock."""
    lock = threading.RLock()
    for name in ("put_item", "update_item", "delete_item", "transact_write_items"):
        setattr(DynamoHandler, name, _one_at_a_time(getattr(DynamoHandler, name), lock))


def leave_delivery_to_the_event_runner() -> None:
    """Keeps queues from calling a mapped function themselves: moto would run it in Docker, once per message."""

    def nothing(self: Any) -> dict[str, Any]:
        return {}

    def ignore(self: Any, mappings: dict[str, Any]) -> None:
        """Event source mappings stay listed by Lambda; the queue only forgets that it has one."""

    Queue.lambda_event_source_mappings = property(nothing, ignore)


def _one_at_a_time(method: Callable[..., Any], lock: Any = None) -> Callable[..., Any]:
    gate = lock or threading.Lock()

    def locked(self: Any, *args: Any, **kwargs: Any) -> Any:
        with gate:
            return method(self, *args, **kwargs)

    return locked


def main(argv: Sequence[str] | None = None) -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(prog="scenelake-aws", description="A stand-in for AWS on loopback, in memory.")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    port = parser.parse_args(argv).port
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    keep_objects_as_bytes()
    check_glue_versions()
    make_conditional_puts_atomic()
    make_transactions_atomic()
    leave_delivery_to_the_event_runner()
    serve(["--host", HOST, "--port", str(port)])


if __name__ == "__main__":
    main()
