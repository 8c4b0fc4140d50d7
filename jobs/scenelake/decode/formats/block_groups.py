"""Several blocks as one: what is done once for a block is done once for all of them.

A recorder's chunks are small, and each holds a few messages of every channel. Some array operations for each channel
of each chunk would cost more than the messages.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from scenelake.decode.formats.blocks import Block, Definition

GROUP_BYTES = 16 * 1024 * 1024
GROUP_ROWS = 65_536
GROUP_BLOCKS = 4_096
"""A block takes about 4 KiB, however little it holds: chunks of one message each must not add up."""
_COLUMNS = tuple(f.name for f in fields(Block) if f.name not in ("body", "definitions"))


@dataclass(frozen=True, slots=True)
class BlockGroup(Block):
    """Blocks that follow each other in a recording and agree on their channels' definitions.

    Attributes:
        body: empty; the messages lie in the bodies of the members.
        blocks: the members, ``m`` of them.
        first_row: (m + 1,) int64, the position of each member's first message, and the end.
    """

    blocks: tuple[Block, ...]
    first_row: np.ndarray

    def data(self, row: int) -> memoryview:
        body = self.blocks[int(np.searchsorted(self.first_row, row, side="right")) - 1].body
        return body[self.start[row] : self.exclusive_end[row]]

    def members(self) -> Sequence[Block]:
        return self.blocks

    def member_of(self, rows: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.first_row, rows, side="right") - 1


def grouped(blocks: Iterable[Block], max_bytes: int = GROUP_BYTES) -> Iterator[Block]:
    """The same messages in the same order, in larger blocks; a large block stays alone."""
    waiting: list[Block] = []
    definitions: dict[int, Definition] = {}
    nbr_bytes = nbr_rows = 0
    for block in blocks:
        if not len(block):
            continue
        is_other = any(definitions.get(c, d) != d for c, d in block.definitions.items())
        is_full = nbr_bytes + len(block.body) > max_bytes or nbr_rows + len(block) > GROUP_ROWS
        if waiting and (is_other or is_full or len(waiting) == GROUP_BLOCKS):
            yield _group(waiting, definitions)
            waiting, definitions, nbr_bytes, nbr_rows = [], {}, 0, 0
        waiting.append(block)
        definitions.update(block.definitions)
        nbr_bytes, nbr_rows = nbr_bytes + len(block.body), nbr_rows + len(block)
    if waiting:
        yield _group(waiting, definitions)


def _group(blocks: list[Block], definitions: dict[int, Definition]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    columns = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in _COLUMNS}
    first_row = np.concatenate(([0], np.cumsum([len(block) for block in blocks])))
    return BlockGroup(
        memoryview(b""), definitions, **columns, blocks=tuple(blocks), first_row=first_row.astype(np.int64)
    )
