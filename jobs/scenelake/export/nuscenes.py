"""nuScenes v1.0: tables, camera images as recorded, LiDAR as ``.pcd.bin``, radar as ``.pcd``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.release_reader import ReleaseReader
from scenelake.export.config import NuScenesConfig, Selection
from scenelake.export.drives import Drive
from scenelake.export.folder import write_json
from scenelake.export.images import CameraReader, Still, Unusable
from scenelake.export.keyframes import Keyframes
from scenelake.export.names import ChannelNames, short_name
from scenelake.export.nuscenes_boxes import SceneBoxes
from scenelake.export.nuscenes_drive import add_calibration, open_drive
from scenelake.export.nuscenes_sweeps import SweepFile, SweepMount, SweepReader
from scenelake.export.nuscenes_tables import (
    MAP_FILE,
    NuScenesTables,
    lake_token,
    microseconds,
    quaternion,
    translation,
)
from scenelake.export.poses import poses_at
from scenelake.export.scenes import Scene, SceneSource
from scenelake.export.summary import Progress, Summary
from scenelake.geometry.poses import IDENTITY
from scenelake.geometry.trajectory import Trajectory
from scenelake.timebase.arrays import Int64Array

TABLE_OF = {"camera": "camera_frame", "lidar": "lidar_sweep", "radar": "radar_sweep"}


@dataclass(frozen=True, slots=True)
class _Message:
    """A file that was written, before its row is linked."""

    token: str
    timestamp_ns: int
    frame: int | None
    calibration: str
    filename: str
    fileformat: str
    width_px: int = 0
    height_px: int = 0


@dataclass(frozen=True, slots=True)
class _Scene:
    """A scene that is being written.

    Attributes:
        stamps_ns, tokens: of its samples.
        frames: positions of the samples that messages are keyframes of.
    """

    scene: Scene
    drive: Drive
    stamps_ns: Int64Array
    tokens: list[str]
    trajectory: Trajectory
    frames: dict[str, int]
    boxes: SceneBoxes


def export_nuscenes(
    reader: ReleaseReader,
    folder: Path,
    selection: Selection,
    config: NuScenesConfig,
    summary: Summary,
    progress: Progress,
) -> None:
    """Writes the chosen scenes of both kinds into an empty folder.

    Raises:
        BadInputError: reason ``nothing_to_export``.
    """
    source = SceneSource(reader, selection, ("drive_segment", "episode"))
    with NuScenesTables(folder / config.version) as tables:
        export = _Export(source, folder, tables, config, summary)
        for number, scene in enumerate(source.scenes):
            progress(number, len(source.scenes), f"scene {scene.scene_id[:8]}")
            export.scene(scene)
        if not tables.count("scene"):
            raise BadInputError(
                "no scene has both samples and messages of a camera, LiDAR or radar: nothing to export",
                reason="nothing_to_export",
            )
        tables.close_logs()
    (folder / MAP_FILE).parent.mkdir()
    (folder / MAP_FILE).write_bytes(cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes())
    if export.splits:
        write_json(folder / config.version / "splits.json", export.splits)
    summary.measured["channel_names"] = export.names.by_channel(prefixed=True)
    summary.remark("times are whole microseconds, as nuScenes has them: nanoseconds are cut off")
    summary.remark("there is no map: the one in the tables is one black pixel")


class _Export:
    def __init__(
        self, source: SceneSource, folder: Path, tables: NuScenesTables, config: NuScenesConfig, summary: Summary
    ) -> None:
        self.names = ChannelNames()
        self.splits: dict[str, list[str]] = {}
        self._source = source
        self._folder = folder
        self._tables = tables
        self._config = config
        self._summary = summary
        self._keyframes = Keyframes(source, tuple(TABLE_OF))
        self._cameras = CameraReader(source.reader)
        self._drive = Drive("", None, None, {})

    def scene(self, scene: Scene) -> None:
        samples = self._source.samples(scene)
        if not len(samples):
            self._summary.leave_out("scenes", "no_samples", scene.scene_id)
            return
        if scene.drive_id != self._drive.drive_id:
            self._drive = open_drive(self._source, scene, self._tables, self._summary)
        trajectory = self._drive.trajectory(self._source, scene)
        frames, taken, nbr_lost = self._keyframes.of(scene)
        self._summary.leave_out("keyframes", "message_serves_a_closer_sample", scene.scene_id, nbr_lost)
        boxes = SceneBoxes(self._source, scene, trajectory, self._drive, self._summary)
        stamps_ns = np.asarray(samples["timestamp_ns"], np.int64)
        tokens = [lake_token(s) for s in samples["sample_id"].to_pylist()]
        made = _Scene(scene, self._drive, stamps_ns, tokens, trajectory, frames, boxes)
        nbr_files = 0
        for modality, messages in self._channels(scene, frames, taken):
            written = list(self._files(made, modality, messages))
            self._link(made, written)
            nbr_files += len(written)
        if not nbr_files:
            self._summary.leave_out("scenes", "no_camera_lidar_or_radar", scene.scene_id)
            return
        self._scene_rows(scene, stamps_ns, tokens)
        boxes.write(self._tables, tokens)

    def _channels(self, scene: Scene, frames: dict[str, int], taken: frozenset[str]) -> Iterator[tuple[str, pa.Table]]:
        """Each channel with its messages in the order of time: the scene's own, less those that neighbours' samples
        took, and those that its samples took from neighbours."""
        own = self._source.messages(scene.scene_id)
        own = own.filter(pc.invert(pc.is_in(own["sample_data_id"], pa.array(sorted(taken), pa.string()))))
        near = [self._source.messages(n) for n in scene.neighbours]
        wanted = pa.array(sorted(frames), pa.string())
        every = pa.concat_tables([own, *(t.filter(pc.is_in(t["sample_data_id"], wanted)) for t in near)])
        for modality, table in TABLE_OF.items():
            is_kind = pc.and_(pc.equal(every["modality"], modality), pc.equal(every["payload_table"], table))
            of_kind = every.filter(is_kind)
            for channel in sorted(pc.unique(of_kind["channel"]).to_pylist()):
                rows = of_kind.filter(pc.equal(of_kind["channel"], channel))
                yield modality, rows.sort_by([("timestamp_ns", "ascending"), ("sample_data_id", "ascending")])

    def _files(self, made: _Scene, modality: str, messages: pa.Table) -> Iterator[_Message]:
        """Writes the files of one channel."""
        name = self.names.nuscenes(modality, messages["channel"][0].as_py())
        rows = messages.to_pylist()
        contents: Iterator[Still | SweepFile | Unusable]
        contents = self._stills(made, messages) if modality == "camera" else self._sweeps(made, modality, messages)
        for row, content in zip(rows, contents, strict=True):
            if isinstance(content, Unusable):
                example = content.detail or row["sample_data_id"]
                self._summary.leave_out(f"{modality} messages", content.reason, example)
                continue
            frame = made.frames.get(row["sample_data_id"])
            filename = self._write(made, name, row, content, is_sample=frame is not None)
            calibration = add_calibration(self._tables, made.drive, row, name, self._summary)
            own = (lake_token(row["sample_data_id"]), row["timestamp_ns"], frame, calibration, filename)
            if isinstance(content, Still):
                yield _Message(*own, content.suffix, content.width_px, content.height_px)
                continue
            if frame is not None:
                poses, _ = poses_at(made.trajectory, np.array([row["timestamp_ns"]], np.int64))
                extrinsics = made.drive.ego_from_sensor(row)
                known = IDENTITY if extrinsics is None else extrinsics
                made.boxes.count_points(modality, frame, content.points, poses[0], known)
            yield _Message(*own, "pcd")

    def _write(
        self, made: _Scene, name: str, row: Mapping[str, Any], content: Still | SweepFile, *, is_sample: bool
    ) -> str:
        """Writes a file and returns its name. The token's beginning tells equal stamps apart."""
        log = short_name(str(self._source.drives[made.scene.drive_id]["drive_name"]))
        kind = "samples" if is_sample else "sweeps"
        own = lake_token(row["sample_data_id"])
        stamp_us = microseconds(row["timestamp_ns"])
        filename = f"{kind}/{name}/{log}-{own[:8]}__{name}__{stamp_us}.{content.suffix}"
        path = self._folder / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.data)
        self._summary.wrote(f"{row['modality']} {kind}")
        return filename

    def _stills(self, made: _Scene, messages: pa.Table) -> Iterator[Still | Unusable]:
        channel = messages["channel"][0].as_py()
        for still in self._cameras.stills(messages, self._source.channel_around(made.scene, channel)):
            if isinstance(still, Still) and not still.is_recorded:
                self._summary.remark(f"{channel} is no series of JPEG or PNG: its pictures were made into JPEG")
            yield still

    def _sweeps(self, made: _Scene, modality: str, messages: pa.Table) -> Iterator[SweepFile | Unusable]:
        reader = SweepReader(
            self._source.reader, made.trajectory, self._summary, is_compensated=self._config.is_motion_compensated
        )
        rows = messages.to_pylist()
        mounts = [SweepMount(made.drive.ego_from_sensor(row), made.drive.is_compensated(row)) for row in rows]
        yield from reader.files(modality, messages, mounts)

    def _link(self, made: _Scene, messages: list[_Message]) -> None:
        """Writes the rows of one channel's messages in a scene, which are in the order of time."""
        times_ns = np.array([m.timestamp_ns for m in messages], np.int64)
        poses, is_between = poses_at(made.trajectory, times_ns)
        if len(made.trajectory):
            reason = "no_pose_on_both_sides_so_the_nearest_stands_in"
            self._summary.leave_out("ego poses", reason, made.scene.scene_id, int((~is_between).sum()))
        following = np.searchsorted(made.stamps_ns, times_ns).clip(0, len(made.stamps_ns) - 1).tolist()
        names = ["", *(m.token for m in messages), ""]
        for i, message in enumerate(messages):
            pose = {"translation": translation(poses[i]), "rotation": quaternion(poses[i])}
            stamp_us = microseconds(message.timestamp_ns)
            self._tables.add("ego_pose", {"token": message.token, "timestamp": stamp_us, **pose})
            self._tables.add(
                "sample_data",
                {
                    "token": message.token,
                    "sample_token": made.tokens[following[i] if message.frame is None else message.frame],
                    "ego_pose_token": message.token,
                    "calibrated_sensor_token": message.calibration,
                    "timestamp": stamp_us,
                    "fileformat": message.fileformat,
                    "is_key_frame": message.frame is not None,
                    "height": message.height_px,
                    "width": message.width_px,
                    "filename": message.filename,
                    "prev": names[i],
                    "next": names[i + 2],
                },
            )

    def _scene_rows(self, scene: Scene, stamps_ns: Int64Array, tokens: list[str]) -> None:
        name = f"scene-{scene.scene_id[:8]}"
        if scene.split:
            self.splits.setdefault(scene.split, []).append(name)
        names = ["", *tokens, ""]
        own = lake_token(scene.scene_id)
        for i, stamp_ns in enumerate(stamps_ns.tolist()):
            sample = {"token": tokens[i], "timestamp": microseconds(stamp_ns), "prev": names[i], "next": names[i + 2]}
            self._tables.add("sample", {**sample, "scene_token": own})
        self._tables.add(
            "scene",
            {
                "token": own,
                "log_token": lake_token(scene.drive_id),
                "nbr_samples": len(tokens),
                "first_sample_token": tokens[0],
                "last_sample_token": tokens[-1],
                "name": name,
                "description": scene.task or scene.description or "",
            },
        )
        self._summary.wrote("scenes")
        self._summary.wrote("samples", len(tokens))
