"""Measurements of images and sweeps on their way into tables, taken while the payload is at hand."""

from dataclasses import fields
from typing import Any

import numpy as np

from scenelake.contracts.tables import IMAGE_STATISTIC, POINT_STATISTIC
from scenelake.decode.measurements.depth import invalid_fraction
from scenelake.decode.measurements.fingerprints import fingerprint
from scenelake.decode.measurements.images import (
    MEASURED_FORMATS,
    ImageStatistics,
    image_statistics,
    is_truncated,
    jpeg_header,
)
from scenelake.decode.measurements.points import PointStatistics, point_statistics
from scenelake.decode.row_columns import Row, rows_to_batch
from scenelake.decode.small_tables import SmallTables, written_schema

_MAX_ROWS = 1024
_IMAGE_TABLES = frozenset({"camera_frame", "depth_frame", "radar_sweep"})
_OPTIONAL = ("intensity", "ring", "offset_ns", "radial_velocity_m_s")
_IMAGE_NAMES = tuple(f.name for f in fields(ImageStatistics))
_POINT_NAMES = tuple(f.name for f in fields(PointStatistics))
_SIZE_DEPARTURE = 1.5
"""Sizes of a camera's frames differ by less from one to the next; black, frozen on a wall or torn frames by more."""


class MeasuredRows:
    """Rows of ``image_statistic`` and ``point_statistic`` of one object.

    Args:
        image_interval_ns: one frame of a camera is measured in every interval of this length, anchored at the epoch,
            and each whose size departs from that of the last one measured; of the others only size, fingerprint and
            end are looked at. None measures none.
    """

    def __init__(self, tables: SmallTables, image_interval_ns: int | None) -> None:
        self._tables = tables
        self._interval_ns = image_interval_ns
        self._last: dict[str, tuple[int, int]] = {}
        self._rows: dict[str, list[Row]] = {IMAGE_STATISTIC.name: [], POINT_STATISTIC.name: []}

    def take(self, table: str, row: Row) -> None:
        """Measures a row of a payload table, if it is one to be measured."""
        if isinstance(row.get("x_m"), np.ndarray):
            found = point_statistics(row["x_m"], row["y_m"], row["z_m"], *(row.get(name) for name in _OPTIONAL))
            self._append(POINT_STATISTIC.name, row, _named(found, _POINT_NAMES))
        elif table in _IMAGE_TABLES and self._interval_ns is not None and row.get("image") is not None:
            self._image(table, row, self._interval_ns)

    def close(self) -> None:
        """Hands on what is left."""
        for table in self._rows:
            self._flush(table)

    def _image(self, table: str, row: Row, interval_ns: int) -> None:
        image_format, image = row["image_format"], memoryview(row["image"])
        if table == "camera_frame" and image_format not in MEASURED_FORMATS:
            return
        found: Row = {
            "width_px": row["width_px"],
            "height_px": row["height_px"],
            "payload_bytes": len(image),
            "fingerprint": fingerprint(image),
            "image_problem": "truncated" if is_truncated(image, image_format) else None,
        }
        if self._is_due(row["channel"], row["timestamp_ns"] // interval_ns, len(image)):
            size = (row["width_px"], row["height_px"], row.get("row_stride_bytes"))
            if table == "camera_frame":
                found |= _image_figures(image, image_format, *size, problem=found["image_problem"])
            elif table == "depth_frame":
                found["invalid_fraction"] = invalid_fraction(image, image_format, *size)
        self._append(IMAGE_STATISTIC.name, row, found)

    def _is_due(self, channel: str, interval: int, size: int) -> bool:
        last, last_size = self._last.get(channel, (None, 0))
        is_alike = last_size < _SIZE_DEPARTURE * size and size < _SIZE_DEPARTURE * last_size
        if last == interval and is_alike:
            return False
        self._last[channel] = interval, size
        return True

    def _append(self, table: str, row: Row, found: Row) -> None:
        identity = {name: row[name] for name in ("sample_data_id", "channel", "timestamp_ns")}
        self._rows[table].append(identity | found)
        if len(self._rows[table]) >= _MAX_ROWS:
            self._flush(table)

    def _flush(self, table: str) -> None:
        if self._rows[table]:
            self._tables.append(table, rows_to_batch(self._rows[table], written_schema(table)))
            self._rows[table] = []


def _image_figures(
    image: memoryview, image_format: str, width_px: int, height_px: int, stride: int | None, problem: str | None
) -> Row:
    statistics, said = image_statistics(image, image_format, width_px, height_px, stride)
    found: Row = {"image_problem": problem or said}
    header = jpeg_header(image) if image_format == "jpeg" else None
    if header is not None:
        found |= {
            "is_progressive": header.is_progressive,
            "nbr_components": header.nbr_components,
            "jpeg_quality": header.quality,
        }
    return found | (_named(statistics, _IMAGE_NAMES) if statistics is not None else {})


def _named(found: Any, names: tuple[str, ...]) -> Row:
    return {name: getattr(found, name) for name in names}
