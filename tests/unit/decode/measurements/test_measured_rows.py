"""Which frames are measured, and what is kept of the others."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import simplejpeg

from scenelake.decode.measured_rows import MeasuredRows
from scenelake.decode.measurements.depth import invalid_fraction
from scenelake.decode.measurements.fingerprints import fingerprint

MS = 1_000_000


class Kept:
    """In place of small tables."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []

    def append(self, table: str, batch: pa.RecordBatch) -> int:
        self.batches.append(batch)
        return 0

    def rows(self) -> list[dict[str, Any]]:
        return [row for batch in self.batches for row in batch.to_pylist()]


def _measured(images: list[bytes], step_ms: int, interval_ns: int | None = 1000 * MS) -> list[dict[str, Any]]:
    kept = Kept()
    measured = MeasuredRows(kept, interval_ns)  # type: ignore[arg-type]
    for k, image in enumerate(images):
        row = {
            "sample_data_id": str(k), "channel": "/cam", "timestamp_ns": k * step_ms * MS, "image": memoryview(image),
            "image_format": "jpeg", "width_px": 160, "height_px": 120,
        }  # fmt: skip
        measured.take("camera_frame", row)
    measured.close()
    return kept.rows()


@pytest.fixture(scope="module")
def noise() -> list[bytes]:
    random = np.random.default_rng(0)
    return [simplejpeg.encode_jpeg(random.integers(0, 255, (120, 160, 3), np.uint8)) for _ in range(30)]


def test_one_frame_an_interval_is_measured_and_all_have_a_row(noise: list[bytes]) -> None:
    rows = _measured(noise, 100)
    assert [k for k, row in enumerate(rows) if row["luma_mean"] is not None] == [0, 10, 20]
    assert [row["payload_bytes"] for row in rows] == [len(image) for image in noise]
    assert len({row["fingerprint"] for row in rows}) == 30
    assert {row["image_problem"] for row in rows} == {None}
    assert all(len(rows[k]["tile_luma"]) == 48 for k in (0, 10, 20))


def test_a_frame_of_another_size_is_measured_at_once(noise: list[bytes]) -> None:
    black = simplejpeg.encode_jpeg(np.zeros((120, 160, 3), np.uint8))
    rows = _measured([*noise[:3], black, black, *noise[5:8]], 100)
    assert [k for k, row in enumerate(rows) if row["luma_mean"] is not None] == [0, 3, 5]
    assert rows[3]["dark_fraction"] == 1.0
    assert rows[3]["fingerprint"] == rows[4]["fingerprint"] != rows[5]["fingerprint"]


def test_every_torn_frame_is_found(noise: list[bytes]) -> None:
    torn = [image[: len(image) * 4 // 5] if k % 2 else image for k, image in enumerate(noise)]
    assert [row["image_problem"] for row in _measured(torn, 100)] == [None, "truncated"] * 15


def test_nothing_is_measured_when_it_is_switched_off(noise: list[bytes]) -> None:
    assert _measured(noise, 100, None) == []


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 100_000])
def test_a_fingerprint_differs_with_size_and_content(size: int) -> None:
    data = np.random.default_rng(0).integers(0, 255, size, np.uint8).tobytes()
    found = fingerprint(memoryview(data))
    assert -(2**63) <= found < 2**63
    assert fingerprint(memoryview(data + b"1")) != found
    if size:
        assert fingerprint(memoryview(bytes(size))) != found


def test_depth_without_depth() -> None:
    pixels = np.full((40, 64), 1500, "<u2")
    pixels[:, :16] = 0
    assert invalid_fraction(memoryview(pixels.tobytes()), "16UC1", 64, 40) == 0.25
    metres = np.where(pixels, 1.5, np.nan).astype("<f4")
    padded = np.zeros((40, 70), "<f4")
    padded[:, :64] = metres
    assert invalid_fraction(memoryview(padded.tobytes()), "32FC1", 64, 40, 280) == 0.25
    assert invalid_fraction(memoryview(b"short"), "16UC1", 64, 40) is None
    assert invalid_fraction(memoryview(b"none"), "rvl", 64, 40) is None
    assert invalid_fraction(memoryview(b"none"), "png", 64, 40) is None
