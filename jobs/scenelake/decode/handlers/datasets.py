"""Messages of robot datasets: packed numbers, pictures, texts and video frames without an envelope."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.modalities import Modality
from scenelake.decode.arrow_columns import number_lists, text_lists
from scenelake.decode.formats.blocks import Schema
from scenelake.decode.formats.cdr_columns import TextColumn
from scenelake.decode.handlers.camera import encoded_image
from scenelake.decode.handlers.high_rate import DecodedColumns, NotByColumnsError
from scenelake.decode.handlers.video import video_frame
from scenelake.decode.values import ChannelFacts, Decoded, KeepRawError, texts

DTYPES = frozenset(
    ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
)
MAX_ROW_NAME_BYTES = 4096
"""Names and units stand in every row: 256 of them with 16 characters each."""
_PORTION_BYTES = 16 * 1024 * 1024
_VIDEO_CODECS = ("h264", "h265", "av1")
_START_CODE = b"\x00\x00\x00\x01"
_MAX_TEXT_BYTES = 1024 * 1024


class ArrayReader:
    """Reads the messages of an ``array`` channel: vectors of its schema's dtype and names.

    Raises:
        BadInputError: reason ``schema_invalid``.
    """

    def __init__(self, schema: Schema) -> None:
        said = _schema_json(schema)
        dtype, names = said.get("dtype"), _texts(said.get("names"), "names")
        units = None if said.get("units") is None else _texts(said["units"], "units")
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise BadInputError(f"{schema.name}: dtype {dtype!r:.80}", reason="schema_invalid")
        if units is not None and len(units) != len(names):
            raise BadInputError(f"{len(names)} names and {len(units)} units", reason="schema_invalid")
        self._row_bytes = sum(len(t.encode(errors="replace")) for t in (*names, *(units or ())))
        if self._row_bytes > MAX_ROW_NAME_BYTES:
            raise BadInputError(f"names and units of {self._row_bytes} bytes", reason="schema_too_large")
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._names = names
        self._units = units

    @property
    def message_bytes(self) -> int:
        """Of a message with a number for each name."""
        return int(self._dtype.itemsize) * len(self._names)

    def portions(self, rows: np.ndarray) -> list[np.ndarray]:
        """So many at a time that the names of their rows stay small."""
        count = max(1, _PORTION_BYTES // max(self._row_bytes + self.message_bytes, 1))
        return [rows[first : first + count] for first in range(0, len(rows), count)]

    def __call__(self, data: memoryview) -> dict[str, Any]:
        """The row of one message."""
        if len(data) != self.message_bytes:
            raise BadInputError(
                f"expected {len(self._names)} numbers in {self.message_bytes} bytes, got {len(data)} bytes",
                reason="lengths_contradicted",
            )
        values = _float64(np.frombuffer(data, self._dtype)).tolist()
        return {"names": self._names, "units": self._units, "position": values}

    def columns(self, messages: tuple[memoryview, np.ndarray], channel: ChannelFacts) -> DecodedColumns:
        """Rows of many messages of ``message_bytes`` each, by the buffer that holds them and their starts in it.

        The same rows as one by one; tests hold them to each other.
        """
        body, start = messages
        if not self.message_bytes:
            raise NotByColumnsError("no names")
        count = len(start)
        rows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(body, np.uint8), self.message_bytes)[start]
        values = _float64(np.ascontiguousarray(rows).view(self._dtype))
        columns: dict[str, pa.Array] = {
            "names": _repeated(self._names, count),
            "position": number_lists(values),
        }
        if self._units is not None:
            columns["units"] = _repeated(self._units, count)
        frame = TextColumn([""], np.zeros(count, np.int32))
        return DecodedColumns(_state(channel), None, frame, columns, np.ones(count, bool))


@dataclass(frozen=True, slots=True)
class VideoImage:
    """One frame of a video as a decoder without a container takes it, and the size that the container gives."""

    codec: str
    width_px: int
    height_px: int
    data: memoryview


class VideoReader:
    """Reads the frames of a ``video`` channel as they lie in an MP4 file; in the table they are self-contained.

    H.264 and H.265 frames come out as Annex B byte streams, each random access point with its parameter sets, as
    ``foxglove.CompressedVideo`` has them; nothing is decoded.
    """

    def __init__(self, schema: Schema) -> None:
        said = _schema_json(schema)
        codec = said.get("codec")
        if not isinstance(codec, str) or codec not in _VIDEO_CODECS:
            raise BadInputError(f"codec {codec!r:.80}", reason="video_codec_unsupported")
        size = [v for v in (said.get("width_px"), said.get("height_px")) if isinstance(v, int) and 0 < v < 2**31]
        if len(size) != 2:
            raise BadInputError("expected width_px and height_px", reason="schema_invalid")
        self._codec, (self._width_px, self._height_px) = codec, size
        length = said.get("nal_length_bytes")
        if not (length is None or (isinstance(length, int) and length in (1, 2, 4))):
            raise BadInputError(f"nal_length_bytes {length!r:.80}", reason="schema_invalid")
        self._nal_length_bytes: int | None = length
        sets = _texts(said.get("parameter_sets", []), "parameter_sets")
        try:
            self._parameter_sets = b"".join(_START_CODE + base64.b64decode(s) for s in sets)
        except ValueError as error:
            raise BadInputError(f"parameter_sets: {error}", reason="schema_invalid") from error

    def __call__(self, data: memoryview) -> VideoImage:
        """One frame, self-contained."""
        image = data if self._nal_length_bytes is None else memoryview(self._annex_b(data, self._nal_length_bytes))
        return VideoImage(self._codec, self._width_px, self._height_px, image)

    def _annex_b(self, data: memoryview, prefix: int) -> bytes:
        """NAL units behind start codes instead of lengths (ISO/IEC 14496-15)."""
        parts: list[bytes | memoryview] = []
        is_h264 = self._codec == "h264"
        at, is_entry, has_sets = 0, False, False
        while at < len(data):
            start = at + prefix
            length = int.from_bytes(data[at:start], "big")
            at = start + length
            if at > len(data) or not length:
                raise BadInputError(f"a NAL unit claims {length} bytes at byte {start}", reason="video_nal_invalid")
            kind = data[start] & 0x1F if is_h264 else data[start] >> 1 & 0x3F
            is_entry |= kind == 5 if is_h264 else 16 <= kind <= 21
            has_sets |= kind == (7 if is_h264 else 33)
            parts += (_START_CODE, data[start:at])
        if is_entry and not has_sets:
            parts.insert(0, self._parameter_sets)
        return b"".join(parts)


def array_signals(row: dict[str, Any], channel: ChannelFacts) -> Decoded:
    """Numbers with names: what the robot reports, or is told to do."""
    return Decoded(_state(channel), [row], None)


def picture(data: memoryview, channel: ChannelFacts) -> Decoded:
    """A JPEG or PNG as it is."""
    return encoded_image(data, channel)


def words(data: memoryview, channel: ChannelFacts) -> Decoded:
    """UTF-8 text; on a channel of instructions a row of language."""
    modality = Modality.LANGUAGE if channel.modality is Modality.LANGUAGE else Modality.TEXT_LOG
    if len(data) > _MAX_TEXT_BYTES:
        raise KeepRawError("message_too_large")
    try:
        return Decoded(modality, [{"text": bytes(data).decode()}], None)
    except UnicodeDecodeError as error:
        raise BadInputError(f"not UTF-8: {error}", reason="text_invalid") from error


def video_image(image: VideoImage, channel: ChannelFacts) -> Decoded:
    """A frame of a video; its size is the container's where its own bytes do not say one."""
    decoded = video_frame(image.codec, image.data, None, None, channel)
    row = decoded.rows[0]
    row["width_px"] = decoded.width_px = decoded.width_px or image.width_px
    row["height_px"] = decoded.height_px = decoded.height_px or image.height_px
    return decoded


def dataset_parser(encoding: str, schema: Schema) -> Callable[[memoryview], Any]:
    """How to read the messages of a dataset's channel.

    Raises:
        BadInputError: reason ``schema_invalid`` or ``video_codec_unsupported``.
    """
    if encoding == "array":
        return ArrayReader(schema)
    return VideoReader(schema) if encoding == "video" else _as_it_is


def _as_it_is(data: memoryview) -> memoryview:
    return data


def _state(channel: ChannelFacts) -> Modality:
    return Modality.ACTION if channel.modality is Modality.ACTION else Modality.ROBOT_STATE


def _float64(values: np.ndarray) -> np.ndarray:
    # A signalling NaN becomes a quiet one, of which NumPy would warn.
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def _repeated(values: list[str], count: int) -> pa.ListArray:
    return text_lists([TextColumn([v], np.zeros(count, np.int32)) for v in values], count)


def _texts(values: object, name: str) -> list[str]:
    if not isinstance(values, list):
        raise BadInputError(f"{name}: expected a list of texts, got {values!r:.80}", reason="schema_invalid")
    return texts(values)


def _schema_json(schema: Schema) -> dict[str, Any]:
    try:
        said = json.loads(schema.data)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{schema.name}: not JSON: {str(error)[:200]}", reason="schema_invalid") from error
    if not isinstance(said, dict):
        raise BadInputError(f"{schema.name}: expected a JSON object", reason="schema_invalid")
    return said
