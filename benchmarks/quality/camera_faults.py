"""What goes wrong with a camera, in its recorded images."""

from typing import Any

import cv2
import numpy as np

from benchmarks.quality.images import Image, with_bytes, with_images
from benchmarks.quality.kinds import Kind, moving, moving_in_light, well_lit
from benchmarks.quality.recording import Rows, Track
from benchmarks.quality.rigs import CAMERA

_MUD_BGR = np.array([38.0, 52.0, 64.0])


def some(rows: Rows, share: float, random: np.random.Generator) -> Rows:
    """A share of rows, at least one, taken at random."""
    count = min(max(round(share * len(rows)), 1), len(rows))
    return np.sort(random.choice(rows, count, replace=False))


def stretch(track: Track, rows: Rows, seconds: float, random: np.random.Generator) -> Rows:
    """Rows of a stretch of the scene that begins at random, after its first message."""
    stamps_ns = track.stamp_ns[rows]
    length_ns = int(seconds * 1e9)
    latest_ns = max(int(stamps_ns[-1]) - length_ns, int(stamps_ns[1]) + 1)
    start_ns = int(random.integers(int(stamps_ns[1]), latest_ns))
    return rows[(stamps_ns >= start_ns) & (stamps_ns < start_ns + length_ns)]


def black(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the frames shows nothing but the noise of the dark."""
    return with_images(
        track, some(rows, strength, random), lambda image, _: random.integers(0, 4, image.shape).astype(np.uint8)
    )


def saturated(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """The exposure is wrong by a factor, in the whole scene."""
    return with_images(
        track, rows, lambda image, _: np.clip(image.astype(np.float32) * strength, 0, 255).astype(np.uint8)
    )


def white(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the frames is white."""
    return with_images(
        track, some(rows, strength, random), lambda image, _: random.integers(252, 256, image.shape).astype(np.uint8)
    )


def defocused(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A point becomes a disc whose radius is so many thousandths of the image's width."""

    def blur(image: Image, _: int) -> Image:
        radius = strength / 1000.0 * image.shape[1]
        size = 2 * int(np.ceil(radius)) + 1
        y, x = np.mgrid[:size, :size] - size // 2
        disc = np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0)
        smooth: Image = cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)
        noise = random.normal(0.0, 1.5, image.shape[:2])[..., None]
        return np.clip(smooth + noise, 0, 255).astype(np.uint8)

    return with_images(track, rows, blur)


def frozen(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """For so many seconds the image is the one before, byte for byte; stamps go on."""
    held = stretch(track, rows, strength, random)
    source = track.message(int(held[0]) - 1).data if len(held) else None

    def repeat(message: Any, _: int) -> Any:
        message.data = source
        return message

    return track.edited(held, repeat)


def occluded(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """Something sticks to the lens and hides a share of the image: one patch, dark and out of focus at its edge."""
    corner = random.uniform(0.0, 1.0, 2)

    def hide(image: Image, _: int) -> Image:
        height, width = image.shape[:2]
        sides = np.array([height, width]) * np.sqrt(strength)
        top, left = (corner * (np.array([height, width]) - sides)).astype(np.int64)
        mask = np.zeros((height, width), np.float32)
        mask[top : top + round(sides[0]), left : left + round(sides[1])] = 1.0
        mask = cv2.GaussianBlur(mask, (0, 0), 1.0)[..., None]
        return np.clip(image * (1.0 - mask) + _MUD_BGR * mask, 0, 255).astype(np.uint8)

    return with_images(track, rows, hide)


def soiled(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A film of dirt on a share of the lens: what lies under it is smeared beyond recognition."""
    corner = random.uniform(0.0, 1.0, 2)

    def smear(image: Image, _: int) -> Image:
        height, width = image.shape[:2]
        sides = np.array([height, width]) * np.sqrt(strength)
        top, left = (corner * (np.array([height, width]) - sides)).astype(np.int64)
        mask = np.zeros((height, width), np.float32)
        mask[top : top + round(sides[0]), left : left + round(sides[1])] = 1.0
        mask = cv2.GaussianBlur(mask, (0, 0), 1.0)[..., None]
        smooth = cv2.GaussianBlur(image, (0, 0), 0.08 * width)
        return np.clip(image * (1.0 - mask) + smooth * mask, 0, 255).astype(np.uint8)

    return with_images(track, rows, smear)


def truncated(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the frames ends early: some of the image, no end marker."""
    return with_bytes(
        track, some(rows, strength, random), lambda data, _: data[: int(len(data) * random.uniform(0.3, 0.8))]
    )


def garbled(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """A share of the frames has a JPEG's headers and, from somewhere in its image data on, noise."""

    def spoil(data: bytes, _: int) -> bytes:
        scan = data.index(b"\xff\xda") + 14
        kept = scan + int((len(data) - scan) * random.uniform(0.05, 0.5))
        return data[:kept] + random.bytes(len(data) - kept - 2) + data[-2:]

    return with_bytes(track, some(rows, strength, random), spoil)


def exposure_jump(track: Track, rows: Rows, strength: float, random: np.random.Generator) -> Track:
    """From some moment of the scene on, the image is darker by so many stops."""
    first = int(random.integers(len(rows) // 4, 3 * len(rows) // 4))
    return with_images(track, rows[first:], lambda image, _: (image * 2.0**-strength).astype(np.uint8))


KINDS = (
    Kind("black frames", "camera.black", CAMERA, "share", (0.02, 0.06, 0.1, 0.3, 0.8), 0.1, black),
    Kind("white frames", "camera.white", CAMERA, "share", (0.02, 0.06, 0.1, 0.3, 0.8), 0.1, white),
    Kind("camera dead", "camera.lost", CAMERA, "share", (0.2, 0.4, 0.6, 0.8, 1.0), 0.6, black),
    Kind("over-exposed", "camera.saturated", CAMERA, "times", (1.5, 2.0, 3.0, 5.0, 8.0), 5.0, saturated,
         fits=well_lit),
    Kind("out of focus", "camera.blur", CAMERA, "‰ of the width", (2.0, 5.0, 10.0, 20.0, 40.0), 20.0, defocused,
         fits=well_lit),
    Kind("never in focus", "camera.sharpness", CAMERA, "‰ of the width", (5.0, 10.0, 20.0, 40.0, 60.0), 40.0,
         defocused, fits=well_lit),
    Kind("frozen image", "camera.frozen", CAMERA, "s", (0.4, 1.0, 2.0, 5.0, 10.0), 2.0, frozen, fits=moving),
    Kind("lens soiled", "camera.soiled", CAMERA, "share of the image", (0.05, 0.1, 0.2, 0.3, 0.4), 0.3, soiled,
         fits=moving_in_light),
    Kind("lens covered", "camera.soiled", CAMERA, "share of the image", (0.05, 0.1, 0.2, 0.3, 0.4), 0.3, occluded,
         fits=moving_in_light),
    Kind("exposure jumps", "camera.exposure_jump", CAMERA, "stops", (0.5, 1.0, 2.0, 2.5, 3.0), 2.0, exposure_jump,
         fits=well_lit),
    Kind("JPEG ends early", "camera.undecodable", CAMERA, "share", (0.02, 0.06, 0.1, 0.3, 0.8), 0.02, truncated),
    Kind("JPEG garbled", "camera.undecodable", CAMERA, "share", (0.02, 0.06, 0.1, 0.3, 0.8), 0.3, garbled),
)  # fmt: skip
