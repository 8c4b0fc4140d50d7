"""Estimates of windows that are done, kept in a file, so that a run that was broken off goes on where it was."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import scenelake
from benchmarks.calibration.windows import Job

_PACKAGE = Path(scenelake.__file__).parent
_SOURCES = (
    *(_PACKAGE / "quality" / "calibration" / f"{name}.py" for name in (
        "alignment", "depth_edges", "image_edges", "keyframes")),
    *(path for folder in ("geometry", "simulate", "timebase") for path in sorted((_PACKAGE / folder).rglob("*.py"))),
    *(Path(__file__).parent / f"{name}.py" for name in ("scenes", "windows")),
)  # fmt: skip
"""What estimates follow from. How they are judged is not among it: they are judged anew by every run."""


def code_digest() -> str:
    """Of the code that makes frames and estimates, and of what it computes with."""
    digest = hashlib.sha256(f"{np.__version__} {cv2.__version__}".encode())
    for path in _SOURCES:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


class KeptWindows:
    """A file of JSON lines ``{code, job, rows}``; lines of other code stay in it and are not looked at."""

    def __init__(self, path: Path, code: str) -> None:
        self._path, self._code = path, code

    def rows(self) -> dict[Job, list[dict[str, Any]]]:
        """The estimates of each window that is done. A line that was broken off in writing is a window to do again."""
        found: dict[Job, list[dict[str, Any]]] = {}
        for text in self._path.read_text().splitlines() if self._path.exists() else ():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                continue
            if line["code"] == self._code:
                seed, kind = line["job"]
                found[(seed, kind)] = line["rows"]
        return found

    def add(self, job: Job, rows: list[dict[str, Any]]) -> None:
        """Appends one window, on a line of its own even after one that was broken off."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(f"\n{json.dumps({'code': self._code, 'job': job, 'rows': rows})}\n")
