"""Pickles that hold plain values and NumPy scalars, read without running anything of theirs."""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError

MAX_PICKLE_BYTES = 256 * 1024 * 1024
_SCALAR_CODES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8", "b1"}


class _Dtype:
    """Stands in for ``numpy.dtype``: remembers code and byte order, and is inert."""

    def __init__(self, code: str, is_aligned: bool = False, is_copied: bool = True) -> None:
        del is_aligned, is_copied
        if code not in _SCALAR_CODES:
            raise pickle.UnpicklingError(f"NumPy type {code!r} is not a plain number")
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"byte order {order!r} is unknown")
        self.order = "<" if order == "=" else order


def _scalar(dtype: _Dtype, data: bytes) -> int | float | bool:
    value: int | float | bool = np.frombuffer(data, f"{dtype.order}{dtype.code}", count=1)[0].item()
    return value


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module, name))
        if allowed is None:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return allowed


def load_plain(data: bytes, name: str) -> Any:
    """Dicts, lists, tuples, strings, bytes, numbers, None; NumPy scalars become Python numbers.

    Every global that the pickle names is refused unless it is one of the four that a NumPy scalar needs, and those
    are replaced by inert twins, so a hostile pickle can neither import nor call anything.

    Raises:
        BadInputError: too large, not a pickle, or it asks for anything else.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise BadInputError(
            f"{name}: {len(data)} bytes, at most {MAX_PICKLE_BYTES} are read", reason="pickle_too_large"
        )
    try:
        return _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # pickle's documentation promises no list of exceptions for bad data
        raise BadInputError(
            f"{name}: refused as a pickle of plain values: {type(error).__name__}: {error}", reason="unsafe_pickle"
        ) from error
