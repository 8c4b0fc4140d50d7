"""Plots of a contact sheet, each into axes that are given: from above, path, synchronisation, signals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Polygon

from scenelake.geometry.poses import transform
from scenelake.timebase.arrays import FloatArray, Int64Array
from scenelake.view.boxes import Box
from scenelake.view.opened import ChannelSync
from scenelake.view.signals import Signal, Text
from scenelake.view.words import words

SECOND_NS = 1_000_000_000
_SMALL = 8
_MAX_POINTS = 60_000
_MAX_VALUES = 2_000
_MAX_LEGEND, _MAX_LABELS = 8, 12
_NEAREST_REACH_M, _FARTHEST_REACH_M, _REACH_PERCENTILE = 3.0, 80.0, 95.0
_MISS = "#d62728"
_BOX = "#e8710a"
_EGO = "black"


@dataclass
class FromAbove:
    """What is seen at one keyframe, in the ego frame there.

    Attributes:
        points_m: (n, 3) of LiDARs.
        returns: (n, 4) of radars: x, y, z and the velocity, compensated where that is known; NaN for none.
        boxes: with ``ego_from_box`` (7,).
        notes: what is to be said of it.
    """

    frame: int
    points_m: FloatArray
    returns: FloatArray
    boxes: Sequence[tuple[Box, FloatArray]]
    notes: list[str] = field(default_factory=list)


def draw_above(axes: Axes, view: FromAbove) -> None:
    """LiDAR points by height, radar returns by velocity, and boxes."""
    _title(axes, f"from above at keyframe {view.frame}: ego frame, x forward (up), y left, metres")
    xyz = view.points_m
    if len(xyz) > _MAX_POINTS:
        xyz = xyz[:: -(-len(xyz) // _MAX_POINTS)]
    if len(xyz):
        low, high = np.percentile(xyz[:, 2], (2, 98))
        axes.scatter(-xyz[:, 1], xyz[:, 0], c=xyz[:, 2], s=1.5, cmap="viridis", vmin=low, vmax=high, linewidths=0)
    if len(view.returns):
        speed = np.nan_to_num(view.returns[:, 3])
        axes.scatter(
            -view.returns[:, 1], view.returns[:, 0], c=speed, s=22, cmap="coolwarm", vmin=-10, vmax=10, marker="D",
            edgecolors="black", linewidths=0.4, label="radar: blue comes nearer, red goes away (±10 m/s)",
        )  # fmt: skip
    reach = _reach(view)
    nearest = sorted(view.boxes, key=lambda pair: float(np.hypot(*pair[1][:2])))
    for number, (box, ego_from_box) in enumerate(nearest):
        half = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * box.size_m[:2] / 2
        corners = transform(ego_from_box, np.column_stack([half, np.zeros(4)]))
        axes.add_patch(Polygon(np.column_stack([-corners[:, 1], corners[:, 0]]), fill=False, ec=_BOX, lw=1.2))
        if number < _MAX_LABELS and np.abs(ego_from_box[:2]).max() < reach:
            at = (-ego_from_box[1], ego_from_box[0])
            axes.annotate(words(box.category, 16), at, fontsize=6, color=_BOX, ha="center", va="bottom")
    axes.plot([0], [0], marker="^", markersize=10, color=_EGO, linestyle="none", label="ego")
    _fit(axes, np.zeros(2), np.array([0.0, reach]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{0.0 - value:g}")
    axes.tick_params(labelsize=_SMALL)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left", fontsize=7, framealpha=0.6)
    for row, note in enumerate(view.notes):
        axes.text(0.01, 0.97 - 0.03 * row, words(note, 100), transform=axes.transAxes, fontsize=7, color=_MISS)


def _reach(view: FromAbove) -> float:
    """Half the side of the plot: most of what is seen lies within."""
    places = [view.points_m[:, :2], view.returns[:, :2], *(pose[None, :2] for _, pose in view.boxes)]
    seen = np.abs(np.concatenate(places)).max(axis=1) if sum(map(len, places)) else np.zeros(1)
    return float(np.clip(1.05 * np.percentile(seen, _REACH_PERCENTILE), _NEAREST_REACH_M, _FARTHEST_REACH_M))


def draw_path(axes: Axes, stamps_ns: Int64Array, xy_m: FloatArray, marks: Mapping[int, FloatArray], title: str) -> None:
    """Where the ego went.

    Args:
        xy_m: (n, 2) with the first at the origin.
        marks: (2,) by the number of a keyframe.
    """
    length_m = float(np.hypot(*np.diff(xy_m, axis=0).T).sum())
    _title(axes, f"{title}: {length_m:.1f} m")
    axes.plot(xy_m[:, 0], xy_m[:, 1], color="0.75", lw=1)
    seconds = (stamps_ns - stamps_ns[0]) / SECOND_NS
    axes.scatter(xy_m[:, 0], xy_m[:, 1], c=seconds, s=5, cmap="plasma", linewidths=0, zorder=2)
    for number, at in marks.items():
        axes.plot([at[0]], [at[1]], marker="o", markersize=5, mfc="white", mec=_EGO, zorder=3)
        axes.annotate(str(number), (at[0], at[1]), xytext=(5, 4), textcoords="offset points", fontsize=7)
    _fit(axes, (xy_m.min(axis=0) + xy_m.max(axis=0)) / 2, (0.55 * np.ptp(xy_m, axis=0)).clip(0.5))
    axes.tick_params(labelsize=_SMALL)
    axes.grid(alpha=0.25)


def _fit(axes: Axes, middle: FloatArray, half: FloatArray) -> None:
    """Fills the axes, a metre as long in x as in y, so that what lies half a size (2,) around the middle is seen."""
    box = axes.get_window_extent()
    size_px = np.array([box.width, box.height])
    shown = size_px * (half / size_px).max()
    axes.set_xlim(middle[0] - shown[0], middle[0] + shown[0])
    axes.set_ylim(middle[1] - shown[1], middle[1] + shown[1])


def draw_sync(axes: Axes, rows: Sequence[ChannelSync], seconds: FloatArray) -> None:
    """Distance of each channel's match from each keyframe, as a share of its tolerance; misses in red.

    Args:
        seconds: (m,) times of the keyframes.
    """
    _title(axes, "distance of matches from keyframes: dark is none, bright is all of the tolerance, red is no match")
    share = np.stack([np.abs(r.delta_ns) / np.maximum(r.tolerance_ns, 1) for r in rows]).clip(0, 1)
    levels = np.where([r.is_match for r in rows], share, np.nan)
    edges = _edges(seconds)
    colours = ListedColormap([_MISS])
    axes.pcolormesh(edges, np.arange(len(rows) + 1), np.where(np.isnan(levels), 1.0, np.nan), cmap=colours)
    axes.pcolormesh(edges, np.arange(len(rows) + 1), levels, cmap="viridis", vmin=0, vmax=1)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(rows)) + 0.5, [words(f"{r.modality} {r.channel}", 34) for r in rows], fontsize=7)
    for i, row in enumerate(rows):
        axes.text(1.005, i + 0.5, _told(row), transform=axes.get_yaxis_transform(), fontsize=7, va="center")
    axes.tick_params(axis="x", labelsize=_SMALL)


def _told(sync: ChannelSync) -> str:
    nbr_misses = int(np.count_nonzero(~sync.is_match))
    misses = f", {nbr_misses} of {len(sync.is_match)} missed" if nbr_misses else ""
    distances = np.abs(sync.delta_ns[sync.is_match]) / 1e6
    if not len(distances):
        return f"{sync.method}: no match"
    return f"{sync.method}: median {np.median(distances):.1f}, max {distances.max():.1f} ms{misses}"


def _edges(seconds: FloatArray) -> FloatArray:
    """Borders (m + 1,) halfway between times."""
    if len(seconds) < 2:
        return np.array([seconds[0] - 0.25, seconds[0] + 0.25])
    middle = (seconds[1:] + seconds[:-1]) / 2
    return np.concatenate([[2 * seconds[0] - middle[0]], middle, [2 * seconds[-1] - middle[-1]]])


def draw_signal(axes: Axes, signal: Signal, start_ns: int) -> None:
    """The values of one signal over time."""
    unit = f" in {signal.unit}" if signal.unit else ""
    said = "" if len(signal.names) == 1 else f" ({len(signal.names)} values{unit})"
    _title(axes, f"{signal.modality} {words(signal.channel, 60)} {signal.quantity}{said}")
    step = -(-len(signal.stamps_ns) // _MAX_VALUES)
    seconds = (signal.stamps_ns[::step] - start_ns) / SECOND_NS
    for column, name in enumerate(signal.names):
        axes.plot(seconds, signal.values[::step, column], lw=0.9, label=words(name, 24))
    axes.tick_params(labelsize=_SMALL)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(alpha=0.25)
    if 1 < len(signal.names) <= _MAX_LEGEND:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)


def draw_texts(axes: Axes, texts: Sequence[Text], start_ns: int, seconds: float) -> None:
    """What was said, beside the moment when it was said first.

    Args:
        seconds: length of the scene.
    """
    _title(axes, "said")
    for row, text in enumerate(texts):
        at = (text.stamp_ns - start_ns) / SECOND_NS
        is_early = at < seconds / 2
        axes.plot([at], [row + 0.5], marker="|", color=_EGO, markersize=8)
        axes.annotate(
            words(f"{text.modality} {text.channel}: {text.text}", 110), (at, row + 0.5), fontsize=7, va="center",
            xytext=(4 if is_early else -4, 0), textcoords="offset points", ha="left" if is_early else "right",
        )  # fmt: skip
    axes.set_ylim(len(texts), 0)
    axes.set_yticks([])
    axes.tick_params(labelsize=_SMALL)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=_SMALL, loc="left", pad=3)
