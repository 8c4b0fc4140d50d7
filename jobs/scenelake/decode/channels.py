"""One channel: how its messages are parsed, which handler takes them, and what became of them."""

import json
from collections.abc import Callable
from typing import Any

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import Modality
from scenelake.decode.formats.cdr import compile_plan, read_cdr
from scenelake.decode.formats.mcap_reader import McapMessage
from scenelake.decode.formats.mcap_records import Channel, Schema
from scenelake.decode.formats.protobuf import protobuf_parser
from scenelake.decode.formats.ros2msg import parse_definitions, short_name
from scenelake.decode.message_types import MESSAGE_TYPES, MessageType
from scenelake.decode.rules import said_modality
from scenelake.decode.values import ChannelFacts, Decoded, KeepRawError

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_PROTOBUF_BYTES = 128 * 1024 * 1024
"""Parsed JSON and protobuf can be many times their size on the wire; larger messages are kept as bytes."""

Parser = Callable[[memoryview], Any]


class ChannelDecoder:
    """Turns the messages of one channel definition into rows.

    Attributes:
        schema_name: message type as recorded; empty for a channel without a schema.
        modality: said by metadata or topic, or found by the first decoded message; RAW for a channel that
            has no handler; None while still open.
    """

    def __init__(self, channel: Channel, schema: Schema | None, problem: str | None) -> None:
        self.channel = channel
        self.schema = schema
        self.schema_name = schema.name if schema else ""
        self.modality: Modality | None = Modality.RAW
        self._parse: Parser | None = None
        self._type: MessageType | None = None
        self._raw_reason = problem or "no_table"
        if problem is None:
            self._prepare(channel, schema)

    def _prepare(self, channel: Channel, schema: Schema | None) -> None:
        name = short_name(self.schema_name) if channel.message_encoding == "cdr" else self.schema_name
        found = MESSAGE_TYPES.get((channel.message_encoding, name))
        if found is None or schema is None:
            return
        try:
            self._parse = _parser(channel.message_encoding, schema)
        except BadInputError as error:
            self._raw_reason = error.reason
            return
        self._type = found
        self.modality = said_modality(channel.topic, channel.metadata, frozenset(found.modalities))

    @property
    def assumed_modality(self) -> Modality:
        """The channel's modality, where nothing has settled it yet the usual one of its message type."""
        if self.modality is None and self._type is not None and not self._type.is_open:
            return self._type.modalities[0]
        return self.modality or Modality.RAW

    def decode(self, message: McapMessage) -> Decoded:
        """Rows of one message.

        Raises:
            KeepRawError: no table takes it; keep its bytes.
            BadInputError: its bytes contradict its schema, or its content contradicts itself.
        """
        if self._parse is None or self._type is None:
            raise KeepRawError(self._raw_reason)
        facts = ChannelFacts(self.channel.topic, self.schema_name, self.modality)
        try:
            decoded = self._type.handler(self._parse(message.data), facts)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            # The file's own schema may define a known name with other fields.
            detail = f"{type(error).__name__}: {error}"
            raise BadInputError(f"{self.schema_name}: {detail[:200]}", reason="field_unexpected") from error
        self.modality = self.modality or decoded.modality
        return decoded


def _parser(encoding: str, schema: Schema) -> Parser:
    if encoding == "json":
        return _parse_json
    if encoding == "protobuf":
        if schema.encoding != "protobuf":
            raise BadInputError(f"schema encoding {schema.encoding!r}", reason="schema_encoding_unsupported")
        parse = protobuf_parser(schema.name, schema.data)

        def bounded(data: memoryview) -> Any:
            if len(data) > MAX_PROTOBUF_BYTES:
                raise KeepRawError("message_too_large")
            return parse(data)

        return bounded
    if schema.encoding != "ros2msg":
        raise BadInputError(f"schema encoding {schema.encoding!r}", reason="schema_encoding_unsupported")
    plan = compile_plan(parse_definitions(schema.name, schema.data), short_name(schema.name))
    return lambda data: read_cdr(plan, data)


def _parse_json(data: memoryview) -> Any:
    if len(data) > MAX_JSON_BYTES:
        raise KeepRawError("message_too_large")
    try:
        message = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"not JSON: {str(error)[:200]}", reason="json_invalid") from error
    if not isinstance(message, dict):
        raise BadInputError(f"expected a JSON object, got {type(message).__name__}", reason="json_invalid")
    return message
