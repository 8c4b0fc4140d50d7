"""Python environments of their own, for packages that do not go with ours: made once, kept in a cache folder."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path.home() / ".cache" / "scenelake"
INSTALL_SECONDS = 900


class EnvironmentUnavailableError(Exception):
    """The environment cannot be made here; the message says why."""


@dataclass(frozen=True)
class PythonEnvironment:
    """What is in an environment; its folder is named after the content of the files.

    Attributes:
        requirements: a file with pinned versions.
        constraints: a file that pins what the requirements leave open.
        torch: a file with the one line ``torch==…+cpu``, which PyPI does not have: it is taken from where this
            machine's pip is told to look, else from PyTorch's own index. No other build of it is ever taken.
        is_complete: the requirements name everything, so that nothing else is installed.
    """

    name: str
    requirements: Path
    constraints: Path | None = None
    torch: Path | None = None
    is_complete: bool = False

    def python(self, cache: Path, progress: Callable[[str], None]) -> Path:
        """The environment's own Python; made on first use.

        Raises:
            EnvironmentUnavailableError: it cannot be installed.
        """
        files = [path for path in (self.requirements, self.constraints, self.torch) if path is not None]
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
        folder = cache / f"{self.name}-{digest}"
        python = folder / "bin" / "python"
        complete = folder / ".complete"
        if complete.exists():
            return python
        progress(f"making an environment for {self.name}")
        uv = _uv()
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        if self.torch is not None:
            _install_torch(python, self.torch)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(self.requirements)]
        constraints = ["--constraint", str(self.constraints)] if self.constraints else []
        _run([*install, *constraints, *(["--no-deps"] if self.is_complete else [])])
        complete.touch()
        return python


def _install_torch(python: Path, requirements: Path) -> None:
    """By pip: it knows where this machine keeps wheels, which uv does not ask."""
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    wanted = ["--requirement", str(requirements)]
    try:
        _run([*pip, *wanted])
    except EnvironmentUnavailableError:
        _run([*pip, "--index-url", "https://download.pytorch.org/whl/cpu", *wanted])


def _uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise EnvironmentUnavailableError("uv is not installed")
    return found


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentUnavailableError(f"not installed within {INSTALL_SECONDS} s") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise EnvironmentUnavailableError(f"cannot be installed: {' '.join(lines)[:300]}")
