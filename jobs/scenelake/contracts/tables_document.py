"""The gold tables as a document for people, generated from the contracts: ``make docs`` writes it."""

import sys
from pathlib import Path

import pyarrow as pa

from scenelake.contracts.columns import COLUMNS
from scenelake.contracts.tables import GOLD, Table

_INTRODUCTION = """# Gold tables

Generated from `jobs/scenelake/contracts` by `make docs`. Time is int64 nanoseconds UTC; the ego frame is x forward,
y left, z up; camera frames are z forward, x right, y down; transforms are `target_from_source`. Every table is
partitioned by `drive_date` unless it says otherwise.
"""


def document() -> str:
    """All gold tables as Markdown: one section a table, one row a column."""
    return "\n".join([_INTRODUCTION, *(_section(table) for table in GOLD.values())])


def _section(table: Table) -> str:
    notes = [f"Key: {', '.join(f'`{name}`' for name in table.key)}."]
    if table.replace_by:
        notes.append(f"A commit replaces rows by `{table.replace_by}`.")
    if table.partition is None:
        notes.append("Not partitioned.")
    rows = [f"| `{name}` | {_type(COLUMNS[name][0])} | {COLUMNS[name][1]} |" for name in table.columns]
    return "\n".join(
        [f"## {table.name}", "", " ".join(notes), "", "| column | type | meaning |", "|---|---|---|", *rows, ""]
    )


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "struct (" + ", ".join(field.name for field in kind) + ")"
    return str(kind)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document())
