"""One frame and what the policy makes of it."""

from dataclasses import dataclass

from scenelake.contracts.errors import BadInputError
from scenelake.decode.privacy.config import PrivacyPolicy
from scenelake.decode.privacy.detections import Detector
from scenelake.decode.privacy.regions import Region, hide, regions_of
from scenelake.decode.row_columns import Row


@dataclass(frozen=True, slots=True)
class Guard:
    """What frames are examined with."""

    policy: PrivacyPolicy
    detector: Detector


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found in a frame.

    Attributes:
        regions: that were hidden; none where the frame stays as it was recorded.
        image: the redacted frame's bytes, where there are regions.
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
    except BadInputError as error:
        return Examined(problem=error.reason)
    if not regions:
        return Examined()
    hide(frame.pixels, regions, guard.policy.method, is_mosaic=frame.is_mosaic)
    return Examined(tuple(regions), frame.encode())
