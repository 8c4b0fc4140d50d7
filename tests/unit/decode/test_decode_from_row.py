"""A video frame's index row leads to the row to start decoding at, in the same payload file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from tests.unit.decode.videos import WIDTH, encode, shows

from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.decode.video_access import decode_frames

T0_NS = 1_700_000_000_000_000_000


def test_frames_lead_to_the_last_start_in_their_file(tmp_path: Path, decode: Callable[..., Any]) -> None:
    units = encode("libx264", 30, group=7)
    path = tmp_path / "video.mcap"
    with RecordingWriter(path, profile="", chunk_size=4096) as writer:
        writer.add_protobuf_channel("/cam", CompressedVideo)
        for number, unit in enumerate(units):
            writer.write("/cam", CompressedVideo(data=unit.data, format="h264"), T0_NS + number * 2 * 10**9)
    result = decode(path)
    nbr_without = 0
    for unit, row in zip(units, result.index, strict=True):
        file = pq.read_table(pa.BufferReader(result.objects.read(row["payload_file"])))
        images, starts = file["image"].to_pylist(), file["is_random_access"].to_pylist()
        at, expected = row["row_index"], None
        for position in range(at + 1):
            expected = position if starts[position] else expected
        assert row["decode_from_row"] == expected
        assert row["width_px"] == (WIDTH if unit.is_key else None)
        if expected is None:
            nbr_without += 1
            continue
        frames = dict(decode_frames("h264", starts, images.__getitem__, [at]))
        assert shows(frames[at], unit.number)
    assert nbr_without == 5, "the second and the third file start within a group of pictures"
