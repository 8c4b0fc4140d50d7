"""Headers of Parquet pages, read without the pages: what a column chunk would take before it is decoded.

The footer's figures are claims, and so are a page's; but a page's are those that a reader allocates by, so they are
what must be checked. Source: apache/parquet-format, parquet.thrift (PageHeader).
"""

from dataclasses import dataclass

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Source
from scenelake.decode.formats.thrift_compact import CompactReader, Fields, ThriftEndError, ThriftError

_HEADER_BYTES = (512, 64 * 1024, 1024 * 1024)
_MAX_VALUES = 100
_MAX_PAGES = 1_000_000
_DICTIONARY_PAGE = 2


@dataclass(frozen=True, slots=True)
class Pages:
    """Data pages of one column chunk.

    Attributes:
        nbr_values, size_bytes: (n,) int64, values and uncompressed bytes of each.
        dictionary_bytes: of the chunk's dictionary, uncompressed; 0 without one.
    """

    nbr_values: np.ndarray
    size_bytes: np.ndarray
    dictionary_bytes: int


def read_pages(source: Source, start: int, exclusive_end: int, max_page_bytes: int) -> Pages:
    """Walks the pages of a column chunk by their headers.

    Raises:
        BadInputError: reason ``parquet_page_invalid`` or ``parquet_page_too_large``.
    """
    nbr_values: list[int] = []
    sizes: list[int] = []
    dictionary_bytes = 0
    at = start
    while at < exclusive_end:
        header, header_bytes = _header(source, at)
        kind, size, compressed = (_integer(header, number, at) for number in (1, 2, 3))
        if not (size >= 0 and 0 <= compressed <= exclusive_end - at - header_bytes):
            raise _invalid(f"a page of {compressed} bytes, {exclusive_end - at - header_bytes} are left", at)
        if size > max_page_bytes:
            detail = f"a page of {size} bytes uncompressed, at most {max_page_bytes} are read"
            raise BadInputError(detail, reason="parquet_page_too_large", byte_offset=at)
        inner = next((f for n in (5, 7, 8) if isinstance(f := header.get(n), dict)), {})
        values = _integer(inner, 1, at) if inner else 0
        if kind == _DICTIONARY_PAGE:
            dictionary_bytes = max(dictionary_bytes, size)
        else:
            nbr_values.append(values)
            sizes.append(size)
        if values < 0 or len(sizes) > _MAX_PAGES:
            raise _invalid(f"a page of {values} values", at)
        at += header_bytes + compressed
    return Pages(np.array(nbr_values, np.int64), np.array(sizes, np.int64), dictionary_bytes)


def _header(source: Source, at: int) -> tuple[Fields, int]:
    """Fields of the page header at a byte, and its length. Statistics in it may hold whole values."""
    for length in _HEADER_BYTES:
        data = bytes(source.read(at, length))
        reader = CompactReader(data, _MAX_VALUES)
        try:
            return reader.struct(), reader.at
        except ThriftEndError:
            if len(data) < length:
                break
        except ThriftError as error:
            raise _invalid(f"a page header with {error}", at) from error
    raise _invalid("a page header without an end", at)


def _integer(fields: Fields, number: int, at: int) -> int:
    value = fields.get(number)
    if not isinstance(value, int):
        raise _invalid(f"a page header without field {number}", at)
    return value


def _invalid(detail: str, at: int) -> BadInputError:
    return BadInputError(detail, reason="parquet_page_invalid", byte_offset=at)
