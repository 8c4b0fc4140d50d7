"""Estimates how far a camera is from where its calibration puts it, from edge strengths across projected outlines.

Score of a correction: the sum over outlines of the edge strength, smoothed, where the outline would then lie. The
correction that maximises it is searched coarse to fine and refined by Newton's method; its covariance is the
sandwich ``H^-1 (sum of g g') H^-1`` over runs of frames (Huber 1967; White 1982), which asks the frames how much they
disagree and needs no model of the noise. No perturbed copies are compared with the calibration, no local maxima are
counted, and no probability is read from such counts.

What can be seen: a rotation, in any scene with outlines both upright and level. A translation moves outlines by its
size over their distance, so 10 cm are 0.6° at 10 m and 0.1° at 50 m: sideways it looks like a rotation unless near and
far structure are both in view, and along the optical axis it shows only in near structure away from the image's middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenelake.quality.calibration.image_edges import NBR_STEPS, REACH_RAD, STEP_RAD, Float32Array, Profiles
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

FRAMES_PER_RUN = 5
"""Neighbouring frames see the same things; their errors are taken as one."""
MIN_RUNS = 6
MIN_OUTLINES = 400
_BLURS_RAD = np.radians([0.8, 0.4])
_LEVEL_WEIGHT = 0.25
"""Rings lie farther apart than columns, so that level outlines are placed less well than upright ones: of 1, 0.5, 0.25
and 0.12, this leaves the smallest errors about the optical axis, which most of what is not there comes from."""
_CELL_RAD, _CELL_LOG_DEPTH = 0.01, 0.1
"""Outlines of one direction and distance are mostly one object, often one that travels along."""
_COARSE_RAD = np.radians(np.linspace(-2.0, 2.0, 17))
_COARSE_OUTLINES = 4000
_NBR_ITERATIONS = 25
_LONGEST_STEP = np.array([0.005, 0.005, 0.005, 0.1, 0.1, 0.1])
"""Of one iteration, in rad and m."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A correction ``true_camera_from_given`` and how sure it is.

    Attributes:
        rotation_rad: (3,) about the camera's x, y, z, with the translation held at 0.
        rotation_sigma_rad: (3,).
        joint: (6,) rotation and translation together, rad and m.
        joint_sigma: (6,).
        contrast: score at the estimate less its mean over the search, over the standard error of that difference.
        width_rad: of the edges about the outlines, as the standard deviation of a Gaussian of the same height and
            bend, the search's own blur of 0.4° included; infinite where the score does not fall off.
        nbr_frames, nbr_outlines: with any outline.
    """

    rotation_rad: FloatArray
    rotation_sigma_rad: FloatArray
    joint: FloatArray
    joint_sigma: FloatArray
    contrast: float
    width_rad: float
    nbr_frames: int
    nbr_outlines: int


def estimate(frames: Sequence[Profiles]) -> Estimate | None:
    """The correction that one window of frames asks for; None with too few frames or outlines to search with."""
    seen = [f for f in frames if len(f)]
    nbr_outlines = sum(len(f) for f in seen)
    if len(seen) < MIN_RUNS * FRAMES_PER_RUN or nbr_outlines < MIN_OUTLINES:
        return None
    shifts = np.concatenate([f.shifts for f in seen]).astype(np.float64)
    weights = _weights(shifts, np.concatenate([f.is_across for f in seen]), np.concatenate([f.depth_m for f in seen]))
    strength = np.concatenate([f.strength for f in seen]) * weights[:, None]
    run = np.repeat(np.arange(len(seen)) // FRAMES_PER_RUN, [len(f) for f in seen])
    start = _coarse(_Score.of(strength, shifts, run, _BLURS_RAD[0]))
    only_rotation, joint = np.arange(3), np.arange(6)
    for blur in _BLURS_RAD[1:]:
        score = _Score.of(strength, shifts, run, blur)
        start = score.refined(start, only_rotation)
    both = score.refined(start, joint)
    sigma, joint_sigma = score.sigma(start, only_rotation), score.sigma(both, joint)
    contrast, width_rad = score.contrast(start), score.width(start)
    return Estimate(start[:3], sigma, both, joint_sigma, contrast, width_rad, len(seen), nbr_outlines)


def _weights(shifts: FloatArray, is_across: BoolArray, depth_m: Float32Array) -> Float32Array:
    """(m,) less for outlines that many others repeat: the beams miss a car ahead by the same amount in every frame."""
    normal = shifts[:, 3:5] * depth_m[:, None]
    side = np.where(is_across, normal[:, 1], normal[:, 0]) > 0
    along = np.floor(shifts[:, 5] * depth_m / _CELL_RAD).astype(np.int64)
    depth = np.floor(np.log(depth_m) / _CELL_LOG_DEPTH).astype(np.int64)
    cells = np.stack([is_across, side, along, depth], axis=1)
    _, cell, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    weight = np.where(is_across, _LEVEL_WEIGHT, 1.0) / np.sqrt(count[cell])
    return np.asarray(weight / weight.mean(), np.float32)


def _coarse(score: "_Score") -> FloatArray:
    """The best rotation about x and y on a grid."""
    step = max(len(score.run) // _COARSE_OUTLINES, 1)
    shifts, strength = score.shifts[::step, :2], score.derivatives[0][::step]
    rows = np.arange(len(strength))
    best, found = -np.inf, np.zeros(6)
    for x in _COARSE_RAD:
        for y in _COARSE_RAD:
            nearest = np.rint((shifts @ (x, y) + REACH_RAD) / STEP_RAD).astype(np.int64)
            value = float(strength[rows, np.clip(nearest, 0, NBR_STEPS - 1)].sum())
            if value > best:
                best, found = value, np.array([x, y, 0.0, 0.0, 0.0, 0.0])
    return found


@dataclass(frozen=True, slots=True)
class _Score:
    """Edge strengths after a blur, and their first three derivatives by the shift: (m, NBR_STEPS) each."""

    shifts: FloatArray
    run: Int64Array
    derivatives: tuple[Float32Array, ...]

    @classmethod
    def of(cls, strength: Float32Array, shifts: FloatArray, run: Int64Array, blur_rad: float) -> "_Score":
        sigma = blur_rad / STEP_RAD
        reach = int(np.ceil(4 * sigma))
        d = np.arange(NBR_STEPS)[:, None] - np.arange(NBR_STEPS)[None, :]
        kernel = np.where(np.abs(d) <= reach, np.exp(-0.5 * (d / sigma) ** 2), 0.0) / (sigma * np.sqrt(2 * np.pi))
        first = d / sigma**2 * kernel / STEP_RAD
        second = ((d / sigma**2) ** 2 - 1 / sigma**2) * kernel / STEP_RAD**2
        third = (d / sigma**2) * ((d / sigma**2) ** 2 - 3 / sigma**2) * kernel / STEP_RAD**3
        return cls(shifts, run, tuple(strength @ k.astype(np.float32) for k in (kernel, first, second, third)))

    def values(self, at: FloatArray, order: int) -> FloatArray:
        """(m,) strength, or its derivative, of each outline under a correction; 0 off the line's ends.

        By Taylor's series about the nearest sample: between samples, a straight line would make each of them a peak.
        """
        position = (self.shifts @ at + REACH_RAD) / STEP_RAD
        nearest = np.clip(np.rint(position), 0, NBR_STEPS - 1).astype(np.int64)
        off, rows = (position - nearest) * STEP_RAD, np.arange(len(nearest))
        value, power = np.zeros(len(nearest)), 1.0
        for term, line in enumerate(self.derivatives[order:], 1):
            value = value + line[rows, nearest] * power
            power = power * off / term
        return np.where((position >= 0) & (position <= NBR_STEPS - 1), value, 0.0)

    def gradient_rows(self, at: FloatArray, free: Int64Array) -> FloatArray:
        return np.asarray(self.values(at, 1)[:, None] * self.shifts[:, free])

    def hessian(self, at: FloatArray, free: Int64Array) -> FloatArray:
        chosen = self.shifts[:, free]
        return np.asarray((chosen * self.values(at, 2)[:, None]).T @ chosen)

    def refined(self, start: FloatArray, free: Int64Array) -> FloatArray:
        """Newton's method with damping and bounded steps; the score never falls."""
        at, damping = start.copy(), 1e-3
        value = float(self.values(at, 0).sum())
        for _ in range(_NBR_ITERATIONS):
            gradient = self.gradient_rows(at, free).sum(axis=0)
            bend = -self.hessian(at, free)
            scale = np.abs(np.diag(bend)) + 1e-12
            step = np.linalg.solve(_positive(bend) + damping * np.diag(scale), gradient)
            step *= min(1.0, float((_LONGEST_STEP[free] / np.maximum(np.abs(step), 1e-15)).min()))
            trial = at.copy()
            trial[free] += step
            found = float(self.values(trial, 0).sum())
            if found <= value:
                damping *= 10
                if damping > 1e6:
                    break
                continue
            at, gain, value, damping = trial, found - value, found, max(damping / 10, 1e-6)
            if gain < 1e-9 * abs(value):
                break
        return at

    def sigma(self, at: FloatArray, free: Int64Array) -> FloatArray:
        """Standard errors of the free parameters; infinite where the score does not fall off."""
        bend = -self.hessian(at, free)
        least = (
            float(np.linalg.eigvalsh(bend / np.sqrt(np.outer(np.diag(bend), np.diag(bend)))).min())
            if (np.diag(bend) > 0).all()
            else -1.0
        )
        if least < 1e-3:
            return np.full(len(free), np.inf)
        rows = self.gradient_rows(at, free)
        of_run = np.stack([np.bincount(self.run, rows[:, i]) for i in range(len(free))], axis=1)
        inverse = np.linalg.inv(bend)
        return np.sqrt(np.diag(inverse @ (of_run.T @ of_run) @ inverse))

    def width(self, at: FloatArray) -> float:
        """Of a Gaussian's height h and second derivative -h / s²: s."""
        height, bend = float(self.values(at, 0).sum()), -float(self.values(at, 2).sum())
        return float(np.sqrt(height / bend)) if min(height, bend) > 0 else np.inf

    def contrast(self, at: FloatArray) -> float:
        """How far the score at ``at`` lies above its mean over the grid, in standard errors over runs of frames."""
        peak = np.bincount(self.run, self.values(at, 0))
        others = np.zeros_like(peak)
        grid = [(x, y, 0.0, 0.0, 0.0, 0.0) for x in _COARSE_RAD[::4] for y in _COARSE_RAD[::4]]
        for other in grid:
            others = others + np.bincount(self.run, self.values(np.array(other), 0))
        rise = peak - others / len(grid)
        return float(rise.mean() / max(rise.std(ddof=1) / np.sqrt(len(rise)), 1e-12))


def _positive(bend: FloatArray) -> FloatArray:
    """The matrix with its negative directions turned round, so that every step is uphill."""
    values, vectors = np.linalg.eigh(bend)
    return np.asarray((vectors * np.maximum(np.abs(values), 1e-9 * np.abs(values).max() + 1e-12)) @ vectors.T)
