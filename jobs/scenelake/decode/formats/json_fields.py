"""JSON messages of the Foxglove schemas, read by attribute as their protobuf twins are.

Source: the Foxglove JSON schemas: the same field names; bytes as base64, a time as ``{"sec", "nsec"}``, an enum as
its number.
"""

import base64
import binascii
from typing import Any

_PROTOBUF_NAMES = {"seconds": "sec", "nanos": "nsec"}
_OPTIONAL_TEXT = frozenset(("frame_id",))
_BYTES = "data"


class JsonFields:
    """One JSON object.

    A field that is absent is an ``AttributeError``, but for ``frame_id``, which is empty then as in protobuf.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def HasField(self, name: str) -> bool:  # noqa: N802 (protobuf's name)
        """Whether a field is there and not null."""
        return self._values.get(name) is not None

    def __getattr__(self, name: str) -> Any:
        value = self._values.get(_PROTOBUF_NAMES.get(name, name))
        if value is None:
            if name in _OPTIONAL_TEXT:
                return ""
            raise AttributeError(f"the message has no {name!r}")
        if name == _BYTES and isinstance(value, str):
            try:
                return base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError) as error:
                raise AttributeError(f"{name} is not base64: {error}") from error
        if isinstance(value, list):
            return [JsonFields(v) if isinstance(v, dict) else v for v in value]
        return JsonFields(value) if isinstance(value, dict) else value
