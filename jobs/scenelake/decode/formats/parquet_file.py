"""Parquet files whose footer need not be true: opened and read within bounds, whatever they claim."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import Source
from scenelake.decode.formats.parquet_footer import MAX_CHUNKS, MAX_FOOTER_BYTES, Footer, Leaf, read_footer
from scenelake.decode.formats.parquet_pages import Pages, read_pages

MAGIC = b"PAR1"
MAX_BATCH_ROWS = 65_536
MAX_TABLE_ROWS = 1_000_000
_BATCH_BYTES = 64 * 1024 * 1024
_READ_BYTES = 1024 * 1024


class SourceFile(io.RawIOBase):
    """A source as the file that Arrow reads from."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size_bytes}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        length = self._source.size_bytes - self._at if size is None or size < 0 else size
        data = bytes(self._source.read(self._at, max(length, 0)))
        self._at += len(data)
        return data


@dataclass(frozen=True, slots=True)
class OpenParquet:
    """A Parquet file whose footer has been read.

    Attributes:
        max_bytes: of one page, and of one column of numbers in a row group.
    """

    source: Source
    file: pq.ParquetFile
    footer: Footer
    max_bytes: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group that may be read.

    Attributes:
        nbr_rows: as the footer says.
        start_byte, exclusive_end_byte: where its pages lie.
        batch_rows: so many rows at a time stay within bounds.
    """

    number: int
    nbr_rows: int
    start_byte: int
    exclusive_end_byte: int
    batch_rows: int


def open_parquet(source: Source, max_bytes: int) -> OpenParquet:
    """Reads the footer.

    Raises:
        BadInputError: reason ``parquet_invalid`` or ``parquet_footer_too_large``.
    """
    size = source.size_bytes
    tail = bytes(source.read(max(size - 8, 0), 8))
    if size < 12 or not tail.endswith(MAGIC):
        raise _invalid(
            f"expected the magic {MAGIC!r} at the end, got {tail[-4:]!r}; the file is cut off or encrypted", size
        )
    footer_bytes = int.from_bytes(tail[:4], "little")
    if footer_bytes > size - 12:
        raise _invalid(f"a footer of {footer_bytes} bytes in a file of {size}", size - 8)
    if footer_bytes > MAX_FOOTER_BYTES:
        detail = f"a footer of {footer_bytes} bytes, at most {MAX_FOOTER_BYTES} are read"
        raise BadInputError(detail, reason="parquet_footer_too_large", byte_offset=size - 8)
    footer = read_footer(bytes(source.read(size - 8 - footer_bytes, footer_bytes)), size - 8 - footer_bytes)
    try:
        file = pq.ParquetFile(
            pa.PythonFile(SourceFile(source), mode="r"),
            buffer_size=_READ_BYTES,
            pre_buffer=False,
            thrift_string_size_limit=MAX_FOOTER_BYTES,
            thrift_container_size_limit=MAX_CHUNKS,
            page_checksum_verification=True,
        )
        schema: pa.Schema = file.schema_arrow
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        raise _invalid(f"the footer cannot be read: {str(error)[:200]}", size - 8 - footer_bytes) from error
    if len(set(schema.names)) != len(schema.names):
        raise _invalid("two columns have one name", size - 8 - footer_bytes)
    return OpenParquet(source, file, footer, max_bytes)


def checked_row_group(parquet: OpenParquet, number: int, columns: list[str] | None = None) -> RowGroup:
    """Holds a row group's pages against the bounds.

    Args:
        columns: that will be read; None for all.

    Raises:
        BadInputError: reason ``parquet_invalid``, ``parquet_page_invalid``, ``parquet_page_too_large`` or
            ``row_group_too_large``; ``byte_offset`` where it starts.
    """
    nbr_rows, chunks = parquet.footer.row_groups[number]
    chosen = [
        (leaf, chunk)
        for leaf, chunk in zip(parquet.footer.leaves, chunks, strict=True)
        if columns is None or _is_chosen(".".join(leaf.path), columns)
    ]
    batch_rows, share_bytes = MAX_BATCH_ROWS, _BATCH_BYTES // max(len(chosen), 1)
    for leaf, chunk in chosen:
        pages = read_pages(parquet.source, chunk.start_byte, chunk.exclusive_end_byte, parquet.max_bytes)
        batch_rows = min(batch_rows, _batch_rows(leaf, pages, parquet.max_bytes, share_bytes))
    start = min((chunk.start_byte for _, chunk in chosen), default=0)
    end = max((chunk.exclusive_end_byte for _, chunk in chosen), default=0)
    return RowGroup(number, nbr_rows, start, end, batch_rows)


def read_batches(parquet: OpenParquet, group: RowGroup, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Rows of a checked group.

    Raises:
        BadInputError: reason ``parquet_page_invalid``: a page contradicts itself, its checksum or the footer.
    """
    nbr_rows = 0
    try:
        for batch in parquet.file.iter_batches(
            batch_size=group.batch_rows, row_groups=[group.number], columns=columns, use_threads=False
        ):
            nbr_rows += batch.num_rows
            yield batch
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _bad_pages(f"after {nbr_rows} of {group.nbr_rows} rows: {str(error)[:200]}", group) from error
    if nbr_rows != group.nbr_rows:
        raise _bad_pages(f"{nbr_rows} rows, the footer says {group.nbr_rows}", group)


def read_columns(parquet: OpenParquet, columns: list[str] | None) -> pa.Table:
    """Some columns of a small file, whole; a column that is not there is left out.

    Raises:
        BadInputError: also reason ``parquet_too_large`` above ``MAX_TABLE_ROWS``.
    """
    schema: pa.Schema = parquet.file.schema_arrow
    wanted = schema.names if columns is None else [name for name in columns if name in schema.names]
    batches: list[pa.RecordBatch] = []
    for number in range(len(parquet.footer.row_groups)):
        group = checked_row_group(parquet, number, wanted)
        batches += [batch.select(wanted) for batch in read_batches(parquet, group, wanted)]
        nbr_rows, nbr_bytes = sum(b.num_rows for b in batches), sum(b.nbytes for b in batches)
        if nbr_rows > MAX_TABLE_ROWS or nbr_bytes > parquet.max_bytes:
            raise BadInputError(f"{nbr_rows} rows in {nbr_bytes} bytes", reason="parquet_too_large")
    return pa.Table.from_batches(batches, pa.schema([schema.field(name) for name in wanted]))


def _batch_rows(leaf: Leaf, pages: Pages, max_bytes: int, share_bytes: int) -> int:
    """Rows of a column that take no more than its share of a batch, whatever lies in its pages."""
    nbr_values = int(pages.nbr_values.sum())
    largest = leaf.width_bytes or pages.dictionary_bytes
    if leaf.is_repeated and nbr_values * (largest + 4) + int(pages.size_bytes.sum()) > max_bytes:
        # One row of a list may hold every value of its chunk, so the chunk itself must be small enough.
        detail = f"column {'.'.join(leaf.path)!r:.100} has {nbr_values} values of lists in one row group"
        raise BadInputError(detail, reason="row_group_too_large")
    if leaf.is_repeated or leaf.width_bytes is not None:
        return MAX_BATCH_ROWS
    ends = np.cumsum(pages.nbr_values)
    before = np.concatenate(([0], np.cumsum(pages.size_bytes)))
    rows = max(min(share_bytes // max(largest, 1), MAX_BATCH_ROWS), 1)
    while rows > 1:
        # What the pages hold that this many rows touch, counted from the last row of each.
        last = np.searchsorted(ends, ends - 1 + rows, side="left")
        taken = before[np.minimum(last + 1, len(ends))] - before[:-1]
        if not len(ends) or int(taken.max()) <= share_bytes:
            break
        rows //= 2
    return rows


def _is_chosen(path: str, columns: list[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in columns)


def _bad_pages(detail: str, group: RowGroup) -> BadInputError:
    return BadInputError(
        f"row group {group.number}: {detail}", reason="parquet_page_invalid", byte_offset=group.start_byte
    )


def _invalid(detail: str, byte_offset: int | None) -> BadInputError:
    return BadInputError(f"not a Parquet file: {detail}", reason="parquet_invalid", byte_offset=byte_offset)
