"""The stage's own part of a commit: what the ledger knows before a release is there."""

from pathlib import Path

import pytest

from scenelake.adapters.memory_ledger import MemoryLedger
from scenelake.contracts.errors import FencedError
from scenelake.contracts.stages import Stage, StageArguments
from scenelake.ledger.new_drop import ObjectVersion, new_drop
from scenelake.ledger.protocol import ClaimLimits
from scenelake.runtime.faults import now_ns
from scenelake.runtime.job import StageContext
from scenelake.runtime.settings import Settings
from scenelake.serialise.job import _fence

LIMITS = ClaimLimits(max_drops=10, max_bytes=10**9, lease_ns=10**9, max_attempts=1)


def context_of(ledger: MemoryLedger, attempt: int, home: Path) -> StageContext:
    (batch,) = ledger.open_batches()
    context = StageContext(Stage.SERIALISE, StageArguments(batch.batch_id, attempt), Settings(home=home))
    vars(context)["ledger"] = ledger
    return context


def test_a_batch_whose_release_may_be_there_is_not_given_up(tmp_path: Path) -> None:
    """A process that is killed right after the put has told the ledger before."""
    ledger = MemoryLedger()
    ledger.register(new_drop(ObjectVersion("landing", "f/v/d/a.mcap", "1", 1, "e"), 1))
    first = ledger.claim(LIMITS, now_ns() - 2 * LIMITS.lease_ns)
    assert first is not None
    _fence(context_of(ledger, 1, tmp_path), "r00000001")
    held = ledger.batch(first.batch_id)
    assert held is not None
    assert held.lease_until_ns > now_ns(), "the put that follows lies within the lease"
    again = ledger.claim(LIMITS, held.lease_until_ns)
    assert again is not None
    assert (again.batch_id, again.attempt, again.release_id) == (first.batch_id, 2, "r00000001")


def test_a_stale_attempt_notes_nothing(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    ledger.register(new_drop(ObjectVersion("landing", "f/v/d/a.mcap", "1", 1, "e"), 1))
    ledger.claim(LIMITS, now_ns())
    with pytest.raises(FencedError):
        _fence(context_of(ledger, 2, tmp_path), "r00000001")
    (batch,) = ledger.open_batches()
    assert batch.release_id is None
