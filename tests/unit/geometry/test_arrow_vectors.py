import numpy as np
import pyarrow as pa
import pytest

from scenelake.geometry.arrow_vectors import list_matrix


@pytest.mark.parametrize(
    ("lists", "shape"),
    [
        ([[1.0, 2.0], [3.0, 4.0], [5.0]], (3, 2)),
        ([[], []], (2, 0)),
        ([[], [1.0], []], (3, 0)),
        ([None, None], (2, 0)),
        ([], (0, 0)),
    ],
)
def test_lists_of_any_length_make_a_matrix_of_the_most_common_one(lists: list, shape: tuple[int, int]) -> None:
    matrix = list_matrix(pa.chunked_array([pa.array(lists, pa.list_(pa.float64()))]))
    assert matrix.shape == shape


def test_rows_of_another_width_are_nan() -> None:
    matrix = list_matrix(pa.chunked_array([pa.array([[1.0, 2.0], None, [3.0]], pa.list_(pa.float64()))]), 2)
    np.testing.assert_array_equal(matrix, [[1.0, 2.0], [np.nan, np.nan], [np.nan, np.nan]])
