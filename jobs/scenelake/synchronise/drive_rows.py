"""Rows of ``drive``, ``raw_object`` and ``scene``."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from scenelake.contracts.stages import DropVerdict
from scenelake.synchronise.assign import Assignment
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.drives import DriveInput
from scenelake.synchronise.keyframes import Keyframes
from scenelake.synchronise.streams import column_ns


def drive_columns(drive: DriveInput, metadata: Mapping[str, str], assignment: Assignment) -> dict[str, Any]:
    """What the drive's key, its metadata and its reference say."""
    copied = ("robot_type", "embodiment", "software_version", "location")
    return {name: metadata.get(name) for name in copied} | {
        "fleet": drive.plan.fleet,
        "robot_id": drive.plan.vehicle,
        "drive_name": drive.plan.drive,
        "reference_channel": assignment.reference.channel if assignment.reference else None,
    }


def raw_object_rows(drive: DriveInput) -> list[dict[str, Any]]:
    """One row per object that decoded, copies included."""
    rows = []
    for item in sorted(drive.objects, key=lambda o: o.drop.drop_id):
        problems = [
            f"{p.reason}: {p.detail} [bytes {p.start_byte}, {p.exclusive_end_byte})" for p in item.outcome.problems
        ]
        rows.append(
            {
                "object_sha256": item.outcome.object_sha256,
                "drop_id": item.drop.drop_id,
                "recording_id": item.outcome.object_sha256,
                "uri": item.drop.uri,
                "s3_version_id": item.drop.version_id,
                "etag": item.drop.etag,
                "size_bytes": item.outcome.size_bytes,
                "format": item.outcome.format,
                "received_at_ns": item.drop.received_at_ns,
                "is_salvaged": item.outcome.verdict is DropVerdict.SALVAGED,
                "problem": "; ".join(problems) or None,
            }
        )
    return rows


def scene_rows(
    drive: DriveInput,
    language: pa.Table,
    metadata: Mapping[str, str],
    assignment: Assignment,
    keyframes: Sequence[Keyframes],
    dates: Sequence[date],
    config: SynchroniseConfig,
) -> list[dict[str, Any]]:
    """One row per scene. An episode without a task in its marks has the first thing that was said in it."""
    language = language.sort_by("timestamp_ns")
    said_ns = column_ns(language, "timestamp_ns")
    rows = []
    for number, (scene, extent) in enumerate(zip(assignment.scenes, assignment.extents, strict=True)):
        said = language["text"].slice(*_offset_and_length(extent.slice_of(said_ns))).to_pylist()
        is_episode = scene.kind == "episode"
        spoken = next((text for text in said if text), None) if is_episode else None
        rows.append(
            {
                "scene_id": assignment.scene_ids[number],
                "drive_id": drive.plan.drive_id,
                "start_ns": extent.start_ns,
                "exclusive_end_ns": extent.exclusive_end_ns,
                "kind": scene.kind,
                "task": scene.task or spoken or metadata.get("task"),
                "description": metadata.get("description"),
                "nbr_samples": len(keyframes[number].timestamps_ns),
                "segmentation_policy": config.segmentation_policy,
                "drive_date": dates[number],
            }
        )
    return rows


def _offset_and_length(run: slice) -> tuple[int, int]:
    return run.start, run.stop - run.start
