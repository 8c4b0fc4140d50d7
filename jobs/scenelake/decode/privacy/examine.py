"""One frame and what the policy makes of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scenelake.contracts.errors import BadInputError
from scenelake.decode.privacy.config import PrivacyPolicy
from scenelake.decode.privacy.detections import Detector
from scenelake.decode.privacy.regions import Region, hide, regions_of
from scenelake.decode.privacy.remainder import without_remainder
from scenelake.decode.row_columns import Row

if TYPE_CHECKING:
    from scenelake.decode.privacy.frames import Frame


@dataclass(frozen=True, slots=True)
class Guard:
    """What frames are examined with."""

    policy: PrivacyPolicy
    detector: Detector


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found in a frame.

    Attributes:
        regions: that were hidden.
        image: the frame's bytes, where they are not those that were recorded: without the regions, and without what the
            file holds besides the picture.
        problem: why the frame could not be looked at; None where it was.
    """

    regions: tuple[Region, ...] = ()
    image: bytes | None = None
    problem: str | None = None


def examined(row: Row, guard: Guard) -> Examined:
    """Looks at a row of ``camera_frame``; the row stays as it is."""
    # Only lakes with a detector pay for loading OpenCV.
    from scenelake.decode.privacy.frames import opened_frame

    try:
        frame = opened_frame(row, guard.policy.max_pixels)
        found = guard.detector.detect(frame.rgb)
        regions = regions_of(found, row["width_px"], row["height_px"], guard.policy)
        if not regions:
            return Examined(image=_without_remainder(row, frame))
    except BadInputError as error:
        return Examined(problem=error.reason)
    hide(frame.pixels, regions, guard.policy.method, is_mosaic=frame.is_mosaic)
    return Examined(tuple(regions), frame.encode())


def _without_remainder(row: Row, frame: "Frame") -> bytes | None:
    data = bytes(row["image"])
    if row["image_format"] in ("jpeg", "png"):
        return without_remainder(data, row["image_format"])
    kept = frame.encode()
    return None if kept == data else kept
