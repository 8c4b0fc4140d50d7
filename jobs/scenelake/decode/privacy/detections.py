"""The interface to a detector."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

DETECTOR_FAILED = "detector_failed"
"""Reason of a frame on which the detector raised, or answered with what cannot be boxes."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector found in one frame.

    Attributes:
        boxes_px: (n, 4) float32: left, top, right, bottom, in pixels of the frame.
        scores: (n,) float32.
        labels: (n,) int64, the classes as the detector numbers them.
    """

    boxes_px: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Detector(Protocol):
    """Finds what is to be hidden. The same frame must give the same detections, whatever came before it."""

    def detect(self, rgb: np.ndarray) -> Detections:
        """Looks at one frame.

        Args:
            rgb: (height, width, 3) uint8.

        Raises:
            BadInputError: reason ``detector_failed``.
        """
        ...
