"""The types of ``signals.SIGNALS``, many messages at once: the same rows, or the message is left to its handler there.

Numbers of one byte are left too: a bool and a uint8 look alike as columns.
"""

import numpy as np
import pyarrow as pa

from scenelake.contracts.modalities import Modality
from scenelake.decode.arrow_columns import number_lists, text_lists
from scenelake.decode.formats.cdr_columns import Columns, TextColumn
from scenelake.decode.handlers.high_rate import ColumnHandler, DecodedColumns, NotByColumnsError, stamps
from scenelake.decode.handlers.signals import SIGNALS
from scenelake.decode.values import ChannelFacts


def _handler(name: str) -> ColumnHandler:
    names, units = (list(column) for column in zip(*SIGNALS[name], strict=True))

    def handle(messages: Columns, channel: ChannelFacts) -> DecodedColumns:
        values = np.stack([_numbers(messages, field) for field in names], axis=1)
        columns = {
            "names": _repeated(names, messages.size),
            "units": _repeated(units, messages.size),
            "position": number_lists(values),
        }
        modality = Modality.ACTION if channel.modality is Modality.ACTION else Modality.ROBOT_STATE
        stamp_ns, frame = _stamp(messages)
        return DecodedColumns(modality, stamp_ns, frame, columns, np.ones(messages.size, bool))

    return handle


SIGNAL_COLUMNS: dict[str, ColumnHandler] = {name: _handler(name) for name in SIGNALS}
"""By ROS type, as ``high_rate.COLUMN_HANDLERS``."""


def _numbers(messages: Columns, name: str) -> np.ndarray:
    values = messages.numbers(name)
    if values.ndim != 1 or values.dtype.kind not in "fiu" or values.dtype.itemsize == 1:
        raise NotByColumnsError(f"{name}: expected a number of more than one byte")
    return values.astype(np.float64)


def _stamp(messages: Columns) -> tuple[np.ndarray | None, TextColumn]:
    if "header.stamp.sec" in messages:
        return stamps(messages), messages.text("header.frame_id")
    stamp_ns = stamps(messages, "stamp") if "stamp.sec" in messages else None
    return stamp_ns, TextColumn([""], np.zeros(messages.size, np.int32))


def _repeated(values: list[str], count: int) -> pa.ListArray:
    return text_lists([TextColumn([v], np.zeros(count, np.int32)) for v in values], count)
