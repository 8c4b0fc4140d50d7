"""Which reader an object needs, told by its first bytes."""

from scenelake.contracts.errors import BadInputError
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Reader, Source
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.mcap_records import MAGIC as MCAP_MAGIC


def open_reader(source: Source, config: DecodeConfig) -> Reader:
    """A reader of the object's format.

    Raises:
        BadInputError: reason ``empty_object`` or ``format_unknown``.
    """
    if source.size_bytes == 0:
        raise BadInputError("the object is empty", reason="empty_object", byte_offset=0)
    start = bytes(source.read(0, 16))
    if start.startswith(MCAP_MAGIC):
        return McapReader(source, max_chunk_bytes=config.max_chunk_bytes, max_record_bytes=config.max_record_bytes)
    raise BadInputError(f"expected the MCAP magic {MCAP_MAGIC!r}, got {start[:8]!r}", reason="not_mcap", byte_offset=0)
