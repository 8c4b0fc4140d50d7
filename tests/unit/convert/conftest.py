"""Reads converted recordings back with code that shares nothing with the converters but the type definitions."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader

from scenelake.adapters.recording_writer import ros_typestore


@dataclass(frozen=True)
class Message:
    topic: str
    log_time_ns: int
    publish_time_ns: int
    data: bytes
    decode: Callable[[bytes], Any]

    @cached_property
    def body(self) -> Any:
        """Decoded on first use: a drive has hundreds of thousands of messages."""
        return self.decode(self.data)

    @property
    def header_ns(self) -> int:
        """The stamp that the message itself carries."""
        if isinstance(self.body, dict):
            return self.body["timestamp_ns"]
        first = self.body.transforms[0] if hasattr(self.body, "transforms") else self.body
        return first.header.stamp.sec * 10**9 + first.header.stamp.nanosec


@dataclass(frozen=True)
class Recorded:
    messages: list[Message]
    channel_metadata: dict[str, dict[str, str]]
    metadata: dict[str, dict[str, str]]

    def on(self, topic: str) -> list[Message]:
        """Messages of a topic in file order; there must be some."""
        found = [message for message in self.messages if message.topic == topic]
        assert found, f"nothing on {topic}"
        return found

    def counts(self) -> dict[str, int]:
        return dict(sorted(Counter(message.topic for message in self.messages).items()))


@pytest.fixture(scope="session")
def read_recording() -> Callable[[Path], Recorded]:
    types = ros_typestore()

    def read(path: Path) -> Recorded:
        messages, channel_metadata = [], {}
        with path.open("rb") as file:
            reader = make_reader(file, validate_crcs=True)
            for schema, channel, message in reader.iter_messages(log_time_order=False):
                channel_metadata[channel.topic] = dict(channel.metadata)
                is_json = channel.message_encoding == "json"
                decode = _strict_json if is_json else partial(types.deserialize_cdr, typename=schema.name)
                messages.append(Message(channel.topic, message.log_time, message.publish_time, message.data, decode))
            metadata = {record.name: dict(record.metadata) for record in reader.iter_metadata()}
        return Recorded(messages, channel_metadata, metadata)

    return read


def _strict_json(data: bytes) -> Any:
    return json.loads(data, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")
