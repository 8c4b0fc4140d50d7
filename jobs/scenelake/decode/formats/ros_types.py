"""ROS message types: from a recording's schema to a plan for reading its messages."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Channel, Definition, Schema
from scenelake.decode.formats.cdr import Plan, compile_plan, read_cdr
from scenelake.decode.formats.ros2idl import parse_idl
from scenelake.decode.formats.ros2msg import Definitions, parse_definitions, short_name
from scenelake.decode.formats.ros_registry import common_definition, ros2_definitions

__all__ = ["defined", "ros_plan", "settled", "short_name"]

_CACHED_PLANS = 128
"""A schema holds at most a megabyte, and real ones a few kilobytes."""


def defined(channel: Channel, schema: Schema) -> Definition:
    """A channel with its schema, whose problem is ``definition_missing`` when nothing defines the type."""
    md5sum = channel.metadata.get("md5sum")
    is_missing = not schema.data.strip() and _common(channel.message_encoding, md5sum, schema) is None
    return Definition(channel, schema, "definition_missing" if is_missing else None)


def settled(definition: Definition, messages: Iterable[memoryview]) -> Definition:
    """A ROS 2 channel without a definition, with the one common definition by which its messages can be read.

    It stays as it is where none or several can: fields that are longer in one distribution tell, others do not.
    """
    channel, schema = definition.channel, definition.schema
    if schema is None or channel.message_encoding != "cdr" or definition.problem != "definition_missing":
        return definition
    known = [Definition(channel, replace(schema, encoding="ros2msg", data=d)) for d in ros2_definitions(schema.name)]
    data = list(messages)
    fitting = [d for d in known if data and all(_reads(ros_plan(d), message) for message in data)]
    return fitting[0] if len(fitting) == 1 else definition


def _reads(plan: Plan, message: memoryview) -> bool:
    try:
        read_cdr(plan, message)
    except BadInputError:
        return False
    return True


def ros_plan(definition: Definition) -> Plan:
    """How to read a channel's messages: by the recording's own definition, by a common one where it has none.

    Raises:
        BadInputError: reason ``schema_invalid``, ``schema_unsupported``, ``schema_encoding_unsupported`` or
            ``definition_missing``.
    """
    schema, channel = definition.schema, definition.channel
    if schema is None:
        raise BadInputError("the channel has no schema", reason="schema_encoding_unsupported")
    return _plan(channel.message_encoding, channel.metadata.get("md5sum"), replace(schema, schema_id=0))


@lru_cache(maxsize=_CACHED_PLANS)
def _plan(message_encoding: str, md5sum: str | None, schema: Schema) -> Plan:
    """Compiled once for all the channels of a type, however many recordings have it; plans are not changed by use."""
    is_aligned = message_encoding == "cdr"
    definitions = _definitions(message_encoding, md5sum, schema, is_aligned)
    return compile_plan(definitions, short_name(schema.name), is_aligned=is_aligned)


def _definitions(message_encoding: str, md5sum: str | None, schema: Schema, is_aligned: bool) -> Definitions:
    if not schema.data.strip():
        common = _common(message_encoding, md5sum, schema)
        if common is None:
            raise BadInputError(f"{schema.name}: nothing defines the type", reason="definition_missing")
        return parse_definitions(schema.name, common, is_ros1=not is_aligned)
    if schema.encoding == "ros2idl" and is_aligned:
        return parse_idl(schema.name, schema.data)
    if schema.encoding != ("ros2msg" if is_aligned else "ros1msg"):
        raise BadInputError(f"schema encoding {schema.encoding!r}", reason="schema_encoding_unsupported")
    return parse_definitions(schema.name, schema.data, is_ros1=not is_aligned)


def _common(message_encoding: str, md5sum: str | None, schema: Schema) -> bytes | None:
    is_ros1 = message_encoding == "ros1"
    return common_definition(schema.name, is_ros1=is_ros1, md5sum=md5sum if is_ros1 else None)
