"""Signals of a held scene as a picture, the part at fault marked."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scenelake.review.signals import Interval, Panel, Plot, Trace
from scenelake.timebase.arrays import FloatArray, Int64Array

_DPI = 100
_WIDTH_IN, _PANEL_IN = 12.0, 2.6
_AROUND_NS = 1_000_000_000
"""Shown before and after what is marked, at least; else half of its own length."""

_MAX_POINTS = 8_000
"""Of a line: four for each column of the picture. The least and the greatest value of every stretch stay."""

_FEW_POINTS = 200
"""Fewer are drawn as points, too."""

_MARK = "#e08a00"
_LEAST_SHARE = 0.004
"""Of the axes: shorter intervals are widened to be seen."""

_SAID, _CHARACTERS, _LABEL_CHARACTERS = 2, 150, 30


def signals_png(panels: Sequence[Panel], start_ns: int, exclusive_end_ns: int) -> bytes:
    """A row of axes for each panel, over the part of the scene that is at fault, or all of it."""
    figure = Figure(figsize=(_WIDTH_IN, _PANEL_IN * max(len(panels), 1)), dpi=_DPI, layout="constrained")
    if not panels:
        figure.text(0.5, 0.5, "no finding of this scene is about a signal", ha="center")
    rows = figure.subfigures(max(len(panels), 1), 1, squeeze=False)[:, 0].tolist() if panels else []
    for row, panel in zip(rows, panels, strict=True):
        row.suptitle(_headline(panel), fontsize=9, x=0.01, ha="left", parse_math=False)
        window = shown_ns(panel.marks_ns, start_ns, exclusive_end_ns)
        count = max(len(panel.plots), 1)
        for axes, plot in zip(row.subplots(1, count, squeeze=False)[0].tolist(), panel.plots, strict=False):
            _draw(axes, plot, panel.marks_ns, window, start_ns)
        if not panel.plots:
            row.text(0.5, 0.4, "nothing of it is on record", ha="center", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def shown_ns(marks_ns: Sequence[Interval], start_ns: int, exclusive_end_ns: int) -> Interval:
    """The part of a scene that is drawn: around the marks within it, or all of it without any."""
    inside = [(a, b) for a, b in marks_ns if a < exclusive_end_ns and b > start_ns]
    if not inside:
        return start_ns, exclusive_end_ns
    first, end = min(a for a, _ in inside), max(b for _, b in inside)
    around_ns = max(_AROUND_NS, (end - first) // 2)
    return max(first - around_ns, start_ns), min(end + around_ns, exclusive_end_ns)


def _headline(panel: Panel) -> str:
    said = [_cut(text, _CHARACTERS) for text in panel.said[:_SAID]]
    more = len(panel.said) - len(said)
    return "\n".join([*said[:-1], said[-1] + (f" (and {more} more)" if more else "")])


def _draw(axes: Axes, plot: Plot, marks_ns: Sequence[Interval], window: Interval, scene_start_ns: int) -> None:
    low, high = ((at - scene_start_ns) / 1e9 for at in window)
    least = _LEAST_SHARE * (high - low)
    for first, end in marks_ns:
        if first < window[1] and end > window[0]:
            start, stop = ((at - scene_start_ns) / 1e9 for at in (first, end))
            wider = max(least - (stop - start), 0.0) / 2
            axes.axvspan(start - wider, stop + wider, color=_MARK, alpha=0.3, linewidth=0)
    for trace in plot.traces:
        stamps_ns, values = thinned(trace, window)
        marker = "." if len(stamps_ns) < _FEW_POINTS else ""
        label = _cut(trace.label, _LABEL_CHARACTERS)
        # A label that begins with an underscore would be left out of the legend.
        label = label.lstrip("_") or "–"
        axes.plot((stamps_ns - scene_start_ns) / 1e9, values, linewidth=0.8, marker=marker, markersize=4, label=label)
    axes.set_xlim(low, high)
    axes.set_xlabel("s of the scene", fontsize=8)
    axes.set_ylabel(plot.unit, fontsize=8)
    axes.tick_params(labelsize=8)
    for text in axes.legend(fontsize=7, loc="upper right", framealpha=0.8).get_texts():
        text.set_parse_math(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def thinned(trace: Trace, window: Interval) -> tuple[Int64Array, FloatArray]:
    """The part of a line in a window, with a neighbour on either side; of very many points those that are seen."""
    first, end = np.searchsorted(trace.stamps_ns, window)
    part = slice(max(int(first) - 1, 0), int(end) + 1)
    stamps_ns, values = trace.stamps_ns[part], trace.values[part]
    if len(values) <= _MAX_POINTS:
        return stamps_ns, values
    stretch = -(-len(values) // (_MAX_POINTS // 2))
    firsts = np.arange(0, len(values), stretch)
    low, high = (
        np.array([f + int(pick(filled[f : f + stretch])) for f in firsts.tolist()], np.int64)
        for pick, filled in (
            (np.argmin, np.where(np.isnan(values), np.inf, values)),
            (np.argmax, np.where(np.isnan(values), -np.inf, values)),
        )
    )
    kept = np.unique(np.concatenate([low, high]))
    return stamps_ns[kept], values[kept]


def _cut(text: str, most: int) -> str:
    plain = "".join(c if c.isprintable() else "□" for c in text)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
