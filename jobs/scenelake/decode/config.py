"""Configuration of the decode stage."""

from pydantic import BaseModel, ConfigDict, PositiveInt

DECODE_VERSION = "6"
"""Version of the rules of this stage; it is part of the recipe, so a change of meaning must raise it."""

MIB = 1024 * 1024


class DecodeConfig(BaseModel):
    """Bounds and sizes of decode.

    Attributes:
        max_chunk_bytes: largest chunk or message that is believed, compressed or not. Recorders write
            chunks of 1 to 16 MiB, so this leaves room and still keeps a hostile claim from filling memory.
        max_record_bytes: largest schema, channel, metadata or header record.
        max_streamed_chunk_bytes: largest MCAP chunk that is believed: it is read by windows, so this bounds time,
            not memory.
        window_bytes: of uncompressed records that are held of such a chunk; smaller chunks are opened at once.
        max_message_bytes: largest MCAP message that is read; a larger one is lost alone. A task needs about four times
            as much memory for the largest message it meets.
        max_inflation: an MCAP object's chunks together may inflate to so many times its bytes, and 512 MiB besides:
            what lies behind is lost. Recordings reach 10, a bomb 30,000.
        part_bytes: an object of more than twice that is decoded by several tasks, each of about so many bytes. It is
            part of the recipe: the parts decide which rows lie in which file.
        image_statistics_ns: of each camera, one frame in every so many ns of ruling time is measured, and each whose
            size departs from that of the last one measured: a frame takes a good camera's whole decode time. None
            measures none, and takes no fingerprints.
        slot_ns: length of a payload file's slot of log time, anchored at the epoch.
        row_group_bytes: payload bytes (of small tables: message bytes) that a file buffers before it writes
            a row group.
        buffer_bytes: payload bytes that all open files of one object buffer together.
        max_open_files: open payload files of one object; the least recently used one is closed.
        max_payload_files: payload files of one object; beyond it the log times are held to be garbage.
        index_rows: rows that the index and each small table buffer before they write a row group.
        episode_spacing_ns: between the starts of a dataset's episodes, which have no time of their own; none may
            last as long.
        steps_per_second: of a dataset of steps whose files do not say how many a second has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_chunk_bytes: PositiveInt = 256 * MIB
    max_record_bytes: PositiveInt = 16 * MIB
    max_streamed_chunk_bytes: PositiveInt = 8192 * MIB
    window_bytes: PositiveInt = 32 * MIB
    max_message_bytes: PositiveInt = 64 * MIB
    max_inflation: PositiveInt = 200
    part_bytes: PositiveInt = 128 * MIB
    image_statistics_ns: PositiveInt | None = 1_000_000_000
    slot_ns: PositiveInt = 20_000_000_000
    row_group_bytes: PositiveInt = 32 * MIB
    buffer_bytes: PositiveInt = 96 * MIB
    max_open_files: PositiveInt = 16
    max_payload_files: PositiveInt = 16_384
    index_rows: PositiveInt = 32_768
    episode_spacing_ns: PositiveInt = 3_600_000_000_000
    steps_per_second: PositiveInt = 5
