"""Charts of a day as PNG."""

import io
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scenelake.quality.shift import NBR_BARS, Shift
from scenelake.report.figures import DayFigures, Row
from scenelake.view.words import words

_DPI = 110
_PASS, _UNKNOWN, _WARN, _BAD = "#7fb77e", "#c9ced6", "#f2b134", "#d1495b"
_BLUE = "#30638e"
_MAX_BARS = 24
_PANELS_A_ROW = 3
_TITLE_CHARACTERS = 44


def volume_chart(figures: DayFigures) -> bytes:
    """Hours in gold and scenes held back, by vehicle."""
    rows = sorted(figures.vehicles, key=lambda r: -r["hours"])[:_MAX_BARS]
    names = [words(row["vehicle"]) for row in rows]
    figure, axes = _bars(len(rows))
    axes.barh(names, [row["hours"] * 60 for row in rows], color=_BLUE)
    for place, row in enumerate(rows):
        held = row["nbr_waiting"] + row["nbr_rejected"]
        said = f" {row['nbr_scenes']} scenes" + (f", {held} held back" if held else "")
        axes.text(row["hours"] * 60, place, said, va="center", fontsize=8)
    axes.set_xlabel("minutes in gold")
    axes.margins(x=0.25)
    return _png(figure)


def checks_chart(rows: Sequence[Row]) -> bytes:
    """Verdicts by check: shares of what was judged."""
    rows = [row for row in rows if row["nbr_warn"] + row["nbr_bad"]][:_MAX_BARS]
    figure, axes = _bars(len(rows))
    left = [0.0] * len(rows)
    names = [row["check_name"] for row in rows]
    kinds = (("nbr_bad", _BAD, "quarantine"), ("nbr_warn", _WARN, "warn"), ("nbr_pass", _PASS, "pass"),
             ("nbr_unknown", _UNKNOWN, "not observable"))  # fmt: skip
    for column, colour, label in kinds:
        shares = [row[column] / max(sum(row[c] for c, _, _ in kinds), 1) for row in rows]
        axes.barh(names, shares, left=left, color=colour, label=label)
        left = [at + share for at, share in zip(left, shares, strict=True)]
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of findings")
    if rows:
        figure.legend(loc="outside upper center", ncol=4, frameon=False)
    return _png(figure)


def sync_chart(rows: Sequence[Row]) -> bytes:
    """Median and 99th percentile of the synchronisation error, by sensor."""
    rows = [row for row in rows if row["sync_error_ms"] is not None][:_MAX_BARS]
    figure, axes = _bars(len(rows))
    names = [words(row["channel"]) for row in rows]
    axes.barh(names, [row["sync_error_p99_ms"] or 0.0 for row in rows], color="#bcd0e0", label="99 %")
    axes.barh(names, [row["sync_error_ms"] for row in rows], color=_BLUE, height=0.45, label="median")
    axes.set_xlabel("distance from the reference sensor's messages, ms")
    if rows:
        figure.legend(loc="outside upper center", ncol=2, frameon=False)
    return _png(figure)


def shifts_chart(found: Sequence[Shift], unit_of: Callable[[str], tuple[str, float]]) -> bytes:
    """Numbered histograms, a panel each: what was usual before, filled, and what came now, as a line.

    Args:
        unit_of: the unit of a statistic, and what its values are multiplied by for it.
    """
    nbr_rows = max(-(-len(found) // _PANELS_A_ROW), 1)
    figure = Figure(figsize=(11, 0.5 + 2.5 * nbr_rows), dpi=_DPI, layout="constrained")
    panels = figure.subplots(nbr_rows, _PANELS_A_ROW, squeeze=False).ravel().tolist()
    for number, (axes, shift) in enumerate(zip(panels, found, strict=False), start=1):
        unit, factor = unit_of(shift.statistic)
        _histogram(axes, shift, factor)
        axes.set_title(
            f"{number} · {_cut(shift.robot_id)}\n{_cut(shift.channel or 'scene')}\n{_cut(shift.statistic)}",
            fontsize=8, loc="left", parse_math=False,
        )  # fmt: skip
        sizes = f"PSI {shift.psi:.2f}, KS {shift.ks:.2f}"
        axes.set_xlabel(f"{unit} · {sizes}" if unit else sizes, fontsize=8)
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    if found:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncol=2, frameon=False)
    return _png(figure)


def _histogram(axes: Axes, shift: Shift, factor: float) -> None:
    shown = shift.histogram
    edges = [factor * (shown.low + (shown.high - shown.low) * k / NBR_BARS) for k in range(NBR_BARS + 1)]
    axes.stairs(shown.before / shown.before.sum(), edges, fill=True, color="#bcd0e0", label="before")
    axes.stairs(shown.after / shown.after.sum(), edges, color=_BAD, linewidth=1.6, label="now")
    axes.set_ylabel("share of scenes", fontsize=8)
    axes.set_ylim(bottom=0.0)
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _cut(text: str) -> str:
    plain = "".join(c if c.isprintable() else "□" for c in text)
    return plain if len(plain) <= _TITLE_CHARACTERS else f"…{plain[-_TITLE_CHARACTERS + 1 :]}"


def _bars(count: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, 0.9 + 0.32 * max(count, 1)), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if not count:
        axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center")
        axes.set_axis_off()
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
