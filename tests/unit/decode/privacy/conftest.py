"""A detector of red things, a policy that names it, and frames with something red in them."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenelake.adapters.objects import LocalObjects
from scenelake.decode.privacy import loading
from scenelake.decode.privacy.config import PrivacyPolicy
from scenelake.decode.privacy.examine import Guard

from .models import red_detector

HEIGHT, WIDTH = 96, 128
BOX = (slice(32, 64), slice(48, 80))
"""Where the frame is red."""


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "red.onnx"
    path.write_bytes(red_detector().SerializeToString())
    return path


@pytest.fixture
def policy(detector_file: Path) -> Callable[..., PrivacyPolicy]:
    sha256 = hashlib.sha256(detector_file.read_bytes()).hexdigest()

    def make(**changed: Any) -> PrivacyPolicy:
        return PrivacyPolicy(**{"detector": str(detector_file), "sha256": sha256, "margin": 0.0} | changed)

    return make


@pytest.fixture
def guard(policy: Callable[..., PrivacyPolicy], tmp_path: Path) -> Callable[..., Guard]:
    def make(**changed: Any) -> Guard:
        said = policy(**changed)
        return Guard(said, loading.loaded_detector(said, LocalObjects(tmp_path / "none")))

    return make


def scene(seed: int = 0, *, is_red: bool = True) -> np.ndarray:
    """(96, 128, 3) uint8 RGB: a smooth picture, with something red and finely structured at ``BOX``."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = np.stack([60 + x // 4, 90 + y // 2, 120 - x // 4], axis=2).astype(np.uint8)
    if is_red:
        inside = np.random.default_rng(seed).integers(0, 60, (32, 32, 3), dtype=np.uint8)
        inside[..., 0] += 190
        picture[BOX] = inside
    return picture
