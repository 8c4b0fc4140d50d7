"""An ONNX file as a detector: what it must be, where its boxes lie, and that only the named bytes are loaded."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts.errors import BadInputError, ConfigurationError, ExitCode
from scenelake.decode.privacy import loading
from scenelake.decode.privacy.config import Device, PrivacyPolicy
from scenelake.decode.privacy.detections import Detections
from scenelake.decode.privacy.loading import loaded_detector
from scenelake.decode.privacy.onnx_detector import OnnxDetector, onnx_detector

from .conftest import scene
from .models import red_detector, with_weights_beside


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_OF_THIS_PROCESS", {})


def cpu(model: Any) -> OnnxDetector:
    return onnx_detector(model.SerializeToString(), "/m/red.onnx", Device.CPU)


def bounds(found: Detections) -> list[float]:
    return [*found.boxes_px[:, :2].min(axis=0).tolist(), *found.boxes_px[:, 2:].max(axis=0).tolist()]


@pytest.mark.parametrize(
    ("size", "tolerance_px"), [(("h", "w"), 0), ((96, 128), 0), ((192, 256), 0), ((256, 256), 0), ((48, 200), 16)]
)
def test_boxes_are_in_the_frames_pixels_whatever_the_input_is(size: tuple[Any, Any], tolerance_px: int) -> None:
    found = cpu(red_detector(*size)).detect(scene())
    assert np.abs(np.array(bounds(found)) - [48, 32, 80, 64]).max() <= tolerance_px
    assert found.boxes_px.dtype == found.scores.dtype == np.float32
    assert set(found.labels.tolist()) == {7}


def test_frames_of_any_size_go_in_where_sizes_are_open() -> None:
    detector = cpu(red_detector())
    for height, width, nbr_cells in ((1, 1, 0), (31, 33, 4), (97, 500, 31 * 6), (16, 16, 1)):
        red = np.full((height, width, 3), (255, 0, 0), np.uint8)
        assert len(detector.detect(red).boxes_px) >= nbr_cells


def test_a_frame_without_anything_red_gives_nothing() -> None:
    found = cpu(red_detector()).detect(scene(is_red=False))
    assert found.boxes_px.shape == (0, 4)


@pytest.mark.parametrize("size", [("h", "w"), (192, 256)])
def test_what_came_before_a_frame_does_not_matter(size: tuple[Any, Any]) -> None:
    used = cpu(red_detector(*size, least=-2.0))
    red = np.full((96, 128, 3), (255, 0, 0), np.uint8)
    for before in (red, red[:, :100], red[:70], red.repeat(2, axis=1)):
        for frame in (scene(), scene()[:90, :120]):
            used.detect(before)
            first, second = cpu(red_detector(*size, least=-2.0)).detect(frame), used.detect(frame)
            assert len(first.scores) >= 48
            assert first.scores.tobytes() == second.scores.tobytes()


def test_the_same_frame_gives_the_same_values_in_every_session() -> None:
    first, second = (cpu(red_detector()).detect(scene(3)) for _ in range(2))
    assert first.boxes_px.tobytes() == second.boxes_px.tobytes()
    assert first.scores.tobytes() == second.scores.tobytes()


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (red_detector(outputs={"boxes": "dets"}), "expected outputs boxes tensor(float)"),
        (red_detector(96, "width"), "both fixed or both open"),
        (red_detector(channels=4), "expected an input (1, 3, height, width)"),
    ],
    ids=["outputs", "half fixed", "channels"],
)
def test_another_signature_is_refused_with_what_was_expected(model: Any, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        cpu(model)
    assert str(caught.value).startswith("privacy.detector: /m/red.onnx: inputs ")
    assert named in str(caught.value)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no ONNX model that loads"):
        onnx_detector(b"a text", "/m/red.onnx", Device.CPU)


def test_weights_in_another_file_are_refused_since_no_hash_covers_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = with_weights_beside(tmp_path / "red.onnx")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="no ONNX model that loads"):
        onnx_detector(data, "/m/red.onnx", Device.CPU)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"privacy\.device: cuda"):
        onnx_detector(red_detector().SerializeToString(), "/m/red.onnx", Device.CUDA)


def test_what_it_cannot_run_is_the_frames_fault() -> None:
    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        def run(self, *_: Any) -> Any:
            raise RuntimeError("no kernel")

    detector = cpu(red_detector())
    session = detector._session
    with pytest.raises(BadInputError, match="no kernel") as caught:
        OnnxDetector(Failing(), "/m/red.onnx").detect(scene())
    assert caught.value.reason == "detector_failed"


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("shape", [(), (2, 2, 1)])
def test_outputs_of_other_shapes_are_the_frames_fault(at: int, shape: tuple[int, ...]) -> None:
    outputs = [np.zeros(s, np.float32) for s in ((1, 4), (1,), (1,))]
    outputs[at] = np.zeros(shape, np.float32)

    class Odd:
        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        def run(self, *_: Any) -> Any:
            return outputs

    detector = cpu(red_detector())
    session = detector._session
    with pytest.raises(BadInputError, match="expected \\(n, 4\\)") as caught:
        OnnxDetector(Odd(), "/m/red.onnx").detect(scene())
    assert caught.value.reason == "detector_failed"


def test_other_bytes_than_the_named_ones_are_not_loaded(policy: Callable[..., PrivacyPolicy], tmp_path: Path) -> None:
    said = policy(sha256="12" * 32)
    with pytest.raises(ConfigurationError) as caught:
        loaded_detector(said, LocalObjects(tmp_path))
    assert caught.value.exit_code is ExitCode.CONFIGURATION == 78
    for part in (said.detector, "12" * 32, policy().sha256):
        assert part in str(caught.value)


def test_it_may_lie_in_storage_and_is_loaded_once(
    policy: Callable[..., PrivacyPolicy], detector_file: Path, tmp_path: Path
) -> None:
    objects = LocalObjects(tmp_path)
    uri = "s3://models/red.onnx"
    with pytest.raises(ConfigurationError, match=r"s3://models/red\.onnx cannot be read"):
        loaded_detector(policy(detector=uri), objects)
    objects.write(uri, detector_file.read_bytes())
    first = loaded_detector(policy(detector=uri), objects)
    objects.write(uri, b"gone")
    assert loaded_detector(policy(detector=uri), objects) is first
    assert hashlib.sha256(objects.read(uri)).hexdigest() != policy().sha256


@pytest.mark.parametrize("place", ["/nowhere/red.onnx", "/red.onnx"])
def test_a_file_that_is_not_there_is_named(policy: Callable[..., PrivacyPolicy], tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigurationError, match=f"privacy.detector: {place} cannot be read"):
        loaded_detector(policy(detector=place), LocalObjects(tmp_path))
