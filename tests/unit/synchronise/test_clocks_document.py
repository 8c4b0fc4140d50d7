"""docs/clocks.md names every kind of fault and every repair, and no other."""

import re

from scenelake.contracts.stages import ClockFaultKind
from scenelake.synchronise.clock_rules import Repair


def test_the_document_names_what_there_is(repository):
    text = (repository / "docs" / "clocks.md").read_text()
    faults, repairs = text.split("## Repairs")
    assert table_names(faults) == {str(kind) for kind in ClockFaultKind}
    assert table_names(repairs) == {str(repair) for repair in Repair}


def table_names(text):
    """Names in the first column of the tables, less the heading's."""
    cells = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} - {"fault_kind"}
