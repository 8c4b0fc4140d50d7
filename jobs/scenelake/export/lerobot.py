"""LeRobot datasets, v3.0 and v2.1, and what GR00T adds to v2.1."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.release_reader import ReleaseReader
from scenelake.decode.video_access import Image
from scenelake.export.config import Images, LeRobotConfig, LeRobotVersion, Selection
from scenelake.export.episodes import (
    Camera,
    Episode,
    EpisodeReader,
    Signature,
    choose_fps,
    choose_signature,
    fits_rate,
)
from scenelake.export.folder import write_json
from scenelake.export.images import CameraReader, Still, Unusable
from scenelake.export.lerobot_features import ACTION, IMAGE_TYPE, STATE, data_schema, features_of, modality_of
from scenelake.export.lerobot_files import CHUNK, EpisodeFiles, FilesV21, FilesV30
from scenelake.export.scenes import Scene, SceneSource
from scenelake.export.statistics import PixelStatistics, Statistics, VectorStatistics, vector_statistics
from scenelake.export.summary import Progress, Summary
from scenelake.export.video import encode
from scenelake.timebase.arrays import FloatArray

NO_TASK = "unspecified"


def export_lerobot(
    reader: ReleaseReader,
    folder: Path,
    selection: Selection,
    config: LeRobotConfig,
    summary: Summary,
    progress: Progress,
) -> None:
    """Writes the chosen episodes that share most frames' signature and rate into an empty folder.

    Raises:
        BadInputError: reason ``nothing_to_export``.
    """
    kinds = ("episode", "drive_segment") if config.is_with_segments else ("episode",)
    source = SceneSource(reader, selection, kinds)
    for scene in source.of_other_kind:
        summary.leave_out("scenes", f"{scene.kind}_is_no_episode (--with-segments takes them)", scene.scene_id)
    cameras = CameraReader(reader)
    episodes = EpisodeReader(source, cameras, summary)
    signature, fps, scenes = _plan(source, episodes, config, summary, progress)
    summary.measured |= {"fps": fps, "signature": signature.describe()}
    with tempfile.TemporaryDirectory(prefix=".videos.", dir=folder.parent) as scratch:
        dataset = _Dataset(folder, Path(scratch), source, cameras, config, signature, fps, summary)
        with closing(dataset):
            for number, scene in enumerate(scenes):
                progress(number, len(scenes), f"episode {scene.scene_id[:8]}")
                episode = episodes.episode(scene, signature, fps)
                if episode is not None:
                    dataset.add(episode)
        dataset.finish()


def _plan(
    source: SceneSource, episodes: EpisodeReader, config: LeRobotConfig, summary: Summary, progress: Progress
) -> tuple[Signature, int, list[Scene]]:
    """What the dataset holds, its rate, and the scenes that fit, those of one split together."""
    planned: list[tuple[Scene, Signature, int, int]] = []
    for number, scene in enumerate(source.scenes):
        progress(number, len(source.scenes), f"looking at {scene.scene_id[:8]}")
        period_ns = episodes.period_ns(scene)
        signature = episodes.signature(scene)
        has_vectors = bool(signature.states or signature.actions)
        if not period_ns or not (has_vectors or signature.cameras):
            summary.leave_out("episodes", "no_two_samples_or_nothing_at_them", scene.scene_id)
        elif config.has_modality and not (signature.states and signature.actions and signature.cameras):
            summary.leave_out("episodes", "no_state_action_or_camera_which_groot_needs", scene.scene_id)
        else:
            planned.append((scene, signature, period_ns, len(source.samples(scene))))
    if not planned:
        raise BadInputError(
            f"{len(source.scenes)} episodes chosen, of which none has what this format needs: nothing to export"
            + ("; drive segments are taken with --with-segments" if source.of_other_kind else ""),
            reason="nothing_to_export",
        )
    signature = choose_signature([(s, count) for _, s, _, count in planned])
    fitting = [(scene, period, count) for scene, own, period, count in planned if own == signature]
    for scene, own, _, _ in planned:
        if own != signature:
            summary.leave_out("episodes", f"another kind: {own.describe()}", scene.scene_id)
    fps = config.fps or choose_fps([(period, count) for _, period, count in fitting])
    scenes = []
    for scene, period_ns, _ in fitting:
        if config.fps is None and not fits_rate(period_ns, fps):
            summary.leave_out("episodes", f"its rate is not {fps} Hz", f"{scene.scene_id}: {1e9 / period_ns:.2f} Hz")
        else:
            scenes.append(scene)
    splits = {name: i for i, name in enumerate(("train", "validation", "test"))}
    return signature, fps, sorted(scenes, key=lambda s: (splits.get(s.split or "train", len(splits)), s.split or ""))


class _Dataset:
    """A dataset that grows episode by episode."""

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        source: SceneSource,
        cameras: CameraReader,
        config: LeRobotConfig,
        signature: Signature,
        fps: int,
        summary: Summary,
    ) -> None:
        self._folder = folder
        self._scratch = scratch
        self._source = source
        self._cameras = cameras
        self._config = config
        self._signature = signature
        self._fps = fps
        self._summary = summary
        self._features = features_of(signature, config.images, fps)
        self._schema = data_schema(self._features)
        layout = FilesV30 if config.version is LeRobotVersion.V30 else FilesV21
        self._files: EpisodeFiles = layout(folder, config, fps)
        self._tasks: dict[str, int] = {}
        self._splits: dict[str, tuple[int, int]] = {}
        self._nbr_episodes = self._nbr_frames = 0
        self._pixels = {camera.key: PixelStatistics() for camera in signature.cameras}
        self._vectors: dict[str, VectorStatistics] = {}

    def add(self, episode: Episode) -> None:
        """Adds an episode, unless one of its pictures cannot be had."""
        pixels = {camera.key: PixelStatistics() for camera in self._signature.cameras}
        try:
            media = {c.key: self._media(episode, c, pixels[c.key]) for c in self._signature.cameras}
        except _NoPictureError as error:
            self._summary.leave_out("episodes", error.unusable.reason, error.unusable.detail or episode.scene.scene_id)
            return
        task = episode.scene.task or NO_TASK
        if not episode.scene.task:
            self._summary.remark(f"episodes without a task have the task {NO_TASK!r}")
        columns = self._columns(episode, self._tasks.setdefault(task, len(self._tasks)))
        stats: dict[str, Statistics] = {key: pixels[key].finish() for key in pixels}
        for key, values in columns.items():
            if key != "timestamp_ns":
                matrix = values.reshape(len(episode), -1).astype(np.float64)
                stats[key] = vector_statistics(matrix)
                self._vectors.setdefault(key, VectorStatistics()).add(matrix)
        for key, pixel in pixels.items():
            self._pixels[key].merge(pixel)
        row = {
            "episode_index": self._nbr_episodes,
            "tasks": [task],
            "length": len(episode),
            "scene_id": episode.scene.scene_id,
            "start_ns": int(episode.timestamps_ns[0]),
            "is_success": self._is_success(episode.scene),
        }
        videos = {key: path for key, path in media.items() if isinstance(path, Path)}
        stills = {key: images for key, images in media.items() if isinstance(images, pa.Array)}
        self._files.add(row, self._table(columns, stills), videos, stats)
        for path in videos.values():
            path.unlink(missing_ok=True)
        first = self._splits.get(episode.scene.split or "train", (self._nbr_episodes, 0))[0]
        self._nbr_episodes += 1
        self._nbr_frames += len(episode)
        self._splits[episode.scene.split or "train"] = (first, self._nbr_episodes)
        self._summary.wrote("episodes")
        self._summary.wrote("frames", len(episode))

    def close(self) -> None:
        """Closes the files of the episodes, so that they can be read."""
        self._files.close_data()

    def finish(self) -> None:
        """Writes what the dataset says of itself, once it is closed."""
        if not self._nbr_episodes:
            reasons = "; ".join(f"{count} {what}: {why}" for (what, why), count in self._summary.left_out.items())
            raise BadInputError(f"no episode is left to export: {reasons}", reason="nothing_to_export")
        info = {
            "codebase_version": str(self._config.version),
            "robot_type": self._signature.robot_type or "unknown",
            "total_episodes": self._nbr_episodes,
            "total_frames": self._nbr_frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK,
            "fps": self._fps,
            "splits": {name: f"{start}:{end}" for name, (start, end) in self._splits.items()},
            "features": self._features,
        }
        stats = {key: pixels.finish() for key, pixels in self._pixels.items()}
        for key, vector in self._vectors.items():
            stats[key] = vector.finish(partial(self._again, key))
        self._files.finish(info, list(self._tasks), stats)
        if self._config.has_modality:
            write_json(self._folder / "meta/modality.json", modality_of(self._signature))

    def _columns(self, episode: Episode, task: int) -> dict[str, Any]:
        frames = np.arange(len(episode))
        columns: dict[str, Any] = {}
        if self._signature.states:
            columns[STATE] = episode.state.astype(np.float32)
        if self._signature.actions:
            columns[ACTION] = episode.action.astype(np.float32)
        return columns | {
            "timestamp": (frames / self._fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(len(episode), self._nbr_episodes),
            "index": self._nbr_frames + frames,
            "task_index": np.full(len(episode), task),
            "timestamp_ns": episode.timestamps_ns,
        }

    def _table(self, columns: dict[str, Any], stills: dict[str, pa.Array]) -> pa.Table:
        arrays = []
        for field in self._schema:
            if field.name in stills:
                arrays.append(stills[field.name])
            else:
                flat = pa.array(columns[field.name].ravel())
                is_list = pa.types.is_fixed_size_list(field.type)
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, field.type.list_size) if is_list else flat)
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _again(self, key: str) -> Iterator[FloatArray]:
        """A feature's values from the data files, file by file."""
        for path in self._files.data_files():
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=[key]):
                    column = batch.column(0)
                    flat = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
                    yield flat.to_numpy(zero_copy_only=False).reshape(len(column), -1).astype(np.float64)

    def _media(self, episode: Episode, camera: Camera, pixels: PixelStatistics) -> Path | pa.Array:
        """The episode's pictures of one camera: a video file, or image files in a column."""
        rows = episode.images[camera.key]
        of_channel = self._source.channel_around(episode.scene, camera.channel)
        shown = self._checked(self._cameras.pictures(rows, of_channel), camera, pixels)
        if self._config.images is Images.VIDEO:
            path = self._scratch / f"{camera.key}.mp4"
            encode(path, shown, (camera.width_px, camera.height_px), self._fps, self._config.qp)
            return path
        for _ in shown:
            continue
        stills = list(self._cameras.stills(rows, of_channel))
        data = [s.data if isinstance(s, Still) else None for s in stills]
        names = [f"frame-{i:06d}.{s.suffix}" if isinstance(s, Still) else None for i, s in enumerate(stills)]
        return pa.StructArray.from_arrays([pa.array(data, pa.binary()), pa.array(names)], fields=list(IMAGE_TYPE))

    def _checked(
        self, pictures: Iterator[Image | Unusable], camera: Camera, pixels: PixelStatistics
    ) -> Iterator[Image]:
        for picture in pictures:
            if isinstance(picture, Unusable):
                raise _NoPictureError(picture)
            if picture.shape != (camera.height_px, camera.width_px, 3):
                height, width, _ = picture.shape
                detail = f"{camera.channel}: {width}x{height}, expected {camera.width_px}x{camera.height_px}"
                raise _NoPictureError(Unusable("image_size_differs", detail))
            pixels.add(picture)
            yield picture

    def _is_success(self, scene: Scene) -> bool | None:
        rows = self._source.rows(scene.scene_id, "episode", ("timestamp_ns", "event", "is_success")).to_pylist()
        said = [r["is_success"] for r in rows if r["event"] == "end" and r["is_success"] is not None]
        return said[-1] if said else None


class _NoPictureError(Exception):
    """A picture of an episode cannot be had."""

    def __init__(self, unusable: Unusable) -> None:
        super().__init__(unusable.detail)
        self.unusable = unusable
