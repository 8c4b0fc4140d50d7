"""A class archive for the JVM of a laptop's Spark, which then starts in about two thirds of the time.

``python -m scenelake.adapters.spark_archive`` makes it, once per environment. The JVM checks an archive against its
own version and the jars, and starts without one that does not fit.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark

_PROGRAM = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.driver.extraJavaOptions", sys.argv[1])
session = builder.config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
session.sparkContext.parallelize([1, 2], 2).map(str).collect()
session.stop()
"""
_PATIENCE_SECONDS = 300


def archive_path() -> Path:
    """Where this environment's archive is, or would be."""
    return Path(sys.prefix) / "share" / "scenelake" / f"spark-{pyspark.__version__}.jsa"


def archive_options() -> str:
    """Options for the JVM; empty where there is no archive."""
    path = archive_path()
    return f" -XX:SharedArchiveFile={path}" if path.is_file() and " " not in str(path) else ""


def make_archive() -> Path | None:
    """Makes the archive by running a small session; None where this JVM cannot make one."""
    target = archive_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        draft = Path(folder) / target.name
        options = f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ArchiveClassesAtExit={draft}"
        subprocess.run(
            [sys.executable, "-c", _PROGRAM, options], capture_output=True, timeout=_PATIENCE_SECONDS, check=False
        )
        if not draft.is_file():
            return None
        # Whole or not at all: a session may start at this moment.
        os.replace(draft, target)
    return target


def main() -> int:
    """Fails never: without an archive Spark only starts more slowly."""
    made = make_archive()
    sys.stderr.write(f"{made}\n" if made else "no class archive: this Java makes none; Spark starts without it\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
