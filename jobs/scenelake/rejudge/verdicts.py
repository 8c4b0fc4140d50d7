"""Which scenes another policy judges otherwise."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.tables import GOLD
from scenelake.quality.checks import Verdict
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import codes_of
from scenelake.quality.judge import findings_of, groups_of, ranks_of, result_table, verdict_table
from scenelake.timebase.arrays import Int64Array

_MEASURED = ("scene_id", "channel", "modality", "check_name", "check_version", "measured", "scale")
_JUDGED = ("scene_id", "channel", "check_name", "verdict")
_Signatures = dict[str, int]
_MASK = 0xFFFF_FFFF_FFFF_FFFF


class Parts(Protocol):
    """A table in parts that fit into memory one at a time (``adapters.table_parts``)."""

    @property
    def uris(self) -> Sequence[str]: ...

    def read(self, uri: str, columns: Sequence[str]) -> pa.Table: ...


@dataclass(frozen=True, slots=True)
class Rejudged:
    """What a policy says otherwise than a release does.

    Attributes:
        worst: rank of the verdict of every scene that was measured.
        results: ``qc_result`` of every scene of which a finding changed.
        verdicts: of these scenes (``SCENE_VERDICT_SCHEMA``).
    """

    worst: dict[str, int]
    results: pa.Table
    verdicts: pa.Table

    @property
    def scene_ids(self) -> list[str]:
        found: list[str] = self.verdicts["scene_id"].to_pylist()
        return found


def rejudge(measurements: Parts, results: Parts, policy: QualityPolicy) -> Rejudged:
    """Judges every scene by its measurements.

    Each table is read once in its narrow columns; the wide ones only of files that hold a scene with a change.

    Args:
        measurements: ``qc_measurement``.
        results: ``qc_result`` as it stands.
    """
    now: _Signatures = {}
    worst: dict[str, int] = {}
    holds: dict[str, list[str]] = {}
    for uri in measurements.uris:
        part = measurements.read(uri, _MEASURED)
        _, ranks = ranks_of(part, policy)
        holds[uri] = _raise(worst, part, ranks)
        is_bad = ranks > Verdict.PASS.rank
        _add(now, part.filter(pa.array(is_bad)), ranks[is_bad])
    before: _Signatures = {}
    for uri in results.uris:
        part = results.read(uri, _JUDGED)
        codes, names = codes_of(part["verdict"])
        _add(before, part, np.array([Verdict(n).rank for n in names], np.int64)[codes])
    changed = {scene for scene in worst if before.get(scene) != now.get(scene)}
    touched = (uri for uri, scenes in holds.items() if not changed.isdisjoint(scenes))
    restated = _restated(measurements, touched, changed, policy)
    return Rejudged(worst, restated, verdict_table(sorted(changed), restated))


def _restated(measurements: Parts, uris: Iterable[str], scene_ids: Collection[str], policy: QualityPolicy) -> pa.Table:
    wanted = pa.array(sorted(scene_ids), pa.string())
    parts = [GOLD["qc_result"].schema.empty_table()]
    for uri in uris:
        part = measurements.read(uri, GOLD["qc_measurement"].columns)
        part = part.filter(pc.is_in(part["scene_id"].cast(pa.string()), value_set=wanted))
        parts.append(findings_of(result_table(part.cast(GOLD["qc_measurement"].schema), policy)))
    return pa.concat_tables(parts)


def _add(signatures: _Signatures, part: pa.Table, ranks: Int64Array) -> None:
    """Adds up, by scene, a number for each row: of its check, channel and verdict, whatever the order of rows."""
    group, names = groups_of(part, ("check_name", "channel"))
    salts = np.array([_salt(*name) for name in names], np.uint64)
    scenes, scene_ids = codes_of(part["scene_id"])
    totals = np.zeros(len(scene_ids), np.uint64)
    if len(part):
        np.add.at(totals, scenes, _mixed(salts[group] + ranks.astype(np.uint64)))
    # A dictionary may name scenes that no row of the part is of.
    for code in np.unique(scenes).tolist():
        signatures[scene_ids[code]] = (signatures.get(scene_ids[code], 0) + int(totals[code])) & _MASK


def _raise(worst: dict[str, int], part: pa.Table, ranks: Int64Array) -> list[str]:
    """Raises each scene to the worst of its rows; returns the scenes of the part."""
    scenes, scene_ids = codes_of(part["scene_id"])
    found = np.full(len(scene_ids), Verdict.PASS.rank, np.int64)
    np.maximum.at(found, scenes, ranks)
    for scene_id, rank in zip(scene_ids, found.tolist(), strict=True):
        worst[scene_id] = max(worst.get(scene_id, rank), rank)
    return scene_ids


def _salt(check_name: str | None, channel: str | None) -> int:
    return int.from_bytes(hashlib.blake2b(repr((check_name, channel)).encode(), digest_size=8).digest(), "big")


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): else one verdict up would hide another one down."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def restated_scenes(rows: pa.Table, verdicts: pa.Table, released: Collection[str], release_id: str) -> pa.Table:
    """``release_scene`` rows of the scenes that changed, as the new verdicts have them.

    Args:
        rows: the scenes' rows in the parent release.
        released: scenes that a person released: they stay, whatever a policy says.
    """
    said: Mapping[str, tuple[str, str | None]] = {
        row["scene_id"]: (row["verdict"], row["reason"]) for row in verdicts.to_pylist()
    }
    return pa.Table.from_pylist(
        [_restated_scene(row, *said[row["scene_id"]], row["scene_id"] in released, release_id) for row in _dicts(rows)],
        schema=GOLD["release_scene"].schema,
    )


def _dicts(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches():
        yield from batch.to_pylist()


def _restated_scene(
    row: dict[str, Any], verdict: str, reason: str | None, is_released: bool, release_id: str
) -> dict[str, Any]:
    if is_released:
        return row | {"verdict": verdict, "release_id": release_id}
    because = f"quality says {verdict}" + (f": {reason}" if reason else "")
    is_kept = Verdict(verdict).rank <= Verdict.WARN.rank
    return row | {"verdict": verdict, "is_kept": is_kept, "kept_because": because, "release_id": release_id}
