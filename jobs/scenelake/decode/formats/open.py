"""Which reader an object needs, told by its first bytes."""

from scenelake.contracts.errors import BadInputError
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Reader, Source
from scenelake.decode.formats.compressed_file import CompressedReader, compression_of, content_head
from scenelake.decode.formats.dataset_open import is_tfrecord, open_dataset_reader
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.mcap_records import MAGIC as MCAP_MAGIC
from scenelake.decode.formats.rlds_reader import RldsReader
from scenelake.decode.formats.rosbag1_reader import Rosbag1Reader
from scenelake.decode.formats.rosbag1_records import MAGIC as ROSBAG1_MAGIC
from scenelake.decode.formats.rosbag2_reader import MAGIC as SQLITE_MAGIC
from scenelake.decode.formats.rosbag2_reader import Rosbag2Reader
from scenelake.decode.formats.siblings import NO_SIBLINGS, Siblings
from scenelake.decode.formats.tfrecord import starts_with_record


def open_reader(source: Source, config: DecodeConfig, name: str = "", siblings: Siblings | None = None) -> Reader:
    """A reader of the object's format.

    Args:
        name: the object's path in its drive (``DropKey.file``), by which a part of a dataset knows its place.
        siblings: the other objects of the drive; None for an object that came alone.

    Raises:
        BadInputError: reason ``empty_object`` or ``format_unknown``.
    """
    if source.size_bytes == 0:
        raise BadInputError("the object is empty", reason="empty_object", byte_offset=0)
    start = bytes(source.read(0, 16))
    if start.startswith(MCAP_MAGIC):
        return McapReader(
            source,
            max_chunk_bytes=config.max_streamed_chunk_bytes,
            max_record_bytes=config.max_record_bytes,
            max_message_bytes=config.max_message_bytes,
            window_bytes=config.window_bytes,
            max_inflation=config.max_inflation,
        )
    if start.startswith(ROSBAG1_MAGIC):
        return Rosbag1Reader(source, max_chunk_bytes=config.max_chunk_bytes, max_record_bytes=config.max_record_bytes)
    if start.startswith(SQLITE_MAGIC):
        return Rosbag2Reader(
            source,
            max_chunk_bytes=config.max_chunk_bytes,
            max_record_bytes=config.max_record_bytes,
            max_inflation=config.max_inflation,
        )
    compressed = _open_compressed(source, start, config, name, siblings)
    if compressed is not None:
        return compressed
    of_dataset = open_dataset_reader(source, start, config, name, siblings or NO_SIBLINGS)
    if of_dataset is not None:
        return of_dataset
    raise BadInputError(
        f"expected an MCAP file, a ROS bag, or a part of a LeRobot or RLDS dataset, got {start[:8]!r}",
        reason="format_unknown",
        byte_offset=0,
    )


def _open_compressed(
    source: Source, start: bytes, config: DecodeConfig, name: str, siblings: Siblings | None
) -> Reader | None:
    """A reader of a compressed recording; None for an object that is not one, or of a format that is not its own."""
    compression = None if starts_with_record(start) else compression_of(start)
    head = b"" if compression is None else content_head(source, compression)
    if compression is None or not head:
        return None
    found = next((kind for magic, kind in _COMPRESSED.items() if head.startswith(magic)), None)
    if found is None and is_tfrecord(name, head):
        found = RldsReader.format
    if found is None:
        return None
    return CompressedReader(
        source,
        compression,
        found,
        lambda content: open_reader(content, config, name.removesuffix(".gz"), siblings),
        max_inflation=config.max_inflation,
    )


_COMPRESSED = {
    MCAP_MAGIC: McapReader.format,
    ROSBAG1_MAGIC: Rosbag1Reader.format,
    SQLITE_MAGIC: Rosbag2Reader.format,
}
