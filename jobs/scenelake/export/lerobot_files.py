"""Where a LeRobot dataset's rows, videos and descriptions lie: v3.0 with many episodes a file, v2.1 with one.

Formats: github.com/huggingface/lerobot, ``src/lerobot/datasets`` (v3.0: ``lerobot_dataset.py``, ``utils.py``; v2.1:
``v30/convert_dataset_v21_to_v30.py`` reads it).
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from scenelake.export.config import LeRobotConfig
from scenelake.export.folder import JsonRows, write_json
from scenelake.export.statistics import Statistics
from scenelake.export.video import JoinedVideo

CHUNK = 1000
_EPISODES_AT_ONCE = 64
_INDEX = "__index_level_0__"
_VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
Info = dict[str, Any]


class EpisodeFiles(Protocol):
    """Writes episodes in order, then what is known once all are written."""

    def add(self, row: Mapping[str, Any], frames: pa.Table, videos: Mapping[str, Path], stats: Statistics) -> None:
        """One episode.

        Args:
            row: its description: ``episode_index``, ``tasks``, ``length`` and our own columns.
            frames: its rows of the data files.
            videos: an MP4 file by camera key; they are moved or copied from.
            stats: by feature.
        """

    def close_data(self) -> None:
        """Closes the data files and the videos, so that they can be read."""

    def data_files(self) -> Iterator[Path]:
        """Data files in the order of their rows, once they are closed."""

    def finish(self, info: Info, tasks: Sequence[str], stats: Mapping[str, Statistics]) -> None:
        """Writes the dataset's own description."""


class FilesV30:
    """Files of many episodes; a new one is begun where the last has grown large enough."""

    def __init__(self, folder: Path, config: LeRobotConfig, fps: int) -> None:
        self._folder = folder
        self._config = config
        self._fps = fps
        self._nbr_frames = 0
        self._data: pq.ParquetWriter | None = None
        self._data_number = -1
        self._data_bytes = 0
        self._videos: dict[str, JoinedVideo] = {}
        self._video_numbers: dict[str, int] = {}
        self._episodes: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []

    def add(self, row: Mapping[str, Any], frames: pa.Table, videos: Mapping[str, Path], stats: Statistics) -> None:
        chunk, file = self._add_frames(frames)
        place: dict[str, Any] = {
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self._nbr_frames,
            "dataset_to_index": self._nbr_frames + len(frames),
        }
        self._nbr_frames += len(frames)
        for key, path in videos.items():
            place |= {f"videos/{key}/{name}": value for name, value in self._add_video(key, path).items()}
        told = {f"stats/{key}/{name}": value for key, stat in stats.items() for name, value in stat.items()}
        self._rows.append({**row, **place, **told, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        if len(self._rows) >= _EPISODES_AT_ONCE:
            self._flush()

    def close_data(self) -> None:
        self._flush()
        for file in (self._data, self._episodes, *self._videos.values()):
            if file is not None:
                file.close()

    def finish(self, info: Info, tasks: Sequence[str], stats: Mapping[str, Statistics]) -> None:
        info |= {
            "data_files_size_in_mb": max(1, self._config.max_data_bytes // 1024**2),
            "video_files_size_in_mb": max(1, self._config.max_video_bytes // 1024**2),
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": _VIDEO_PATH if self._videos else None,
        }
        meta = self._folder / "meta"
        write_json(meta / "info.json", info)
        write_json(meta / "stats.json", stats)
        pq.write_table(_task_table(tasks), meta / "tasks.parquet")

    def data_files(self) -> Iterator[Path]:
        for number in range(self._data_number + 1):
            yield self._data_path(number)

    def _data_path(self, number: int) -> Path:
        return self._folder / f"data/chunk-{number // CHUNK:03d}/file-{number % CHUNK:03d}.parquet"

    def _add_frames(self, frames: pa.Table) -> tuple[int, int]:
        if self._data is None or self._data_bytes >= self._config.max_data_bytes:
            if self._data is not None:
                self._data.close()
            self._data_number += 1
            path = self._data_path(self._data_number)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(path, frames.schema)
        self._data.write_table(frames)
        self._data_bytes = self._data_path(self._data_number).stat().st_size
        return divmod(self._data_number, CHUNK)

    def _add_video(self, key: str, path: Path) -> dict[str, Any]:
        video = self._videos.get(key)
        if video is None or video.size_bytes >= self._config.max_video_bytes:
            if video is not None:
                video.close()
            number = self._video_numbers[key] = self._video_numbers.get(key, -1) + 1
            name = f"videos/{key}/chunk-{number // CHUNK:03d}/file-{number % CHUNK:03d}.mp4"
            video = self._videos[key] = JoinedVideo(self._folder / name, self._fps)
        first = video.nbr_frames
        video.append(path)
        chunk, file = divmod(self._video_numbers[key], CHUNK)
        return {
            "chunk_index": chunk,
            "file_index": file,
            "from_timestamp": first / self._fps,
            "to_timestamp": video.nbr_frames / self._fps,
        }

    def _flush(self) -> None:
        if not self._rows:
            return
        table = pa.Table.from_pylist(self._rows)
        success = table.schema.get_field_index("is_success")
        table = table.set_column(success, "is_success", table["is_success"].cast(pa.bool_()))
        if self._episodes is None:
            path = self._folder / "meta/episodes/chunk-000/file-000.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._episodes = pq.ParquetWriter(path, table.schema)
        self._episodes.write_table(table.cast(self._episodes.schema))
        self._rows.clear()


def _task_table(tasks: Sequence[str]) -> pa.Table:
    """Numbers of the tasks, with their texts as what pandas takes for the frame's index."""
    kinds = {"task_index": ("int64", "int64"), _INDEX: ("unicode", "object")}
    columns = [
        {
            "name": None if name == _INDEX else name,
            "field_name": name,
            "pandas_type": arrow,
            "numpy_type": numpy,
            "metadata": None,
        }
        for name, (arrow, numpy) in kinds.items()
    ]
    told = json.dumps({"index_columns": [_INDEX], "column_indexes": [], "columns": columns, "pandas_version": "2.3.3"})
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), _INDEX: pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": told})


class FilesV21:
    """A data file and a video of each camera for every episode, and descriptions in JSON lines."""

    def __init__(self, folder: Path, config: LeRobotConfig, fps: int) -> None:
        self._folder = folder
        self._config = config
        self._episodes = JsonRows(folder / "meta/episodes.jsonl", is_lines=True)
        self._stats = JsonRows(folder / "meta/episodes_stats.jsonl", is_lines=True)
        self._nbr_videos = 0

    def add(self, row: Mapping[str, Any], frames: pa.Table, videos: Mapping[str, Path], stats: Statistics) -> None:
        number = row["episode_index"]
        path = self._data_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(frames, path)
        for key, video in videos.items():
            target = self._folder / f"videos/chunk-{number // CHUNK:03d}/{key}/episode_{number:06d}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(video, target)
            self._nbr_videos += 1
        self._episodes.add(row)
        self._stats.add({"episode_index": number, "stats": stats})

    def close_data(self) -> None:
        self._episodes.close()
        self._stats.close()

    def finish(self, info: Info, tasks: Sequence[str], stats: Mapping[str, Statistics]) -> None:
        info |= {
            "total_videos": self._nbr_videos,
            "total_chunks": -(-len(self._episodes) // CHUNK),
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
            if self._nbr_videos
            else None,
        }
        meta = self._folder / "meta"
        write_json(meta / "info.json", info)
        with JsonRows(meta / "tasks.jsonl", is_lines=True) as rows:
            for number, task in enumerate(tasks):
                rows.add({"task_index": number, "task": task})
        if self._config.has_modality:
            write_json(meta / "stats.json", stats)

    def data_files(self) -> Iterator[Path]:
        for number in range(len(self._episodes)):
            yield self._data_path(number)

    def _data_path(self, number: int) -> Path:
        return self._folder / f"data/chunk-{number // CHUNK:03d}/episode_{number:06d}.parquet"
