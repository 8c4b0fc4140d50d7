"""WebDataset shards: plain tar files in which a sample is a run of members with one key.

Format: github.com/webdataset/webdataset; a member ``<key>.<name>.<ext>`` is the sample's field ``<name>.<ext>``.
"""

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from scenelake.contracts.columns import POSE
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.release_reader import ReleaseReader
from scenelake.export.config import Selection, WebDatasetConfig
from scenelake.export.folder import write_json
from scenelake.export.images import BATCH, CameraReader, Unusable
from scenelake.export.names import ChannelNames
from scenelake.export.points import LIDAR_COLUMNS, RADAR_COLUMNS, sweeps
from scenelake.export.scenes import Match, Scene, SceneSource
from scenelake.export.summary import Progress, Summary

IMU_COLUMNS = ("ax_m_s2", "ay_m_s2", "az_m_s2", "wx_rad_s", "wy_rad_s", "wz_rad_s")
_VALUE_COLUMNS = {"imu": IMU_COLUMNS, "ego_pose": tuple(field.name for field in POSE)}
_ROWS = {
    "action": ("names", "position"),
    "robot_state": ("names",),
    "language": ("text",),
    "gnss": ("latitude_deg", "longitude_deg", "altitude_m", "fix_status"),
    "annotation": ("annotation_id", "track_id", "category", "frame_id", "sensor_from_box", "size_m", "score"),
}
"""Columns of the small tables that go into a sample, by modality."""
_SWEEPS = {"lidar": LIDAR_COLUMNS, "radar": RADAR_COLUMNS}
Members = dict[str, bytes]
"""A sample's files by the end of their name."""


def export_webdataset(
    reader: ReleaseReader,
    folder: Path,
    selection: Selection,
    config: WebDatasetConfig,
    summary: Summary,
    progress: Progress,
) -> None:
    """Writes every sample of the chosen scenes into an empty folder, and ``manifest.json``.

    Raises:
        BadInputError: reason ``nothing_to_export``.
    """
    source = SceneSource(reader, selection, ("drive_segment", "episode"))
    export = _Export(source, summary)
    with closing(_Shards(folder, config.shard_bytes)) as shards:
        for number, scene in enumerate(source.scenes):
            progress(number, len(source.scenes), f"scene {scene.scene_id[:8]}")
            count = 0
            for key, members in export.samples(scene):
                shards.add(key, members)
                count += 1
            if count:
                summary.wrote("scenes")
                summary.wrote("samples", count)
            else:
                summary.leave_out("scenes", "no_samples", scene.scene_id)
    if not shards.closed:
        raise BadInputError("no scene has a sample: nothing to export", reason="nothing_to_export")
    write_json(
        folder / "manifest.json",
        {
            "release_id": reader.release.release_id,
            "merkle_root": reader.release.merkle_root,
            "nbr_samples": summary.written["samples"],
            "shards": shards.closed,
            "channels": export.channels(),
        },
    )
    summary.wrote("shards", len(shards.closed))


class _Shards:
    """Tar files of samples; the bytes depend on the members alone."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._tar: tarfile.TarFile | None = None
        self._path = folder
        self._count = 0
        self.closed: list[dict[str, Any]] = []

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        if self._tar is None:
            self._path = self._folder / f"shard-{len(self.closed):06d}.tar"
            self._tar = tarfile.open(self._path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        for name, data in sorted(members.items()):
            header = tarfile.TarInfo(f"{key}.{name}")
            header.size, header.mode = len(data), 0o644
            self._tar.addfile(header, io.BytesIO(data))
        self._count += 1
        if self._tar.offset >= self._max_bytes:
            self.close()

    def close(self) -> None:
        """Ends the open shard, if there is one, and accounts for it."""
        if self._tar is None:
            return
        self._tar.close()
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self._path.stat().st_size
        shard = {"name": self._path.name, "nbr_samples": self._count, "size_bytes": size, "sha256": digest}
        self.closed.append(shard)
        self._tar, self._count = None, 0


class _Export:
    def __init__(self, source: SceneSource, summary: Summary) -> None:
        self._source = source
        self._summary = summary
        self._names = ChannelNames()
        self._cameras = CameraReader(source.reader)
        self._channels: dict[str, dict[str, Any]] = {}

    def channels(self) -> dict[str, dict[str, Any]]:
        """By the name of their members: topic, modality and columns."""
        return dict(sorted(self._channels.items()))

    def samples(self, scene: Scene) -> Iterator[tuple[str, Members]]:
        """Key and members of each sample, by frame; payloads are held for a few samples at a time."""
        samples = self._source.samples(scene).to_pylist()
        matches = self._source.matches(scene)
        rows = {m.channel: self._small_rows(scene, m) for m in matches if m.modality in _ROWS}
        for start in range(0, len(samples), BATCH):
            frames = range(start, min(start + BATCH, len(samples)))
            members: dict[int, Members] = {frame: {} for frame in frames}
            told: dict[int, dict[str, Any]] = {frame: {} for frame in frames}
            for match in matches:
                inside = np.flatnonzero((match.frames >= frames.start) & (match.frames < frames.stop))
                if len(inside):
                    part = match.take(inside)
                    self._add_match(scene, part, rows.get(match.channel, {}), members, told)
            for frame in frames:
                document = self._document(scene, samples[frame], told[frame])
                members[frame]["json"] = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
                yield f"{scene.scene_id}/{frame:06d}", members[frame]

    def _document(self, scene: Scene, sample: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "sample_id": sample["sample_id"],
            "timestamp_ns": sample["timestamp_ns"],
            "frame_index": sample["frame_index"],
            "scene_id": scene.scene_id,
            "drive_id": scene.drive_id,
            "kind": scene.kind,
            "task": scene.task,
            "split": scene.split,
            "channels": dict(sorted(told.items())),
        }

    def _add_match(
        self,
        scene: Scene,
        match: Match,
        rows: Mapping[str, list[dict[str, Any]]],
        members: Mapping[int, Members],
        told: Mapping[int, dict[str, Any]],
    ) -> None:
        """Adds one channel's part to samples: files, and what the sample's JSON says of it."""
        name = self._name(match)
        messages = match.messages["sample_data_id"].to_pylist()
        stamps_ns = match.messages["timestamp_ns"].to_pylist()
        contents = self._contents(scene, match, rows)
        columns = (match.frames.tolist(), messages, stamps_ns, match.delta_ns.tolist(), contents)
        for frame, message, stamp_ns, delta_ns, content in zip(*columns, strict=True):
            if isinstance(content, Unusable):
                self._summary.leave_out(f"{match.modality} messages", content.reason, content.detail or message)
                continue
            files, facts = content
            members[frame].update({f"{name}.{suffix}": data for suffix, data in files.items()})
            said = {"sample_data_id": message, "timestamp_ns": stamp_ns, "delta_ns": delta_ns}
            told[frame][name] = said | facts
            self._summary.wrote(f"{match.modality} matches")

    def _contents(
        self, scene: Scene, match: Match, rows: Mapping[str, list[dict[str, Any]]]
    ) -> Iterator[tuple[Members, dict[str, Any]] | Unusable]:
        table = match.messages["payload_table"][0].as_py()
        if table in ("camera_frame", "depth_frame"):
            for still in self._cameras.stills(match.messages, self._source.channel_around(scene, match.channel)):
                facts = {} if isinstance(still, Unusable) else {"is_recorded": still.is_recorded}
                yield still if isinstance(still, Unusable) else ({still.suffix: still.data}, facts)
        elif match.modality in _SWEEPS:
            columns = _SWEEPS[match.modality]
            payloads = self._source.reader.payloads(match.messages, columns)
            for has_points, points in zip(
                pc.is_valid(payloads["x_m"]).to_pylist(), sweeps(payloads, columns), strict=True
            ):
                yield ({"npy": _npy(points)}, {}) if has_points else Unusable("no_points", "")
        else:
            for message, values in zip(match.messages["sample_data_id"].to_pylist(), match.values, strict=True):
                yield _small(match.modality, values, _plain(rows.get(message, [])))

    def _small_rows(self, scene: Scene, match: Match) -> dict[str, list[dict[str, Any]]]:
        """Rows of a small table by message."""
        columns = ("sample_data_id", *_ROWS[match.modality])
        rows = self._source.around(scene, match.modality, columns)
        rows = rows.filter(pc.is_in(rows["sample_data_id"], match.messages["sample_data_id"].combine_chunks()))
        found: dict[str, list[dict[str, Any]]] = {}
        for row in rows.to_pylist():
            found.setdefault(row.pop("sample_data_id"), []).append(row)
        return found

    def _name(self, match: Match) -> str:
        name = f"{match.modality}.{self._names(match.modality, match.channel)}".replace(".", "_")
        if name not in self._channels:
            columns = _SWEEPS.get(match.modality) or _VALUE_COLUMNS.get(match.modality)
            said = {"topic": match.channel, "modality": match.modality}
            self._channels[name] = said | ({"columns": list(columns)} if columns else {})
        return name


def _small(modality: str, values: np.ndarray, rows: list[dict[str, Any]]) -> tuple[Members, dict[str, Any]] | Unusable:
    """A vector as an array file, with its names; anything else as rows in the JSON."""
    if modality == "action":
        position = rows[0]["position"] if rows else None
        if position is None:
            return Unusable("no_position", "")
        return {"npy": _npy(np.array(position, np.float64))}, {"names": rows[0]["names"]}
    if modality == "robot_state":
        return {"npy": _npy(values)}, {"names": rows[0]["names"] if rows else None}
    if modality in _VALUE_COLUMNS:
        return {"npy": _npy(values)}, {}
    return {}, {"rows": rows} if rows else {}


def _plain(value: Any) -> Any:
    """The value for JSON, which has no numbers that are not finite: null stands for them."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
