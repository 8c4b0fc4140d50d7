"""The one way to run a command of the ledger as a process: like a stage, without a stage's record."""

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scenelake.contracts.errors import ExitCode, ScenelakeError
from scenelake.ledger.protocol import ClaimLimits
from scenelake.runtime.logs import configure_logging
from scenelake.runtime.settings import Settings, load_settings

log = logging.getLogger(__name__)

CommandFunction = Callable[[argparse.Namespace, Settings], dict[str, Any]]


def run_command(
    name: str, parser: argparse.ArgumentParser, function: CommandFunction, argv: Sequence[str] | None = None
) -> int:
    """Parses the command line, runs the function and writes its answer to ``--result``.

    Returns:
        The exit code: 0, or the one of the error that ended it (``contracts.errors.ExitCode``).
    """
    parser.add_argument("--dag-run-id", help="Airflow run that launched this job, for the log")
    parser.add_argument("--result", help="file that receives the answer (ids and counts) as JSON")
    arguments = parser.parse_args(argv)
    configure_logging(stage=name)
    try:
        answer = function(arguments, load_settings())
    except ScenelakeError as error:
        log.error("%s: %s", type(error).__name__, error, exc_info=error.exit_code is ExitCode.BUG)
        return error.exit_code
    except Exception:
        log.exception("%s failed on an error it did not expect", name)
        return ExitCode.BUG
    if arguments.result:
        Path(arguments.result).write_text(json.dumps(answer))
    log.info("%s done", name, extra={"result": answer})
    return ExitCode.OK


def claim_limits(settings: Settings) -> ClaimLimits:
    """Bounds of a claim, as the settings give them."""
    return ClaimLimits(
        max_drops=settings.claim_max_drops,
        max_bytes=settings.claim_max_bytes,
        lease_ns=settings.lease_seconds * 1_000_000_000,
        max_attempts=settings.max_attempts,
        quiet_ns=settings.quiet_seconds * 1_000_000_000,
    )
