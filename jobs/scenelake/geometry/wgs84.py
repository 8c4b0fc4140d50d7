"""WGS 84: geodetic coordinates, Earth-centred ones (ECEF), and the local east-north-up plane.

Formulas: NIMA TR8350.2, "Department of Defense World Geodetic System 1984", 3rd edition (ellipsoid, 4.2); the
closed forms and the rotation are those of Hofmann-Wellenhof, Lichtenegger & Wasle, "GNSS", 2008, 8.2.
"""

import numpy as np

from scenelake.timebase.arrays import FloatArray

SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1.0 / 298.257223563
ECCENTRICITY_SQUARED = FLATTENING * (2.0 - FLATTENING)
_SEMI_MINOR_M = SEMI_MAJOR_M * (1.0 - FLATTENING)
_NBR_ROUNDS = 4
"""Rounds of Bowring's method: below 1 nm from the surface to geostationary orbit after two, and two to spare."""


def ecef_from_geodetic(geodetic: FloatArray) -> FloatArray:
    """Earth-centred x, y, z in metres, (..., 3), of latitude and longitude in degrees and ellipsoidal height in m."""
    latitude, longitude = np.radians(geodetic[..., 0]), np.radians(geodetic[..., 1])
    height = geodetic[..., 2]
    prime_vertical = SEMI_MAJOR_M / np.sqrt(1.0 - ECCENTRICITY_SQUARED * np.sin(latitude) ** 2)
    across = (prime_vertical + height) * np.cos(latitude)
    up = (prime_vertical * (1.0 - ECCENTRICITY_SQUARED) + height) * np.sin(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), up], axis=-1)


def geodetic_from_ecef(ecef_m: FloatArray) -> FloatArray:
    """Latitude and longitude in degrees and ellipsoidal height in metres, (..., 3); Bowring 1976, iterated.

    Longitude is 0 on the Earth's axis. The centre of the Earth has no latitude: it comes back as a pole.
    """
    x, y, z = np.moveaxis(np.asarray(ecef_m, np.float64), -1, 0)
    across = np.hypot(x, y)
    second = ECCENTRICITY_SQUARED / (1.0 - ECCENTRICITY_SQUARED)
    reduced = np.arctan2(z * SEMI_MAJOR_M, across * _SEMI_MINOR_M)
    latitude = reduced
    for _ in range(_NBR_ROUNDS):
        latitude = np.arctan2(
            z + second * _SEMI_MINOR_M * np.sin(reduced) ** 3,
            across - ECCENTRICITY_SQUARED * SEMI_MAJOR_M * np.cos(reduced) ** 3,
        )
        reduced = np.arctan2((1.0 - FLATTENING) * np.sin(latitude), np.cos(latitude))
    sine, cosine = np.sin(latitude), np.cos(latitude)
    surface = SEMI_MAJOR_M * np.sqrt(1.0 - ECCENTRICITY_SQUARED * sine**2)
    height = across * cosine + z * sine - surface
    return np.stack([np.degrees(latitude), np.degrees(np.arctan2(y, x)), height], axis=-1)


def ecef_from_enu_rotation(origin: FloatArray) -> FloatArray:
    """Rotation (3, 3): its columns are east, north and up at a geodetic origin (3,)."""
    latitude, longitude = np.radians(origin[0]), np.radians(origin[1])
    sine_lat, cosine_lat = np.sin(latitude), np.cos(latitude)
    sine_lon, cosine_lon = np.sin(longitude), np.cos(longitude)
    return np.array(
        [
            [-sine_lon, -sine_lat * cosine_lon, cosine_lat * cosine_lon],
            [cosine_lon, -sine_lat * sine_lon, cosine_lat * sine_lon],
            [0.0, cosine_lat, sine_lat],
        ]
    )


def enu_from_geodetic(geodetic: FloatArray, origin: FloatArray) -> FloatArray:
    """East, north, up in metres, (..., 3), from a geodetic origin (3,)."""
    difference = ecef_from_geodetic(geodetic) - ecef_from_geodetic(origin)
    return np.asarray(difference @ ecef_from_enu_rotation(origin))


def geodetic_from_enu(enu_m: FloatArray, origin: FloatArray) -> FloatArray:
    """The inverse of ``enu_from_geodetic``."""
    return geodetic_from_ecef(ecef_from_geodetic(origin) + enu_m @ ecef_from_enu_rotation(origin).T)
