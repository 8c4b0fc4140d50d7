"""Structured logs: one JSON object a line on stderr, with the ids that a person would search for."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

_constants: dict[str, Any] = {}


class JsonFormatter(logging.Formatter):
    """Formats a record and its ``extra`` fields as one line of JSON."""

    def __init__(self, **constants: Any) -> None:
        super().__init__()
        self._constants = constants

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._constants,
        }
        line.update({k: v for k, v in record.__dict__.items() if k not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(**constants: Any) -> None:
    """Sends every log line of this process to stderr as JSON; ``constants`` go into each line."""
    _constants.clear()
    _constants.update(constants)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(**constants))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "py4j", "pyiceberg"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def current_stage() -> str | None:
    """The stage that this process last said it runs (``configure_logging(stage=…)``)."""
    stage = _constants.get("stage")
    return None if stage is None else str(stage)
