"""Schemas and channels of an MCAP file: those that the data section defines, and the summary's second copy of them."""

from scenelake.decode.formats import mcap_records as records
from scenelake.decode.formats.blocks import Channel, Definition, Findings, Schema
from scenelake.decode.formats.mcap_records import RecordError


class Definitions:
    """Definitions as they stand at the reader's place in the file.

    Args:
        findings: gets header, metadata and every channel met.
        max_bytes: schemas and channels together take no more, metadata half as much, texts at ``records.text_cost``.
    """

    def __init__(self, findings: Findings, max_bytes: int) -> None:
        self._findings = findings
        self._max_bytes = max_bytes
        self._nbr_bytes = 0
        self._metadata_bytes = 0
        self._is_metadata_full = False
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._resolved: dict[int, Definition] = {}
        self.summary_schemas: dict[int, Schema] = {}
        self.summary_channels: dict[int, Channel] = {}

    def changes(self, opcode: int, body: memoryview) -> bool:
        """Whether the record gives an id another meaning than it has had so far, or its first."""
        if opcode == records.CHANNEL:
            channel = records.parse_channel(body)
            return (self._channels.get(channel.channel_id) or self.summary_channels.get(channel.channel_id)) != channel
        schema = records.parse_schema(body)
        return (self._schemas.get(schema.schema_id) or self.summary_schemas.get(schema.schema_id)) != schema

    def in_summary(self, opcode: int, body: memoryview) -> bool | None:
        """Whether the summary, by which other parts of the file are read, says the same; None where it says nothing."""
        known: Channel | Schema | None
        parsed: Channel | Schema
        if opcode == records.CHANNEL:
            parsed = records.parse_channel(body)
            known = self.summary_channels.get(parsed.channel_id)
        else:
            parsed = records.parse_schema(body)
            known = self.summary_schemas.get(parsed.schema_id)
        return None if known is None else known == parsed

    def define(self, opcode: int, body: memoryview) -> tuple[str, str] | None:
        """Takes a header, metadata, schema or channel record; returns reason and detail of what is odd about it.

        Raises:
            RecordError: the record contradicts itself, or there are too many of them.
        """
        if opcode == records.HEADER:
            self._findings.header = records.parse_header(body)
        elif opcode == records.METADATA:
            self._take_metadata(body)
        elif opcode == records.SCHEMA:
            return self._define_schema(records.parse_schema(body), len(body))
        elif opcode == records.CHANNEL:
            return self._define_channel(records.parse_channel(body), len(body))
        return None

    def _take_metadata(self, body: memoryview) -> None:
        """Keeps metadata in half the room, so that none costs a channel its definition.

        One problem tells of all that is too much: a thousand would have the rest of the file given up.
        """
        if self._is_metadata_full:
            return
        name, values = records.parse_metadata(body)
        self._metadata_bytes += records.text_cost(len(body), values)
        if self._metadata_bytes > self._max_bytes // 2:
            self._is_metadata_full = True
            raise RecordError(f"metadata exceed {self._max_bytes // 2} bytes: this and all later ones are left out")
        self._findings.metadata.setdefault(name, {}).update(values)

    def _define_schema(self, schema: Schema, nbr_bytes: int) -> tuple[str, str] | None:
        known = self._schemas.get(schema.schema_id)
        if known == schema:
            return None
        self._account(nbr_bytes)
        self._schemas[schema.schema_id] = schema
        self._resolved.clear()
        if known is None:
            return None
        return "schema_redefined", f"schema {schema.schema_id} was {known.name!r} and is now {schema.name!r}"

    def _define_channel(self, channel: Channel, nbr_bytes: int) -> tuple[str, str] | None:
        known = self._channels.get(channel.channel_id)
        if known == channel:
            return None
        self._account(records.text_cost(nbr_bytes, channel.metadata))
        self._channels[channel.channel_id] = channel
        self._resolved.pop(channel.channel_id, None)
        if known is None:
            return None
        return "channel_redefined", f"channel {channel.channel_id} was {known.topic!r} and is now {channel.topic!r}"

    def resolve(self, channel_id: int) -> Definition:
        """The channel's definition, made up where the file has none."""
        found = self._resolved.get(channel_id)
        if found is None:
            found = self._resolve(channel_id)
            if found.problem is None:
                self._resolved[channel_id] = found
            self._findings.definitions[channel_id] = found
        return found

    def _resolve(self, channel_id: int) -> Definition:
        channel = self._channels.get(channel_id) or self.summary_channels.get(channel_id)
        if channel is None:
            return Definition(Channel(channel_id, 0, f"unknown_channel_{channel_id}", "", {}), None, "channel_unknown")
        self._channels.setdefault(channel_id, channel)
        if not channel.schema_id:
            return Definition(channel)
        schema = self._schemas.get(channel.schema_id) or self.summary_schemas.get(channel.schema_id)
        return Definition(channel, schema, None if schema else "schema_unknown")

    def _account(self, length: int) -> None:
        self._nbr_bytes += length
        if self._nbr_bytes > self._max_bytes:
            raise RecordError(f"schemas and channels exceed {self._max_bytes} bytes")
