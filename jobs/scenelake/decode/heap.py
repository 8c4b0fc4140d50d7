"""How the C library treats memory that decode gives back: it is needed again a moment later."""

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM_BYTES = 256 * 1024 * 1024
_MMAP_BYTES = 32 * 1024 * 1024
"""The largest that glibc takes: chunks and windows come from the heap instead of fresh pages."""


@cache
def keep_freed_memory() -> bool:
    """Has glibc keep freed memory for the next chunk instead of returning it to the kernel.

    By default every megabyte of a chunk is mapped, zeroed and unmapped again; a mixed drive took a tenth more
    processor time. Says whether it took effect: other C libraries have no such setting and need none.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES))
