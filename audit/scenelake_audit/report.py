"""What was checked, how much of it, and what was found wrong."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CHECKS: dict[str, str] = {
    "I1.registered": "every object version in landing has a ledger row",
    "I1.identity": "a ledger row's key, size and ETag are those of its object version",
    "I1.item": "every item of the ledger is of a known kind",
    "I1.event": "an ignored event is named, with the reason why it was ignored",
    "I1.state": "a drop is in exactly one known state with one holder, and an end that needs a reason has one",
    "I1.history": "a drop's history is a way through its states: attempts rise, and only a rebuild follows an end",
    "I1.claim": "a CLAIMED drop is listed by an open batch that holds its drive, at the drop's attempt or a later one",
    "I1.lease": "the lease of an open batch has not lapsed",
    "I1.batch": "an open batch holds drops, and every drop's batch is there",
    "I1.lock": "a held drive belongs to an open batch that holds a drop of it",
    "I1.waiting": "no drop is PENDING for long whose drive is free and whose recording is quiet",
    "I1.parts": "the ledger knows what each recording's newest manifest lists, and every listed part that landed",
    "I1.incomplete": "a recording that was built without all of its listed parts says so",
    "I1.duplicate": "a DUPLICATE names the surviving drop of the same content",
    "I1.release": "a drop's release exists",
    "I1.review": "a review says who decided what and when, about a scene that was held back with evidence",
    "I2.account": "every built or duplicate drop has an account, of as many messages as its ledger row says, and gold "
    "holds nothing of a rejected one",
    "I2.balance": "messages in = accepted + quarantined + rejected + duplicate + unassigned + undecodable",
    "I2.gold": "accepted messages = rows of sample_data, per object and channel",
    "I2.recording": "messages in = messages that the auditor counts in the raw object",
    "I2.reason": "messages outside every scene have a reason, and scenes that are held back a quarantine record",
    "I3.chain": "releases are numbered without gaps, each on its parent, and readable",
    "I3.delta": "a release's delta is the difference from its parent",
    "I3.merkle": "a release's Merkle root follows from its scenes",
    "I3.attempt": "a release is made by exactly one attempt of one batch that the ledger knows",
    "I3.built": "a drop is settled by the attempt that made its batch's release, or by a later one",
    "I3.ancestry": "a release's snapshots exist, descend from its parent's and are reached by the catalog's main",
    "I3.scenes": "rows of the scene table = scenes of the release, one live revision each",
    "I3.release_scene": "rows of release_scene = scenes of the release",
    "I3.review": "a decision is followed by every later build of its drive, and nothing is released or rejected in "
    "a person's name without one",
    "I3.splits": "neither a drive nor a cluster of duplicates straddles splits",
    "I3.keys": "no two rows share a key",
    "I3.rows": "every row of a scene's tables belongs to a live scene and to a recorded message",
    "I3.keyframes": "a scene's keyframes are as many as it says, in an unbroken chain",
    "I3.sync": "a sync_index row leads to a keyframe and to a row of sample_data, or says that it has no match",
    "I3.payload": "sample_data leads to a payload row with the same id",
    "I3.redaction": "a frame that was withheld is on record, without its bytes, and matched to no keyframe",
    "I3.content": "a scene's content hash follows from its rows",
    "I4.exists": "every data file of a release exists, with the size that its manifest says",
    "I4.sha256": "a data file's SHA-256 is the recorded one",
    "I4.rows": "a data file and a table hold as many rows as recorded",
    "I4.orphan": "no data file under gold is referred to by nothing for longer than the grace period",
    "I4.tombstone": "what is absent has a tombstone",
    "I5.root": "both releases have the same Merkle root",
    "I5.payload": "both lakes have the same payload files, byte for byte",
    "I5.rows": "both lakes have the same rows",
}
"""Checks by id, as sentences that hold for a sound lake."""

MAX_KEPT = 200
"""Violations kept with their evidence per check; more are only counted."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it should be.

    Attributes:
        subject: the object, drop, scene, file or release.
    """

    check: str
    subject: str
    expected: str
    found: str


@dataclass(slots=True)
class Report:
    """Collects results. ``notes`` say what was not looked at, and why."""

    examined: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    kept: dict[str, list[Violation]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)

    def examine(self, check: str, number: int = 1) -> None:
        self.examined[_known(check)] += number

    def violate(self, check: str, subject: str, expected: object, found: object) -> None:
        self.counts[_known(check)] += 1
        if len(self.kept[check]) < MAX_KEPT:
            self.kept[check].append(Violation(check, subject, str(expected), str(found)))

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def is_clean(self) -> bool:
        return not self.counts

    @property
    def violations(self) -> list[Violation]:
        return [v for check in CHECKS for v in self.kept.get(check, ())]

    def to_json(self) -> dict[str, Any]:
        return {
            "is_clean": self.is_clean,
            "checks": {c: {"examined": self.examined[c], "violations": self.counts[c]} for c in self._shown()},
            "violations": [asdict(v) for v in self.violations],
            "notes": self.notes,
        }

    def to_json_text(self) -> str:
        return json.dumps(self.to_json(), indent=1) + "\n"

    def to_text(self) -> str:
        """A table of checks, then each violation with its evidence, then notes."""
        width = max(len(c) for c in CHECKS)
        lines = [f"{'check':<{width}}  {'examined':>10}  {'violations':>10}  what must hold"]
        lines += [f"{c:<{width}}  {self.examined[c]:>10,}  {self.counts[c]:>10,}  {CHECKS[c]}" for c in self._shown()]
        for check in self._shown():
            for v in self.kept.get(check, ()):
                lines.append(f"\n{v.check}  {v.subject}\n    expected: {v.expected}\n    found:    {v.found}")
            if hidden := self._hidden(check):
                lines.append(f"\n{check}  and {hidden:,} more")
        lines += [f"\nnote: {note}" for note in self.notes]
        lines.append(f"\n{self.verdict}")
        return "\n".join(lines) + "\n"

    def to_markdown(self) -> str:
        """The same for a page."""
        lines = [f"# Audit: {self.verdict}", "", "| check | examined | violations | what must hold |"]
        lines.append("|---|---:|---:|---|")
        lines += [f"| {c} | {self.examined[c]:,} | {self.counts[c]:,} | {CHECKS[c]} |" for c in self._shown()]
        for check in (c for c in self._shown() if self.counts[c]):
            lines += ["", f"## {check}: {CHECKS[check]}", "", "| subject | expected | found |", "|---|---|---|"]
            kept = self.kept.get(check, ())
            lines += [f"| {_cell(v.subject)} | {_cell(v.expected)} | {_cell(v.found)} |" for v in kept]
            if hidden := self._hidden(check):
                lines += ["", f"and {hidden:,} more"]
        if self.notes:
            lines += ["", "## Notes", "", *(f"- {_cell(note)}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Writes the report to a file: JSON for ``.json``, Markdown for ``.md``, else plain text."""
        forms: dict[str, Callable[[], str]] = {".json": self.to_json_text, ".md": self.to_markdown}
        path.write_text(forms.get(path.suffix, self.to_text)())

    @property
    def verdict(self) -> str:
        return "clean" if self.is_clean else f"{self.counts.total():,} violation(s)"

    def _hidden(self, check: str) -> int:
        return self.counts[check] - len(self.kept.get(check, ()))

    def _shown(self) -> list[str]:
        return [c for c in CHECKS if c in self.examined or c in self.counts]


def _cell(text: str) -> str:
    """Text in a cell of a Markdown table."""
    return re.sub(r"([\\\\`*_|<>\[\]])", r"\\\1", text).replace("\n", " ")


def _known(check: str) -> str:
    if check not in CHECKS:
        raise ValueError(f"check {check!r}: not one of {', '.join(CHECKS)}")
    return check
