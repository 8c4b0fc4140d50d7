"""Sweeps in nuScenes' files."""

import numpy as np
import pyarrow as pa

from scenelake.export.points import LIDAR_COLUMNS, finite, lidar_file, radar_file, sweeps


def test_columns_that_were_not_recorded_are_nan() -> None:
    rows = pa.table(
        {
            "x_m": pa.array([[1.0, 2.0], [], [3.0]], pa.list_(pa.float32())),
            "y_m": pa.array([[1.0, 2.0], [], [3.0]], pa.list_(pa.float32())),
            "z_m": pa.array([[1.0, np.nan], [], [3.0]], pa.list_(pa.float32())),
            "intensity": pa.array([[5.0, 6.0], [], None], pa.list_(pa.float32())),
            "ring": pa.array([None, [], [7]], pa.list_(pa.int32())),
        }
    )
    first, second, third = sweeps(rows.slice(0), LIDAR_COLUMNS)
    assert np.array_equal(first, [[1, 1, 1, 5, np.nan], [2, 2, np.nan, 6, np.nan]], equal_nan=True)
    assert second.shape == (0, 5)
    assert np.array_equal(third, [[3, 3, 3, np.nan, 7]], equal_nan=True)
    assert np.frombuffer(lidar_file(finite(first)), "<f4").tolist() == [1, 1, 1, 5, 0]
    _, sliced = sweeps(rows.slice(1), LIDAR_COLUMNS)
    assert np.array_equal(sliced, third, equal_nan=True)


def test_a_radar_sweep_without_points_has_one_that_is_none() -> None:
    file = radar_file(np.empty((0, 6), np.float32))
    header, _, body = file.partition(b"DATA binary\n")
    assert b"WIDTH 1\n" in header
    assert np.isnan(np.frombuffer(body[:4], "<f4"))[0]
    assert len(body) == 43 + 1
