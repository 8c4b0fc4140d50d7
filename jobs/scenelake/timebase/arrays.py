"""Names for the NumPy arrays that carry time and values."""

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
"""Times and indices. Times are ns UTC; differences of any two must fit int64 (292 years)."""

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
