"""I3, the chain: releases as documents, each following from the one before."""

import json
import re
from dataclasses import dataclass
from typing import Any

from scenelake_audit.aws import Aws, merkle_root
from scenelake_audit.canonical import named_leaf
from scenelake_audit.config import AuditError, Depth, Lake
from scenelake_audit.database import Database
from scenelake_audit.report import Report

_NAME = re.compile(r"^releases/(\d{8})\.json$")
_JUDGE = "judge-"
_VERDICTS = frozenset({"release_scene", "qc_result"})
Scenes = dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Pin:
    """One table at one snapshot, opened by its metadata file."""

    snapshot_id: int
    metadata_location: str
    nbr_rows: int


@dataclass(frozen=True, slots=True)
class Release:
    """A release document.

    Attributes:
        scenes: ``{scene_id: (drive_id, content_hash)}``.
        delta: as written.
    """

    number: int
    release_id: str
    parent: str | None
    batch_id: str
    attempt: int
    merkle_root: str
    pins: dict[str, Pin]
    scenes: Scenes
    delta: dict[str, Any]

    @classmethod
    def parse(cls, data: bytes) -> "Release":
        """Reads a document.

        Raises:
            ValueError, KeyError, TypeError: it is not one.
        """
        value = json.loads(data)
        return cls(
            number=value["number"],
            release_id=value["release_id"],
            parent=value["parent"],
            batch_id=value["batch_id"],
            attempt=value["attempt"],
            merkle_root=value["merkle_root"],
            pins={n: Pin(p["snapshot_id"], p["metadata_location"], p["nbr_rows"]) for n, p in value["tables"].items()},
            scenes={s: (drive_id, content) for s, (drive_id, content) in value["scenes"].items()},
            delta=value["delta"],
        )


def root_of(scenes: Scenes) -> str:
    """Merkle root of a release: a tree over drives, whose leaves are trees over their scenes."""
    drives: dict[str, list[bytes]] = {}
    for scene_id in sorted(scenes):
        drive_id, content = scenes[scene_id]
        drives.setdefault(drive_id, []).append(named_leaf(scene_id, content))
    return merkle_root([named_leaf(drive_id, merkle_root(drives[drive_id])) for drive_id in sorted(drives)])


class ReleaseAudit:
    """Reads and checks the chain of releases.

    Attributes:
        numbers: of all release documents, ascending.
    """

    def __init__(self, aws: Aws, lake: Lake, depth: Depth, report: Report) -> None:
        self._aws, self._lake, self._depth, self._report = aws, lake, depth, report
        listed = (_NAME.match(key) for key, _, _ in aws.objects(lake.lake, "releases/"))
        self.numbers = sorted(int(name.group(1)) for name in listed if name)

    def read(self, number: int) -> Release | None:
        """A release; None when it cannot be read."""
        data = self._aws.read(self._lake.lake, f"releases/{number:08d}.json")
        if data is None:
            return None
        try:
            return Release.parse(data)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def chosen(self) -> Release | None:
        """The release to audit; None when the lake has none.

        Raises:
            AuditError: the release that was asked for, or the newest, cannot be read.
        """
        if self._depth.release:
            text = self._depth.release.removeprefix("r")
            number = int(text) if text.isdigit() else -1
        elif self.numbers:
            number = self.numbers[-1]
        else:
            return None
        release = self.read(number)
        if release is None:
            raise AuditError(f"release {self._depth.release or number}: there is none that can be read")
        return release

    def check_chain(self, database: Database) -> list[Release]:
        """Checks the newest part of the chain (all of it when deep).

        Returns:
            The releases that were read, oldest first, each without its scenes and delta.
        """
        self._check_numbers()
        start = 0 if self._depth.is_deep else max(len(self.numbers) - self._depth.releases, 0)
        if start:
            self._report.note(f"releases before {self.numbers[start]} were only counted; --deep reads them")
        before = self.read(self.numbers[start - 1]) if start else None
        batches = dict(database.rows("SELECT batch_id, attempt FROM batches"))
        makers: dict[str, str] = {}
        read: list[Release] = []
        for number in self.numbers[start:]:
            release = self.read(number)
            self._report.examine("I3.chain")
            if release is None:
                self._report.violate("I3.chain", f"releases/{number:08d}.json", "a release document", "unreadable")
                before = None
                continue
            self._check_document(number, release)
            if before is not None or number == 1:
                self._check_delta(release, before)
            if release.batch_id.startswith(_JUDGE):
                self._check_judgement(release, before)
            else:
                self._check_maker(release, batches, makers)
            read.append(_slim(release))
            before = release
        return read

    def _check_numbers(self) -> None:
        gaps = sorted(set(range(1, (self.numbers or [0])[-1] + 1)) - set(self.numbers))
        for number in gaps:
            self._report.violate("I3.chain", f"releases/{number:08d}.json", "a release of every number", "none")

    def _check_document(self, number: int, release: Release) -> None:
        parent = f"r{number - 1:08d}" if number > 1 else None
        expected = (number, f"r{number:08d}", parent)
        found = (release.number, release.release_id, release.parent)
        if found != expected:
            text = "number {}, id {}, parent {}"
            self._report.violate("I3.chain", f"releases/{number:08d}.json", text.format(*expected), text.format(*found))
        root = root_of(release.scenes)
        self._report.examine("I3.merkle")
        if release.merkle_root != root:
            self._report.violate("I3.merkle", release.release_id, root, release.merkle_root)

    def _check_delta(self, release: Release, before: Release | None) -> None:
        old: Scenes = before.scenes if before else {}
        new = release.scenes
        expected: dict[str, Any] = {
            "added": sorted(set(new) - set(old)),
            "removed": sorted(set(old) - set(new)),
            "replaced": {s: [old[s][1], new[s][1]] for s in sorted(set(old) & set(new)) if old[s][1] != new[s][1]},
        }
        self._report.examine("I3.delta")
        for part, value in expected.items():
            if release.delta.get(part) != value:
                shown = json.dumps(release.delta.get(part), sort_keys=True)
                self._report.violate(
                    "I3.delta", f"{release.release_id} {part}", json.dumps(value, sort_keys=True)[:500], shown[:500]
                )
        lost = sorted(set(before.pins) - set(release.pins)) if before else []
        if lost:
            self._report.violate("I3.delta", release.release_id, "every table of its parent", f"without {lost}")

    def _check_judgement(self, release: Release, before: Release | None) -> None:
        """A policy that judges anew has no batch; it may touch verdicts and nothing else."""
        self._report.examine("I3.attempt")
        if before is None:
            return
        if release.scenes != before.scenes:
            changed = sorted(set(release.scenes.items()) ^ set(before.scenes.items()))
            expected = "the scenes of its parent, for no batch made it"
            self._report.violate("I3.attempt", release.release_id, expected, f"others: {changed[:3]}")
        touched = {name for name, pin in release.pins.items() if before.pins.get(name) != pin}
        if not touched <= _VERDICTS:
            expected = f"new snapshots of {', '.join(sorted(_VERDICTS))} alone, for no batch made it"
            self._report.violate("I3.attempt", release.release_id, expected, ", ".join(sorted(touched - _VERDICTS)))

    def _check_maker(self, release: Release, batches: dict[str, int], makers: dict[str, str]) -> None:
        self._report.examine("I3.attempt")
        subject = release.release_id
        attempt = batches.get(release.batch_id)
        if attempt is None or release.attempt > attempt:
            # The batch may be younger than the reading of the ledger.
            now = self._aws.items_now(self._lake.ledger, [f"BATCH#{release.batch_id}"])[0]
            attempt = now["attempt"] if now else None
        if attempt is None:
            expected = "a batch that the ledger knows"
            self._report.violate("I3.attempt", subject, expected, f"batch {release.batch_id}, unknown")
        elif release.attempt > attempt:
            expected = f"attempt {attempt} of batch {release.batch_id} at most"
            self._report.violate("I3.attempt", subject, expected, f"attempt {release.attempt}")
        if release.batch_id in makers:
            expected = f"one release of batch {release.batch_id}, {makers[release.batch_id]}"
            self._report.violate("I3.attempt", subject, expected, f"another one, {subject}")
        makers.setdefault(release.batch_id, subject)


def _slim(release: Release) -> Release:
    return Release(
        release.number, release.release_id, release.parent, release.batch_id, release.attempt, release.merkle_root,
        release.pins, {}, {},
    )  # fmt: skip
