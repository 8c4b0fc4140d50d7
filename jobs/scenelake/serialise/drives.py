"""The gold rows of one drive: which scenes are accepted, and what each table shall hold for it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import ScenelakeError
from scenelake.contracts.modalities import BATCHED_TABLES, NOTE_TABLES, SLOTTED_TABLES
from scenelake.contracts.reviews import Question, Review
from scenelake.contracts.stages import DrivePlan, DropOutcome, PayloadFile
from scenelake.contracts.tables import GOLD
from scenelake.serialise.accounts import ACCEPTED_VERDICTS, Accounts, message_accounts
from scenelake.serialise.canonical import conform, scene_hashes
from scenelake.serialise.quarantine import quarantine_rows, reviewed

SCENE_TABLES = ("scene", "sample", "sample_data", "sync_index", *BATCHED_TABLES, *NOTE_TABLES)
"""Tables whose rows are a scene's content."""

DRIVE_TABLES = (
    "drive", "raw_object", "calibrated_sensor", "message_account", "qc_measurement", "qc_result", "quarantine",
    "release_scene", "clock_fault",
)  # fmt: skip
"""Tables that are stated anew for a whole drive."""

ReviewLookup = Callable[[Sequence[Question]], Iterable[Review]]
"""``Ledger.reviews``."""


@dataclass(frozen=True, slots=True)
class DriveInput:
    """What earlier stages left about one drive.

    Attributes:
        tables: synchronise's and quality's tables by name; absent ones are empty.
        outcomes: decode's answer per drop.
        batched: decoded rows of the batched tables, of all objects of the drive.
        undecodable_ids: ``sample_data_id`` of messages that contradict their schema.
        synchronised_uri: folder with synchronise's tables of the drive, for evidence.
    """

    plan: DrivePlan
    tables: Mapping[str, pa.Table]
    outcomes: Mapping[str, DropOutcome]
    batched: Mapping[str, pa.Table]
    undecodable_ids: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    synchronised_uri: str = ""


@dataclass(frozen=True, slots=True)
class DriveRows:
    """What the gold tables shall hold for one drive.

    Attributes:
        scenes: ``{scene_id: content_hash}`` of the accepted scenes.
        verdicts: of all scenes, as people left them.
        rows: by table; those of scene tables are of accepted scenes only.
        payload_files: files that an accepted scene points to.
        evidence: ``{evidence_uri: document}`` of scenes that were held back.
        reviews: decisions that were honoured.
    """

    drive_id: str
    scenes: dict[str, str]
    verdicts: dict[str, str]
    rows: dict[str, pa.Table]
    payload_files: tuple[PayloadFile, ...]
    evidence: dict[str, dict[str, Any]]
    notes: dict[str, list[str]]
    reviews: tuple[Review, ...] = ()


def drive_rows(given: DriveInput, quarantine_uri: str, reviews: ReviewLookup = lambda questions: ()) -> DriveRows:
    """Works out the gold rows of a drive.

    A scene is reviewed under the hash of its own rows. The content hash of an accepted one differs from it where a
    keyframe matches a row of a neighbour that is not in gold.

    Raises:
        ScenelakeError: a scene without a verdict, an account out of balance, or a payload file that decode
            does not know.
    """
    said = _verdicts(given)
    every = _scene_tables(given)
    own = scene_hashes(every)
    decided = {r.scene_id: r for r in reviews([(scene, own[scene]) for scene in said]) if r.decision.is_final}
    verdicts = reviewed(said, decided)
    accepted = pa.array(sorted(s for s, v in verdicts.items() if v in ACCEPTED_VERDICTS), pa.string())
    before = every["sync_index"]
    every["sync_index"] = matched_in_gold(before, every["sample_data"], accepted)
    is_changed = pc.and_(pc.is_valid(before["sample_data_id"]), pc.is_null(every["sync_index"]["sample_data_id"]))
    changed = pc.unique(before["scene_id"].filter(is_changed))
    hashes = own | scene_hashes({name: _of_scenes(table, changed) for name, table in every.items()})
    rows = {name: _of_scenes(table, accepted) for name, table in every.items()}
    rows["scene"] = _with_hashes(rows["scene"], hashes)
    scenes = {s: hashes[s] for s in accepted.to_pylist()}
    accounts = _accounts(given, verdicts)
    stated = {r["scene_id"]: r for r in given.tables["scene_verdict"].to_pylist()} if said else {}
    checks = _table(given, "qc_result").to_pylist()
    decoded = {drop: uri for drop, uri in given.plan.decoded.items() if drop not in given.plan.duplicates}
    shown = {"decoded": decoded, "synchronised": given.synchronised_uri}
    every_scene = _table(given, "scene").to_pylist()
    quarantine, evidence = quarantine_rows(every_scene, stated, decided, own, checks, shown, quarantine_uri)
    rows |= {
        name: _table(given, name)
        for name in ("drive", "raw_object", "calibrated_sensor", "qc_measurement", "qc_result", "clock_fault")
    }
    rows |= {
        "message_account": accounts.rows,
        "quarantine": quarantine,
        "release_scene": _release_scenes(every_scene, scenes, stated, decided),
    }
    return DriveRows(
        given.plan.drive_id,
        scenes,
        verdicts,
        rows,
        _payload_files(given, rows["sample_data"]),
        evidence,
        accounts.notes,
        tuple(decided.values()),
    )


def _scene_tables(given: DriveInput) -> dict[str, pa.Table]:
    """Rows of all scenes, whatever their verdict; poses from transforms join those that were recorded as poses."""
    every = {name: _table(given, name) for name in ("scene", "sample", "sample_data", "sync_index")}
    every |= {name: in_scenes(rows, every["sample_data"], name) for name, rows in given.batched.items()}
    derived = _table(given, "ego_pose")
    every["ego_pose"] = pa.concat_tables([every.get("ego_pose", derived.slice(0, 0)), derived])
    return every


def in_scenes(decoded: pa.Table, sample_data: pa.Table, table: str) -> pa.Table:
    """Decoded rows of a batched table that belong to a scene, with the scene, drive, date and ruling time of their
    message: decode did not know of repairs."""
    found = pc.index_in(decoded["sample_data_id"], value_set=sample_data["sample_data_id"])
    rows = decoded.filter(pc.is_valid(found)).drop_columns(["timestamp_ns"])
    where = pc.drop_null(found)
    for name in ("scene_id", "drive_id", "drive_date", "timestamp_ns"):
        rows = rows.append_column(name, sample_data[name].take(where))
    return conform(rows, GOLD[table].schema)


def matched_in_gold(sync_index: pa.Table, sample_data: pa.Table, accepted: pa.Array) -> pa.Table:
    """The sync index, in which an accepted scene's match outside the accepted scenes is a miss.

    A keyframe near the edge of its segment may match a row of the neighbour. Where quality keeps that
    neighbour out of gold, gold must neither name the row nor use its values; ``delta_ns`` still tells how near
    it was. The scene's content, and so its hash, thereby follows the verdict on its neighbour.
    """
    in_gold = _of_scenes(sample_data, accepted)["sample_data_id"]
    matched = sync_index["sample_data_id"]
    is_lost = pc.and_(
        pc.is_in(sync_index["scene_id"], value_set=accepted),
        pc.and_(pc.is_valid(matched), pc.invert(pc.is_in(matched, value_set=in_gold))),
    )
    for name, missed in (("sample_data_id", None), ("value", None), ("is_match", False)):
        at, column = sync_index.column_names.index(name), sync_index[name]
        replaced = pc.if_else(is_lost, pa.scalar(missed, column.type), column)
        sync_index = sync_index.set_column(at, sync_index.schema.field(at), replaced)
    return sync_index


def _table(given: DriveInput, name: str) -> pa.Table:
    schema = GOLD[name].schema
    found = given.tables.get(name)
    return schema.empty_table() if found is None else conform(found, schema)


def _of_scenes(rows: pa.Table, scene_ids: pa.Array) -> pa.Table:
    return rows.filter(pc.is_in(rows["scene_id"], value_set=scene_ids))


def _verdicts(given: DriveInput) -> dict[str, str]:
    verdicts = given.tables.get("scene_verdict")
    found = (
        {} if verdicts is None else dict(zip(*(verdicts[c].to_pylist() for c in ("scene_id", "verdict")), strict=True))
    )
    scenes = _table(given, "scene")["scene_id"].to_pylist()
    missing = sorted(set(scenes) - set(found))
    if missing:
        raise ScenelakeError(f"drive {given.plan.drive_id}: expected a verdict for every scene, none for {missing[:5]}")
    return {scene: found[scene] for scene in scenes}


def _with_hashes(scenes: pa.Table, hashes: Mapping[str, str]) -> pa.Table:
    column = pa.array([hashes[s] for s in scenes["scene_id"].to_pylist()], pa.string())
    at = scenes.column_names.index("content_hash")
    return scenes.set_column(at, scenes.schema.field(at), column)


def _accounts(given: DriveInput, verdicts: Mapping[str, str]) -> Accounts:
    objects = _table(given, "raw_object")
    dates = dict(zip(objects["drop_id"].to_pylist(), objects["drive_date"].to_pylist(), strict=True))
    unassigned = given.tables.get("unassigned")
    if unassigned is None:
        unassigned = pa.table(
            {c: pa.array([], pa.string()) for c in ("sample_data_id", "object_sha256", "channel", "reason")}
        )
    sample_data = _table(given, "sample_data")
    return message_accounts(
        given.plan, given.outcomes, sample_data, unassigned, verdicts, given.undecodable_ids, dates
    )  # fmt: skip


def _release_scenes(
    every_scene: Sequence[Mapping[str, Any]],
    scenes: Mapping[str, str],
    stated: Mapping[str, Mapping[str, Any]],
    decided: Mapping[str, Review],
) -> pa.Table:
    """Policy about the accepted scenes; the commit fills in ``release_id`` and the split."""

    def why(scene_id: str) -> str:
        review, said = decided.get(scene_id), stated[scene_id]
        if review is not None:
            return f"released by {review.reviewer}" + (f": {review.note}" if review.note else "")
        return f"quality says {said['verdict']}" + (f": {said['reason']}" if said["reason"] else "")

    rows = [
        {
            "scene_id": scene["scene_id"],
            "drive_id": scene["drive_id"],
            "revision": scenes[scene["scene_id"]],
            "verdict": stated[scene["scene_id"]]["verdict"],
            "is_kept": True,
            "kept_because": why(scene["scene_id"]),
            "drive_date": scene["drive_date"],
        }
        for scene in every_scene
        if scene["scene_id"] in scenes
    ]
    return pa.Table.from_pylist(rows, GOLD["release_scene"].schema)


def _payload_files(given: DriveInput, sample_data: pa.Table) -> tuple[PayloadFile, ...]:
    known = {f.uri: f for outcome in given.outcomes.values() for f in outcome.payload_files}
    slotted = sample_data.filter(pc.is_in(sample_data["payload_table"], value_set=pa.array(SLOTTED_TABLES)))
    wanted = sorted(pc.unique(slotted["payload_file"]).drop_null().to_pylist())
    missing = [uri for uri in wanted if uri not in known]
    if missing:
        raise ScenelakeError(f"drive {given.plan.drive_id}: payload files that no outcome lists: {missing[:5]}")
    return tuple(known[uri] for uri in wanted)
