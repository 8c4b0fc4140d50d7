"""The speed of a radar from the radial velocities of a world at rest, with traffic in it."""

import numpy as np
import pytest

from scenelake.decode.measurements.doppler import doppler_speed


def _world(nbr: int = 60, speed_m_s: float = 12.0, half_field_deg: float = 50.0, seed: int = 0):
    random = np.random.default_rng(seed)
    azimuth = np.radians(random.uniform(-half_field_deg, half_field_deg, nbr))
    range_m = random.uniform(5, 60, nbr)
    x, y = range_m * np.cos(azimuth), range_m * np.sin(azimuth)
    return x, y, -speed_m_s * np.cos(azimuth) + random.normal(0, 0.1, nbr)


@pytest.mark.parametrize("speed_m_s", [0.0, 0.7, 12.0, 40.0])
def test_the_speed_is_found_among_traffic(speed_m_s: float) -> None:
    x, y, radial = _world(speed_m_s=speed_m_s)
    radial[::3] += np.random.default_rng(1).uniform(3, 20, len(radial[::3]))
    found = doppler_speed(x, y, radial)
    assert found is not None
    assert found[0] == pytest.approx(speed_m_s, abs=0.2)
    assert found[1] == pytest.approx(2 / 3, abs=0.05)


def test_nothing_is_said_where_nothing_agrees() -> None:
    x, y, radial = _world()
    assert doppler_speed(x, y, np.random.default_rng(9).uniform(-30, 30, len(x))) is None
    assert doppler_speed(x[:5], y[:5], radial[:5]) is None
    assert doppler_speed(x, y, np.full(len(x), np.nan)) is None
    assert doppler_speed(0 * x, 0 * y, radial) is None
    assert doppler_speed(np.empty(0), np.empty(0), np.empty(0)) is None


def test_a_narrow_fan_tells_no_speed() -> None:
    assert doppler_speed(*_world(half_field_deg=2.0)) is None


def test_many_detections_are_sampled() -> None:
    found = doppler_speed(*(column.astype(np.float32) for column in _world(nbr=5000)))
    assert found is not None
    assert found[0] == pytest.approx(12.0, abs=0.1)
