"""Spark sessions. Spark schedules and Python moves bytes, so the JVM stays small and starts fast."""

import re
import sys

from pyspark.sql import SparkSession

from scenelake.adapters.spark_archive import archive_options
from scenelake.contracts.errors import ConfigurationError
from scenelake.runtime.settings import Settings

TASK_ATTEMPTS = 3
"""Attempts at one task before the stage fails; the batch itself has attempts of its own above that."""

_UNSET_PYTHON = "python3"
_LOCAL = re.compile(r"^local(\[(\*|\d+)\])?$")

_ALWAYS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.python.worker.reuse": "true",
    "spark.python.worker.faulthandler.enabled": "true",
    "spark.task.maxFailures": str(TASK_ATTEMPTS),
}
_ON_A_LAPTOP = {
    "spark.driver.memory": "1g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
}
_LAPTOP_JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"
"""The job is over before the optimising compiler or a parallel collector would pay for their start."""


def spark_session(settings: Settings, name: str) -> SparkSession:
    """The session of this process, created on first use.

    The master and any extra configuration come from the settings; extra configuration wins. Under
    ``spark-submit`` the JVM already runs, and its memory and options are those of that command line.

    Raises:
        ConfigurationError: when ``spark_conf`` is not ``key=value`` pairs separated by ``;``.
    """
    builder = SparkSession.builder.appName(name)
    for key, value in spark_conf(settings).items():
        builder = builder.config(key, value)
    session: SparkSession = builder.getOrCreate()
    context = session.sparkContext
    context.setLogLevel("WARN")
    if context.pythonExec == _UNSET_PYTHON:
        # Without PYSPARK_PYTHON, workers must still run the interpreter that holds this package.
        context.pythonExec = sys.executable
    return session


def spark_conf(settings: Settings) -> dict[str, str]:
    """The configuration that ``spark_session`` and ``spark-submit`` are given."""
    local = _LOCAL.match(settings.spark_master)
    conf = dict(_ALWAYS)
    conf["spark.master"] = settings.spark_master
    if local:
        # Plain local mode fails a job on its first failed task, whatever spark.task.maxFailures says.
        conf["spark.master"] = f"local[{local.group(2) or 1},{TASK_ATTEMPTS}]"
        conf |= _ON_A_LAPTOP | {"spark.driver.extraJavaOptions": _LAPTOP_JAVA_OPTIONS + archive_options()}
    for pair in filter(None, (p.strip() for p in settings.spark_conf.split(";"))):
        key, equals, value = pair.partition("=")
        if not (equals and key.startswith("spark.")):
            raise ConfigurationError(f"spark_conf: expected spark.<key>=<value>, got {pair!r}")
        conf[key] = value
    return conf


def effective_conf(session: SparkSession) -> dict[str, str]:
    """Every setting that the running session has, for lineage."""
    return dict(sorted(session.sparkContext.getConf().getAll()))
