"""What the review page, the command line and the jobs do: list, show, decide, and find what must be built again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from scenelake.adapters.aws import aws_client
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.landing import is_rebuildable
from scenelake.adapters.objects import Objects, read_json, s3_objects
from scenelake.adapters.quarantine_reader import QuarantineReader
from scenelake.contracts.drops import DropState
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.reviews import Review, ReviewSource
from scenelake.ledger.protocol import Ledger
from scenelake.review.answers import reviewed
from scenelake.review.filters import Filters
from scenelake.review.page import Listing, list_page, scene_page
from scenelake.review.questions import HeldScene, drives_to_build, picture_uri, with_reviews
from scenelake.runtime.settings import Settings, load_settings

_DAY_NS = 86_400 * 1_000_000_000
_LOOK_BACK_DAYS = 30


@dataclass(frozen=True, slots=True)
class Ruling:
    """What became of an answer.

    Attributes:
        review: the decision that stands.
        is_own: it is the one that was given, not that of somebody who was first.
    """

    review: Review
    is_own: bool

    @property
    def message(self) -> str:
        said = self.review
        if self.is_own:
            return f"{said.decision} is on record; the drive will be built again"
        return f"not recorded: {said.reviewer} was first: {said.decision} (on the {said.source})"


class ReviewDesk:
    """Doors to the quarantine of one lake. Safe to use from threads."""

    def __init__(self, settings: Settings, objects: Objects, ledger: Ledger) -> None:
        self.settings, self.objects, self.ledger = settings, objects, ledger
        self.reader = QuarantineReader(settings, objects)

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """The desk of the lake that the settings, or else the environment, name."""
        settings = settings or load_settings()
        return cls(settings, s3_objects(settings), DynamoLedger.from_settings(settings))

    def listing(self, filters: Filters) -> Listing:
        """One page of held scenes with what the ledger says of each."""
        scenes, has_more = self.reader.scenes(filters)
        release = self.reader.release
        return Listing(
            self._with_reviews(scenes), self.reader.facets(), filters, has_more, release.release_id if release else None
        )

    def scene(self, scene_id: str) -> HeldScene:
        """One held scene.

        Raises:
            BadInputError: reason ``not_found``.
        """
        found = self.reader.scene(scene_id)
        if found is None:
            raise BadInputError(f"scene {scene_id}: the newest release does not hold it back", reason="not_found")
        return self._with_reviews([found])[0]

    def document(self, scene: HeldScene) -> dict[str, Any]:
        """The evidence document of a held scene.

        Raises:
            BadInputError: reason ``not_found``: somebody took it away.
        """
        try:
            found: dict[str, Any] = read_json(self.objects, scene.evidence_uri)
        except FileNotFoundError as error:
            said = f"scene {scene.scene_id}: its evidence is gone ({scene.evidence_uri}); processing it again writes it"
            raise BadInputError(said, reason="not_found") from error
        return found

    def list_page(self, query: dict[str, str]) -> str:
        """The list as HTML, filtered as a browser asks."""
        return list_page(self.listing(Filters.from_query(query)), time.time_ns())

    def scene_page(self, scene_id: str) -> str:
        """A scene's page as HTML. Raises BadInputError like ``scene``."""
        scene = self.scene(scene_id)
        is_gone = scene.is_to_be_followed and self.is_raw_gone(scene.drive_id)
        return scene_page(scene, self.document(scene), time.time_ns(), is_gone=is_gone)

    def picture(self, scene_id: str, name: str) -> bytes | None:
        """A picture of a held scene as it was drawn of its evidence; None when it was not yet.

        Raises BadInputError like ``scene`` and ``document``.
        """
        scene = self.scene(scene_id)
        try:
            return self.objects.read(picture_uri(scene.evidence_uri, self.document(scene), name))
        except FileNotFoundError:
            return None

    def decide(
        self,
        scene_id: str,
        review_hash: str,
        decision: str,
        note: str,
        reviewer: str,
        source: ReviewSource,
        at_ns: int | None = None,
    ) -> Ruling:
        """Records an answer, unless somebody was first.

        Raises:
            BadInputError: reasons of ``scene`` and ``answers.reviewed``.
        """
        given = reviewed(
            self.scene(scene_id), review_hash, decision, note, reviewer, at_ns or time.time_ns(), source
        )  # fmt: skip
        # A form's answer waits for a worker: builds that began meanwhile knew nothing of it.
        stands = self.ledger.decide(replace(given, recorded_at_ns=max(given.decided_at_ns, time.time_ns())))
        return Ruling(stands, stands == given)

    def drives_to_build(self) -> dict[str, tuple[HeldScene, ...]]:
        """Drives that reviews of the last weeks ask to build again (``questions.drives_to_build``)."""
        recent = self.ledger.reviews_since(time.time_ns() - _LOOK_BACK_DAYS * _DAY_NS)
        drive_ids = sorted({review.drive_id for review in recent})
        scenes = [s for s in self._with_reviews(self.reader.of_drives(drive_ids)) if s.is_to_be_followed]
        waiting = sorted({scene.drive_id for scene in scenes})
        return drives_to_build(scenes, {drive_id: self._last_claimed_at_ns(drive_id) for drive_id in waiting})

    def is_raw_gone(self, drive_id: str) -> bool:
        """Whether a build of the drive would find nothing to claim: its raw objects were deleted, or expired."""
        return not is_rebuildable(aws_client("s3", self.settings), list(self.ledger.drops(drive_id=drive_id)))

    def _last_claimed_at_ns(self, drive_id: str) -> int | None:
        drops = list(self.ledger.drops(drive_id=drive_id))
        if any(drop.state is DropState.CLAIMED for drop in drops):
            return None
        one_of_each = {drop.batch_id: drop.drop_id for drop in drops}
        entries = (entry for drop_id in one_of_each.values() for entry in self.ledger.history(drop_id))
        claims = [(str(e["batch_id"]), int(str(e["at_ns"]))) for e in entries if e["state"] == DropState.CLAIMED]
        # A later attempt that finds its release made takes that as it is, whatever was decided since.
        first_ns: dict[str, int] = {}
        for batch_id, at_ns in claims:
            first_ns[batch_id] = min(first_ns.get(batch_id, at_ns), at_ns)
        return max(first_ns.values(), default=None)

    def _with_reviews(self, scenes: Sequence[HeldScene]) -> list[HeldScene]:
        return with_reviews(scenes, self.ledger.reviews([s.question for s in scenes if s.review_hash]))
