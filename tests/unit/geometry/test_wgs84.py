"""WGS 84 against known places and its own inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.geometry.wgs84 import (
    ecef_from_enu_rotation,
    ecef_from_geodetic,
    enu_from_geodetic,
    geodetic_from_ecef,
    geodetic_from_enu,
)


@pytest.mark.parametrize(
    ("geodetic", "ecef"),
    [
        ((0, 0, 0), (6378137.0, 0, 0)),
        ((0, 90, 100), (0, 6378237.0, 0)),
        ((90, 0, 0), (0, 0, 6356752.314245)),
        ((-90, 0, 10), (0, 0, -6356762.314245)),
        ((45, 0, 0), (4517590.878849, 0, 4487348.408866)),
    ],
)
def test_known_places(geodetic, ecef):
    np.testing.assert_allclose(ecef_from_geodetic(np.array(geodetic, np.float64)), ecef, atol=1e-5)


@settings(deadline=None)
@given(latitude=st.floats(-90, 90), longitude=st.floats(-179.999, 179.999), height=st.floats(-10_000, 40_000_000))
def test_there_and_back_is_less_than_a_micrometre(latitude, longitude, height):
    place = np.array([latitude, longitude, height])
    back = geodetic_from_ecef(ecef_from_geodetic(place))
    assert abs(back[0] - latitude) < 1e-11
    assert abs(back[2] - height) < 1e-6
    np.testing.assert_allclose(ecef_from_geodetic(back), ecef_from_geodetic(place), atol=1e-6)


@settings(deadline=None)
@given(
    origin=st.tuples(st.floats(-89, 89), st.floats(-179, 179), st.floats(-100, 5000)).map(np.array),
    enu=st.tuples(*[st.floats(-50_000, 50_000)] * 3).map(np.array),
)
def test_the_local_plane_is_rigid_and_invertible(origin, enu):
    rotation = ecef_from_enu_rotation(origin)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(enu_from_geodetic(geodetic_from_enu(enu, origin), origin), enu, atol=1e-6)


def test_east_north_and_up_are_where_they_should_be():
    origin = np.array([48.0, 11.0, 500.0])
    nearby = np.array([[48.0, 11.001, 500.0], [48.001, 11.0, 500.0], [48.0, 11.0, 501.0]])
    enu = enu_from_geodetic(nearby, origin)
    assert np.argmax(enu, axis=1).tolist() == [0, 1, 2]
    # A thousandth of a degree of latitude is 111.2 m here, of longitude 74.6 m.
    assert np.diag(enu) == pytest.approx([74.63, 111.21, 1.0], abs=0.02)
