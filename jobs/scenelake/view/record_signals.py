"""What is no picture and no point: signals, texts, fixes, and how well each sensor is synchronised."""

import numpy as np
import rerun as rr

from scenelake.timebase.arrays import FloatArray, Int64Array
from scenelake.view.opened import NO_FRAME
from scenelake.view.signals import Signal, read_signals, read_texts
from scenelake.view.stream import Columns, Stream

SIGNALS, AT_KEYFRAMES, SYNC, TEXTS, FIXES = "/signals", "/at_keyframes", "/sync_delta_ms", "/texts", "/fixes"
_MS = 1e6


def log_signals(stream: Stream) -> None:
    """Signals as recorded, and what synchronise made of them at the keyframes."""
    found = list(read_signals(stream.opened))
    for signal in found:
        name = stream.opened.names(signal.modality, signal.channel)
        entity = f"{SIGNALS}/{signal.modality}/{name}/{signal.quantity}"
        _send_values(stream, entity, signal.stamps_ns, _no_frames(signal.stamps_ns), signal.values, signal.names)
        stream.summary.wrote("signal values", signal.values.size)
    _log_fixes(stream, found)
    for match in stream.opened.matches.values():
        width = match.values.shape[1]
        if width:
            name = stream.opened.names(match.modality, match.channel)
            names = next((s.names for s in found if s.channel == match.channel and len(s.names) == width), ())
            stamps_ns = stream.opened.stamps_ns[match.frames]
            entity = f"{AT_KEYFRAMES}/{match.modality}/{name}"
            _send_values(stream, entity, stamps_ns, match.frames, match.values, names)


def _log_fixes(stream: Stream, found: list[Signal]) -> None:
    """Fixes on the map."""
    of_channel = {(s.channel, s.quantity): s for s in found if s.modality == "gnss"}
    for (channel, quantity), latitude in of_channel.items():
        longitude = of_channel.get((channel, "longitude_deg"))
        if quantity == "latitude_deg" and longitude is not None:
            places = np.hstack([latitude.values, longitude.values])
            is_known = np.isfinite(places).all(axis=1)
            entity = f"{FIXES}/{stream.opened.names('gnss', channel)}"
            stamps_ns, known = latitude.stamps_ns[is_known], places[is_known]
            _send_places(stream, entity, stamps_ns, known)


def _send_places(stream: Stream, entity: str, stamps_ns: Int64Array, lat_lon_deg: FloatArray) -> None:
    stream.send(entity, stamps_ns, _no_frames(stamps_ns), lambda at: rr.GeoPoints.columns(positions=lat_lon_deg[at]))


def log_sync(stream: Stream) -> None:
    """How far each channel's match is from its keyframe; nothing where it has none."""
    for sync in stream.opened.sync:
        at = np.flatnonzero(sync.is_match)
        name = stream.opened.names(sync.modality, sync.channel)
        values = (sync.delta_ns[at] / _MS)[:, None]
        entity = f"{SYNC}/{sync.modality}/{name}"
        _send_values(stream, entity, stream.opened.stamps_ns[at], at.astype(np.int64), values, (name,))
        stream.summary.wrote("matches", len(at))
        nbr_misses = len(sync.is_match) - len(at)
        stream.summary.leave_out("matches", f"no_match_of {sync.channel}", "", nbr_misses)


def log_texts(stream: Stream) -> None:
    """Instructions, log lines and the marks of episodes."""
    for text in read_texts(stream.opened):
        stamps_ns = np.array([text.stamp_ns], np.int64)
        entity = f"{TEXTS}/{text.modality}/{stream.opened.names(text.modality, text.channel)}"
        _send_text(stream, entity, stamps_ns, text.text)
        stream.summary.wrote("texts")


def _send_text(stream: Stream, entity: str, stamps_ns: Int64Array, text: str) -> None:
    stream.send(entity, stamps_ns, _no_frames(stamps_ns), lambda at: rr.TextLog.columns(text=[text]))


def _send_values(
    stream: Stream, entity: str, stamps_ns: Int64Array, frames: Int64Array, values: FloatArray, names: tuple[str, ...]
) -> None:
    """Values (n, w): one line each."""
    width = values.shape[1]

    def columns_of(at: Int64Array) -> Columns:
        columns: Columns = rr.Scalars.columns(scalars=values[at].ravel()).partition([width] * len(at))
        return columns

    stream.send(entity, stamps_ns, frames, columns_of)
    if names:
        stream.log_static(entity, rr.SeriesLines(names=list(names)))


def _no_frames(stamps_ns: Int64Array) -> Int64Array:
    return np.full(len(stamps_ns), NO_FRAME, np.int64)
