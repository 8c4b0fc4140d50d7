"""Every write that outlives its process lies between two failpoints, so that the fault battery can stop it there."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WRITES = frozenset(
    {
        "put_object", "upload_file", "upload_fileobj", "copy_object", "create_multipart_upload", "upload_part",
        "complete_multipart_upload", "delete_object", "delete_objects",
        "put_item", "update_item", "delete_item", "batch_write_item", "transact_write_items",
        "send_message", "send_message_batch", "delete_message", "delete_message_batch",
        "transaction", "create_table_transaction", "create_table", "update_schema", "new_output",
        "update_table", "put_events",
    }
)  # fmt: skip
"""Calls of boto3 and pyiceberg that write; adapters also name them as text (``self._call("put_object", …)``)."""

EXCEPTED = {
    "jobs/scenelake/stack": "sets the stand-in for AWS up, before there is anything to lose",
    "jobs/scenelake/cli": "a person's command; what it puts into landing is announced or it is not",
}
NOT_EXCEPTED = ("jobs/scenelake/stack/event_runner.py",)
DECLARATION = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Write:
    file: Path
    line: int
    call: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.call}"


def unguarded(source: str, file: Path) -> Iterator[Write]:
    """Writes whose function passes no failpoint before and after them."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, DECLARATION)]
    nested = {
        id(inner) for f in functions for inner in ast.walk(f) if inner is not f and isinstance(inner, DECLARATION)
    }
    guarded = {id(call) for f in functions if id(f) not in nested for call in _guarded_calls(f)}
    for node in ast.walk(tree):
        name = written_by(node)
        if name and id(node) not in guarded:
            yield Write(file, node.lineno, name)


def written_by(node: ast.AST) -> str | None:
    """The writing operation that a call names, as a method or as its first argument."""
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
        return node.func.attr
    first = node.args[0] if node.args else None
    is_named = isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value in WRITES
    is_call = isinstance(node.func, ast.Attribute) and node.func.attr == "_call"
    return first.value if is_named and is_call else None


def _guarded_calls(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes inside a ``with durable_write(…)``, and those between a ``….before`` and an ``….after``.

    A transaction's object may be made in front of its ``with``: nothing is written before the block.
    """
    points = {suffix: _failpoint_lines(function, suffix) for suffix in ("before", "after")}
    blocks = [node for node in ast.walk(function) if isinstance(node, ast.With | ast.AsyncWith)]
    durable = [block for block in blocks if any(_calls(item.context_expr, "durable_write") for item in block.items)]
    for block in durable:
        yield from ast.walk(block)
    entered = {
        item.context_expr.id for block in durable for item in block.items if isinstance(item.context_expr, ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and {t.id for t in node.targets if isinstance(t, ast.Name)} & entered:
            yield from ast.walk(node)
        if isinstance(node, ast.Call):
            is_after = any(line < node.lineno for line in points["before"])
            is_before = any(line > node.lineno for line in points["after"])
            if is_after and is_before:
                yield node


def _failpoint_lines(function: ast.AST, suffix: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(function)
        if _calls(node, "failpoint") and ast.unparse(node).rstrip("'\")").endswith(f".{suffix}")
    ]


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def sources() -> list[Path]:
    files = [*(REPOSITORY / "jobs" / "scenelake").rglob("*.py"), *(REPOSITORY / "plugins").rglob("*.py")]
    found = {path.relative_to(REPOSITORY).as_posix(): path for path in files}
    return [p for name, p in sorted(found.items()) if name in NOT_EXCEPTED or not name.startswith(tuple(EXCEPTED))]


def test_every_durable_write_lies_between_failpoints() -> None:
    bad = [str(w) for p in sources() for w in unguarded(p.read_text(), p.relative_to(REPOSITORY))]
    assert not bad, f"write them inside `with durable_write(name):` (scenelake.runtime.faults): {bad}"


def test_the_writes_that_matter_are_found() -> None:
    found = {name for path in sources() for node in ast.walk(ast.parse(path.read_text())) if (name := written_by(node))}
    expected = {
        "put_object", "upload_file", "put_item", "update_item", "transact_write_items", "send_message",
        "delete_message_batch", "transaction", "create_table_transaction", "new_output",
    }  # fmt: skip
    assert expected <= found


def test_what_the_checker_names_are_places_that_exist() -> None:
    assert all((REPOSITORY / name).exists() for name in (*EXCEPTED, *NOT_EXCEPTED))


@pytest.mark.parametrize(
    ("body", "is_bad"),
    [
        ("s3.put_object(Key='k')", True),
        ("failpoint('a.b.before')\n    s3.put_object(Key='k')", True),
        ("failpoint('a.b.before')\n    s3.put_object(Key='k')\n    failpoint('a.b.after')", False),
        ("with durable_write('a.b'):\n        s3.put_object(Key='k')", False),
        ("with durable_write('a.b'):\n        pass\n    s3.put_object(Key='k')", True),
        ("self._call('put_item', Item={})", True),
        ("with table.transaction() as t:\n        t.append()", True),
        ("with durable_write('a.b'), table.transaction() as t:\n        t.append()", False),
        ("made = table.transaction()\n    with durable_write('a.b'), made as t:\n        t.append()", False),
        ("made = table.transaction()\n    with made as t:\n        t.append()", True),
        ("async def inner():\n        await sqs.delete_message()", True),
        ("s3.get_object(Key='k')", False),
    ],
)
def test_the_checker_sees_a_planted_write(body: str, is_bad: bool) -> None:
    assert bool(list(unguarded(f"def function(self):\n    {body}\n", Path("planted.py")))) is is_bad
