"""A Parquet footer, read before Arrow reads it: what the file says of its columns and row groups.

Only what is consistent goes on: a tree of columns of bounded depth, and row groups with one chunk of the right type
inside the file for every column. Source: apache/parquet-format, parquet.thrift (FileMetaData).
"""

from dataclasses import dataclass

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.thrift_compact import CompactReader, Fields, ThriftError

MAX_FOOTER_BYTES = 16 * 1024 * 1024
MAX_COLUMNS = 10_000
MAX_CHUNKS = 200_000
_MAX_DEPTH = 32
_VALUES_PER_COLUMN = 300
"""Of a chunk's metadata or a column's description; Arrow writes about 60."""
_REPEATED = 2
_BYTE_ARRAY, _FIXED = 6, 7
_WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column of values.

    Attributes:
        path: names from the root.
        kind: physical type by its number in parquet.thrift.
        width_bytes: of a value; None for byte arrays, fixed or not.
        is_repeated: whether a row may hold many values.
    """

    path: tuple[str, ...]
    kind: int
    width_bytes: int | None
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """Pages of one column in one row group."""

    start_byte: int
    exclusive_end_byte: int


@dataclass(frozen=True, slots=True)
class Footer:
    """Columns, and per row group its number of rows and its chunks in the order of the columns."""

    leaves: tuple[Leaf, ...]
    row_groups: tuple[tuple[int, tuple[Chunk, ...]], ...]


def read_footer(data: bytes, file_bytes: int) -> Footer:
    """Reads and checks a footer.

    Args:
        data: FileMetaData, without its length and magic.

    Raises:
        BadInputError: reason ``parquet_invalid``.
    """
    reader = CompactReader(data, _VALUES_PER_COLUMN * MAX_COLUMNS)
    leaves: tuple[Leaf, ...] = ()
    groups: list[tuple[int, tuple[Chunk, ...]]] = []
    number = 0
    try:
        while (field := reader.field(number)) is not None:
            number, kind = field
            if number == 2:
                leaves = _leaves(_elements(reader, MAX_COLUMNS, "columns"))
            elif number == 4:
                count, _ = reader.elements()
                if not leaves or count * len(leaves) > MAX_CHUNKS:
                    raise _invalid(f"{count} row groups of {len(leaves)} columns, at most {MAX_CHUNKS} chunks are read")
                for _ in range(count):
                    reader.budget = _VALUES_PER_COLUMN * (len(leaves) + 1)
                    groups.append(_row_group(reader.struct(1), leaves, file_bytes))
                reader.budget = _VALUES_PER_COLUMN * MAX_COLUMNS
            else:
                reader.value(kind, 0)
    except ThriftError as error:
        raise _invalid(str(error)) from error
    if not leaves:
        raise _invalid("no columns")
    return Footer(leaves, tuple(groups))


def _elements(reader: CompactReader, max_count: int, what: str) -> list[Fields]:
    count, _ = reader.elements()
    if count > max_count:
        raise _invalid(f"{count} {what}, at most {max_count} are read")
    found = []
    for _ in range(count):
        reader.budget = _VALUES_PER_COLUMN
        found.append(reader.struct(1))
    return found


def _leaves(elements: list[Fields]) -> tuple[Leaf, ...]:
    """Columns of values from the tree, which is written down parents first."""
    if not elements or not _integer(elements[0], 5):
        raise _invalid("a schema without columns")
    leaves: list[Leaf] = []
    # Children still to come, path and whether a parent repeats, from the root down.
    open_nodes: list[tuple[int, tuple[str, ...], bool]] = [(_integer(elements[0], 5), (), False)]
    for element in elements[1:]:
        while open_nodes and open_nodes[-1][0] == 0:
            open_nodes.pop()
        if not open_nodes:
            raise _invalid("more columns than the schema has room for")
        left, path, is_repeated = open_nodes.pop()
        open_nodes.append((left - 1, path, is_repeated))
        name = element.get(4)
        if not isinstance(name, bytes):
            raise _invalid("a column without a name")
        here = (*path, _text(name))
        repeats = is_repeated or element.get(3) == _REPEATED
        children = element.get(5) or 0
        if children:
            if not isinstance(children, int) or not 0 < children <= MAX_COLUMNS or len(open_nodes) > _MAX_DEPTH:
                raise _invalid(f"column {'.'.join(here)!r:.100} has {children!r:.20} parts")
            open_nodes.append((children, here, repeats))
        else:
            leaves.append(_leaf(element, here, is_repeated=repeats))
    if any(left for left, _, _ in open_nodes):
        raise _invalid("fewer columns than the schema says")
    return tuple(leaves)


def _leaf(element: Fields, path: tuple[str, ...], *, is_repeated: bool) -> Leaf:
    kind = element.get(1)
    if not isinstance(kind, int) or not (kind in _WIDTHS or kind in (_BYTE_ARRAY, _FIXED)):
        raise _invalid(f"column {'.'.join(path)!r:.100} has type {kind!r:.20}")
    return Leaf(path, kind, _WIDTHS.get(kind), is_repeated)


def _row_group(group: Fields, leaves: tuple[Leaf, ...], file_bytes: int) -> tuple[int, tuple[Chunk, ...]]:
    columns, nbr_rows = group.get(1), _integer(group, 3)
    if not isinstance(columns, list) or len(columns) != len(leaves) or nbr_rows < 0:
        raise _invalid(f"a row group of {nbr_rows} rows without a chunk for each of {len(leaves)} columns")
    return nbr_rows, tuple(_chunk(c, leaf, file_bytes) for c, leaf in zip(columns, leaves, strict=True))


def _chunk(column: object, leaf: Leaf, file_bytes: int) -> Chunk:
    described = column.get(3) if isinstance(column, dict) else None
    name = ".".join(leaf.path)
    if not isinstance(column, dict) or not isinstance(described, dict) or column.get(1):
        raise _invalid(f"column {name!r:.100} has a chunk that is not described here (encrypted, or in another file)")
    path = described.get(3)
    is_named = isinstance(path, list) and [_text(p) for p in path if isinstance(p, bytes)] == list(leaf.path)
    if not is_named or _integer(described, 1) != leaf.kind or _integer(described, 5) < 0:
        raise _invalid(f"column {name!r:.100} has a chunk of another column")
    offsets = [o for o in (described.get(11), _integer(described, 9)) if isinstance(o, int) and o > 0]
    start = min(offsets, default=0)
    end = start + _integer(described, 7)
    if not 4 <= start <= end <= file_bytes or _integer(described, 6) < 0:
        raise _invalid(f"column {name!r:.100} lies at bytes {start} to {end} of {file_bytes}")
    return Chunk(start, end)


def _integer(fields: Fields, number: int) -> int:
    value = fields.get(number)
    if not isinstance(value, int):
        raise _invalid(f"field {number} is absent")
    return value


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"a column's name is not UTF-8: {name[:40]!r}") from error


def _invalid(detail: str) -> BadInputError:
    return BadInputError(f"not a Parquet file: its footer has {detail}", reason="parquet_invalid")
