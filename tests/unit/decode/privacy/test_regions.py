"""Regions are where the policy says, and nothing of what they hid is left."""

import numpy as np
import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.decode.privacy.config import Method, PrivacyPolicy
from scenelake.decode.privacy.detections import Detections
from scenelake.decode.privacy.regions import ALL_OF_THEM, MAX_REGIONS, Region, hide, regions_of

POLICY = PrivacyPolicy(detector="/m.onnx", sha256="0" * 64, margin=0.0)


def detections(
    *boxes: tuple[float, ...], scores: list[float] | None = None, labels: list[int] | None = None
) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores or [0.9] * len(boxes), np.float32),
        np.array(labels or [0] * len(boxes), np.int64),
    )


def region(top: int, left: int, bottom: int, right: int) -> Region:
    return Region(top, left, bottom, right, 0, 1.0)


def places(found: list[Region]) -> list[tuple[int, int, int, int]]:
    return [(r.left, r.top, r.exclusive_right, r.exclusive_bottom) for r in found]


def test_boxes_are_whole_pixels_within_the_frame() -> None:
    found = regions_of(
        detections((10.2, 5.9, 20.1, 9.0), (-5, -5, 3, 3), (95, 40, 200, 60), (300, 1, 310, 5)), 100, 50, POLICY
    )
    assert places(found) == [(0, 0, 3, 3), (10, 5, 21, 9), (95, 40, 100, 50)]


def test_boxes_grow_by_the_margin_on_each_side() -> None:
    grown = POLICY.model_copy(update={"margin": 0.25})
    assert places(regions_of(detections((20, 20, 40, 28)), 100, 50, grown)) == [(15, 18, 45, 30)]


def test_scores_and_labels_decide() -> None:
    found = detections((0, 0, 1, 1), (2, 2, 3, 3), (4, 4, 5, 5), scores=[0.5, 0.49, 0.9], labels=[1, 1, 2])
    assert places(regions_of(found, 9, 9, POLICY)) == [(0, 0, 1, 1), (4, 4, 5, 5)]
    only = POLICY.model_copy(update={"labels": (2, 3)})
    assert places(regions_of(found, 9, 9, only)) == [(4, 4, 5, 5)]
    assert regions_of(detections(), 9, 9, POLICY) == []


@pytest.mark.parametrize(
    "bad", [detections((0, 0, np.nan, 1)), detections((0, 0, np.inf, 1)), detections((5, 0, 1, 1)),
            detections((0, 0, 1, 1), scores=[float("nan")])],
)  # fmt: skip
def test_boxes_that_are_none_are_no_answer(bad: Detections) -> None:
    with pytest.raises(BadInputError) as caught:
        regions_of(bad, 9, 9, POLICY)
    assert caught.value.reason == "detector_failed"


def test_boxes_for_every_anchor_are_hidden_as_one() -> None:
    many = [(1.0, 2.0, 4.0, 4.0)] * MAX_REGIONS + [(30.0, 1.0, 40.0, 9.0)]
    found = regions_of(detections(*many, scores=[0.7] * MAX_REGIONS + [0.8]), 100, 50, POLICY)
    assert found == [Region(1, 1, 9, 40, ALL_OF_THEM, pytest.approx(0.8))]
    assert len(regions_of(detections(*many, scores=[0.9] * MAX_REGIONS + [0.1]), 100, 50, POLICY)) == MAX_REGIONS


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1), (40, 50, 3), (40, 50, 4), (41, 51)])
@pytest.mark.parametrize("is_mosaic", [False, True])
@pytest.mark.parametrize(
    "regions",
    [
        [region(10, 12, 20, 30)],
        [region(0, 0, 7, 9), region(30, 40, 40, 50)],
        [region(5, 5, 21, 20), region(15, 11, 30, 31)],
        [region(0, 0, 40, 50)],
        [region(11, 13, 12, 14)],
    ],
    ids=["inside", "corners", "overlap", "all", "one pixel"],
)
def test_what_was_inside_does_not_matter(
    method: Method, dtype: type, shape: tuple[int, ...], is_mosaic: bool, regions: list[Region]
) -> None:
    random = np.random.default_rng(1)
    first = random.integers(0, np.iinfo(dtype).max, shape, dtype)
    second = first.copy()
    is_inside = np.zeros(shape[:2], bool)
    for r in regions:
        cut = slice(r.top, r.exclusive_bottom), slice(r.left, r.exclusive_right)
        second[cut] = random.integers(0, np.iinfo(dtype).max, second[cut].shape, dtype)
        is_inside[cut] = True
    before = first.copy()
    assert (first != second).any()
    for pixels in (first, second):
        hide(pixels, regions, method, is_mosaic=is_mosaic)
    is_beside = is_inside
    if is_mosaic:
        # Patterns are hidden by whole squares of four.
        is_beside = is_inside.copy()
        for r in regions:
            is_beside[r.top // 2 * 2 : r.exclusive_bottom + 1, r.left // 2 * 2 : r.exclusive_right + 1] = True
    assert (first == second).all()
    assert (first[~is_beside] == before[~is_beside]).all()
    assert (first[is_inside] != before[is_inside]).any()


def test_a_blur_leads_from_one_side_to_the_other() -> None:
    pixels = np.repeat(np.linspace(0, 200, 60).astype(np.uint8)[None, :], 60, axis=0)
    pixels[20:40, 20:40] = 255
    hide(pixels, [region(20, 20, 40, 40)], Method.BLUR)
    middle = pixels[30, 18:42].astype(int)
    assert (np.diff(middle) >= 0).all()
    assert 60 <= middle.min() <= middle.max() <= 145
