"""Messages that were compressed one by one: rosbag2's ``compression_mode: MESSAGE``, whatever stores them.

A CDR message starts with its representation, which no zstd frame's magic is (OMG DDS-XTypes 1.3, 7.6.3.1.2), so
messages tell by themselves, and no metadata has to be found and believed.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import zstandard

from scenelake.decode.formats.blocks import Block
from scenelake.decode.formats.compressed_file import FREE_INFLATION_BYTES, ZSTD_MAGIC

_BLOCK_BYTES = 8 * 1024 * 1024
_ENCODING = "cdr"
_MAGIC = np.frombuffer(ZSTD_MAGIC, np.uint8)


class MessageInflation:
    """Decompresses the messages of one object where they are compressed.

    What does not decompress within the bounds stays as it is; its decoder says that it is not CDR.

    Args:
        max_message_bytes: a message that claims more is not believed, nor one that does not say.
        max_inflation: messages together inflate to no more than so many times the object's size, and 512 MiB.

    Attributes:
        is_used: whether any message was decompressed.
    """

    def __init__(self, max_message_bytes: int, object_bytes: int, max_inflation: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._left_bytes = FREE_INFLATION_BYTES + max_inflation * object_bytes
        self._decompressor = zstandard.ZstdDecompressor()
        self.is_used = False

    def opened(self, block: Block) -> Iterator[Block]:
        """The same messages decompressed, in blocks of about 8 MiB; the block itself where none is compressed."""
        is_compressed = _compressed(block)
        if is_compressed is None:
            yield block
            return
        contents: list[bytes | memoryview] = []
        first = nbr_bytes = 0
        for row, is_one in enumerate(is_compressed.tolist()):
            content = self._content(block.data(row)) if is_one else block.data(row)
            if contents and nbr_bytes + len(content) > _BLOCK_BYTES:
                yield _rows(block, first, contents)
                contents, first, nbr_bytes = [], row, 0
            contents.append(content)
            nbr_bytes += len(content)
        yield _rows(block, first, contents)

    def _content(self, data: memoryview) -> bytes | memoryview:
        try:
            claimed = zstandard.get_frame_parameters(data).content_size
            if claimed > min(self._max_message_bytes, self._left_bytes):
                return data
            content = self._decompressor.decompress(data, max_output_size=claimed, allow_extra_data=False)
        except zstandard.ZstdError:
            return data
        self._left_bytes -= len(content)
        self.is_used = True
        return content


def _compressed(block: Block) -> np.ndarray | None:
    """Which messages are zstd frames where CDR is expected, (n,) bool; None where none is."""
    body = np.frombuffer(block.body, np.uint8)
    if not len(body):
        return None
    found = np.flatnonzero(body.take(block.start, mode="clip") == _MAGIC[0])
    if not len(found):
        return None
    found = found[block.exclusive_end[found] - block.start[found] >= len(_MAGIC)]
    for at in range(len(_MAGIC)):
        found = found[body[block.start[found] + at] == _MAGIC[at]]
    ids = [i for i, d in block.definitions.items() if d.channel.message_encoding == _ENCODING]
    is_compressed = np.zeros(len(block), bool)
    is_compressed[found] = np.isin(block.channel_id[found], ids)
    return is_compressed if is_compressed.any() else None


def _rows(block: Block, first: int, contents: list[bytes | memoryview]) -> Block:
    lengths = np.array([len(content) for content in contents], np.int64)
    rows = slice(first, first + len(contents))
    end = np.cumsum(lengths)
    return replace(
        block,
        body=memoryview(b"".join(contents)),
        channel_id=block.channel_id[rows],
        sequence=block.sequence[rows],
        log_time_ns=block.log_time_ns[rows],
        publish_time_ns=block.publish_time_ns[rows],
        chunk_offset_bytes=block.chunk_offset_bytes[rows],
        message_offset_bytes=block.message_offset_bytes[rows],
        start=end - lengths,
        exclusive_end=end,
    )
