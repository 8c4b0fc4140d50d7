"""Random numbers that follow from whole numbers alone, whatever NumPy's version and whoever asks.

NumPy keeps the streams of its bit generators for ever, not those of ``Generator.permutation`` (NEP 19), so orders
are made by sorting hashed keys. The hash is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

UInt64Array = NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def mixed(key: int, values: Any) -> UInt64Array:
    """(n,) hashes of (n,) whole numbers under a key."""
    with np.errstate(over="ignore"):
        z = (np.asarray(values, np.uint64) + np.uint64(1)) * _GAMMA + np.uint64(key & _MASK)
        z = (z ^ (z >> np.uint64(30))) * _FIRST
        z = (z ^ (z >> np.uint64(27))) * _SECOND
        found: UInt64Array = z ^ (z >> np.uint64(31))
        return found


def key_of(*parts: int) -> int:
    """One key of several numbers, in their order."""
    key = 0
    for part in parts:
        key = int(mixed(key, np.array([part & _MASK], np.uint64))[0])
    return key


def shuffled(count: int, *parts: int) -> NDArray[np.int64]:
    """(count,) a permutation that the parts determine."""
    return np.argsort(mixed(key_of(*parts), np.arange(count)), kind="stable").astype(np.int64)


def generator(*parts: int) -> np.random.Generator:
    """A generator of numbers that the parts determine."""
    return np.random.Generator(np.random.Philox(key=key_of(*parts)))
