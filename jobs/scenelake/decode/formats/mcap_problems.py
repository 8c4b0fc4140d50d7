"""What was wrong with a recording, as it is found."""

from scenelake.contracts.stages import Problem

HARMLESS_REASONS = frozenset(
    {
        "summary_unreadable",
        "statistics_contradicted",
        "channel_redefined",
        "schema_redefined",
        "chunk_frame_repaired",
        "chunk_index_contradicted",
        "data_end_missing",
    }
)
"""Problems that cost no message, in every format; any other reason counts as a loss.

What they have in common: the bytes concerned are a second account of what was read all the same (summary, index, bag
header, counts, table of metadata), or were read in spite of them.
"""

MAX_PROBLEMS = 1000
"""A file with more is given up at that point: the rest of it is one last problem."""


class Problems:
    """Problems of one file, of which only so many are kept.

    Args:
        found: list that gets them.
    """

    def __init__(self, found: list[Problem]) -> None:
        self._found = found

    def report(self, reason: str, detail: str, start: int, exclusive_end: int) -> None:
        if not self.is_full:
            self._found.append(Problem(reason, detail, start, exclusive_end))

    def give_up(self, start: int, exclusive_end: int) -> None:
        """The one problem that says that there would be more."""
        detail = f"{MAX_PROBLEMS} problems up to here"
        self._found.append(Problem("too_many_problems", detail, start, exclusive_end))

    @property
    def is_empty(self) -> bool:
        return not self._found

    @property
    def is_full(self) -> bool:
        return len(self._found) >= MAX_PROBLEMS
