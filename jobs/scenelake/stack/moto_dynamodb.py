"""What keeps moto's DynamoDB from being a fair stand-in for a large table, put right.

Stock moto sorts the whole table for every query and copies it for every item of a transaction, so each request
costs more the more items there are. On AWS a request costs what it touches.
"""

import copy
import inspect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb import models
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table

_Key = tuple[DynamoType, DynamoType | None]
_Value = tuple[str, str, Any]
_LOOKUP = "_scenelake_lookup"


class _Lookup:
    """A table's items by the value that they have for the hash attribute of each index."""

    def __init__(self, table: Table) -> None:
        indexed = (key["AttributeName"] for i in table.all_indexes() for key in i.schema if key["KeyType"] == "HASH")
        self._attributes = sorted(set(indexed))
        self._items: defaultdict[_Value, dict[_Key, Item]] = defaultdict(dict)
        self._values: dict[_Key, list[_Value]] = {}
        for item in table.all_items():
            self.keep((item.hash_key, item.range_key), item)

    def keep(self, key: _Key, item: Item | None) -> None:
        """Notes what an item is now; None when it is gone."""
        for value in self._values.pop(key, ()):
            self._items[value].pop(key, None)
        if item is None:
            return
        found = [_value(name, item.attrs[name]) for name in self._attributes if name in item.attrs]
        self._values[key] = found
        for value in found:
            self._items[value][key] = item

    def items(self, attribute: str, value: DynamoType) -> list[Item]:
        return list(self._items.get(_value(attribute, value), {}).values())


def _value(attribute: str, value: DynamoType) -> _Value:
    return attribute, value.type, value.cast_value


def _lookup(table: Table) -> _Lookup:
    """The table's lookup, built from its items when it is first needed."""
    found: _Lookup | None = table.__dict__.get(_LOOKUP)
    if found is None:
        found = table.__dict__[_LOOKUP] = _Lookup(table)
    return found


def _note(table: Table, key: _Key) -> None:
    _lookup(table).keep(key, table.get_item(*key))


def read_indexes_by_key() -> None:
    """Makes a query of an index read the rows of its hash key only."""
    query, put, delete = Table.query, Table.put_item, Table.delete_item
    update, parameters = DynamoDBBackend.update_item, inspect.signature(Table.query)

    def query_by_key(self: Table, *args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(self, *args, **kwargs).arguments
        if given.get("index_name") and given.get("hash_key_conditions"):
            found = _lookup(self).items(*given["hash_key_conditions"][0])
            self = copy.copy(self)
            self.items = _as_table(found)
        return query(self, *args, **kwargs)

    def put_item(self: Table, *args: Any, **kwargs: Any) -> Item:
        item = put(self, *args, **kwargs)
        _lookup(self).keep((item.hash_key, item.range_key), item)
        return item

    def delete_item(self: Table, hash_key: DynamoType, range_key: DynamoType | None) -> Item | None:
        item = delete(self, hash_key, range_key)
        _note(self, (hash_key, range_key))
        return item

    def update_item(self: DynamoDBBackend, table_name: str, key: Mapping[str, Any], *args: Any, **kwargs: Any) -> Item:
        try:
            return update(self, table_name, key, *args, **kwargs)
        finally:
            table = self.get_table(table_name)
            if table.hash_key_attr in key:
                _note(table, _key_of(table, key))

    Table.query, Table.put_item, Table.delete_item = query_by_key, put_item, delete_item
    DynamoDBBackend.update_item = update_item


def answer_values_as_they_are() -> None:
    """Hands items out in the form in which moto holds them, which is the wire's, without looking up each attribute."""
    serialise = BaseJSONSerializer._serialize_type_structure

    def serialise_structure(self: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and _is_wire_form(value):
            serialized[key] = value
        else:
            serialise(self, serialized, value, shape, key)

    BaseJSONSerializer._serialize_type_structure = serialise_structure


def _is_wire_form(value: object) -> bool:
    """True for text, numbers and flags, however nested; moto holds binary values as bytes."""
    if isinstance(value, dict | list):
        return all(map(_is_wire_form, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str | bool)


def undo_transactions_by_item() -> None:
    """Makes a transaction remember the items that it names, not the whole table once for each of them."""
    transact = DynamoDBBackend.transact_write_items

    def transact_write_items(self: DynamoDBBackend, transact_items: Sequence[Mapping[str, Any]]) -> None:
        before = [(table, key, copy.deepcopy(table.get_item(*key))) for table, key in _named(self, transact_items)]
        try:
            transact(self, transact_items)
        except Exception:
            for table, key, item in before:
                _put_back(table, key, item)
            raise

    # Of what this module of moto copies, tables are copied for a transaction to fall back on, and nothing else is.
    models.copy = SimpleNamespace(deepcopy=lambda value: value if isinstance(value, Table) else copy.deepcopy(value))
    DynamoDBBackend.transact_write_items = transact_write_items


def _named(backend: DynamoDBBackend, transact_items: Sequence[Mapping[str, Any]]) -> list[tuple[Table, _Key]]:
    """Tables and keys that a transaction names; an operation that is no legal one is left for moto to refuse."""
    named = []
    for operations in transact_items:
        for operation in operations.values():
            table = backend.tables.get(operation.get("TableName"))
            attributes = operation.get("Key") or operation.get("Item") or {}
            if table is not None and set(_key_names(table)) <= set(attributes):
                named.append((table, _key_of(table, attributes)))
    return named


def _key_names(table: Table) -> list[str]:
    return [name for name in (table.hash_key_attr, table.range_key_attr) if name]


def _key_of(table: Table, attributes: Mapping[str, Any]) -> _Key:
    hash_key, *rest = (DynamoType(attributes[name]) for name in _key_names(table) if name in attributes)
    return hash_key, rest[0] if rest else None


def _put_back(table: Table, key: _Key, item: Item | None) -> None:
    hash_key, range_key = key
    place, name = (table.items[hash_key], range_key) if range_key else (table.items, hash_key)
    if item is None:
        place.pop(name, None)
    else:
        place[name] = item
    _lookup(table).keep(key, item)


def _as_table(items: Sequence[Item]) -> dict[DynamoType, Any]:
    """Items in the form in which a table holds them."""
    held: dict[DynamoType, Any] = {}
    for item in items:
        if item.range_key:
            held.setdefault(item.hash_key, {})[item.range_key] = item
        else:
            held[item.hash_key] = item
    return held
