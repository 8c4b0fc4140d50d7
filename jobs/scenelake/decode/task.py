"""What one task does for one drop: fetch, decode, or find that an earlier attempt already did.

It knows storage by protocols alone, so that Spark, another engine or a test can run it.
"""

import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DropOutcome
from scenelake.contracts.tables import MESSAGE_INDEX
from scenelake.decode.config import DecodeConfig
from scenelake.decode.drop import OUTCOME_FILE, decode_object, write_rejection
from scenelake.decode.fetch import RangeSource, fetch_object
from scenelake.decode.sinks import Sink

log = logging.getLogger(__name__)


class Storage(RangeSource, Sink, Protocol):
    """Object storage as a task needs it; ``adapters.objects`` fits."""

    def read(self, uri: str, *, version_id: str | None = None) -> bytes: ...


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
        storage = self.storage()
        done = finished_outcome(storage, self.paths.decoded(self.recipe, drop.drop_id))
        if done is not None:
            log.info("decoded before", extra={"drop_id": drop.drop_id})
            return done
        with tempfile.TemporaryDirectory(prefix="scenelake-decode-") as folder:
            path = Path(folder) / "object"
            try:
                object_sha256 = fetch_object(storage, drop, path)
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
