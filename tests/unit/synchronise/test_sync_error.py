import math

import numpy as np
import pytest

from scenelake.synchronise.sync_error import SyncError, measure_sync_error

NOTHING = SyncError(0, None, None, None)


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 250])
def test_statistics_are_ranks_of_the_sorted_distances(count):
    distances = np.arange(1, count + 1)
    other = np.arange(count + 1) * 10_000
    reference = np.random.default_rng(0).permutation(other[:count] + distances)
    assert measure_sync_error(reference, other) == SyncError(
        nbr_reference=count,
        median_abs_delta_ns=math.ceil(count / 2),
        p99_abs_delta_ns=math.ceil(0.99 * count),
        max_abs_delta_ns=count,
    )


@pytest.mark.parametrize(
    ("reference", "other", "expected"),
    [
        ([], [1, 2], NOTHING),
        ([5], [], NOTHING),
        ([1, 9], [2, 8], NOTHING),
        ([2, 8], [2, 8], SyncError(2, 0, 0, 0)),
        ([1, 5, 9], [2, 8], SyncError(1, 3, 3, 3)),
    ],
    ids=["no-reference", "no-channel", "outside", "ends-included", "only-inside"],
)
def test_only_reference_rows_within_the_span_are_measured(reference, other, expected):
    assert measure_sync_error(np.array(reference, np.int64), np.array(other, np.int64)) == expected
