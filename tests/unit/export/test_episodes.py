"""Frames on a grid of constant rate."""

import numpy as np
import pytest

from scenelake.export.episodes import choose_fps, fits_rate, on_grid

SECOND_NS = 1_000_000_000
START_NS = 1_760_000_000 * SECOND_NS


@pytest.mark.parametrize("fps", [1, 7, 15, 30, 60])
def test_a_steady_rate_is_taken_whole(fps: int) -> None:
    random = np.random.default_rng(fps)
    ideal = START_NS + np.arange(500) * SECOND_NS // fps
    jitter = random.integers(-SECOND_NS // (5 * fps), SECOND_NS // (5 * fps), 500)
    found = on_grid(ideal + jitter, fps)
    assert found.chosen.tolist() == list(range(500))
    assert found.nbr_empty == 0
    assert found.largest_stray_ns <= 2 * SECOND_NS // (5 * fps) + 1


def test_every_tick_has_the_nearest_stamp_or_none() -> None:
    random = np.random.default_rng(3)
    for fps in (3, 10, 29):
        stamps = START_NS + np.unique(random.integers(0, 20 * SECOND_NS, 150))
        found = on_grid(stamps, fps)
        taken = set(found.chosen.tolist())
        nbr_ticks = 0
        for tick in range(20 * fps + 2):
            distances = np.abs((stamps - stamps[0]) * fps - tick * SECOND_NS)
            nearest = int(np.argmin(distances))
            if 2 * distances[nearest] < SECOND_NS:
                assert nearest in taken
                nbr_ticks += 1
        assert len(taken) == nbr_ticks


def test_a_hole_is_counted() -> None:
    stamps = START_NS + np.array([0, 100, 200, 500, 600]) * 1_000_000
    found = on_grid(stamps, 10)
    assert (len(found.chosen), found.nbr_empty) == (5, 2)


def test_the_rate_is_that_of_most_frames() -> None:
    assert choose_fps([(66_700_000, 900), (33_300_000, 300)]) == 15
    assert choose_fps([(SECOND_NS * 3, 5)]) == 1
    assert fits_rate(66_700_000, 15)
    assert not fits_rate(33_300_000, 15)
