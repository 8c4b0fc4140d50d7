"""What one task does for one drop: fetch, decode, or find that an earlier attempt already did.

It knows storage by protocols alone, so that Spark, another engine or a test can run it.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DropOutcome
from scenelake.contracts.tables import MESSAGE_INDEX
from scenelake.decode.config import DecodeConfig
from scenelake.decode.drop import OUTCOME_FILE, decode_object, write_outcome, write_rejection
from scenelake.decode.fetch import RangeSource, fetch_object
from scenelake.decode.manifests import decode_manifest
from scenelake.decode.sinks import Sink

log = logging.getLogger(__name__)


class Storage(RangeSource, Sink, Protocol):
    """Object storage as a task needs it; ``adapters.objects`` fits."""


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """Decodes drops wherever it is sent.

    Attributes:
        storage: makes the storage client where the task runs; it must pickle.
    """

    storage: Callable[[], Storage]
    paths: LakePaths
    config: DecodeConfig
    recipe: str

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

    def _decode(self, storage: Storage, drop: Drop) -> DropOutcome:
        folder_uri = self.paths.decoded(self.recipe, drop.drop_id)
        done = finished_outcome(storage, folder_uri)
        if done is not None:
            log.info("decoded before", extra={"drop_id": drop.drop_id})
            return done
        with tempfile.TemporaryDirectory(prefix="scenelake-decode-") as folder:
            path = Path(folder) / "object"
            try:
                object_sha256 = fetch_object(storage, drop, path)
                if drop.is_manifest:
                    outcome = decode_manifest(path, drop, object_sha256, self.recipe)
                    write_outcome(storage, folder_uri, outcome)
                    return outcome
            except BadInputError as error:
                return write_rejection(storage, self.paths, drop, self.recipe, error)
            return decode_object(
                path,
                drop=drop,
                object_sha256=object_sha256,
                recipe=self.recipe,
                config=self.config,
                sink=storage,
                paths=self.paths,
            )


def finished_outcome(storage: Storage, folder_uri: str) -> DropOutcome | None:
    """The outcome that an earlier attempt left, if everything that it names is still there."""
    try:
        outcome = DropOutcome.from_json(json.loads(storage.read(f"{folder_uri}/{OUTCOME_FILE}")))
        for file in outcome.payload_files:
            if storage.head(file.uri).size_bytes != file.size_bytes:
                return None
        if outcome.channels:
            for table in (*outcome.tables, MESSAGE_INDEX.name):
                storage.head(f"{folder_uri}/{table}.parquet")
    except FileNotFoundError:
        return None
    return outcome
