from typing import Any

import pytest

from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.stages import DecodedDrop, DropVerdict
from scenelake.ledger.verdicts import settlements

DROP = Drop("id", "landing", "f/v/d/x.mcap", "1", 1, "e", 0, "f", "v", "d", "drive")
PLACE = "s3://landing/f/v/d/x.mcap: detail (byte 7)"


@pytest.mark.parametrize(
    ("verdict", "reason", "figures", "expected"),
    [
        (DropVerdict.DECODED, None, {"scenes": 1}, None),
        (DropVerdict.SALVAGED, "truncated", {"scenes": 1}, f"salvaged: truncated: {PLACE}"),
        (
            DropVerdict.DECODED,
            "summary_unreadable",
            {"scenes": 1},
            f"whole, with a remark: summary_unreadable: {PLACE}",
        ),
        (
            DropVerdict.DECODED,
            None,
            {"scenes": 0, "messages": 5, "undecodable": 3, "unassigned": 2},
            "no scene: of 5 messages 2 unassigned, 3 undecodable",
        ),
    ],
)
def test_a_built_drop_says_what_a_person_should_know(
    verdict: DropVerdict, reason: str | None, figures: dict[str, Any], expected: str | None
) -> None:
    line = DecodedDrop("id", "drive", "s3://lake/x", verdict, reason, PLACE if reason else None, "sha")
    (ended,) = settlements([DROP], {"id": line}, {}, {"id": figures}, "r1")
    assert ended.state is DropState.BUILT
    assert ended.reason == expected
