"""Pictures of a camera's messages: as recorded where they are stills, decoded where they are not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.release_reader import ReleaseReader
from scenelake.decode.raw_images import RAW_ENCODINGS, rgb_of_raw
from scenelake.decode.video_access import Image, decode_frames

BATCH = 32
"""Payload rows that are held at a time."""
STILLS = {"jpeg": "jpg", "png": "png"}
"""Formats that are passed on as recorded, and how their files end."""
_VIDEO = ("h264", "h265", "av1")
_JPEG_QUALITY = 95
Row = dict[str, Any]
_COLUMNS = ("sample_data_id", "image", "image_format", "width_px", "height_px", "row_stride_bytes")


@dataclass(frozen=True, slots=True)
class Still:
    """An image file's bytes.

    Attributes:
        suffix: jpg or png.
        is_recorded: the bytes are those of the recording.
    """

    data: bytes
    suffix: str
    width_px: int
    height_px: int
    is_recorded: bool


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why there is no picture."""

    reason: str
    detail: str


class CameraReader:
    """Reads pictures of one release.

    Args:
        reader: of the release.
    """

    def __init__(self, reader: ReleaseReader) -> None:
        self._reader = reader

    def size_px(self, message: pa.Table) -> tuple[int, int] | None:
        """Width and height of the picture of one message; None where the recording does not say."""
        row = self._reader.payloads(message, ["sample_data_id", "width_px", "height_px"]).to_pylist()[0]
        return (row["width_px"], row["height_px"]) if row["width_px"] and row["height_px"] else None

    def stills(self, messages: pa.Table, of_channel: pa.Table) -> Iterator[Still | Unusable]:
        """An image file for each message, in their order: as recorded, or JPEG of what a video shows.

        Args:
            messages: rows of ``sample_data`` of one channel.
            of_channel: all that is known of the channel around them, which a video is decoded from.
        """
        for rows, pictures in self._batches(messages, of_channel, keep_stills=True):
            for row, picture in zip(rows, pictures, strict=True):
                if isinstance(picture, Unusable):
                    yield picture
                elif picture is None:
                    suffix = STILLS[row["image_format"]]
                    yield Still(row["image"], suffix, row["width_px"], row["height_px"], True)
                else:
                    yield _as_jpeg(picture)

    def pictures(self, messages: pa.Table, of_channel: pa.Table) -> Iterator[Image | Unusable]:
        """(height, width, 3) uint8 RGB for each message, in their order; arguments as for ``stills``."""
        for _, pictures in self._batches(messages, of_channel, keep_stills=False):
            for picture in pictures:
                yield Unusable("image_undecodable", "no picture") if picture is None else picture

    def _batches(
        self, messages: pa.Table, of_channel: pa.Table, *, keep_stills: bool
    ) -> Iterator[tuple[list[Row], list[Image | Unusable | None]]]:
        for start in range(0, len(messages), BATCH):
            part = messages.slice(start, BATCH)
            rows = self._reader.payloads(part, _COLUMNS).to_pylist()
            video = [i for i, row in enumerate(rows) if row["image_format"] in _VIDEO]
            shown = self._video(part.take(pa.array(video, pa.int64())), of_channel, rows, video) if video else {}
            pictures: list[Image | Unusable | None] = []
            for i, row in enumerate(rows):
                if i in shown:
                    pictures.append(shown[i])
                elif keep_stills and row["image_format"] in STILLS:
                    pictures.append(None)
                else:
                    pictures.append(_decoded(row))
            yield rows, pictures

    def _video(
        self, wanted: pa.Table, of_channel: pa.Table, rows: Sequence[Row], places: Sequence[int]
    ) -> dict[int, Image | Unusable]:
        """Decodes wanted messages of a video, file by file, each group of pictures from its start."""
        found: dict[int, Image | Unusable] = {}
        for file in pc.unique(wanted["payload_file"]).to_pylist():
            mine = pc.equal(wanted["payload_file"], file)
            of_file = [place for place, is_mine in zip(places, mine.to_pylist(), strict=True) if is_mine]
            asked = wanted.filter(mine)
            first, last = pc.min(asked["decode_from_row"]).as_py(), pc.max(asked["row_index"]).as_py()
            units = of_channel.filter(pc.equal(of_channel["payload_file"], file)).sort_by("row_index")
            units = units.filter(
                pc.and_(pc.greater_equal(units["row_index"], first), pc.less_equal(units["row_index"], last))
            )
            at = pc.index_in(asked["sample_data_id"], value_set=units["sample_data_id"].combine_chunks()).to_pylist()
            places_of: dict[int, list[int]] = {}
            for unit, place in zip(at, of_file, strict=True):
                places_of.setdefault(unit, []).append(place)
            try:
                for unit, image in self._decode(units, str(rows[of_file[0]]["image_format"]), list(places_of)):
                    found.update(dict.fromkeys(places_of[unit], image))
            except BadInputError as error:
                for place in of_file:
                    found.setdefault(place, Unusable(error.reason, str(error)))
        return found

    def _decode(self, units: pa.Table, codec: str, wanted: Sequence[int]) -> Iterator[tuple[int, Image]]:
        is_start = pc.equal(units["decode_from_row"], units["row_index"]).to_pylist()
        held: dict[int, bytes] = {}

        def unit_at(position: int) -> bytes:
            if position not in held:
                held.clear()
                part = units.slice(position, BATCH)
                images = self._reader.payloads(part, ["image"])["image"].to_pylist()
                held.update(enumerate(images, position))
            return held[position]

        yield from decode_frames(codec, is_start, unit_at, wanted)


def _as_jpeg(picture: Image) -> Still:
    is_made, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not is_made:
        raise BadInputError(f"a picture of {picture.shape} cannot be written as JPEG", reason="image_undecodable")
    return Still(data.tobytes(), "jpg", picture.shape[1], picture.shape[0], False)


def _decoded(row: Row) -> Image | Unusable:
    """RGB of a still or raw image."""
    name = row["image_format"]
    if name in STILLS:
        image = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            return Unusable("image_undecodable", f"message {row['sample_data_id']}: no {name} that can be decoded")
        return np.ascontiguousarray(image[:, :, ::-1])
    if name not in RAW_ENCODINGS:
        return Unusable("image_format_unsupported", f"message {row['sample_data_id']}: {name}")
    try:
        return rgb_of_raw(row)
    except ValueError as error:
        return Unusable("image_undecodable", f"message {row['sample_data_id']}: {error}")
