"""A detector in an ONNX file, run by ONNX Runtime.

The file takes one input (1, 3, height, width) float32, RGB from 0 to 1, and gives ``boxes`` (n, 4) float32 (left, top,
right, bottom in pixels of the input), ``scores`` (n,) float32 and ``labels`` (n,) int64, overlaps already suppressed.
Height and width may be fixed: frames are then scaled to fit, their shape kept. Where they are open, frames are given at
their own size. Both are padded with grey to the right and below, open sizes to a multiple of 32.
"""

from typing import Any

import cv2
import numpy as np
import onnxruntime

from scenelake.contracts.errors import BadInputError, ConfigurationError
from scenelake.decode.privacy.config import Device
from scenelake.decode.privacy.detections import DETECTOR_FAILED, Detections

_OUTPUTS = {"boxes": "tensor(float)", "scores": "tensor(float)", "labels": "tensor(int64)"}
_MULTIPLE = 32
"""The coarsest grid of the usual feature pyramids."""
_GREY = 0.5


class OnnxDetector:
    """Runs an ONNX Runtime session on one frame at a time.

    Args:
        session: an ``onnxruntime.InferenceSession``.
        name: of the file, for messages.

    Raises:
        ConfigurationError: the file's inputs and outputs are not those that are expected.
    """

    def __init__(self, session: Any, name: str) -> None:
        self._session = session
        self._name = name
        self._input, self._size = _checked(session, name)
        self._given = np.empty((1, 3, 0, 0), np.float32)

    def detect(self, rgb: np.ndarray) -> Detections:
        """See ``Detector.detect``."""
        given, scale = self._prepared(rgb)
        try:
            boxes, scores, labels = self._session.run(list(_OUTPUTS), {self._input: given})
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise BadInputError(f"{self._name}: {str(error)[:300]}", reason=DETECTOR_FAILED) from error
        count = np.size(scores)
        if boxes.shape != (count, 4) or scores.shape != (count,) or labels.shape != (count,):
            shapes = f"boxes {boxes.shape}, scores {scores.shape}, labels {labels.shape}"
            raise BadInputError(f"{self._name}: expected (n, 4), (n,), (n,), got {shapes}", reason=DETECTOR_FAILED)
        return Detections(boxes / np.array([*scale, *scale], np.float32), scores, labels)

    def _prepared(self, rgb: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
        """The input, and its pixels for each pixel of the frame in x and y."""
        height, width = rgb.shape[:2]
        if self._size is None:
            room, fitted = (-(-height // _MULTIPLE) * _MULTIPLE, -(-width // _MULTIPLE) * _MULTIPLE), (height, width)
        else:
            room, by = self._size, min(self._size[0] / height, self._size[1] / width)
            fitted = (max(int(height * by), 1), max(int(width * by), 1))
        if fitted != (height, width):
            how = cv2.INTER_AREA if fitted[0] < height else cv2.INTER_LINEAR
            rgb = cv2.resize(rgb, (fitted[1], fitted[0]), interpolation=how)
        # Fresh memory for every frame would cost as much as a small detector.
        if self._given.shape[2:] != room:
            self._given = np.empty((1, 3, *room), np.float32)
        given = self._given
        given[..., fitted[0] :, :] = given[..., fitted[1] :] = _GREY
        np.multiply(rgb.transpose(2, 0, 1), np.float32(1 / 255), out=given[0, :, : fitted[0], : fitted[1]])
        return given, (fitted[1] / width, fitted[0] / height)


def onnx_detector(data: bytes, name: str, device: Device) -> OnnxDetector:
    """Loads an ONNX file's bytes.

    Sessions use one thread: a task has one core, and sums that threads share out may differ in their last digits.
    Optimisations that depend on the processor's layout are off for the same reason.

    Raises:
        ConfigurationError: no model that ONNX Runtime reads, one with weights in other files (their bytes would have
            no hash), another signature, or a device that is not there.
    """
    provider = {Device.CPU: "CPUExecutionProvider", Device.CUDA: "CUDAExecutionProvider"}[device]
    if provider not in onnxruntime.get_available_providers():
        raise ConfigurationError(f"privacy.device: {device}: this installation of onnxruntime has no {provider}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.use_deterministic_compute = True
    # It keeps the most that any frame took.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    # Weights in other files are looked for in a folder that cannot be there.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/dev/null/none")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[provider])
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ConfigurationError(f"privacy.detector: {name}: no ONNX model that loads: {str(error)[:300]}") from error
    return OnnxDetector(session, name)


def _checked(session: Any, name: str) -> tuple[str, tuple[int, int] | None]:
    """Name of the input, and its (height, width) where they are fixed."""
    inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    outputs = {o.name: o.type for o in session.get_outputs()}
    found = f"privacy.detector: {name}: inputs {inputs}, outputs {outputs}"
    if len(inputs) != 1:
        raise ConfigurationError(f"{found}: expected one input")
    ((given, (kind, shape)),) = inputs.items()
    # An open side is a name or None.
    fixed = [side if isinstance(side, int) else None for side in shape]
    is_image = kind == "tensor(float)" and len(shape) == 4 and fixed[0] in (1, None) and fixed[1] in (3, None)
    if not is_image or (fixed[2] is None) != (fixed[3] is None):
        raise ConfigurationError(
            f"{found}: expected an input (1, 3, height, width) of tensor(float), height and width both fixed or both "
            "open"
        )
    if {n: outputs.get(n) for n in _OUTPUTS} != _OUTPUTS:
        said = ", ".join(f"{n} {kind}" for n, kind in _OUTPUTS.items())
        raise ConfigurationError(f"{found}: expected outputs {said}")
    return given, None if fixed[2] is None or fixed[3] is None else (fixed[2], fixed[3])
