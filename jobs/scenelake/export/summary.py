"""What an export wrote, and what it left out and why."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scenelake.contracts.releases import Release

Progress = Callable[[int, int, str], None]
"""Scenes done, scenes in all, and what is being done."""


@dataclass
class Summary:
    """Filled while an export runs.

    Attributes:
        written: counts by what was written.
        left_out: counts of messages, frames, scenes, … by (what, reason).
        first_left_out: an example of each.
        remarks: what the format made of the data where it could not hold it as recorded; each once.
        measured: figures of the export, with their unit in the name.
    """

    format: str
    release: Release
    options: dict[str, Any]
    written: Counter[str] = field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    first_left_out: dict[tuple[str, str], str] = field(default_factory=dict)
    remarks: dict[str, None] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    def wrote(self, what: str, count: int = 1) -> None:
        self.written[what] += count

    def leave_out(self, what: str, reason: str, example: str, count: int = 1) -> None:
        """Counts something that the export does not hold."""
        if count:
            self.left_out[what, reason] += count
            self.first_left_out.setdefault((what, reason), example)

    def remark(self, text: str) -> None:
        self.remarks[text] = None

    def measure_largest(self, name: str, value: int) -> None:
        self.measured[name] = max(value, self.measured.get(name, value))

    def to_json(self) -> dict[str, Any]:
        """The summary as a document: equal exports give equal ones."""
        return {
            "format": self.format,
            "release_id": self.release.release_id,
            "merkle_root": self.release.merkle_root,
            "options": self.options,
            "written": dict(sorted(self.written.items())),
            "left_out": [
                {"what": what, "reason": reason, "count": count, "example": self.first_left_out[what, reason]}
                for (what, reason), count in sorted(self.left_out.items())
            ],
            "remarks": list(self.remarks),
            "measured": dict(sorted(self.measured.items())),
        }
