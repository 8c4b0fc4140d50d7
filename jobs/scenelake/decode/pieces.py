"""What became of some messages of one channel: the unit in which decode hands on its results."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import MessageStatus, Modality
from scenelake.decode.formats.cdr_columns import TextColumn
from scenelake.decode.row_columns import Row


@dataclass(slots=True)
class Piece:
    """``k`` messages of one run of a block that met the same end.

    Attributes:
        rows: (k,) int64, their positions in the block, ascending.
        modality: of all of them.
        reason: by position in the piece, of those that have one.
        stamp_ns: (k,) int64, the messages' own times, or None where the type has none.
        has_stamp: (k,) bool; None when all or none have.
        frame: of each message; empty for none.
        batch: rows of the modality's table, those of one message together; None where ``large`` has them.
        rows_per_message: (k,) int64; None where each message has one row.
        large: rows of a slotted table, one for each message; values may be views on the block.
        nbr_points, width_px, height_px: (k,) int32, where the modality has them; 0 where a message does not say.
        is_random_access: (k,) bool, where there are video frames among them; a still image decodes from itself.
    """

    rows: np.ndarray
    status: MessageStatus
    modality: Modality
    reason: dict[int, str] = field(default_factory=dict)
    stamp_ns: np.ndarray | None = None
    has_stamp: np.ndarray | None = None
    frame: TextColumn | None = None
    batch: pa.RecordBatch | None = None
    rows_per_message: np.ndarray | None = None
    large: list[Row] | None = None
    nbr_points: np.ndarray | None = None
    width_px: np.ndarray | None = None
    height_px: np.ndarray | None = None
    is_random_access: np.ndarray | None = None

    def part(self, at: np.ndarray) -> "Piece":
        """The messages at these positions, without their rows of a table.

        Args:
            at: (n,) int64, ascending positions in the piece.
        """
        return Piece(
            self.rows[at],
            self.status,
            self.modality,
            reason={i: self.reason[k] for i, k in enumerate(at.tolist()) if k in self.reason},
            stamp_ns=_at(self.stamp_ns, at),
            has_stamp=_at(self.has_stamp, at),
            frame=None if self.frame is None else TextColumn(self.frame.values, self.frame.codes[at]),
            nbr_points=_at(self.nbr_points, at),
            width_px=_at(self.width_px, at),
            height_px=_at(self.height_px, at),
            is_random_access=_at(self.is_random_access, at),
        )


def _at(values: np.ndarray | None, at: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[at]
