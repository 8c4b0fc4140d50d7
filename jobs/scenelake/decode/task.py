"""What one task does for one drop: fetch, decode, or find that an earlier attempt already did.

It knows storage by protocols alone, so that Spark, another engine or a test can run it.
"""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DropOutcome, PayloadFile, table_file
from scenelake.contracts.tables import MESSAGE_INDEX
from scenelake.decode.config import DecodeConfig
from scenelake.decode.drop import (
    OUTCOME_FILE,
    decode_object,
    decode_part,
    name_in_drive,
    part_uri,
    write_outcome,
    write_rejection,
)
from scenelake.decode.drop_siblings import are_same, drop_siblings, newest, recipe_with
from scenelake.decode.fetch import RangeSource, block_digests, opened_object, ranged_source
from scenelake.decode.formats.blocks import Part, PlanContradictedError
from scenelake.decode.formats.open import open_reader
from scenelake.decode.manifests import decode_manifest
from scenelake.decode.parts import PartOutcome, merge_parts
from scenelake.decode.privacy.config import PrivacyPolicy
from scenelake.decode.privacy.examine import Guard
from scenelake.decode.privacy.loading import loaded_detector
from scenelake.decode.sinks import Sink

log = logging.getLogger(__name__)


class Storage(RangeSource, Sink, Protocol):
    """Object storage as a task needs it; ``adapters.objects`` fits."""


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Blocks of an object that one task hashes: ``[first, exclusive_end)`` of 8 MiB each."""

    drop: Drop
    size_bytes: int
    first: int
    exclusive_end: int


@dataclass(frozen=True, slots=True)
class PartOfDrop:
    """A part of an object that one task decodes."""

    drop: Drop
    size_bytes: int
    object_sha256: str
    part: Part


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How a large object is read: whole where it has one part."""

    drop: Drop
    size_bytes: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """Decodes drops wherever it is sent.

    Attributes:
        storage: makes the storage client where the task runs; it must pickle.
        privacy: what is done about faces and number plates; None does nothing. ``recipe`` must tell it.
    """

    storage: Callable[[], Storage]
    paths: LakePaths
    config: DecodeConfig
    recipe: str
    privacy: PrivacyPolicy | None = None

    def __call__(self, drop: Drop) -> DropOutcome:
        """Raises whatever is not the data's fault, so that the engine retries the task."""
        return self._decode(self.storage(), drop)

    def decode_pack(self, drops: Iterable[Drop]) -> list[DropOutcome]:
        """Decodes several drops with one storage client, which takes longer to make than a small drop to decode.

        A drop that fails keeps no other from its outcome: the others are decoded first, and are found done when
        the engine tries the pack again.

        Raises:
            TransientError: at once, since storage that is out of reach is so for every drop.
            Exception: the first of the others, after the last drop.
        """
        storage = self.storage()
        outcomes: list[DropOutcome] = []
        failures: list[Exception] = []
        for drop in drops:
            try:
                outcomes.append(self._decode(storage, drop))
            except TransientError:
                raise
            except Exception as error:
                log.warning("drop failed: %s", error, extra={"drop_id": drop.drop_id})
                failures.append(error)
        if failures:
            raise failures[0]
        return outcomes

    def plan(self, drop: Drop) -> SplitPlan | DropOutcome:
        """How a large drop is split; its outcome where an earlier attempt left one, or where it cannot be read."""
        storage = self.storage()
        recipe, done = self._settled(storage, drop)
        if done is not None:
            return done
        try:
            with ranged_source(storage, drop) as source, drop_siblings(storage, drop) as siblings:
                reader = open_reader(source, self.config, name_in_drive(drop), siblings)
                return SplitPlan(drop, source.size_bytes, tuple(reader.parts(self.config.part_bytes)))
        except FileNotFoundError as error:
            missing = BadInputError(f"version {drop.version_id} is not in the bucket", reason="object_missing")
            missing.__cause__ = error
            return write_rejection(storage, self.paths, drop, recipe, missing)
        except BadInputError:
            # The task that reads it whole finds the same, and has its hash.
            return SplitPlan(drop, drop.size_bytes, ())

    def hash_blocks(self, blocks: BlockRange) -> list[bytes]:
        """SHA-256 of each block, for the object's Merkle root."""
        storage = self.storage()
        with ranged_source(storage, blocks.drop, blocks.size_bytes) as source:
            return list(block_digests(source, blocks.first, blocks.exclusive_end))

    def decode_part(self, item: PartOfDrop) -> PartOutcome | None:
        """Decodes a part, or finds that an earlier attempt did; None where the object must be read whole."""
        storage = self.storage()
        folder = self.paths.decoded(self.recipe, item.drop.drop_id)
        done = finished_part(storage, folder, item.part.number)
        if done is not None:
            return done
        with (
            ranged_source(storage, item.drop, item.size_bytes) as source,
            drop_siblings(storage, item.drop) as siblings,
        ):
            try:
                return decode_part(
                    source,
                    item.part,
                    drop=item.drop,
                    object_sha256=item.object_sha256,
                    recipe=self.recipe,
                    config=self.config,
                    sink=storage,
                    paths=self.paths,
                    siblings=siblings,
                    guard=self._guard(storage),
                )
            except (PlanContradictedError, BadInputError) as error:
                log.warning("the object is read whole: %s", error, extra={"drop_id": item.drop.drop_id})
                return None

    def merge(self, plan: SplitPlan, object_sha256: str, parts: Sequence[PartOutcome]) -> DropOutcome:
        """Leaves the outcome of a drop whose parts have all been decoded."""
        outcome = merge_parts(
            parts, plan.drop, object_sha256=object_sha256, size_bytes=plan.size_bytes, recipe=self.recipe
        )
        write_outcome(self.storage(), self.paths.decoded(self.recipe, plan.drop.drop_id), outcome)
        return outcome

    def _guard(self, storage: Storage) -> Guard | None:
        return None if self.privacy is None else Guard(self.privacy, loaded_detector(self.privacy, storage))

    def _settled(self, storage: Storage, drop: Drop) -> tuple[str, DropOutcome | None]:
        """The recipe for a drop, and the outcome that an earlier attempt left by it.

        Where siblings that an outcome names hold something else now, the recipe is another one, and so on for an
        outcome left by that one: a decode that finds new siblings may have looked at more of them.
        """
        recipe = self.recipe
        while True:
            folder_uri = self.paths.decoded(recipe, drop.drop_id)
            left = _left_outcome(storage, folder_uri)
            now = [newest(storage, sibling.uri) for sibling in left.siblings] if left else []
            if left is None or are_same(left.siblings, now):
                return recipe, left if left and _is_whole(storage, folder_uri, left) else None
            recipe = recipe_with(recipe, now)

    def _decode(self, storage: Storage, drop: Drop) -> DropOutcome:
        recipe, done = self._settled(storage, drop)
        if done is not None:
            log.info("decoded before", extra={"drop_id": drop.drop_id})
            return done
        try:
            with opened_object(storage, drop) as (source, object_sha256):
                if drop.is_manifest:
                    outcome = decode_manifest(source, drop, object_sha256, recipe)
                    write_outcome(storage, self.paths.decoded(recipe, drop.drop_id), outcome)
                    return outcome
                with drop_siblings(storage, drop) as siblings:
                    return decode_object(
                        source,
                        drop=drop,
                        object_sha256=object_sha256,
                        recipe=recipe,
                        config=self.config,
                        sink=storage,
                        paths=self.paths,
                        siblings=siblings,
                        guard=self._guard(storage),
                    )
        except BadInputError as error:
            return write_rejection(storage, self.paths, drop, recipe, error)


def finished_part(storage: Storage, folder_uri: str, number: int) -> PartOutcome | None:
    """The part's outcome that an earlier attempt left, if everything that it names is still there."""
    try:
        outcome = PartOutcome.from_json(json.loads(storage.read(part_uri(folder_uri, number))))
        if not _are_there(storage, outcome.payload_files):
            return None
        for table in outcome.tables:
            storage.head(f"{folder_uri}/{table_file(table, number)}")
    except FileNotFoundError:
        return None
    return outcome


def _are_there(storage: Storage, files: Iterable[PayloadFile]) -> bool:
    return all(storage.head(file.uri).size_bytes == file.size_bytes for file in files)


def finished_outcome(storage: Storage, folder_uri: str) -> DropOutcome | None:
    """The outcome that an earlier attempt left, if everything that it names is still there."""
    outcome = _left_outcome(storage, folder_uri)
    return outcome if outcome and _is_whole(storage, folder_uri, outcome) else None


def _left_outcome(storage: Storage, folder_uri: str) -> DropOutcome | None:
    try:
        return DropOutcome.from_json(json.loads(storage.read(f"{folder_uri}/{OUTCOME_FILE}")))
    except FileNotFoundError:
        return None


def _is_whole(storage: Storage, folder_uri: str, outcome: DropOutcome) -> bool:
    try:
        if not _are_there(storage, outcome.payload_files):
            return False
        if outcome.channels:
            for table in (*outcome.tables, MESSAGE_INDEX.name):
                for uri in outcome.files(folder_uri, table):
                    storage.head(uri)
    except FileNotFoundError:
        return False
    return True
