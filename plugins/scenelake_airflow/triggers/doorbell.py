"""Watches the doorbell queue. A ring is deleted only after Airflow has stored the asset event it caused."""

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from scenelake.contracts.errors import ConfigurationError
from scenelake.runtime.faults import durable_write, failpoint
from scenelake.runtime.settings import load_settings

log = logging.getLogger(__name__)

_SQS_BATCH = 10
"""Most messages that one SQS call receives, deletes or gives back."""


@dataclass(frozen=True, slots=True)
class DoorbellTiming:
    """How the queue is listened to.

    Attributes:
        long_poll_seconds: how long an empty receive waits; a ring ends it at once.
        batch_window_seconds: after an event, how long rings are left to gather for the next one, and how long
            they are collected at most. The triggerer hands on events once a second, so this delays nothing.
        max_rings: rings that one asset event may stand for; their receipt handles (up to 1 KB each) are kept in
            memory until it is stored.
        max_calls: calls to SQS at once while many rings wait.
        first_pause_seconds, longest_pause_seconds: waits between tries while the queue cannot be read.
    """

    long_poll_seconds: int = 10
    batch_window_seconds: float = 1.0
    max_rings: int = 2000
    max_calls: int = 8
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0


class DoorbellTrigger(BaseEventTrigger):
    """Fires ``{"rings": n}`` for rings of the doorbell queue (Airflow's acknowledge mode, 3.3 or later).

    It has no arguments: the queue is looked up in the triggerer's own settings when the stream opens, so
    that parsing a DAG reads neither the environment nor a file.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    def shared_stream_key(self) -> Hashable:
        return ("scenelake", "doorbell")

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        return DoorbellProducer(DoorbellTiming())

    async def filter_shared_stream(self, shared_stream: AsyncIterator[int]) -> AsyncIterator[TriggerEvent]:
        async for nbr_rings in shared_stream:
            yield TriggerEvent({"rings": nbr_rings})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Not used: without the shared stream a ring would be lost with the triggerer."""
        raise NotImplementedError("DoorbellTrigger needs the acknowledge mode of Airflow 3.3 or later")
        yield TriggerEvent({})


class DoorbellProducer(SharedStreamProducer):
    """Owns the connection to the queue. It never ends by itself: what fails is logged and tried again."""

    def __init__(self, timing: DoorbellTiming) -> None:
        self._timing = timing
        self._resources = AsyncExitStack()
        self._client: Any = None
        self._queue_url = ""
        self._visibility_seconds = 0

    async def open_stream(self) -> AsyncIterator[tuple[int, tuple[str, ...]]]:
        """Yields the number of rings and their receipt handles.

        The first ring after a silence is handed on at once. Rings that follow gather for a window each, so that
        ten thousand become a few events.
        """
        pause = self._timing.first_pause_seconds
        was_silent = True
        while True:
            try:
                if self._client is None:
                    await self._connect()
                if was_silent:
                    handles = await self._receive(self._timing.long_poll_seconds)
                else:
                    await asyncio.sleep(self._timing.batch_window_seconds)
                    handles = await self._receive_many()
            except self._expected_errors() as error:
                log.warning("doorbell cannot be read, next try in %.0f s: %s", pause, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._timing.longest_pause_seconds)
                continue
            pause = self._timing.first_pause_seconds
            was_silent = not handles
            if handles:
                failpoint("doorbell.receive.after")
                yield len(handles), tuple(handles)

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Deletes the rings whose event is stored and shows the others again.

        A call that fails is only logged: the ring comes back when its visibility ends, and one ring more
        does no harm.
        """
        calls = asyncio.Semaphore(self._timing.max_calls)

        async def answer(handles: tuple[str, ...], *, is_stored: bool) -> None:
            async with calls:
                await self._answer(handles, is_stored=is_stored)

        await asyncio.gather(
            *(
                answer(item.broker_payload[start : start + _SQS_BATCH], is_stored=item.outcome.is_clean)
                for item in batch
                for start in range(0, len(item.broker_payload), _SQS_BATCH)
            )
        )

    async def aclose(self) -> None:
        self._client = None
        await self._resources.aclose()

    async def _connect(self) -> None:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        settings = load_settings()
        if not settings.doorbell_queue_url:
            raise ConfigurationError("doorbell_queue_url: expected the URL of the doorbell queue, got nothing")
        longest_answer = self._timing.long_poll_seconds + 20
        config = AioConfig(
            connect_timeout=10,
            read_timeout=longest_answer,
            retries={"max_attempts": 1},
            max_pool_connections=2 * self._timing.max_calls,
        )
        context = get_session().create_client(
            "sqs", region_name=settings.region, endpoint_url=settings.endpoint_url, config=config
        )
        self._client = await self._resources.enter_async_context(context)
        self._queue_url = settings.doorbell_queue_url
        self._visibility_seconds = settings.doorbell_visibility_seconds
        log.info("listening to doorbell %s", self._queue_url)

    async def _receive_many(self) -> list[str]:
        """What waits in the queue, for one window at most; more calls at once as long as all come back full."""
        handles: list[str] = []
        nbr_calls = 1
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._timing.batch_window_seconds
        while not handles or (len(handles) < self._timing.max_rings and clock() < deadline):
            answers = await asyncio.gather(*(self._receive(0) for _ in range(nbr_calls)), return_exceptions=True)
            received = [handle for answer in answers if isinstance(answer, list) for handle in answer]
            handles += received
            failures = [answer for answer in answers if isinstance(answer, BaseException)]
            if failures and not handles:
                raise failures[0]
            if failures:
                log.warning("%d of %d reads of the doorbell failed: %s", len(failures), nbr_calls, failures[0])
            if len(received) < nbr_calls * _SQS_BATCH:
                break
            nbr_calls = min(2 * nbr_calls, self._timing.max_calls)
        return handles

    async def _receive(self, wait_seconds: int) -> list[str]:
        answer = await self._client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=_SQS_BATCH,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=self._visibility_seconds,
        )
        return [m["ReceiptHandle"] for m in answer.get("Messages", [])]

    async def _answer(self, handles: tuple[str, ...], *, is_stored: bool) -> None:
        entries = [{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(handles)]
        try:
            if is_stored:
                with durable_write("doorbell.delete"):
                    answer = await self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
            else:
                shown = [{**entry, "VisibilityTimeout": 0} for entry in entries]
                answer = await self._client.change_message_visibility_batch(QueueUrl=self._queue_url, Entries=shown)
        except self._expected_errors() as error:
            log.warning("%d rings could not be answered and will ring again: %s", len(handles), error)
            return
        if failed := answer.get("Failed"):
            log.warning("%d rings could not be answered and will ring again: %s", len(failed), failed)

    @staticmethod
    def _expected_errors() -> tuple[type[Exception], ...]:
        from botocore.exceptions import BotoCoreError, ClientError

        return (BotoCoreError, ClientError, ConfigurationError, OSError, TimeoutError)
