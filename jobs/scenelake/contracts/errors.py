"""One error tree. Each branch has one exit code, and the operators act on that code alone."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a job's exit tells the operator that launched it (values after sysexits.h)."""

    OK = 0
    BAD_INPUT = 65
    BUG = 70
    TRANSIENT = 75
    COMMIT_STATE_UNKNOWN = 76
    CONFIGURATION = 78
    FENCED = 79


class ScenelakeError(Exception):
    """Root of every error that Scenelake raises on purpose; on its own it means a bug."""

    exit_code: ExitCode = ExitCode.BUG


class BadInputError(ScenelakeError):
    """The data is at fault. It gets a verdict with a reason; retrying cannot help.

    Args:
        message: what was expected and what came, naming the file and the field.
        reason: a short stable code, for example ``format_unknown``; it is stored and counted.
        byte_offset: where in the file the trouble starts, when that is known.
    """

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, message: str, *, reason: str, byte_offset: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.byte_offset = byte_offset


class TransientError(ScenelakeError):
    """Something outside failed for now (network, throttle, full queue). Retry."""

    exit_code = ExitCode.TRANSIENT


class CommitStateUnknownError(ScenelakeError):
    """A commit was sent and its answer was lost. Look for its token before doing anything else."""

    exit_code = ExitCode.COMMIT_STATE_UNKNOWN


class ConfigurationError(ScenelakeError):
    """A setting is missing, unknown or contradictory. A person must change it."""

    exit_code = ExitCode.CONFIGURATION


class FencedError(ScenelakeError):
    """This attempt's lease was lost to a later attempt; it must stop without writing anything more."""

    exit_code = ExitCode.FENCED
