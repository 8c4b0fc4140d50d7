"""Tables are lists of defined columns, keyed and replaced by columns that they have."""

from pathlib import Path

import pytest

from scenelake.contracts.columns import COLUMNS
from scenelake.contracts.modalities import BATCHED_TABLES, PAYLOAD_TABLE, SLOTTED_TABLES
from scenelake.contracts.tables import DECODED, GOLD, Table, decoded_schema
from scenelake.contracts.tables_document import document

ALL = [*GOLD.values(), *DECODED.values()]


@pytest.mark.parametrize("table", ALL, ids=lambda t: t.name)
def test_columns_are_defined_once_and_keys_exist(table: Table) -> None:
    assert len(set(table.columns)) == len(table.columns)
    assert set(table.columns) <= set(COLUMNS)
    assert set(table.key) <= set(table.columns)
    assert table.replace_by is None or table.replace_by in table.columns
    if table.name in GOLD:
        assert table.partition is None or table.partition in table.columns


def test_every_column_is_used_and_documented() -> None:
    used = {name for table in ALL for name in table.columns}
    assert used, "no table was found"
    assert set(COLUMNS) == used, f"unused: {set(COLUMNS) - used}"
    undocumented = [name for name, (_, doc) in COLUMNS.items() if len(doc) < 5]
    assert not undocumented


def test_every_modality_has_a_table() -> None:
    assert set(PAYLOAD_TABLE.values()) <= set(GOLD)
    assert set(SLOTTED_TABLES) | set(BATCHED_TABLES) | {"calibrated_sensor"} == set(PAYLOAD_TABLE.values())


@pytest.mark.parametrize("name", BATCHED_TABLES)
def test_decoded_schema_lacks_only_what_is_known_later(name: str) -> None:
    added = set(GOLD[name].columns) - set(decoded_schema(name).names)
    assert added == {"scene_id", "drive_id", "drive_date"}


def test_the_document_of_the_tables_is_the_contracts_own(repository: Path) -> None:
    assert (repository / "docs" / "tables.md").read_text() == document(), "run `make docs`"
