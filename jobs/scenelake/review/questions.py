"""Scenes that are held back, as questions to a person, and what became of the answers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256

from scenelake.contracts.paths import split_uri
from scenelake.contracts.reviews import Question, Review

PICTURES = {
    "sheet.png": "image/png", "thumb.jpg": "image/jpeg", "timeline.svg": "image/svg+xml", "signals.png": "image/png",
}  # fmt: skip
"""What is drawn of a held scene, with its media type."""


class Status(StrEnum):
    """Where a question stands, in words for a person."""

    WAITING = "waiting"
    REPROCESS = "to be processed again"
    RELEASING = "to be released"
    REJECTING = "to be rejected"
    RELEASED = "released"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class HeldScene:
    """A row of ``quarantine`` with what its drive and the ledger say.

    Attributes:
        vehicle, drive: ``robot_id`` and ``drive_name`` of the drive.
        drive_start_ns: when the drive was recorded.
        decision, request: what the ledger holds on this revision; a request is one to process again.
    """

    scene_id: str
    drive_id: str
    fleet: str
    vehicle: str
    drive: str
    drive_start_ns: int
    state: str
    reason: str
    evidence_uri: str
    review_hash: str
    reviewer: str | None
    decided_at_ns: int | None
    decision: Review | None = None
    request: Review | None = None

    @property
    def question(self) -> Question:
        return self.scene_id, self.review_hash

    @property
    def checks(self) -> tuple[str, ...]:
        return tuple(self.reason.split(", "))

    @property
    def is_honoured(self) -> bool:
        """Whether the last build of the drive followed the decision."""
        return self.decision is not None and self.decided_at_ns == self.decision.decided_at_ns

    @property
    def is_to_be_followed(self) -> bool:
        """Whether somebody said something that no build is known to have followed."""
        return (self.decision or self.request) is not None and not self.is_honoured

    @property
    def status(self) -> Status:
        if self.decision is not None and not self.is_honoured:
            return Status.RELEASING if self.decision.decision == "RELEASE" else Status.REJECTING
        if self.state != "QUARANTINED":
            return Status.RELEASED if self.state == "RELEASED" else Status.REJECTED
        return Status.WAITING if self.request is None else Status.REPROCESS


def with_reviews(scenes: Sequence[HeldScene], reviews: Iterable[Review]) -> list[HeldScene]:
    """The scenes, each with what the ledger holds on it."""
    known = {(review.question, review.decision.is_final): review for review in reviews}
    return [
        replace(scene, decision=known.get((scene.question, True)), request=known.get((scene.question, False)))
        for scene in scenes
    ]


def picture_uri(evidence_uri: str, document: Mapping[str, object], name: str) -> str:
    """Where a picture of a held scene is kept: under a prefix of its own, anew for each evidence document.

    Another policy leaves a revision, and so the document's address, as it was; pictures mark what its verdict says.
    """
    bucket, key = split_uri(evidence_uri)
    digest = sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
    return f"s3://{bucket}/pictures/{key.removesuffix('.json')}/{digest}/{name}"


def drives_to_build(
    scenes: Iterable[HeldScene], claimed_at_ns: Mapping[str, int | None]
) -> dict[str, tuple[HeldScene, ...]]:
    """Drives that must be built again because of reviews, with the scenes that say so.

    A review that was on record before a drive's last build began was followed by it, or else by none: building again
    would not help. A drive that is being built now waits for the next time.

    Args:
        scenes: with their reviews.
        claimed_at_ns: by drive, when its last build began, at its first attempt; None while it goes on.
    """
    found: dict[str, tuple[HeldScene, ...]] = {}
    for scene in scenes:
        review = scene.decision or scene.request
        began_ns = claimed_at_ns.get(scene.drive_id)
        if review is None or not scene.is_to_be_followed or began_ns is None:
            continue
        if review.on_record_since_ns > began_ns:
            found[scene.drive_id] = (*found.get(scene.drive_id, ()), scene)
    return found


def question_words(scene: HeldScene, page_url: str, findings: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """Headline and body (Markdown) of the question that Airflow's form asks.

    Args:
        page_url: of the review page.
        findings: rows of ``qc_result`` that failed.
    """
    link = f"{page_url}/scene/{scene.scene_id}"
    lines = [f"[Look at the scene: pictures, numbers, timeline]({link})", ""]
    lines += [f"Drive {_plain('/'.join((scene.fleet, scene.vehicle, scene.drive)))}, scene `{scene.scene_id}`.", ""]
    lines += ["| check | channel | measured | limit | what |", "|---|---|---:|---:|---|"]
    for row in findings:
        cells = (row.get(name) for name in ("check_name", "channel", "measured", "threshold", "reason"))
        lines.append(f"| {' | '.join(_plain(number_words(cell)) for cell in cells)} |")
    lines += ["", "**release** and **reject** are final for this revision; **later** leaves it as it is."]
    # Airflow's page keeps what a form holds from one question to the next of the same headline.
    name = f"{scene.scene_id[:8]} @ {scene.review_hash[:4]}"
    return f"Scene {name} of {_line(scene.drive)}: {_line(scene.reason)}", "\n".join(lines)


def number_words(value: object) -> str:
    """A value of a table in a few characters."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]()<>#+-!|~:&.@"})


def _plain(text: str) -> str:
    """Text from a recording in Markdown: one line in which nothing is a mark, a link or a picture."""
    return _line(text).translate(_MARKS)


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else "□" for c in " ".join(text.split()))
