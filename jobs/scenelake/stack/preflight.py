"""What a machine must have before anything is started."""

import re
import shutil
import subprocess
import sys

PYTHON = (3, 11)
JAVA = 17


def missing_prerequisites() -> list[str]:
    """One sentence per thing that is missing, with its remedy; empty when all is there."""
    return [problem for problem in (_python_problem(sys.version_info[:2]), _java_problem()) if problem]


def _python_problem(version: tuple[int, ...]) -> str | None:
    if version == PYTHON:
        return None
    wanted, got = ".".join(map(str, PYTHON)), ".".join(map(str, version))
    return f"Python {wanted} is needed and this is {got}: install it and run with PYTHON=python{wanted}."


def _java_problem() -> str | None:
    remedy = f"install a Java {JAVA} runtime (Debian and Ubuntu: apt install openjdk-{JAVA}-jre-headless) or set PATH"
    java = shutil.which("java")
    if java is None:
        return f"Java {JAVA} is needed by Spark and there is no java command: {remedy}."
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"Java {JAVA} is needed by Spark and {java} does not run ({error}): {remedy}."
    version = java_version(done.stderr + done.stdout)
    if version is None or version < JAVA:
        return f"Java {JAVA} or newer is needed by Spark and {java} is {version or 'unknown'}: {remedy}."
    return None


def java_version(text: str) -> int | None:
    """Major version from what ``java -version`` prints; 8 for ``1.8.0``."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if match is None:
        return None
    major, minor = int(match.group(1)), match.group(2)
    return int(minor) if major == 1 and minor else major
