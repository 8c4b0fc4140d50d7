"""Which pixels are hidden, and how: nothing of what they were is left.

Mosaics and Gaussian blurs keep averages of what they hide. Those were enough to recognise faces (McPherson, Shokri,
Shmatikov: Defeating Image Obfuscation with Deep Learning, arXiv 1609.00408) and to read text (Hill, Zhou, Saul,
Shacham: On the (In)effectiveness of Mosaicing and Blurring as Tools for Document Redaction, PoPETs 2016(4)). So a
region is made from what lies around it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.privacy.config import Method, PrivacyPolicy
from scenelake.decode.privacy.detections import DETECTOR_FAILED, Detections

MAX_REGIONS = 10_000
"""Of one frame, on record one by one. Crowds have hundreds of faces; a detector without a threshold has a box for
every anchor."""
ALL_OF_THEM = -1


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """A rectangle of whole pixels, and the detection that it came from."""

    top: int
    left: int
    exclusive_bottom: int
    exclusive_right: int
    label: int
    score: float


def regions_of(detections: Detections, width_px: int, height_px: int, policy: PrivacyPolicy) -> list[Region]:
    """Boxes that the policy hides, grown by its margin and cut at the frame's edges, from top to bottom.

    More than ``MAX_REGIONS`` are one region, the least that holds them all, of label ``ALL_OF_THEM``.

    Raises:
        BadInputError: reason ``detector_failed``: a box or score that is not finite, or a box inside out.
    """
    boxes, scores = np.asarray(detections.boxes_px, np.float64), detections.scores
    sides = boxes[:, 2:] - boxes[:, :2]
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all() or (sides < 0).any():
        raise BadInputError("the detector gave boxes that are none", reason=DETECTOR_FAILED)
    is_hidden = scores >= policy.min_score
    if policy.labels is not None:
        is_hidden &= np.isin(detections.labels, policy.labels)
    room = np.array([width_px, height_px], np.float64)
    first = np.floor(np.clip(boxes[:, :2] - policy.margin * sides, 0, room)).astype(np.int64)
    end = np.ceil(np.clip(boxes[:, 2:] + policy.margin * sides, 0, room)).astype(np.int64)
    is_hidden &= (end > first).all(axis=1)
    if np.count_nonzero(is_hidden) > MAX_REGIONS:
        (left, top), (right, bottom) = first[is_hidden].min(axis=0).tolist(), end[is_hidden].max(axis=0).tolist()
        return [Region(top, left, bottom, right, ALL_OF_THEM, float(scores[is_hidden].max()))]
    return sorted(
        Region(
            int(first[i, 1]), int(first[i, 0]), int(end[i, 1]), int(end[i, 0]),
            int(detections.labels[i]), float(scores[i]),
        )
        for i in np.flatnonzero(is_hidden)
    )  # fmt: skip


def hide(pixels: np.ndarray, regions: Sequence[Region], method: Method, *, is_mosaic: bool = False) -> None:
    """Overwrites the regions.

    Args:
        pixels: (height, width) or (height, width, channels) uint8 or uint16, writable; a fourth channel is alpha and
            becomes opaque.
        is_mosaic: a Bayer pattern, whose four colours are treated apart.
    """
    step = 2 if is_mosaic else 1
    for row in range(step):
        for column in range(step):
            _hide(pixels[row::step, column::step], [_cut(region, step) for region in regions], method)


def _cut(region: Region, step: int) -> tuple[slice, slice]:
    return (
        slice(region.top // step, -(-region.exclusive_bottom // step)),
        slice(region.left // step, -(-region.exclusive_right // step)),
    )


def _hide(plane: np.ndarray, cuts: Sequence[tuple[slice, slice]], method: Method) -> None:
    top = np.iinfo(plane.dtype).max
    colours = plane[..., :3] if plane.ndim == 3 else plane
    # All of them first: what lies beside one region may be inside another.
    for cut in cuts:
        colours[cut] = top // 2 + 1
    if method is Method.BLUR:
        for cut in cuts:
            _span(colours, *cut)
    if plane.ndim == 3 and plane.shape[2] == 4:
        for cut in cuts:
            plane[cut][..., 3] = top


def _span(plane: np.ndarray, rows: slice, columns: slice) -> None:
    """A gradient between the mean colours of the pixels just beyond the four sides, as far as the frame has them."""
    target = plane[rows, columns]
    if not target.size:
        return
    height, width = target.shape[:2]
    down = ((np.arange(height) + 0.5) / height)[:, None]
    across = ((np.arange(width) + 0.5) / width)[None, :]
    sides = (
        (plane[rows.start - 1, columns] if rows.start else plane[:0, 0], 1 - down),
        (plane[rows.stop, columns] if rows.stop < plane.shape[0] else plane[:0, 0], down),
        (plane[rows, columns.start - 1] if columns.start else plane[:0, 0], 1 - across),
        (plane[rows, columns.stop] if columns.stop < plane.shape[1] else plane[:0, 0], across),
    )
    total, weights = np.zeros(target.shape), np.zeros((height, width))
    for beside, weight in sides:
        if len(beside):
            weights += weight
            total += np.multiply.outer(np.broadcast_to(weight, (height, width)), beside.mean(axis=0))
    if weights.any():
        target[:] = np.rint(total / weights.reshape(weights.shape + (1,) * (target.ndim - 2)))
