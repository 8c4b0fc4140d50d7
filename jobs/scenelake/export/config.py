"""What is exported, and how."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Selection(_Frozen):
    """Which part of a release; everything where nothing is said.

    Attributes:
        drives: drive ids, names, or ``<fleet>/<vehicle>/<drive>``.
        scenes: scene ids, or beginnings of them.
        channels: topics of sensors, states and actions that are taken; others are as if never recorded.
    """

    drives: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def takes_channel(self, channel: str) -> bool:
        return not self.channels or channel in self.channels


class NuScenesConfig(_Frozen):
    """How nuScenes tables are written.

    Attributes:
        version: name of the tables' folder, what ``NuScenes(version=…)`` asks for.
        is_motion_compensated: LiDAR points are moved to their sweep's stamp, as nuScenes' own are, where the time of
            each and the ego's poses are known; else they are as recorded.
    """

    version: str = Field(default="v1.0-scenelake", pattern=r"^[A-Za-z0-9._-]+$")
    is_motion_compensated: bool = True


class LeRobotVersion(StrEnum):
    V30 = "v3.0"
    V21 = "v2.1"


class Images(StrEnum):
    """How a LeRobot dataset holds its cameras: as MP4, or as the recorded stills within the Parquet files."""

    VIDEO = "video"
    RECORDED = "recorded"


class LeRobotConfig(_Frozen):
    """How a LeRobot dataset is laid out.

    Attributes:
        has_modality: writes what GR00T adds: ``meta/modality.json``, ``meta/stats.json``.
        is_with_segments: drive segments are episodes too.
        fps: of the dataset; None takes the rate of the samples, rounded.
        qp: quantiser of the video, 0 (lossless) to 51.
        max_data_bytes, max_video_bytes: a v3.0 file that has grown so large is the last with these episodes.
    """

    version: LeRobotVersion = LeRobotVersion.V30
    has_modality: bool = False
    is_with_segments: bool = False
    fps: int | None = Field(default=None, ge=1, le=1000)
    images: Images = Images.VIDEO
    qp: int = Field(default=20, ge=0, le=51)
    max_data_bytes: int = Field(default=100 * 1024**2, gt=0)
    max_video_bytes: int = Field(default=200 * 1024**2, gt=0)


class WebDatasetConfig(_Frozen):
    """Attributes: shard_bytes: a shard that has grown so large is closed; a sample is never split."""

    shard_bytes: int = Field(default=256 * 1024**2, gt=0)
