"""Keys and topics come from outside: a terminal shows them and does not obey them."""

from io import StringIO

import pytest
from rich.console import Console

from scenelake.adapters.memory_ledger import MemoryLedger
from scenelake.cli.plain import plain
from scenelake.cli.status import print_drop, print_drops
from scenelake.cli.summary import rows_table
from scenelake.contracts.drops import Drop

HOSTILE = ["[/red]x", "[bold]x", "a\\[b]", "\x1b[31mx", "a\nb"]


def printed(draw) -> str:
    console = Console(file=StringIO(), width=400, color_system=None)
    draw(console)
    return console.file.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_key_is_listed_and_shown(text: str) -> None:
    ledger = MemoryLedger()
    ledger.register(Drop("id", "landing", f"f/v/d/{text}", "1", 1, "e", 0, "f", "v", "d", "drive", reason=text))
    shown = text.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert f"f/v/d/{shown}" in printed(lambda c: print_drops(c, ledger, None, as_json=False))
    assert f"f/v/d/{shown}" in printed(lambda c: print_drop(c, ledger, "id", as_json=False))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_topic_is_a_row_of_its_table(text: str) -> None:
    out = printed(lambda c: c.print(rows_table("", ["channel"], [[text]])))
    assert len(out.splitlines()) == len(printed(lambda c: c.print(rows_table("", ["channel"], [["x"]]))).splitlines())
    assert "\x1b" not in out


def test_ordinary_text_stays_as_it_is() -> None:
    assert plain("/camera/ü코🚗 it's") == "/camera/ü코🚗 it's"
