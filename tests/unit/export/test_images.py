"""Pictures of messages: stills as they are, raw encodings and video decoded."""

from collections.abc import Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from scenelake.export.images import CameraReader, Still, Unusable

WIDTH, HEIGHT, NBR_FRAMES, GROUP = 64, 48, 20, 5


def picture(number: int) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    image[10:30, 2 * number : 2 * number + 12] = (220, 10 * number, 90)
    return image


class Payloads:
    """The ``payloads`` of a release reader over rows in memory."""

    def __init__(self, rows: Sequence[dict]) -> None:
        self.rows = {row["sample_data_id"]: row for row in rows}
        self.nbr_read = 0

    def payloads(self, sample_data: pa.Table, columns: Sequence[str]) -> pa.Table:
        ids = sample_data["sample_data_id"].to_pylist()
        self.nbr_read += len(ids)
        return pa.Table.from_pylist([{c: self.rows[i].get(c) for c in columns} for i in ids])


def payload(number: int, data: bytes, image_format: str, **more: int) -> dict:
    size = {"width_px": WIDTH, "height_px": HEIGHT, "row_stride_bytes": None}
    return {"sample_data_id": f"m{number}", "image": data, "image_format": image_format} | size | more


def messages(count: int, starts: Sequence[int] | None = None) -> pa.Table:
    rows = range(count)
    return pa.table(
        {
            "sample_data_id": [f"m{i}" for i in rows],
            "payload_file": ["file"] * count,
            "row_index": list(rows),
            "decode_from_row": list(rows if starts is None else starts),
        }
    )


def video() -> list[bytes]:
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = WIDTH, HEIGHT, "yuv420p", Fraction(1, 10)
    codec.options = {"g": str(GROUP), "bf": "0", "qp": "8", "threads": "1", "x264-params": "scenecut=0"}
    units = []
    for i in range(NBR_FRAMES):
        frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
        frame.pts = i
        units += [bytes(p) for p in codec.encode(frame)]
    return units + [bytes(p) for p in codec.encode(None)]


def test_stills_are_passed_on_byte_for_byte() -> None:
    files = [cv2.imencode(suffix, picture(i))[1].tobytes() for i, suffix in enumerate((".jpg", ".png"))]
    reader = Payloads([payload(0, files[0], "jpeg"), payload(1, files[1], "png")])
    rows = messages(2)
    found = list(CameraReader(reader).stills(rows, rows))
    assert [(s.data, s.suffix, s.is_recorded) for s in found] == [(files[0], "jpg", True), (files[1], "png", True)]


def test_raw_encodings_become_rgb() -> None:
    rgb = picture(3)
    padded = np.zeros((HEIGHT, WIDTH * 3 + 8), np.uint8)
    padded[:, : WIDTH * 3] = rgb.reshape(HEIGHT, -1)
    grey = rgb[:, :, 0]
    reader = Payloads(
        [
            payload(0, rgb[:, :, ::-1].tobytes(), "bgr8"),
            payload(1, padded.tobytes(), "rgb8", row_stride_bytes=WIDTH * 3 + 8),
            payload(2, grey.tobytes(), "mono8"),
            payload(3, b"too short", "rgb8"),
            payload(4, b"", "yuv422"),
            payload(5, b"no jpeg", "jpeg"),
        ]
    )
    rows = messages(6)
    found = list(CameraReader(reader).pictures(rows, rows))
    assert np.array_equal(found[0], rgb)
    assert np.array_equal(found[1], rgb)
    assert np.array_equal(found[2], np.repeat(grey[:, :, None], 3, axis=2))
    reasons = ["image_undecodable", "image_format_unsupported", "image_undecodable"]
    assert [f.reason for f in found[3:] if isinstance(f, Unusable)] == reasons


@pytest.mark.parametrize("wanted", [[7], [3, 4, 5, 11], [4, 4, 9], list(range(NBR_FRAMES))])
def test_video_is_decoded_from_the_frame_that_starts_it(wanted: list[int]) -> None:
    units = video()
    assert len(units) == NBR_FRAMES
    reader = Payloads([payload(i, unit, "h264") for i, unit in enumerate(units)])
    known = messages(NBR_FRAMES, [GROUP * (i // GROUP) for i in range(NBR_FRAMES)])
    cameras = CameraReader(reader)
    for number, found in zip(wanted, cameras.pictures(known.take(wanted), known), strict=True):
        assert isinstance(found, np.ndarray), found
        assert np.abs(found.astype(int) - picture(number)).mean() < 4, number
    (still,) = cameras.stills(known.take(wanted[:1]), known)
    assert isinstance(still, Still)
    assert (still.suffix, still.is_recorded, still.data[:2]) == ("jpg", False, b"\xff\xd8")


def test_video_without_its_start_says_so() -> None:
    reader = Payloads([payload(i, unit, "h264") for i, unit in enumerate(video())])
    known = messages(NBR_FRAMES, [GROUP * (i // GROUP) for i in range(NBR_FRAMES)])
    (found,) = CameraReader(reader).pictures(known.take([7]), known.slice(6))
    assert isinstance(found, Unusable)
    assert found.reason == "video_no_random_access"
