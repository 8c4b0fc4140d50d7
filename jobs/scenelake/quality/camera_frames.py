"""Frames of one camera in one scene, as decode measured them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.quality.evidence import SceneFacts
from scenelake.quality.series import scalars, stamps_of, vectors
from scenelake.quality.usual import nearest_before
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

TILE_ROWS, TILE_COLUMNS = 6, 8
NBR_TILES = TILE_ROWS * TILE_COLUMNS

BLACK_DARK_FRACTION = 0.98
BLACK_LUMA, BLACK_LUMA_STD = 20.0, 3.0
"""Nothing above grey value 5, or nothing but noise near 16, which is black in limited-range video (ITU-R BT.601)."""
WHITE_BRIGHT_FRACTION = 0.9
MIN_COARSE = 4.0
"""Variance of the Laplacian over tiles below which there is nothing that could be sharp: two grey values."""
_LEAST_TEXTURE = 1e-3


@dataclass(frozen=True, slots=True)
class Frames:
    """n frames in order of time; of those that decode only counted the figures are NaN.

    Attributes:
        is_measured: (n,).
        held: (n,) the measured frame that stands for each frame: sizes say that they are alike; -1 for none.
        is_torn: (n,) truncated, or a measured one that did not decode or made the decoder complain.
        sharpness: (n,) Laplacian's variance over that of the grey values, which light and gain leave as it is; NaN of
            images with nothing in them that could be sharp.
        texture: (n, 48) log2 of the tiles' Laplacian energy over that of the tile that one in four exceeds: light and
            blur leave it as it is, and so does dirt on less than three quarters of the lens.
    """

    scene: SceneFacts
    rows: pa.Table
    stamps_ns: Int64Array
    is_measured: BoolArray
    held: Int64Array
    is_torn: BoolArray
    is_black: BoolArray
    is_white: BoolArray
    bright_fraction: FloatArray
    log_luma: FloatArray
    sharpness: FloatArray
    texture: FloatArray

    @property
    def nbr_measured(self) -> int:
        return int(np.count_nonzero(self.is_measured))

    def standing_for(self, of_measured: BoolArray) -> BoolArray:
        """What holds of measured frames, of all that they stand for: (n,)."""
        held: BoolArray = of_measured[self.held] & (self.held >= 0)
        return held


def frames_of(scene: SceneFacts, rows: pa.Table) -> Frames:
    """Reads ``image_statistic`` rows of one camera in one scene."""
    mean, std = scalars(rows, "luma_mean"), scalars(rows, "luma_std")
    is_measured = np.isfinite(mean) & np.isfinite(std)
    problem = pc.fill_null(rows["image_problem"], "")
    dark, bright = scalars(rows, "dark_fraction"), scalars(rows, "bright_fraction")
    tiles = vectors(rows, "tile_laplacian", NBR_TILES)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_luma = np.log2(np.maximum(mean, 0) + 1.0)
        energy = np.log2(np.maximum(tiles, _LEAST_TEXTURE))
        is_black = (dark >= BLACK_DARK_FRACTION) | ((mean <= BLACK_LUMA) & (std <= BLACK_LUMA_STD))
        is_white = bright >= WHITE_BRIGHT_FRACTION
        coarse = _coarse(vectors(rows, "tile_luma", NBR_TILES))
        sharpness = scalars(rows, "laplacian_variance") / (std * std)
        is_plain = is_black | is_white | ~(coarse >= MIN_COARSE)
    return Frames(
        scene=scene,
        rows=rows,
        stamps_ns=stamps_of(rows),
        is_measured=is_measured,
        held=nearest_before(is_measured),
        is_torn=np.asarray(pc.not_equal(problem, "").to_numpy(), np.bool_),
        is_black=is_black & is_measured,
        is_white=is_white & is_measured,
        bright_fraction=np.where(is_measured, bright, np.nan),
        log_luma=np.where(is_measured, log_luma, np.nan),
        sharpness=np.where(is_plain, np.nan, sharpness),
        texture=np.where(is_plain[:, None], np.nan, energy - np.quantile(energy, 0.75, axis=1, keepdims=True)),
    )


def _coarse(tile_luma: FloatArray) -> FloatArray:
    """Variance of the Laplacian over tiles, (n,): structure so large that no blur of a lens removes it."""
    tiles = tile_luma.reshape(-1, TILE_ROWS, TILE_COLUMNS)
    inner = tiles[:, 1:-1, 1:-1]
    bends = tiles[:, :-2, 1:-1] + tiles[:, 2:, 1:-1] + tiles[:, 1:-1, :-2] + tiles[:, 1:-1, 2:] - 4 * inner
    return np.asarray(bends.reshape(len(tiles), -1).var(axis=1), np.float64)
