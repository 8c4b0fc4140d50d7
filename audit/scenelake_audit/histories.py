"""The states of a drop as a machine: is what a ledger row tells of its past a way through it?

PENDING → CLAIMED(batch, attempt) → BUILT, REJECTED or DUPLICATE. A later attempt of the batch may claim the drop
again; a batch that is given up may return it to PENDING, saying why. From an end only a rebuild leads on, and to
FORGOTTEN a person's word. Times are left out: the clocks of those who wrote them may differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TERMINAL = frozenset({"BUILT", "REJECTED", "DUPLICATE", "FORGOTTEN"})
STATES = TERMINAL | {"PENDING", "CLAIMED"}
REBUILD = "rebuild"
"""What the reason of a claim begins with that takes up a drop which had ended."""

Entry = Mapping[str, Any]


def breaks(history: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    """What should have come, and what came, for each step that the machine does not allow."""
    batches: set[str] = set()
    before: Entry | None = None
    for entry in history:
        expected = _expected_first(entry) if before is None else _expected_after(before, entry, batches)
        if expected:
            yield expected, f"{_shown(before)} -> {_shown(entry)}" if before else f"begins with {_shown(entry)}"
        if entry.get("batch_id"):
            batches.add(entry["batch_id"])
        before = entry


def _expected_first(entry: Entry) -> str | None:
    is_plain = not entry.get("batch_id") and not entry.get("attempt")
    if is_plain and (entry.get("state") == "PENDING" or (entry.get("state") == "REJECTED" and entry.get("reason"))):
        return None
    return "a first entry that is PENDING, or REJECTED with a reason, before any batch"


def _expected_after(before: Entry, entry: Entry, batches: set[str]) -> str | None:
    """What had to follow; None when the step is as it should be."""
    state, was = entry.get("state"), before.get("state")
    if state not in STATES:
        return f"one of {', '.join(sorted(STATES))}"
    if state == "FORGOTTEN":
        return None if was != "FORGOTTEN" and entry.get("reason") else "FORGOTTEN once, with a reason"
    is_same_batch = entry.get("batch_id") == before.get("batch_id")
    attempt, last = entry.get("attempt") or 0, before.get("attempt") or 0
    if state != "CLAIMED":
        if was != "CLAIMED" or not is_same_batch or attempt < last:
            return f"{state} only after CLAIMED, by the same batch, at that attempt or a later one"
        return "a reason for going back to PENDING" if state == "PENDING" and not entry.get("reason") else None
    if was == "CLAIMED":
        return None if is_same_batch and attempt > last else "another claim only by a later attempt of the same batch"
    if was != "PENDING" and (was == "FORGOTTEN" or not str(entry.get("reason") or "").startswith(REBUILD)):
        return f"nothing after {was} but a claim for a rebuild" if was != "FORGOTTEN" else "nothing after FORGOTTEN"
    is_new = bool(entry.get("batch_id")) and entry["batch_id"] not in batches
    return None if is_new and attempt == 1 else "a claim by a new batch, at attempt 1"


def _shown(entry: Entry) -> str:
    batch = f"(batch {entry['batch_id']}, attempt {entry.get('attempt')})" if entry.get("batch_id") else ""
    return f"{entry.get('state')}{batch}"
