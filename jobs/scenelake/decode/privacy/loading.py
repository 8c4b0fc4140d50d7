"""How a detector is fetched: only bytes with the hash that the policy names are loaded, once in each process."""

import hashlib
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from scenelake.contracts.errors import ConfigurationError
from scenelake.decode.privacy.config import Device, PrivacyPolicy
from scenelake.decode.privacy.detections import Detector

log = logging.getLogger(__name__)

_OF_THIS_PROCESS: dict[tuple[str, Device], Detector] = {}
"""By SHA-256 and device: a process decodes many drops, and a detector takes seconds to load."""


_LIBRARIES = ("onnxruntime", "opencv-python-headless", "simplejpeg")


class Files(Protocol):
    """Storage behind ``s3://``; ``adapters.objects`` fits."""

    def read(self, uri: str) -> bytes: ...


def loaded_detector(policy: PrivacyPolicy, files: Files) -> Detector:
    """The policy's detector.

    Raises:
        ConfigurationError: naming the file: it cannot be read, has another hash, or is no detector.
    """
    key = (policy.sha256, policy.device)
    if key not in _OF_THIS_PROCESS:
        data = _read(policy.detector, files)
        found = hashlib.sha256(data).hexdigest()
        if found != policy.sha256:
            raise ConfigurationError(
                f"privacy.sha256: {policy.detector}: expected SHA-256 {policy.sha256}, found {found}: name the file "
                "that was meant, or the hash of the one that is there"
            )
        # Only lakes with a detector pay for loading OpenCV and ONNX Runtime.
        from scenelake.decode.privacy.onnx_detector import onnx_detector

        _OF_THIS_PROCESS[key] = onnx_detector(data, policy.detector, policy.device)
        log.info("detector loaded", extra={"detector": policy.detector, "sha256": found})
    return _OF_THIS_PROCESS[key]


def library_versions() -> dict[str, str]:
    """Of the libraries that decide what a detector finds and what a redacted frame's bytes are."""
    return {name: version(name) for name in _LIBRARIES}


def _read(place: str, files: Files) -> bytes:
    try:
        return files.read(place) if place.startswith("s3://") else Path(place).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"privacy.detector: {place} cannot be read: {error}") from error
