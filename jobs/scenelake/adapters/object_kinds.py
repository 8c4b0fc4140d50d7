"""Which kind of object a write is, in few words: the names of its failpoints."""

import re

from scenelake.contracts.paths import split_uri
from scenelake.runtime.logs import current_stage

_KINDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"releases/\d+\.json", "serialise.release"),
        (r"gold/[^/]+/data/.+", "decode.payload_file"),
        (r"work/decoded/.+/outcome\.json", "decode.outcome"),
        (r"work/decoded/.+", "decode.table"),
        (r"work/batches/[^/]+/\d+/(?P<stage>[a-z_]+)/record\.json", "record"),
        (r"work/batches/[^/]+/\d+/(?P<stage>[a-z_]+)/[^/]+\.json", "document"),
        (r"work/batches/[^/]+/\d+/(?P<stage>[a-z_]+)/.+", "drive_file"),
    )
)
"""Key patterns (``contracts.paths.LakePaths``) and names; a stage that the key names goes before the name."""


def kind_of(uri: str) -> str:
    """``<stage>.<kind>``, for example ``decode.payload_file``; what lies elsewhere is ``<running stage>.object``."""
    _, key = split_uri(uri)
    for pattern, name in _KINDS:
        match = pattern.fullmatch(key)
        if match:
            return f"{stage}.{name}" if (stage := match.groupdict().get("stage")) else name
    return f"{current_stage() or 'any'}.object"
