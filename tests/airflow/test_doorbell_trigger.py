"""The doorbell against a real SQS protocol server and Airflow's own shared-stream manager."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from airflow.serialization.encoders import encode_trigger
from airflow.triggers.shared_stream import AckTimeout, AdvanceItem, AdvanceOutcome, SharedStreamManager
from moto.server import ThreadedMotoServer

from scenelake.runtime.settings import Settings
from scenelake_airflow.triggers.doorbell import DoorbellProducer, DoorbellTiming, DoorbellTrigger

QUICK = DoorbellTiming(long_poll_seconds=1, batch_window_seconds=0.1, first_pause_seconds=0.1)
STORED = AdvanceOutcome(acked=1, failed=0)
LOST = AdvanceOutcome(acked=0, failed=1)
KEY = DoorbellTrigger().shared_stream_key()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Queue:
    """The queue as its owner sees it."""

    def __init__(self, endpoint: str, name: str) -> None:
        self._sqs: Any = boto3.client("sqs", endpoint_url=endpoint, region_name="eu-central-1")
        self.url = self._sqs.create_queue(QueueName=name)["QueueUrl"]

    def ring(self, times: int = 1) -> None:
        for i in range(times):
            self._sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps({"drop_id": str(i)}))

    def ring_many(self, times: int) -> None:
        for start in range(0, times, 10):
            entries = [{"Id": str(i), "MessageBody": str(start + i)} for i in range(10)]
            self._sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def count(self) -> tuple[int, int]:
        """Messages that can be received, and messages that are hidden."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names))["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@pytest.fixture
def queue(
    endpoint: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, scenelake_home: Path
) -> Queue:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    queue = Queue(endpoint, request.node.name.replace("[", "-").replace("]", ""))
    monkeypatch.setenv("SCENELAKE_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("SCENELAKE_DOORBELL_QUEUE_URL", queue.url)
    monkeypatch.setattr(DoorbellTrigger, "create_shared_stream_producer", lambda kwargs: DoorbellProducer(QUICK))
    return queue


def run(test: Callable[[], Awaitable[None]], seconds: float = 20) -> None:
    asyncio.run(asyncio.wait_for(test(), seconds))


@asynccontextmanager
async def producer_of(timing: DoorbellTiming = QUICK) -> AsyncIterator[tuple[DoorbellProducer, AsyncIterator[Any]]]:
    producer = DoorbellProducer(timing)
    stream = producer.open_stream()
    try:
        yield producer, stream
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
        await producer.aclose()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.05)


def test_trigger_survives_serialisation_without_arguments() -> None:
    encoded = encode_trigger(DoorbellTrigger())
    assert encoded == {"classpath": "scenelake_airflow.triggers.doorbell.DoorbellTrigger", "kwargs": {}}


def test_hidden_longer_than_airflow_waits_for_the_event_to_be_stored() -> None:
    from airflow.configuration import conf

    hidden = Settings(home=Path()).doorbell_visibility_seconds
    assert hidden > conf.getfloat("triggerer", "shared_stream_ack_timeout")


def test_a_received_ring_is_hidden_for_as_long_as_the_settings_say(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setenv("SCENELAKE_DOORBELL_VISIBILITY_SECONDS", "1")
        queue.ring()
        async with producer_of() as (producer, stream):
            assert (await anext(stream))[0] == 1
            nbr_rings, handles = await anext(stream)
            assert nbr_rings == 1, "it was not answered within a second, so it rings again"
            await producer.advance([AdvanceItem(handles, STORED)])
            assert queue.count() == (0, 0)

    run(scenario)


def test_rings_are_deleted_only_after_the_event_is_stored(queue: Queue) -> None:
    async def scenario() -> None:
        queue.ring(3)
        async with producer_of() as (producer, stream):
            nbr_rings, handles = await anext(stream)
            assert nbr_rings == 3
            assert queue.count() == (0, 3), "rings must stay in the queue, hidden, until Airflow has the event"
            await producer.advance([])
            assert queue.count() == (0, 3)
            await producer.advance([AdvanceItem(handles, STORED)])
            assert queue.count() == (0, 0)

    run(scenario)


def test_rings_of_a_lost_event_are_seen_again(queue: Queue) -> None:
    async def scenario() -> None:
        queue.ring(2)
        async with producer_of() as (producer, stream):
            nbr_rings, handles = await anext(stream)
            assert nbr_rings == 2
            await producer.advance([AdvanceItem(handles, LOST)])
            assert queue.count() == (2, 0)
            again, handles = await anext(stream)
            assert again == 2
            await producer.advance([AdvanceItem(handles, STORED)])
            assert queue.count() == (0, 0)

    run(scenario)


def test_the_first_ring_after_a_silence_does_not_wait(queue: Queue) -> None:
    async def scenario() -> None:
        async with producer_of(DoorbellTiming(batch_window_seconds=5)) as (_, stream):
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(1.5)  # the client is made and the long poll is under way
            started = time.monotonic()
            await asyncio.to_thread(queue.ring)
            nbr_rings, _ = await waiting
            assert nbr_rings == 1
            assert time.monotonic() - started < 1

    run(scenario)


def test_rings_that_follow_gather_for_one_event(queue: Queue) -> None:
    async def scenario() -> None:
        queue.ring()
        async with producer_of(DoorbellTiming(long_poll_seconds=1, batch_window_seconds=0.5)) as (_, stream):
            assert (await anext(stream))[0] == 1
            waiting = asyncio.ensure_future(anext(stream))
            for _ in range(3):
                await asyncio.to_thread(queue.ring)
                await asyncio.sleep(0.05)
            assert (await waiting)[0] == 3

    run(scenario)


def test_a_burst_becomes_a_few_bounded_events_and_is_deleted_once_they_are_stored(queue: Queue) -> None:
    async def scenario() -> None:
        queue.ring_many(110)
        timing = DoorbellTiming(long_poll_seconds=1, batch_window_seconds=2, max_rings=40, max_calls=2)
        async with producer_of(timing) as (producer, stream):
            sizes, items = [], []
            while sum(sizes) < 110:
                nbr_rings, handles = await anext(stream)
                sizes.append(nbr_rings)
                items.append(AdvanceItem(handles, STORED))
            assert sizes[0] == 10, "the first does not wait for the others"
            assert max(sizes) <= 40 + 2 * 10, "one round of calls more than the limit at most"
            assert len(sizes) <= 4
            assert len({handle for item in items for handle in item.broker_payload}) == 110
            await producer.advance(items)
            assert queue.count() == (0, 0)

    run(scenario)


def test_a_read_that_fails_amid_a_burst_loses_nothing_that_others_read(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        queue.ring_many(60)
        async with producer_of(DoorbellTiming(long_poll_seconds=1, batch_window_seconds=2)) as (producer, stream):
            assert (await anext(stream))[0] == 10
            receive, calls = producer._receive, iter(range(100))

            async def receive_or_fail(wait_seconds: int) -> list[str]:
                if next(calls) == 2:
                    raise ConnectionResetError("planted")
                return await receive(wait_seconds)

            monkeypatch.setattr(producer, "_receive", receive_or_fail)
            assert (await anext(stream))[0] == 20, "the second round of two calls lost one of them"
            assert (await anext(stream))[0] == 30

    run(scenario)


def test_listening_starts_again_after_the_queue_could_not_be_read(
    queue: Queue, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        queue.ring()
        monkeypatch.setenv("SCENELAKE_DOORBELL_QUEUE_URL", "")
        async with producer_of() as (producer, stream):
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            monkeypatch.setenv("SCENELAKE_DOORBELL_QUEUE_URL", queue.url)
            nbr_rings, handles = await waiting
            assert nbr_rings == 1
            await producer.advance([AdvanceItem(handles, STORED)])

            producer._queue_url = f"{endpoint}/123456789012/no-such-queue"
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.3)
            await producer.advance([AdvanceItem(("gone",), STORED)])
            assert not waiting.done(), "neither a read nor an answer that fails may end the stream"
            producer._queue_url = queue.url
            queue.ring(2)
            assert (await waiting)[0] == 2

    run(scenario)


@asynccontextmanager
async def subscribed(manager: SharedStreamManager) -> AsyncIterator[AsyncIterator[Any]]:
    trigger = DoorbellTrigger()
    shared_stream = manager.subscribe(trigger_id=1, trigger=trigger, key=KEY)
    try:
        yield trigger.filter_shared_stream(shared_stream)
    finally:
        await manager.unsubscribe(1, KEY)


def test_airflow_deletes_a_ring_once_it_confirms_the_event(queue: Queue) -> None:
    async def scenario() -> None:
        manager = SharedStreamManager()
        queue.ring(2)
        async with subscribed(manager) as events:
            event = await anext(events)
            assert event.payload == {"rings": 2}
            seq = manager.bind_pending_event(trigger_id=1, key=KEY)
            assert seq is not None, "the trigger must run in acknowledge mode"
            moved_on = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.5)
            assert queue.count() == (0, 2), "deleted before Airflow confirmed"
            manager.confirm_persisted([seq])
            await until(lambda: queue.count() == (0, 0))
            moved_on.cancel()
            with suppress(asyncio.CancelledError):
                await moved_on

    run(scenario)


def test_a_ring_that_airflow_never_confirms_comes_back(queue: Queue) -> None:
    async def scenario() -> None:
        manager = SharedStreamManager(ack_timeout=0.5)
        queue.ring()
        async with subscribed(manager) as events:
            await anext(events)
            manager.bind_pending_event(trigger_id=1, key=KEY)
            with pytest.raises(AckTimeout):
                await anext(events)
            await until(lambda: queue.count() == (1, 0))

    run(scenario)
