"""The ledger's DynamoDB table: reads, conditional writes and transactions, with errors told apart."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from scenelake.adapters.ledger_items import Item, decode, encode, key
from scenelake.contracts.errors import ConfigurationError, TransientError
from scenelake.runtime.faults import durable_write
from scenelake.runtime.logs import current_stage

_BATCH_GET_LIMIT = 100
_BATCH_GET_TRIES = 10
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 2.0
_BUSY = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ProvisionedThroughputExceeded",
        "ThrottlingException",
        "ThrottlingError",
        "RequestLimitExceeded",
        "InternalServerError",
        "ServiceUnavailable",
        "TransactionInProgressException",
        # A write of its own met a transaction on the same item, which says nothing of its condition.
        "TransactionConflictException",
    }
)
_LOST = frozenset({"ConditionalCheckFailed", "TransactionConflict"})


class ConditionFailedError(Exception):
    """A conditional write lost its race.

    Attributes:
        lost: positions of the writes that did.
        found: the item that was in the way, as DynamoDB holds it, where that was asked for.
    """

    def __init__(self, lost: Sequence[int], found: Item | None = None) -> None:
        super().__init__(f"write(s) {list(lost)} lost their condition")
        self.lost = tuple(lost)
        self.found = found


class LedgerTable:
    """Items in and out as plain values.

    Every method raises TransientError when DynamoDB is busy or out of reach, and ConfigurationError when the
    table is not there.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    def get(self, pk: str) -> Item | None:
        answer = self._call("get_item", TableName=self.name, Key=key(pk), ConsistentRead=True)
        return decode(answer["Item"]) if "Item" in answer else None

    def get_many(self, pks: Sequence[str]) -> list[Item]:
        """Items that exist, in the order asked for."""
        wanted = list(dict.fromkeys(pks))
        found: dict[str, Item] = {}
        for start in range(0, len(wanted), _BATCH_GET_LIMIT):
            part = self._get_part([key(pk) for pk in wanted[start : start + _BATCH_GET_LIMIT]])
            found |= {item["pk"]: item for item in part}
        return [found[pk] for pk in wanted if pk in found]

    def _get_part(self, keys: list[Item]) -> Iterator[Item]:
        """Items of one request's worth of keys. A busy DynamoDB leaves keys out, unknown to botocore."""
        pause = _FIRST_PAUSE_SECONDS
        for _ in range(_BATCH_GET_TRIES):
            answer = self._call("batch_get_item", RequestItems={self.name: {"Keys": keys, "ConsistentRead": True}})
            items = answer["Responses"].get(self.name, [])
            yield from map(decode, items)
            keys = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            if not keys:
                return
            # What was cut at 16 MB and not for being busy comes with items, and goes on at once.
            if not items:
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        raise TransientError(f"batch_get_item on table {self.name}: busy {_BATCH_GET_TRIES} times in a row")

    def query(self, index: str, condition: str, values: Item) -> Iterator[Item]:
        """Rows of an index in its order, page by page as they are read."""
        request: Item = {
            "TableName": self.name,
            "IndexName": index,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": encode(values),
        }
        yield from self._pages("query", request)

    def scan(self, prefix: str) -> Iterator[Item]:
        """Every item whose key starts with the prefix, in no order, each once whatever changes meanwhile."""
        request: Item = {
            "TableName": self.name,
            "ConsistentRead": True,
            "FilterExpression": "begins_with(pk, :prefix)",
            "ExpressionAttributeValues": encode({":prefix": prefix}),
        }
        yield from self._pages("scan", request)

    def _pages(self, operation: str, request: Item) -> Iterator[Item]:
        while True:
            answer = self._call(operation, **request)
            yield from map(decode, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def put_new(self, item: Item) -> bool:
        """False when an item with this key exists."""
        try:
            with durable_write(_failpoint("put")):
                self._call("put_item", **self.putting(item)["Put"])
        except ConditionFailedError:
            return False
        return True

    def put_newest(self, item: Item, *, by: str) -> bool:
        """Puts an item unless one with its key and a later ``by`` exists; False when one does."""
        request = {
            "TableName": self.name,
            "Item": encode(item),
            "ConditionExpression": "attribute_not_exists(pk) OR #by <= :by",
            "ExpressionAttributeNames": {"#by": by},
            "ExpressionAttributeValues": encode({":by": item[by]}),
        }
        try:
            with durable_write(_failpoint("put")):
                self._call("put_item", **request)
        except ConditionFailedError:
            return False
        return True

    def update(self, update: Item) -> Item:
        """Carries out one ``updating(…)`` on its own and returns the new item.

        Raises:
            ConditionFailedError: when its condition does not hold.
        """
        asked = {"ReturnValues": "ALL_NEW", "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **update["Update"]}
        try:
            with durable_write(_failpoint("update")):
                return decode(self._call("update_item", **asked)["Attributes"])
        except ConditionFailedError as failed:
            # botocore repeats a request whose answer was lost, and then our own write is in the way.
            if failed.found is None or not _is_done(update["Update"], failed.found):
                raise
            return decode(failed.found)

    def transact(self, writes: Sequence[Item]) -> None:
        """All of the writes or none.

        Raises:
            ConditionFailedError: with the positions of the writes that lost.
        """
        with durable_write(_failpoint("transact")):
            # botocore gives the request a token, by which DynamoDB answers a repeated one like the first.
            self._call("transact_write_items", TransactItems=list(writes))

    def putting(self, item: Item) -> Item:
        """The write of an item that must not exist yet."""
        put = {"TableName": self.name, "Item": encode(item), "ConditionExpression": "attribute_not_exists(pk)"}
        return {"Put": put}

    def checking(self, pk: str, *, where: Item) -> Item:
        """The condition, among other writes, that an item's attributes are as given."""
        expected, names, values = _equalities(where)
        check = {
            "TableName": self.name,
            "Key": key(pk),
            "ConditionExpression": " AND ".join(expected),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": encode(values),
        }
        return {"ConditionCheck": check}

    def deleting(self, pk: str, *, where: Item) -> Item:
        """The write that removes an item whose attributes are as given."""
        expected, names, values = _equalities(where)
        return {
            "Delete": {
                "TableName": self.name,
                "Key": key(pk),
                "ConditionExpression": " AND ".join(expected),
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": encode(values),
            }
        }

    def updating(self, pk: str, sets: Item, *, where: Item, append: Item | None = None) -> Item:
        """The write that changes an item whose attributes are as given.

        Args:
            sets: new values; None removes the attribute.
            where: values that must still hold; None means that the attribute must be absent.
            append: an entry for the item's ``history``.
        """
        expected, names, values = _equalities(where)
        assignments, removals = [], []
        for position, (name, value) in enumerate(sets.items()):
            names[f"#s{position}"] = name
            if value is None:
                removals.append(f"#s{position}")
            else:
                values[f":s{position}"] = value
                assignments.append(f"#s{position} = :s{position}")
        if append:
            values[":entry"] = [append]
            assignments.append("history = list_append(history, :entry)")
        expression = "SET " + ", ".join(assignments) + (" REMOVE " + ", ".join(removals) if removals else "")
        return {
            "Update": {
                "TableName": self.name,
                "Key": key(pk),
                "UpdateExpression": expression,
                "ConditionExpression": " AND ".join(expected),
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": encode(values),
            }
        }

    def _call(self, operation: str, **request: Any) -> Any:
        try:
            return getattr(self._client, operation)(**request)
        except ClientError as error:
            raise _translated(error, operation, self.name) from error
        except BotoCoreError as error:
            raise TransientError(f"{operation} on table {self.name}: {error}") from error


def _failpoint(operation: str) -> str:
    return f"{current_stage() or 'any'}.ledger_{operation}"


def _equalities(where: Item) -> tuple[list[str], dict[str, str], Item]:
    expected, names, values = [], {}, {}
    for position, (name, value) in enumerate(where.items()):
        names[f"#w{position}"] = name
        if value is None:
            expected.append(f"attribute_not_exists(#w{position})")
        else:
            values[f":w{position}"] = value
            expected.append(f"#w{position} = :w{position}")
    return expected, names, values


def _is_done(update: Item, found: Item) -> bool:
    """Whether an item is as an ``updating(…)`` leaves it, what the update did not change included."""
    names, values = update["ExpressionAttributeNames"], update["ExpressionAttributeValues"]
    left = {name: values.get(f":{place[1:]}") for place, name in sorted(names.items(), reverse=True)}
    return all(found.get(name) == value for name, value in left.items())


def _translated(error: ClientError, operation: str, table: str) -> Exception:
    code = error.response["Error"]["Code"]
    if code == "ConditionalCheckFailedException":
        return ConditionFailedError([0], error.response.get("Item"))
    if code == "TransactionCanceledException":
        reasons = [r.get("Code", "None") for r in error.response.get("CancellationReasons", [{"Code": "None"}])]
        if any(reason in _BUSY for reason in reasons):
            return TransientError(f"{operation} on table {table}: busy ({', '.join(reasons)})")
        if set(reasons) <= _LOST | {"None"}:
            return ConditionFailedError([i for i, reason in enumerate(reasons) if reason in _LOST])
    if code in _BUSY:
        return TransientError(f"{operation} on table {table} answered {code}")
    if code == "ResourceNotFoundException":
        return ConfigurationError(f"ledger table {table} (or its index) does not exist; create the landing zone first")
    untranslated: Exception = error
    return untranslated
