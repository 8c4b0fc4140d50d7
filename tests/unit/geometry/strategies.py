"""Strategies for rigid motion."""

import numpy as np
from hypothesis import strategies as st

finite = st.floats(-100.0, 100.0, allow_nan=False)


@st.composite
def quaternions(draw):
    """Unit quaternions, near-degenerate ones among them."""
    parts = np.array(draw(st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4)))
    norm = np.linalg.norm(parts)
    return parts / norm if norm > 1e-3 else np.array([1.0, 0.0, 0.0, 0.0])


@st.composite
def poses(draw):
    shift = draw(st.lists(finite, min_size=3, max_size=3))
    return np.concatenate([shift, draw(quaternions())])


vectors = st.lists(finite, min_size=3, max_size=3).map(np.array)
