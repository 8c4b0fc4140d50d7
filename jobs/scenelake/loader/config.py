"""What a sample is made of, and in which order samples come."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scenelake.contracts.modalities import Modality
from scenelake.contracts.splits import DEFAULT_SHARES

IMAGE_MODALITIES = (Modality.CAMERA,)
POINT_MODALITIES = (Modality.LIDAR, Modality.RADAR)
VALUE_MODALITIES = (Modality.IMU, Modality.EGO_POSE, Modality.ROBOT_STATE, Modality.ACTION)
_COMPENSATED = "radial_velocity_compensated_m_s"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Normalisation(StrEnum):
    """How values are brought to a common scale; statistics come from ``statistics``."""

    NONE = "none"
    MEAN_STD = "mean_std"
    MIN_MAX = "min_max"
    QUANTILES = "quantiles"


class ImageConfig(_Frozen):
    """Size and scale of the images of a stream; intrinsics follow.

    Attributes:
        height_px, width_px: of the result; None keeps what was recorded.
        mean, std: per channel (red, green, blue) on the scale of 0 to 1; given, images are float32, otherwise uint8.
        is_channels_first: (3, height, width) instead of (height, width, 3).
    """

    height_px: int | None = Field(default=None, ge=1, le=16_384)
    width_px: int | None = Field(default=None, ge=1, le=16_384)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    is_channels_first: bool = True

    @model_validator(mode="after")
    def _both(self) -> "ImageConfig":
        if (self.height_px is None) != (self.width_px is None) or (self.mean is None) != (self.std is None):
            raise ValueError("height_px goes with width_px, and mean with std")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std: expected positive numbers, got {self.std}")
        return self


class StreamConfig(_Frozen):
    """One channel of the release in a sample.

    Attributes:
        channel: topic.
        modality: as ``sync_index`` has it.
        first, exclusive_last: keyframes around each frame of the window that the stream gives: (0, 1) the frame
            itself, (-3, 1) with three before it, (0, 16) a chunk of 16 actions.
        width: numbers per row of a value stream; shorter rows are refused, because padding them would make up data.
            None takes what the rows have.
        normalisation: of a value stream, by the loader's statistics.
        image: of an image stream.
        max_points: of a point stream; more are thinned at random (seeded), fewer are padded.
        point_columns: of ``lidar_sweep`` or ``radar_sweep``; the first three are the position.
        is_in_ego: points are moved to the ego frame, which needs the sensor's extrinsics.
        is_compensated: the ego's motion is taken out where poses allow it: LiDAR points are those seen at the
            sweep's stamp, and a radar's ``radial_velocity_compensated_m_s`` is worked out where it was not recorded.
        categories: of an annotation stream; a box's class is the position here, or -1.
        noise_std: standard deviation of Gaussian noise on values (their unit), on point positions (metres) or on
            images (grey levels of 255), in training only.
        dropout: share of points that noise takes away.
    """

    channel: str
    modality: Modality
    first: int = Field(default=0, ge=-10_000, le=10_000)
    exclusive_last: int = Field(default=1, ge=-9_999, le=10_001)
    width: int | None = Field(default=None, ge=1)
    normalisation: Normalisation = Normalisation.NONE
    image: ImageConfig = ImageConfig()
    max_points: int = Field(default=32_768, ge=1)
    point_columns: tuple[str, ...] = ("x_m", "y_m", "z_m", "intensity")
    is_in_ego: bool = True
    is_compensated: bool = False
    categories: tuple[str, ...] = ()
    noise_std: float = Field(default=0.0, ge=0.0)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @field_validator("modality")
    @classmethod
    def _known(cls, modality: Modality) -> Modality:
        known = (*IMAGE_MODALITIES, *POINT_MODALITIES, *VALUE_MODALITIES, Modality.ANNOTATION)
        if modality not in known:
            raise ValueError(f"expected one of {', '.join(known)}, got {modality}")
        return modality

    @model_validator(mode="after")
    def _range(self) -> "StreamConfig":
        if self.exclusive_last <= self.first:
            raise ValueError(f"exclusive_last: expected more than first={self.first}, got {self.exclusive_last}")
        if self.modality in POINT_MODALITIES and self.point_columns[:3] != ("x_m", "y_m", "z_m"):
            raise ValueError(f"point_columns: expected x_m, y_m, z_m first, got {', '.join(self.point_columns)}")
        if self.is_compensated and self.modality not in POINT_MODALITIES:
            raise ValueError(f"is_compensated: expected a stream of points, got {self.modality}")
        if self.is_compensated and self.modality is Modality.RADAR and _COMPENSATED not in self.point_columns:
            raise ValueError(f"point_columns: expected {_COMPENSATED} among them, because of is_compensated")
        return self

    @property
    def nbr_offsets(self) -> int:
        return self.exclusive_last - self.first


class WindowEnds(StrEnum):
    """What becomes of a window that its scene ends within: padded, left out, or shorter (for packing)."""

    PAD = "pad"
    DROP = "drop"
    SHORT = "short"


class WindowConfig(_Frozen):
    """Sliding windows.

    Attributes:
        length: keyframes of a window.
        stride: from one window's start to the next; less than the length makes them overlap.
    """

    length: int = Field(default=1, ge=1)
    stride: int = Field(default=1, ge=1)
    ends: WindowEnds = WindowEnds.PAD


class PackingConfig(_Frozen):
    """Several windows in one row of a fixed budget.

    Attributes:
        budget: frames, or tokens where a frame counts as more than one.
        tokens_per_frame: what a keyframe costs; 1 makes the budget one of frames.
        has_text: the text's tokens count too.
        buffer: windows that are packed together.
    """

    budget: int = Field(ge=1)
    tokens_per_frame: int = Field(default=1, ge=1)
    has_text: bool = False
    buffer: int = Field(default=1024, ge=1)

    @property
    def nbr_frames(self) -> int:
        return self.budget // self.tokens_per_frame


class TextConfig(_Frozen):
    """The task of a scene as tokens.

    Attributes:
        tokenizer: path of a ``tokenizer.json``.
        sha256: of that file; another one is refused.
        max_tokens: longer texts are cut.
    """

    tokenizer: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    max_tokens: int = Field(default=64, ge=1)


class AugmentConfig(_Frozen):
    """One random motion per sample, applied alike to images, intrinsics, extrinsics, points and boxes.

    Attributes:
        flip_probability: of a mirror at the ego's x-z plane, and of each image left to right.
        max_yaw_rad: rotation of the scene about the ego's z axis, points and boxes alone: images stay, extrinsics
            follow.
        min_scale, max_scale: of the scene, likewise.
        max_image_rotation_rad: rotation of each image about its centre.
        min_image_scale, max_image_scale: zoom of each image about its centre.
    """

    flip_probability: float = Field(default=0.0, ge=0.0, le=1.0)
    max_yaw_rad: float = Field(default=0.0, ge=0.0)
    min_scale: float = Field(default=1.0, gt=0.0)
    max_scale: float = Field(default=1.0, gt=0.0)
    max_image_rotation_rad: float = Field(default=0.0, ge=0.0)
    min_image_scale: float = Field(default=1.0, gt=0.0)
    max_image_scale: float = Field(default=1.0, gt=0.0)

    @property
    def moves_scene(self) -> bool:
        return bool(self.flip_probability or self.max_yaw_rad or (self.min_scale, self.max_scale) != (1.0, 1.0))


class LoaderConfig(_Frozen):
    """Everything that decides what comes and in which order.

    Attributes:
        streams: by the name that they have in a sample.
        split: train, validation or test; None takes every scene.
        split_shares: of train, validation and test, for releases that carry no split.
        max_boxes: of annotation streams, padded.
        seed: of the order and of all random transforms; None reads in the release's order, without noise.
        run_windows: neighbouring windows of one scene that stay together when an epoch is shuffled; None keeps
            scenes together. Smaller mixes better and reads more.
        lanes: see ``order``; the number of workers must divide it.
        block_batches: batches that are read and shuffled together. A rank holds about lanes x block_batches x
            batch_size windows, which is also how far the shuffle mixes.
        has_partial: see ``order.EpochOrder``.
    """

    streams: dict[str, StreamConfig] = Field(min_length=1)
    window: WindowConfig = WindowConfig()
    packing: PackingConfig | None = None
    text: TextConfig | None = None
    augment: AugmentConfig | None = None
    split: str | None = None
    split_shares: tuple[float, float, float] = DEFAULT_SHARES
    max_boxes: int = Field(default=128, ge=1)
    batch_size: int = Field(default=32, ge=1)
    seed: int | None = 0
    run_windows: int | None = Field(default=None, ge=1)
    lanes: int = Field(default=8, ge=1, le=1024)
    block_batches: int = Field(default=4, ge=1)
    has_partial: bool = True

    @model_validator(mode="after")
    def _packable(self) -> "LoaderConfig":
        if self.packing is not None:
            if self.window.ends is WindowEnds.PAD:
                raise ValueError("window.ends: expected short or drop with packing, which does the padding itself")
            if self.packing.has_text and self.text is None:
                raise ValueError("packing.has_text needs text")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "LoaderConfig":
        fixed = [n for n, s in self.streams.items() if s.modality in VALUE_MODALITIES]
        if self.augment is not None and self.augment.moves_scene and fixed:
            raise ValueError(
                f"augment: a flip, yaw or scale of the scene would contradict {', '.join(fixed)}, whose numbers are not"
                " moved with it; leave these streams out, or keep to max_image_rotation_rad and image scales"
            )
        return self
