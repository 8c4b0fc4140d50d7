"""Decodes one dropped object from a local copy: the engine-neutral function that a task runs."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from scenelake.contracts.drops import Drop
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DropOutcome, DropVerdict, Problem
from scenelake.decode.config import DecodeConfig
from scenelake.decode.decoding import Decoding
from scenelake.decode.formats.blocks import Part, Source
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.siblings import Siblings
from scenelake.decode.parts import PartOutcome, merge_parts
from scenelake.decode.privacy.examine import Guard
from scenelake.decode.sinks import Sink

OUTCOME_FILE = "outcome.json"


def decode_object(
    source: Source,
    *,
    drop: Drop,
    object_sha256: str,
    recipe: str,
    config: DecodeConfig,
    sink: Sink,
    paths: LakePaths,
    siblings: Siblings | None = None,
    guard: Guard | None = None,
) -> DropOutcome:
    """Decodes an object and writes everything that decode leaves, ``outcome.json`` last.

    A bad object does not raise: its outcome is REJECTED with the reason, the URI and the byte. The same
    object and recipe give the same files, byte for byte.

    Args:
        guard: what camera frames are examined with before they are written; None leaves them as recorded.
    """
    folder = paths.decoded(recipe, drop.drop_id)
    with (
        tempfile.TemporaryDirectory(prefix="scenelake-decode-") as scratch,
        Decoding(object_sha256, recipe, config, paths, sink, Path(scratch), folder, guard=guard) as decoding,
    ):
        try:
            whole = decoding.run(open_reader(source, config, name_in_drive(drop), siblings))
            outcome = merge_parts(
                [whole], drop, object_sha256=object_sha256, size_bytes=source.size_bytes, recipe=recipe
            )
        except BadInputError as error:
            outcome = rejected(drop, object_sha256, recipe, error, decoding.problems, decoding.format)
    outcome = replace(outcome, siblings=tuple(siblings.versions) if siblings else ())
    write_outcome(sink, folder, outcome)
    return outcome


def decode_part(
    source: Source,
    part: Part,
    *,
    drop: Drop,
    object_sha256: str,
    recipe: str,
    config: DecodeConfig,
    sink: Sink,
    paths: LakePaths,
    siblings: Siblings | None = None,
    guard: Guard | None = None,
) -> PartOutcome:
    """Decodes one part of an object and writes its files, ``part-<number>.json`` last.

    Raises:
        PlanContradictedError: the object must be read whole.
        BadInputError: the object cannot be used at all.
    """
    folder = paths.decoded(recipe, drop.drop_id)
    with (
        tempfile.TemporaryDirectory(prefix="scenelake-part-") as scratch,
        Decoding(object_sha256, recipe, config, paths, sink, Path(scratch), folder, part.number, guard) as decoding,
    ):
        outcome = decoding.run(open_reader(source, config, name_in_drive(drop), siblings), part)
    sink.write(part_uri(folder, part.number), json.dumps(outcome.to_json(), indent=1, sort_keys=True).encode())
    return outcome


def name_in_drive(drop: Drop) -> str:
    """The object's path in its drive, by which a part of a dataset knows its place."""
    return drop.key.split("/", 3)[-1]


def part_uri(folder: str, number: int) -> str:
    """Where a part's outcome lies."""
    return f"{folder}/part-{number:05d}.json"


def write_rejection(sink: Sink, paths: LakePaths, drop: Drop, recipe: str, error: BadInputError) -> DropOutcome:
    """Leaves the outcome of an object that could not be fetched, or of a manifest that cannot be read."""
    outcome = rejected(drop, None, recipe, error)
    write_outcome(sink, paths.decoded(recipe, drop.drop_id), outcome)
    return outcome


def write_outcome(sink: Sink, folder: str, outcome: DropOutcome) -> None:
    """Leaves the outcome, which ends the decoding of a drop."""
    sink.write(f"{folder}/{OUTCOME_FILE}", json.dumps(outcome.to_json(), indent=1, sort_keys=True).encode())


def rejected(
    drop: Drop,
    object_sha256: str | None,
    recipe: str,
    error: BadInputError,
    problems: tuple[Problem, ...] = (),
    container: str | None = None,
) -> DropOutcome:
    """The outcome of an object that cannot be used at all."""
    where = "" if error.byte_offset is None else f" (byte {error.byte_offset})"
    return DropOutcome(
        drop_id=drop.drop_id,
        verdict=DropVerdict.REJECTED,
        reason=error.reason,
        detail=f"{drop.uri}: {error}{where}",
        format=container,
        object_sha256=object_sha256,
        size_bytes=drop.size_bytes,
        recipe=recipe,
        start_ns=None,
        exclusive_end_ns=None,
        problems=problems,
    )
