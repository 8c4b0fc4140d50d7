"""What a team decides about privacy: the ``[privacy]`` table of its policy (docs/privacy.md)."""

from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

PRIVACY_VERSION = "3"
"""Version of the rules by which frames are examined and redacted; it is part of the recipe."""


class Method(StrEnum):
    """How a region is hidden. Both take nothing from inside it (docs/decisions/0022)."""

    BLUR = "blur"
    """A smooth gradient between the colours around it."""
    FILL = "fill"
    """Grey."""


class Originals(StrEnum):
    """What becomes of the original of a frame that was redacted or withheld."""

    DISCARD = "discard"
    RESTRICTED = "restricted"
    """Kept under the lake's ``restricted/`` prefix, for as long as its lifecycle says."""


class Unexamined(StrEnum):
    """What becomes of a frame that cannot be looked at."""

    WITHHOLD = "withhold"
    PASS = "pass"


class Device(StrEnum):
    """Where the detector runs. It is said and not found out: the last digits of scores differ between devices."""

    CPU = "cpu"
    CUDA = "cuda"


class PrivacyPolicy(BaseModel):
    """Which frames are looked at, by which detector, and what follows.

    Attributes:
        detector: absolute path or ``s3://`` URI of an ONNX file (``privacy.onnx_detector`` tells what it must be).
        sha256: of that file, 64 hex digits.
        min_score: detections below it are ignored.
        labels: classes that are hidden, as the detector numbers them; None for all.
        margin: share of its width and height by which a box grows on each side.
        channels: patterns of the cameras that are looked at (``/camera/*``); others pass as they are.
        max_pixels: a larger frame is not opened. An open one takes about 24 bytes of memory a pixel, and what the
            detector takes.
        device: that the detector runs on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.5
    labels: tuple[int, ...] | None = None
    margin: Annotated[float, Field(ge=0, le=2)] = 0.1
    method: Method = Method.BLUR
    originals: Originals = Originals.DISCARD
    unexamined: Unexamined = Unexamined.WITHHOLD
    channels: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    max_pixels: PositiveInt = 16 * 1024 * 1024
    device: Device = Device.CPU

    @field_validator("detector")
    @classmethod
    def _is_a_place(cls, value: str) -> str:
        if not value.startswith(("s3://", "/")) or PurePosixPath(value).suffix != ".onnx":
            raise ValueError("expected an absolute path or an s3:// URI of an .onnx file")
        return value

    def covers(self, channel: str) -> bool:
        """Whether a camera of that name is looked at."""
        return any(fnmatchcase(channel, pattern) for pattern in self.channels)

    def params(self) -> dict[str, Any]:
        """What decides the bytes that come out, for the recipe: not where the detector lies."""
        return {"version": PRIVACY_VERSION, **self.model_dump(mode="json", exclude={"detector"})}
