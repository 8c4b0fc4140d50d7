"""A contact sheet: one picture of a whole scene."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scenelake.export.scenes import drive_words
from scenelake.export.summary import Progress, Summary
from scenelake.geometry.wgs84 import enu_from_geodetic
from scenelake.timebase.arrays import FloatArray, Int64Array
from scenelake.view.above import busiest_frame, seen_from_above
from scenelake.view.config import SheetConfig
from scenelake.view.opened import OpenedScene
from scenelake.view.panels import SECOND_NS, draw_above, draw_path, draw_signal, draw_sync, draw_texts
from scenelake.view.pictures import Strip, pictured, strip
from scenelake.view.signals import Signal, read_signals, read_texts
from scenelake.view.words import words

_DPI = 100
_MARGIN_PX, _LABEL_PX, _GAP_PX, _SAID_PX = 20, 190, 6, 250
_LINE_PX, _CAPTION_PX, _TITLE_PX, _AXIS_PX = 19, 17, 26, 34
_PICTURE_PX, _ABOVE_PX, _PATH_PX, _SIGNAL_PX, _ROW_PX = 240, 640, 420, 120, 16
_MAX_TEXTS, _MAX_FINDINGS, _MAX_SYNC_ROWS = 10, 4, 30
_GREY = "#e8e8e8"
_PRIORITY = (
    ("ego_pose", "linear_velocity_m_s"), ("robot_state", "position"), ("action", "position"),
    ("imu", "linear_acceleration_m_s2"), ("gnss", "ground_speed_m_s"), ("imu", "angular_velocity_rad_s"),
    ("robot_state", "velocity"), ("action", "velocity"), ("ego_pose", "angular_velocity_rad_s"),
    ("robot_state", "effort"), ("action", "effort"), ("gnss", "altitude_m"),
)  # fmt: skip
"""Signals that are worth their place, the best first."""
_FINE = pa.array(["pass", "unknown"])


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of the sheet over its whole width: drawn at its upper edge, in pixels from the top."""

    height_px: int
    draw: Callable[["_Page", int], None]


class _Page:
    """A figure that is drawn on in pixels, from the upper left corner."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.width_px, self.height_px = width_px, height_px
        self.figure = Figure(figsize=(width_px / _DPI, height_px / _DPI), dpi=_DPI, facecolor="white")

    def text(self, x_px: float, y_px: float, text: str, size: float = 9, *, bold: bool = False) -> None:
        weight = "bold" if bold else "normal"
        place = (x_px / self.width_px, 1 - y_px / self.height_px)
        self.figure.text(*place, text, fontsize=size, va="top", ha="left", weight=weight)

    def picture(self, x_px: int, y_px: int, picture: np.ndarray) -> None:
        self.figure.figimage(picture, x_px, self.height_px - y_px - picture.shape[0], origin="upper")

    def axes(self, x_px: int, y_px: int, width_px: int, height_px: int) -> Axes:
        left, bottom = x_px / self.width_px, 1 - (y_px + height_px) / self.height_px
        return self.figure.add_axes((left, bottom, width_px / self.width_px, height_px / self.height_px))


class _Sheet:
    def __init__(self, opened: OpenedScene, config: SheetConfig, summary: Summary, progress: Progress) -> None:
        self._opened = opened
        self._config = config
        self._summary = summary
        self._progress = progress
        self.frames = chosen_frames(len(opened.stamps_ns), config.nbr_columns)
        inner_px = config.width_px - 2 * _MARGIN_PX - _LABEL_PX
        self._column_px = (inner_px + _GAP_PX) // config.nbr_columns
        self._seconds = (opened.scene.exclusive_end_ns - opened.scene.start_ns) / SECOND_NS

    def draw(self) -> Figure:
        blocks = [self._head(), *self._strips(), *self._places(), *self._timelines()]
        page = _Page(self._config.width_px, sum(b.height_px for b in blocks) + 2 * _MARGIN_PX)
        y_px = _MARGIN_PX
        for block in blocks:
            block.draw(page, y_px)
            y_px += block.height_px
        return page.figure

    def _offset_s(self, time_ns: int) -> float:
        return (time_ns - self._opened.scene.start_ns) / SECOND_NS

    def _head(self) -> _Block:
        scene, row = self._opened.scene, self._opened.drive_row
        start = datetime.fromtimestamp(scene.start_ns // SECOND_NS, UTC)
        fraction_ms = scene.start_ns % SECOND_NS // 1_000_000
        release = self._opened.source.reader.release.release_id
        lines = [
            f"{drive_words(row)[-1]} · {row['robot_type'] or row['embodiment'] or 'robot type unknown'} ·"
            f" {start:%Y-%m-%d %H:%M:%S}.{fraction_ms:03d} UTC · release {release}"
            f" · split {scene.split or 'none'} · software {row['software_version'] or 'unknown'}"
        ]
        lines += [f"{name}: {text}" for name, text in (("task", scene.task), ("about", scene.description)) if text]
        lines += self._findings()

        def draw(page: _Page, y_px: int) -> None:
            kind = scene.kind.replace("_", " ")
            count = len(self._opened.stamps_ns)
            title = f"scene {scene.scene_id} · {kind} · {self._seconds:.1f} s · {count} keyframes"
            page.text(_MARGIN_PX, y_px, words(title), 14, bold=True)
            for i, line in enumerate(lines):
                page.text(_MARGIN_PX, y_px + 28 + i * _LINE_PX, words(line, 220), 10)

        return _Block(28 + len(lines) * _LINE_PX + 12, draw)

    def _findings(self) -> list[str]:
        """What the quality checks had to say."""
        columns = ("channel", "check_name", "measured", "threshold", "verdict", "reason")

        def told(row: dict[str, Any]) -> str:
            reason = row["reason"] or ""
            what = reason if row["channel"] in reason else f"{row['channel']} {reason}"
            limits = f"measured {_number(row['measured'])}, limit {_number(row['threshold'])}"
            return f"quality: {row['verdict']}: {row['check_name']}: {what} ({limits})"

        rows = self._opened.source.rows(self._opened.scene.scene_id, "qc_result", columns)
        bad = rows.filter(pc.invert(pc.is_in(rows["verdict"], value_set=_FINE)))
        bad = bad.sort_by([("channel", "ascending")]).to_pylist()
        lines = [told(row) for row in bad[:_MAX_FINDINGS]]
        more = len(bad) - len(lines)
        return lines + ([f"quality: {more} more findings"] if more > 0 else [])

    def _strips(self) -> list[_Block]:
        channels = pictured(self._opened)
        shown, left = channels[: self._config.max_rows], channels[self._config.max_rows :]
        if not shown or not len(self.frames):
            return [_said("no camera" if len(self.frames) else "no keyframe")]
        blocks = [_Block(_LINE_PX + 6, self._draw_columns)]
        for number, sync in enumerate(shown):
            self._progress(number, len(shown), sync.channel)
            row = strip(self._opened, sync, self.frames, (self._column_px - _GAP_PX, _PICTURE_PX))
            self._summary.wrote("pictures", sum(t.picture is not None for t in row.tiles))
            blocks.append(self._strip(row))
        if left:
            self._summary.leave_out("rows of pictures", "sheet_is_full", left[0].channel, len(left))
            blocks.append(_said(f"not shown: {', '.join(s.channel for s in left)}"))
        return blocks

    def _column_x_px(self, number: int) -> int:
        return _MARGIN_PX + _LABEL_PX + number * self._column_px

    def _draw_columns(self, page: _Page, y_px: int) -> None:
        for number, frame in enumerate(self.frames.tolist()):
            offset_s = self._offset_s(int(self._opened.stamps_ns[frame]))
            page.text(self._column_x_px(number), y_px, f"keyframe {frame} · {offset_s:+.3f} s", 10, bold=True)

    def _strip(self, row: Strip) -> _Block:
        heights = [t.picture.shape[0] for t in row.tiles if t.picture is not None]
        height_px = max(heights, default=60)

        def draw(page: _Page, y_px: int) -> None:
            name = self._opened.names(row.modality, row.channel)
            size = f"{row.size_px[0]}×{row.size_px[1]}" if row.size_px else "nothing to show"
            page.text(_MARGIN_PX, y_px, words(name, 22), 11, bold=True)
            for i, line in enumerate((row.channel, f"{row.modality} · {size}")):
                page.text(_MARGIN_PX, y_px + 22 + i * 16, words(line, 30), 8)
            for number, tile in enumerate(row.tiles):
                x_px = self._column_x_px(number)
                blank = np.full((height_px, self._column_px - _GAP_PX, 3), 232, np.uint8)
                page.picture(x_px, y_px, blank if tile.picture is None else tile.picture)
                if tile.picture is None:
                    for i, line in enumerate(tile.caption.split(": ")):
                        page.text(x_px + 8, y_px + 8 + i * 15, words(line, 44), 8)
                else:
                    page.text(x_px, y_px + height_px + 1, words(tile.caption, 44), 8)

        return _Block(height_px + _CAPTION_PX + _GAP_PX, draw)

    def _places(self) -> list[_Block]:
        """From above, and the path, side by side."""
        frame = busiest_frame(self._opened)
        view = None if frame is None else seen_from_above(self._opened, frame, self._summary)
        if view is not None and not (len(view.points_m) or len(view.returns)):
            view = None
        path = self._path()
        if view is None and path is None:
            return []

        height_px = _PATH_PX if view is None else _ABOVE_PX

        def draw(page: _Page, y_px: int) -> None:
            half_px = (self._config.width_px - 2 * _MARGIN_PX) // 2
            side_px = height_px - _TITLE_PX - _AXIS_PX
            x_px = _MARGIN_PX + 40
            if view is not None:
                draw_above(page.axes(x_px, y_px + _TITLE_PX, half_px - 70, side_px), view)
                x_px += half_px
            if path is not None:
                draw_path(page.axes(x_px, y_px + _TITLE_PX, half_px - 70, side_px), *path)

        return [_Block(height_px, draw)]

    def _path(self) -> tuple[Int64Array, FloatArray, dict[int, FloatArray], str] | None:
        """Stamps, places, places of the keyframes and a title; by poses, else by fixes."""
        stamps_ns, poses = self._opened.path()
        title = f"ego path in {words(self._opened.drive.world_frame or 'its frame', 40)}, x right, y up, metres"
        if self._opened.is_earth_centred:
            title = "ego path, east right, north up, metres"
        xy = poses[:, :2]
        if len(stamps_ns) < 2:
            stamps_ns, xy = self._fixes()
            title = "path of the fixes, east right, north up, metres"
        if len(stamps_ns) < 2:
            return None
        xy = xy - xy[0]
        at_ns = self._opened.stamps_ns[self.frames]
        marks = {
            frame: np.array([np.interp(time_ns, stamps_ns, xy[:, i]) for i in range(2)])
            for frame, time_ns in zip(self.frames.tolist(), at_ns.tolist(), strict=True)
            if stamps_ns[0] <= time_ns <= stamps_ns[-1]
        }
        return stamps_ns, xy, marks, title

    def _fixes(self) -> tuple[Int64Array, FloatArray]:
        columns = ("timestamp_ns", "latitude_deg", "longitude_deg")
        rows = self._opened.source.rows(self._opened.scene.scene_id, "gnss", columns).sort_by("timestamp_ns")
        places = np.stack([rows[name].to_numpy() for name in columns[1:]], axis=1).astype(np.float64)
        is_known = np.isfinite(places).all(axis=1)
        geodetic = np.column_stack([places, np.zeros(len(places))])[is_known]
        if not len(geodetic):
            return np.empty(0, np.int64), np.empty((0, 2))
        return np.asarray(rows["timestamp_ns"], np.int64)[is_known], enu_from_geodetic(geodetic, geodetic[0])[:, :2]

    def _timelines(self) -> list[_Block]:
        blocks: list[_Block] = []
        start_ns = self._opened.scene.start_ns
        sync = self._opened.sync[:_MAX_SYNC_ROWS]
        if sync and len(self._opened.stamps_ns):
            seconds = (self._opened.stamps_ns - start_ns) / SECOND_NS
            blocks.append(self._timeline(_ROW_PX * len(sync), lambda axes: draw_sync(axes, sync, seconds)))
        every = read_texts(self._opened)
        texts = every[:_MAX_TEXTS]
        if texts:
            self._summary.leave_out("texts", "sheet_is_full", every[-1].channel, len(every) - len(texts))
            blocks.append(
                self._timeline(16 * len(texts), lambda axes: draw_texts(axes, texts, start_ns, self._seconds))
            )
        for signal in self._signals():
            self._summary.wrote("plots of signals")
            blocks.append(self._timeline(_SIGNAL_PX, partial(draw_signal, signal=signal, start_ns=start_ns)))
        return [*blocks, _said("seconds since the start of the scene")] if blocks else []

    def _signals(self) -> list[Signal]:
        rank = {key: place for place, key in enumerate(_PRIORITY)}
        found = [s for s in read_signals(self._opened) if (s.modality, s.quantity) in rank]
        matched = self._opened.matches
        found.sort(key=lambda s: (rank[s.modality, s.quantity], s.channel not in matched, s.channel))
        more = len(found) - self._config.max_signals
        if more > 0:
            left = found[self._config.max_signals]
            self._summary.leave_out("plots of signals", "sheet_is_full", f"{left.channel} {left.quantity}", more)
        return found[: self._config.max_signals]

    def _timeline(self, height_px: int, draw_on: Callable[[Axes], None]) -> _Block:
        """A plot over the scene's time, with the chosen keyframes marked."""

        def draw(page: _Page, y_px: int) -> None:
            width_px = self._config.width_px - 2 * _MARGIN_PX - _LABEL_PX - _SAID_PX
            axes = page.axes(_MARGIN_PX + _LABEL_PX, y_px + _TITLE_PX, width_px, height_px)
            draw_on(axes)
            axes.set_xlim(0, self._seconds)
            for frame in self.frames.tolist():
                axes.axvline(self._offset_s(int(self._opened.stamps_ns[frame])), color="0.4", lw=0.6, ls=":")

        return _Block(_TITLE_PX + height_px + 16, draw)


def chosen_frames(count: int, nbr_columns: int) -> Int64Array:
    """Keyframes (k,) out of ``count``, evenly, with the first and the last; all where there are no more."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(count, nbr_columns))).astype(np.int64))


def write_sheet(
    opened: OpenedScene, target: Path, config: SheetConfig | None = None, progress: Progress | None = None
) -> Summary:
    """Writes the contact sheet of a scene as PNG; the file appears when it is whole.

    Raises:
        BadInputError: reasons of ``ReleaseReader.payloads``.
    """
    config = config or SheetConfig()
    options = {"scene_id": opened.scene.scene_id} | config.model_dump(mode="json")
    summary = Summary("contact sheet", opened.source.reader.release, options)
    figure = _Sheet(opened, config, summary, progress or (lambda done, total, what: None)).draw()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        made = Path(folder) / "sheet.png"
        figure.savefig(made, dpi=_DPI)
        made.replace(target)
    return summary


def _said(text: str) -> _Block:
    return _Block(_LINE_PX + 6, lambda page, y_px: page.text(_MARGIN_PX + _LABEL_PX, y_px + 4, words(text, 200), 9))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
