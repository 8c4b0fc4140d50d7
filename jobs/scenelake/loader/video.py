"""Frames of compressed video: each wanted group of pictures is read and decoded once."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import BadInputError
from scenelake.decode.video_access import decode_frames
from scenelake.loader.config import StreamConfig
from scenelake.loader.images import UInt8Array
from scenelake.loader.reading import POINTERS, LoaderReader


def decode_video(
    reader: LoaderReader, stream: StreamConfig, wanted: pa.Table, scene_ids: Sequence[str]
) -> list[UInt8Array | None]:
    """The wanted frames at their own size, in the order of ``wanted``; None without a random access point before one.

    Args:
        wanted: pointers of frames of one channel.
        scene_ids: scenes with the wanted frames, and the ones before them: a scene may start between two random
            access points.

    Raises:
        BadInputError: reasons of ``decode.video_access.decode_frames``.
    """
    rows = _in_recorded_order(reader.rows("sample_data", scene_ids, list(POINTERS), [stream.channel]))
    positions = np.asarray(pc.index_in(wanted["sample_data_id"], value_set=rows["sample_data_id"]), np.int64)
    # Of every frame up to the last one that is wanted, these two columns alone are read.
    described = reader.payloads(rows.slice(0, int(positions.max()) + 1), ["is_random_access", "image_format"])
    flags = np.asarray(described["is_random_access"].fill_null(False), np.bool_)
    starts = np.flatnonzero(flags)
    decodable = positions[positions >= starts[0]] if len(starts) else positions[:0]
    codec = described["image_format"][int(positions[0])].as_py()
    try:
        found = dict(decode_frames(codec, flags, _units(reader, rows, starts, len(flags)), decodable.tolist()))
    except BadInputError as error:
        where = f"{stream.channel}, from {rows['payload_file'][0]} on"
        raise BadInputError(f"{where}: {error}", reason=error.reason) from error
    return [found.get(position) for position in positions.tolist()]


def _units(reader: LoaderReader, rows: pa.Table, starts: np.ndarray, count: int) -> Callable[[int], memoryview]:
    """Gives access units by position, and holds those of one group of pictures."""
    first = end = 0
    images = pa.chunked_array([], pa.binary())

    def unit_at(position: int) -> memoryview:
        nonlocal first, end, images
        if not first <= position < end:
            group = int(np.searchsorted(starts, position, side="right"))
            first = int(starts[group - 1])
            end = int(starts[group]) if group < len(starts) else count
            images = reader.payloads(rows.slice(first, end - first), ["image"])["image"]
        return memoryview(images[position - first].as_buffer())

    return unit_at


def _in_recorded_order(rows: pa.Table) -> pa.Table:
    """By file, in the order of their first frames, and row: time alone would mix frames that are shown out of order."""
    files = rows["payload_file"].combine_chunks().dictionary_encode()
    codes = np.asarray(files.indices)
    first = np.full(len(files.dictionary), np.iinfo(np.int64).max)
    np.minimum.at(first, codes, np.asarray(rows["timestamp_ns"], np.int64))
    return rows.take(pa.array(np.lexsort((np.asarray(rows["row_index"], np.int64), first[codes]))))
