"""A table of a release file by file, for work on all of its rows with the memory of one file."""

from collections.abc import Sequence
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table as IcebergTable

from scenelake.contracts.releases import TablePin


class TableParts:
    """The data files of one snapshot.

    Args:
        table: whose metadata knows the snapshot; None for a table without files.
    """

    def __init__(self, table: IcebergTable | None, pin: TablePin | None) -> None:
        self._table = table
        self._pin = pin

    @cached_property
    def uris(self) -> list[str]:
        """Of the files, in a fixed order."""
        if self._table is None or self._pin is None:
            return []
        tasks = self._table.scan(snapshot_id=self._pin.snapshot_id).plan_files()
        return sorted(task.file.file_path for task in tasks)

    def read(self, uri: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of a file, strings as dictionaries. A column that is younger than the file is null."""
        if self._table is None:
            raise ValueError(f"{uri}: the table has no file")
        with self._table.io.new_input(uri).open() as stream:
            known = pq.ParquetFile(stream).schema_arrow
            names = [name for name in columns if name in known.names]
            texts = [name for name in names if pa.types.is_string(known.field(name).type)]
            stream.seek(0)
            found = pq.ParquetFile(stream, read_dictionary=texts).read(names)
        for name in columns:
            if name not in names:
                found = found.append_column(name, pa.nulls(len(found), pa.string()))
        return found.select(list(columns))
