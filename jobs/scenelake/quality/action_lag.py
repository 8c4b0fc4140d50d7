"""How long after an action does the state show it, and how much of the state's motion do the actions explain?"""

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scenelake.geometry.linear import interpolate_linear
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

MIN_STEP_NS = 40_000_000
"""Finer grids say no more about what a person or a policy commands."""

REACH_NS = 1_000_000_000
MIN_REACH = 5

MIN_EXPLAINED = 0.2
"""Share of the variance below which the lag of the best fit means nothing."""

_TINY = 1e-18
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class LagFit:
    """What actions and states have in common at the lag at which they have most.

    Attributes:
        lag_ns: that the state is behind the action; None where too little is explained or the lag is out of reach.
        explained: share of the variance, mean over the values that change, in [0, 1].
        forms: by value (w,): ``position``, ``change`` (the action is how the state moves on) or ``none``.
    """

    lag_ns: float | None
    explained: float
    forms: tuple[str, ...]


@dataclass
class LagSums:
    """Sums of products of actions with positions and with changes of the state, lag by lag, over any scenes.

    Actions and states are centred scene by scene: where a scene lies says nothing about a lag.

    Attributes:
        step_ns: of the common grid.
        nbr_pairs: points of the grid that entered at lag 0.
    """

    step_ns: int
    width: int
    nbr_pairs: int = 0
    _products: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self._products = np.zeros((3, 2, 2 * self.reach + 1, self.width))

    @property
    def reach(self) -> int:
        """Largest lag in steps."""
        return max(-(-REACH_NS // self.step_ns), MIN_REACH)

    @classmethod
    def grid_step_ns(cls, period_ns: int) -> int:
        """Of actions with some period."""
        return max(period_ns, MIN_STEP_NS)

    def add(self, action_ns: Int64Array, action: FloatArray, state_ns: Int64Array, state: FloatArray) -> None:
        """Takes the actions (n, w) and the states (m, w) of one scene."""
        span_ns = int(action_ns[-1] - action_ns[0])
        grid_ns = action_ns[0] + np.arange(min(span_ns, 3600 * REACH_NS) // self.step_ns + 1) * self.step_ns
        # What lies further apart is a gap: two periods, with room for jitter.
        gap_ns = max(5 * self.step_ns // 2, REACH_NS // 4)
        x = interpolate_linear(grid_ns, action_ns, action, gap_ns).values
        wide_ns = grid_ns[0] + np.arange(-self.reach, len(grid_ns) + self.reach + 1) * self.step_ns
        position = interpolate_linear(wide_ns, state_ns, state, gap_ns).values
        change = np.diff(position, axis=0)
        count = len(grid_ns)
        for form, y in enumerate((position, change)):
            self._products[:, form] += _products(x, y[: 2 * self.reach + count])
        here = np.isfinite(position[self.reach : self.reach + count]).all(axis=1)
        self.nbr_pairs += int(np.count_nonzero(here & np.isfinite(x).all(axis=1)))

    def merge(self, other: "LagSums") -> None:
        """Takes all that another one of the same step and width was given."""
        self._products += other._products
        self.nbr_pairs += other.nbr_pairs

    def fit(self) -> LagFit | None:
        """The best lag; None where no value of action and state changes."""
        xx, yy, xy = self._products
        scale = xx * yy
        together = np.where(scale > _TINY, xy / np.sqrt(np.where(scale > _TINY, scale, 1.0)), 0.0)
        explained = np.where(together > 0.0, together, 0.0) ** 2
        moves = (scale[:, self.reach] > _TINY).any(axis=0)
        if not moves.any():
            return None
        form = explained.max(axis=1).argmax(axis=0)
        by_lag = explained[form[moves], :, np.flatnonzero(moves)].mean(axis=0)
        best = int(by_lag.argmax())
        words = tuple(("position", "change")[f] if m else "none" for f, m in zip(form, moves, strict=True))
        share = float(min(by_lag[best], 1.0))
        if share < MIN_EXPLAINED or best in (0, len(by_lag) - 1):
            return LagFit(None, share, words)
        before, middle, after = by_lag[best - 1 : best + 2].tolist()
        bend = before - 2.0 * middle + after
        vertex = 0.5 * (before - after) / bend if bend < 0.0 else 0.0
        return LagFit((best - self.reach + vertex) * self.step_ns, share, words)


def _products(x: FloatArray, y: FloatArray) -> FloatArray:
    """Sums of squares and products about their means, by lag and column, over the rows that both know.

    Args:
        x: (n, w) and
        y: (n + lags - 1, w), NaN where they are not known; of a lag k the rows from k on.

    Returns:
        (3, lags, w) of x x, y y and x y.
    """
    known_x, known_y = np.isfinite(x), np.isfinite(y)
    # The sums of squares below are differences, which lose least of values about 0.
    x, y = (np.where(known, v - _means(v, known), 0.0) for v, known in ((x, known_x), (y, known_y)))
    of_x, of_y = known_x.astype(np.float64), known_y.astype(np.float64)
    count = np.maximum(_slid(of_x, of_y), 1.0)
    sum_x, sum_y = _slid(x, of_y), _slid(of_x, y)
    squares = (_about(_slid(x * x, of_y), sum_x**2 / count), _about(_slid(of_x, y * y), sum_y**2 / count))
    return np.stack([*squares, _slid(x, y) - sum_x * sum_y / count])


def _about(squares: FloatArray, of_mean: FloatArray) -> FloatArray:
    """Sums of squares about the mean; of what stands still exactly nothing."""
    return np.where(squares - of_mean > _ROUNDING * squares, squares - of_mean, 0.0)


def _slid(x: FloatArray, y: FloatArray) -> FloatArray:
    """(lags, w) sums over rows of x (n, w) times the rows of y from each lag on."""
    return np.asarray(np.einsum("nw,kwn->kw", x, sliding_window_view(y, len(x), axis=0)))


def _means(values: FloatArray, known: BoolArray) -> FloatArray:
    return np.asarray(np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
