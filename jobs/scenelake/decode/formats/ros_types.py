"""ROS message types: from a recording's schema to a plan for reading its messages."""

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Definition
from scenelake.decode.formats.cdr import Plan, compile_plan
from scenelake.decode.formats.ros2msg import parse_definitions, short_name

__all__ = ["ros_plan", "short_name"]


def ros_plan(definition: Definition) -> Plan:
    """How to read a channel's messages.

    Raises:
        BadInputError: reason ``schema_invalid``, ``schema_unsupported`` or ``schema_encoding_unsupported``.
    """
    schema = definition.schema
    is_aligned = definition.channel.message_encoding == "cdr"
    expected = "ros2msg" if is_aligned else "ros1msg"
    if schema is None or schema.encoding != expected:
        encoding = schema.encoding if schema else None
        raise BadInputError(f"schema encoding {encoding!r}", reason="schema_encoding_unsupported")
    definitions = parse_definitions(schema.name, schema.data, is_ros1=not is_aligned)
    return compile_plan(definitions, short_name(schema.name), is_aligned=is_aligned)
