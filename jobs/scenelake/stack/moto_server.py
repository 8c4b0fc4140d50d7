"""The stand-in for AWS: moto's server on loopback, with what keeps it from being a fair one put right.

``python -m scenelake.stack.moto_server --port N``. It keeps everything in memory: a restart forgets it all.
"""

import argparse
import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import moto.backends
import moto.server
from moto.core.responses import EmptyResult
from moto.dynamodb.responses import DynamoHandler
from moto.glue.exceptions import GlueClientError
from moto.glue.responses import GlueResponse
from moto.s3 import notifications
from moto.s3.models import FakeKey
from moto.s3.responses import S3Response
from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Queue
from werkzeug.serving import run_simple

from scenelake.runtime.settings import Settings, load_settings
from scenelake.stack.aws_faults import AwsFaults, EventCopies, FaultyAws
from scenelake.stack.moto_dynamodb import answer_values_as_they_are, read_indexes_by_key, undo_transactions_by_item
from scenelake.stack.moto_notifications import announce_delete_markers, name_versions_in_events
from scenelake.stack.moto_sqs import serve_long_queues

HOST = "127.0.0.1"
_REMEMBERED_TOKENS = 10_000


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
    """The same for DynamoDB, whose conditions moto also checks before it writes, without a lock.

    Readers take the lock too: on AWS nobody reads half a transaction.
    """
    lock = threading.RLock()
    writes = ("put_item", "update_item", "delete_item", "transact_write_items")
    for name in (*writes, "get_item", "batch_get_item", "query"):
        setattr(DynamoHandler, name, _one_at_a_time(getattr(DynamoHandler, name), lock))


def make_transactions_repeatable() -> None:
    """Answers a DynamoDB transaction that comes again with its token like the first time: stock moto ignores it.

    A client that lost the answer repeats the request, and on AWS that is no second transaction.
    """
    answered: OrderedDict[str, Any] = OrderedDict()
    method = DynamoHandler.transact_write_items

    def transact_write_items(self: Any) -> Any:
        token = self.body.get("ClientRequestToken")
        if token in answered:
            return answered[token]
        answer = method(self)
        if token:
            answered[token] = answer
            if len(answered) > _REMEMBERED_TOKENS:
                answered.popitem(last=False)
        return answer

    DynamoHandler.transact_write_items = transact_write_items


def put_faults_in_front(settings: Settings) -> None:
    """Lets the fault battery spoil requests and multiply events (``stack.aws_faults``)."""
    faults = AwsFaults(Path(settings.faults))

    def run_with_faults(host: str, port: int, app: Any, **options: Any) -> None:
        run_simple(host, port, FaultyAws(app, faults, settings.landing_bucket), **options)

    moto.server.run_simple = run_with_faults
    notifications._send_sqs_message = EventCopies(notifications._send_sqs_message, faults)


def delete_messages_under_lock() -> None:
    """Keeps a queue from losing messages: stock moto rebuilds its list beside those who add to it.

    The oldest message is looked at first, since that is the one that was received.
    """

    def delete_message(self: Any, receipt_handle: str) -> None:
        if receipt_handle in self.deleted_messages:
            return
        with self._messages_lock:
            for position, message in enumerate(self._messages):
                if message.had_receipt_handle(receipt_handle):
                    del self._messages[position]
                    self.pending_messages.discard(message)
                    self.deleted_messages.update(message.all_receipt_handles)
                    return
        raise ReceiptHandleIsInvalid

    Queue.delete_message = delete_message


def list_services_once() -> None:
    """Keeps moto from reading its own folder, with the kind of each entry, once or twice per request."""
    known = list(moto.backends.list_of_moto_modules())
    moto.backends.list_of_moto_modules = lambda: known


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
    # Inside the lock, or a repeated request could overtake the first one.
    make_transactions_repeatable()
    make_transactions_atomic()
    read_indexes_by_key()
    undo_transactions_by_item()
    answer_values_as_they_are()
    delete_messages_under_lock()
    serve_long_queues()
    list_services_once()
    name_versions_in_events()
    announce_delete_markers()
    leave_delivery_to_the_event_runner()
    settings = load_settings()
    if settings.faults:
        put_faults_in_front(settings)
    moto.server.main(["--host", HOST, "--port", str(port)])


if __name__ == "__main__":
    main()
