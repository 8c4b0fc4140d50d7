"""When each channel spoke in a scene, as a picture: stamps, gaps, and what the checks and clocks complain of."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from scenelake.timebase.arrays import Int64Array

_LABEL_PX, _PLOT_PX, _SAID_PX, _ROW_PX, _HEAD_PX = 230, 760, 210, 22, 30
_MAX_CHANNELS, _MAX_MARKS, _LABEL_CHARACTERS = 60, 200, 34
_GAP_PERIODS, _GAP_NS = 3, 100_000_000
"""A gap is longer than so many median periods, and than so long: as synchronise reports gaps of a clock."""
_INK = {"stamp": "#2f7dd1", "gap": "#d64545", "mark": "#e08a00", "grid": "#8885", "text": "#777"}


@dataclass(frozen=True, slots=True)
class Track:
    """One channel.

    Attributes:
        stamps_ns: (n,) ascending, within the scene.
        marks_ns: intervals that something complains of, half-open.
    """

    channel: str
    modality: str
    stamps_ns: Int64Array
    marks_ns: tuple[tuple[int, int], ...] = ()


def gaps_ns(stamps_ns: Int64Array, start_ns: int, exclusive_end_ns: int) -> list[tuple[int, int]]:
    """Intervals in which a channel that speaks regularly was silent, at the scene's edges too."""
    if len(stamps_ns) < 2:
        return []
    steps_ns = np.diff(stamps_ns)
    least_ns = max(_GAP_PERIODS * int(np.median(steps_ns)), _GAP_NS)
    edges_ns = np.concatenate([[start_ns], stamps_ns, [exclusive_end_ns]])
    at = np.flatnonzero(np.diff(edges_ns) > least_ns)
    return [(int(edges_ns[i]), int(edges_ns[i + 1])) for i in at]


def marks_of(evidence: str | None, measured: float | None = None) -> Iterator[tuple[int, int]]:
    """Moments and intervals that a finding's evidence (JSON) names, at any depth.

    Args:
        measured: what the check measured: where evidence tells only of a start, how long it lasted, in ns.
    """
    try:
        waiting: list[Any] = [json.loads(evidence or "null")]
    except ValueError:
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            start, end = (value.get(name) for name in ("start_ns", "exclusive_end_ns"))
            at = value.get("timestamp_ns", value.get("at_ns"))
            if isinstance(start, int) and isinstance(end, int):
                yield start, end
            elif isinstance(start, int) and measured is not None and math.isfinite(measured):
                yield start, start + max(int(measured), 1)
            elif isinstance(at, int):
                yield at, at + 1
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def timeline_svg(tracks: Sequence[Track], start_ns: int, exclusive_end_ns: int) -> str:
    """An SVG document without scripts, fonts or links of its own; every text in it is escaped."""
    span_ns = max(exclusive_end_ns - start_ns, 1)
    shown = tracks[:_MAX_CHANNELS]
    width, height = _LABEL_PX + _PLOT_PX + _SAID_PX, _HEAD_PX + _ROW_PX * len(shown) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="11">'
    ]

    def x_px(at_ns: int) -> float:
        return _LABEL_PX + _PLOT_PX * min(max((at_ns - start_ns) / span_ns, 0.0), 1.0)

    for share in range(5):
        x, seconds = _LABEL_PX + _PLOT_PX * share / 4, span_ns * share / 4e9
        parts.append(f'<path d="M{x:.1f} {_HEAD_PX - 6}V{height - 20}" stroke="{_INK["grid"]}"/>')
        parts.append(_text(x, 14, f"{seconds:.1f} s", "middle"))
    for row, track in enumerate(shown):
        y = _HEAD_PX + row * _ROW_PX
        parts.append(_text(_LABEL_PX - 8, y + 13, _cut(f"{track.modality} {track.channel}"), "end"))
        parts += _row(track, y, x_px, start_ns, exclusive_end_ns)
    legend = "blue: messages · red: silent · orange: what checks and clocks complain of"
    if len(tracks) > len(shown):
        legend += f" · {len(tracks) - len(shown)} more channels"
    parts += [_text(_LABEL_PX, height - 6, legend, "start"), "</svg>"]
    return "".join(parts)


def _row(track: Track, y: float, x_px: Any, start_ns: int, exclusive_end_ns: int) -> Iterator[str]:
    gaps = gaps_ns(track.stamps_ns, start_ns, exclusive_end_ns)
    for first_ns, end_ns in gaps[:_MAX_MARKS]:
        yield _box(x_px(first_ns), x_px(end_ns), y + 1, 16, _INK["gap"], 0.25)
    columns = np.unique([int(x_px(at)) for at in track.stamps_ns.tolist()])
    for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
        if len(run):
            yield _box(int(run[0]), int(run[-1]) + 1, y + 4, 10, _INK["stamp"], 0.85)
    for first_ns, end_ns in track.marks_ns[:_MAX_MARKS]:
        yield _box(x_px(first_ns), x_px(end_ns), y + 16, 3, _INK["mark"], 1.0)
    silent_s = sum(end - first for first, end in gaps) / 1e9
    said = f"{len(track.stamps_ns)} messages" + (f", silent for {silent_s:.1f} s" if gaps else "")
    yield _text(_LABEL_PX + _PLOT_PX + 8, y + 13, said, "start")


def _box(x: float, end: float, y: float, height: float, ink: str, opacity: float) -> str:
    width = max(end - x, 1.5)
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" fill="{ink}" opacity="{opacity}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{_INK["text"]}">{escape(text)}</text>'


def _cut(text: str) -> str:
    plain = "".join(c if c.isprintable() else "□" for c in text)
    return plain if len(plain) <= _LABEL_CHARACTERS else f"…{plain[-_LABEL_CHARACTERS + 1 :]}"
