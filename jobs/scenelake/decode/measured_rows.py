"""Measurements of images and sweeps on their way into tables, taken while the payload is at hand."""

from dataclasses import asdict

import numpy as np

from scenelake.contracts.tables import IMAGE_STATISTIC, POINT_STATISTIC
from scenelake.decode.measurements.images import image_statistics, jpeg_header
from scenelake.decode.measurements.points import point_statistics
from scenelake.decode.row_columns import Row, rows_to_batch
from scenelake.decode.small_tables import SmallTables, written_schema

_MAX_ROWS = 1024
_MEASURED_FORMATS = ("jpeg", "png")


class MeasuredRows:
    """Rows of ``image_statistic`` and ``point_statistic`` of one object.

    Args:
        image_interval_ns: one frame of a camera is measured in every interval of this length, anchored at the epoch;
            None measures none.
    """

    def __init__(self, tables: SmallTables, image_interval_ns: int | None) -> None:
        self._tables = tables
        self._interval_ns = image_interval_ns
        self._last_interval: dict[str, int] = {}
        self._rows: dict[str, list[Row]] = {IMAGE_STATISTIC.name: [], POINT_STATISTIC.name: []}

    def take(self, table: str, row: Row) -> None:
        """Measures a row of a payload table, if it is one to be measured."""
        if table == "camera_frame":
            self._image(row)
        elif isinstance(row.get("x_m"), np.ndarray):
            columns = (row["x_m"], row["y_m"], row["z_m"], row.get("intensity"), row.get("ring"), row.get("offset_ns"))
            self._append(POINT_STATISTIC.name, row, asdict(point_statistics(*columns)))

    def close(self) -> None:
        """Hands on what is left."""
        for table in self._rows:
            self._flush(table)

    def _image(self, row: Row) -> None:
        if self._interval_ns is None or row["image_format"] not in _MEASURED_FORMATS:
            return
        interval = row["timestamp_ns"] // self._interval_ns
        if self._last_interval.get(row["channel"]) == interval:
            return
        self._last_interval[row["channel"]] = interval
        image: memoryview = row["image"]
        size = (row["width_px"], row["height_px"])
        header = jpeg_header(image) if row["image_format"] == "jpeg" else None
        statistics = image_statistics(image, row["image_format"], *size)
        found = {"width_px": size[0], "height_px": size[1], "payload_bytes": len(image)}
        if header is not None:
            found |= {
                "is_progressive": header.is_progressive,
                "nbr_components": header.nbr_components,
                "jpeg_quality": header.quality,
            }
        self._append(IMAGE_STATISTIC.name, row, found | (asdict(statistics) if statistics else {}))

    def _append(self, table: str, row: Row, found: Row) -> None:
        identity = {name: row[name] for name in ("sample_data_id", "channel", "timestamp_ns")}
        self._rows[table].append(identity | found)
        if len(self._rows[table]) >= _MAX_ROWS:
            self._flush(table)

    def _flush(self, table: str) -> None:
        if self._rows[table]:
            self._tables.append(table, rows_to_batch(self._rows[table], written_schema(table)))
            self._rows[table] = []
