"""What was checked, how much of it, and what was found wrong."""

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

CHECKS: dict[str, str] = {
    "I1.registered": "every object version in landing has a ledger row",
    "I1.identity": "a ledger row's key, size and ETag are those of its object version",
    "I1.state": "a drop is in exactly one known state, and an end that needs a reason has one",
    "I1.claim": "a CLAIMED drop is held by the current attempt of an open batch",
    "I1.lease": "the lease of an open batch has not lapsed",
    "I1.batch": "an open batch holds drops, and a drive lock belongs to an open batch",
    "I1.duplicate": "a DUPLICATE names the surviving drop of the same content",
    "I1.release": "a drop's release exists",
    "I2.account": "every built or duplicate drop has an account, of as many messages as its ledger row says",
    "I2.balance": "messages in = accepted + quarantined + rejected + duplicate + unassigned + undecodable",
    "I2.gold": "accepted messages = rows of sample_data, per object and channel",
    "I2.recording": "messages in = messages that the auditor counts in the raw object",
    "I2.reason": "messages outside every scene have a reason, and scenes that are held back a quarantine record",
    "I3.chain": "releases are numbered without gaps, each on its parent, and readable",
    "I3.delta": "a release's delta is the difference from its parent",
    "I3.merkle": "a release's Merkle root follows from its scenes",
    "I3.attempt": "a release is made by exactly one attempt of one batch that the ledger knows",
    "I3.ancestry": "a release's snapshots exist, descend from its parent's and are reached by the catalog's main",
    "I3.scenes": "rows of the scene table = scenes of the release, one live revision each",
    "I3.release_scene": "rows of release_scene = scenes of the release",
    "I3.keys": "no two rows share a key",
    "I3.rows": "every row of a scene's tables belongs to a live scene and to a recorded message",
    "I3.keyframes": "a scene's keyframes are as many as it says, in an unbroken chain",
    "I3.sync": "a sync_index row leads to a keyframe and to a row of sample_data, or says that it has no match",
    "I3.payload": "sample_data leads to a payload row with the same id",
    "I3.content": "a scene's content hash follows from its rows",
    "I4.exists": "every data file of a release exists, with the size that its manifest says",
    "I4.sha256": "a data file's SHA-256 is the recorded one",
    "I4.rows": "a data file and a table hold as many rows as recorded",
    "I4.orphan": "no data file under gold is referred to by nothing for longer than the grace period",
    "I4.tombstone": "what is absent has a tombstone",
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

    def to_text(self) -> str:
        """A table of checks, then each violation with its evidence, then notes."""
        width = max(len(c) for c in CHECKS)
        lines = [f"{'check':<{width}}  {'examined':>10}  {'violations':>10}  what must hold"]
        lines += [f"{c:<{width}}  {self.examined[c]:>10,}  {self.counts[c]:>10,}  {CHECKS[c]}" for c in self._shown()]
        for check in self._shown():
            for v in self.kept.get(check, ()):
                lines.append(f"\n{v.check}  {v.subject}\n    expected: {v.expected}\n    found:    {v.found}")
            if hidden := self.counts[check] - len(self.kept.get(check, ())):
                lines.append(f"\n{check}  and {hidden:,} more")
        lines += [f"\nnote: {note}" for note in self.notes]
        total = self.counts.total()
        lines.append(f"\n{'clean' if self.is_clean else f'{total:,} violation(s)'}")
        return "\n".join(lines) + "\n"

    def _shown(self) -> list[str]:
        return [c for c in CHECKS if c in self.examined or c in self.counts]


def _known(check: str) -> str:
    if check not in CHECKS:
        raise ValueError(f"check {check!r}: not one of {', '.join(CHECKS)}")
    return check
