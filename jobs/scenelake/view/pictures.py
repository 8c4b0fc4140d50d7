"""Rows of small pictures: what each camera shows at a few keyframes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from scenelake.decode.video_access import Image
from scenelake.export.images import BATCH, CameraReader, Unusable
from scenelake.export.scenes import Match
from scenelake.timebase.arrays import Int64Array
from scenelake.view.depth import DEPTH_COLUMNS, as_picture, depth_m
from scenelake.view.opened import ChannelSync, OpenedScene

PICTURED = ("camera", "depth", "radar")
_MS = 1e6


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a row, or why there is none.

    Attributes:
        picture: (height, width, 3) uint8 RGB, scaled down.
        caption: how far it is from the keyframe, or what is wrong.
    """

    picture: Image | None
    caption: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of the sheet.

    Attributes:
        size_px: width and height as recorded; None where no picture could be shown.
    """

    channel: str
    modality: str
    size_px: tuple[int, int] | None
    tiles: tuple[Tile, ...]


def pictured(opened: OpenedScene) -> list[ChannelSync]:
    """Channels with pictures: cameras, depth cameras, and radars that record images."""
    return [sync for sync in opened.sync if sync.modality in PICTURED and _has_pictures(opened, sync)]


def _has_pictures(opened: OpenedScene, sync: ChannelSync) -> bool:
    if sync.modality != "radar":
        return True
    match = opened.matches.get(sync.channel)
    if match is None:
        return False
    row = opened.source.reader.payloads(match.messages.slice(0, 1), ["sample_data_id", "image"])
    return bool(row["image"].null_count == 0)


def strip(opened: OpenedScene, sync: ChannelSync, frames: Int64Array, box_px: tuple[int, int]) -> Strip:
    """A channel's pictures at some keyframes.

    Args:
        frames: (k,) positions of keyframes, ascending.
        box_px: width and height that each picture is scaled down to fit.
    """
    match = opened.matches.get(sync.channel)
    shown: dict[int, Image | Unusable] = {}
    size_px = None
    if match is not None:
        chosen = match.take(np.flatnonzero(np.isin(match.frames, frames)))
        for frame, picture in zip(chosen.frames.tolist(), _pictures(opened, chosen), strict=True):
            if isinstance(picture, Unusable):
                shown[frame] = picture
            else:
                size_px = (picture.shape[1], picture.shape[0])
                shown[frame] = _scaled(picture, box_px)
    tiles = tuple(_tile(sync, frame, shown.get(frame)) for frame in frames.tolist())
    return Strip(sync.channel, sync.modality, size_px, tiles)


def _tile(sync: ChannelSync, frame: int, shown: Image | Unusable | None) -> Tile:
    delta = f"{sync.delta_ns[frame] / _MS:+.1f} ms"
    if isinstance(shown, Unusable):
        return Tile(None, shown.reason)
    if shown is not None:
        return Tile(shown, delta)
    if sync.has_delta[frame]:
        return Tile(None, f"no match: nearest {delta}, tolerance {sync.tolerance_ns[frame] / _MS:.1f} ms")
    return Tile(None, "no match: no message")


def _pictures(opened: OpenedScene, match: Match) -> Iterator[Image | Unusable]:
    if not len(match):
        return iter(())
    if match.modality == "camera":
        return CameraReader(opened.source.reader).pictures(match.messages, opened.around(match.channel))
    return _depth(opened, match.messages) if match.modality == "depth" else _scans(opened, match.messages)


def _rows(opened: OpenedScene, messages: pa.Table, columns: Sequence[str]) -> Iterator[dict[str, object]]:
    for start in range(0, len(messages), BATCH):
        yield from opened.source.reader.payloads(messages.slice(start, BATCH), columns).to_pylist()


def _depth(opened: OpenedScene, messages: pa.Table) -> Iterator[Image | Unusable]:
    for row in _rows(opened, messages, DEPTH_COLUMNS):
        metres = depth_m(row)
        yield metres if isinstance(metres, Unusable) else as_picture(metres)


def _scans(opened: OpenedScene, messages: pa.Table) -> Iterator[Image | Unusable]:
    for row in _rows(opened, messages, ("sample_data_id", "image")):
        data = row["image"]
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if isinstance(data, bytes) else None
        if image is None:
            yield Unusable("image_undecodable", f"message {row['sample_data_id']}")
        else:
            yield np.ascontiguousarray(image[:, :, ::-1])


def _scaled(picture: Image, box_px: tuple[int, int]) -> Image:
    height, width = picture.shape[:2]
    scale = min(box_px[0] / width, box_px[1] / height)
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
