"""Any order of events, claims, crashes and settlements keeps the ledger's promises."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from scenelake.adapters.memory_ledger import MemoryLedger
from scenelake.contracts import ids
from scenelake.contracts.drops import Batch, BatchState, Drop, DropState, Settlement
from scenelake.contracts.errors import FencedError
from scenelake.ledger.protocol import ClaimLimits

LIMITS = ClaimLimits(max_drops=3, max_bytes=25, lease_ns=10, max_attempts=2)
LEGAL = {
    None: {DropState.PENDING},
    DropState.PENDING: {DropState.CLAIMED},
    DropState.CLAIMED: {DropState.CLAIMED, DropState.PENDING, DropState.BUILT, DropState.REJECTED, DropState.DUPLICATE},
    DropState.BUILT: {DropState.CLAIMED},
    DropState.REJECTED: {DropState.CLAIMED},
    DropState.DUPLICATE: {DropState.CLAIMED},
}


class LedgerMachine(RuleBasedStateMachine):
    batches = Bundle("batches")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = MemoryLedger()
        self.now_ns = 1
        self.known: set[str] = set()
        self.attempts: dict[str, int] = {}

    def _claimed(self, batch: Batch | None):
        if batch is None:
            return multiple()
        assert batch.attempt == self.attempts.get(batch.batch_id, 0) + 1, "attempts go up one by one"
        assert batch.attempt <= LIMITS.max_attempts
        assert len(batch.drop_ids) <= LIMITS.max_drops
        self.attempts[batch.batch_id] = batch.attempt
        return batch

    @rule(name=st.integers(0, 12), drive=st.integers(0, 3), size=st.integers(1, 30))
    def register(self, name: int, drive: int, size: int) -> None:
        key = f"f/v/d{drive}/{name}"
        drop_id = ids.drop_id("b", key, "1")
        drop = Drop(drop_id, "b", key, "1", size, "e", self.now_ns, "f", "v", f"d{drive}", f"drive-{drive}")
        assert self.ledger.register(drop) == (drop_id not in self.known)
        self.known.add(drop_id)

    @rule(step_ns=st.integers(1, 15))
    def pass_time(self, step_ns: int) -> None:
        self.now_ns += step_ns

    @rule(target=batches)
    def claim(self):
        return self._claimed(self.ledger.claim(LIMITS, self.now_ns))

    @rule(target=batches, rebuild=st.booleans(), data=st.data())
    def claim_by_name(self, rebuild: bool, data):
        names = data.draw(st.lists(st.sampled_from(sorted(self.known)), max_size=4)) if self.known else []
        return self._claimed(self.ledger.claim_drops(names, LIMITS, self.now_ns, rebuild=rebuild))

    @rule(batch=batches, nbr=st.integers(0, 3), state=st.sampled_from([DropState.BUILT, DropState.REJECTED]))
    def settle(self, batch: Batch, nbr: int, state: DropState) -> None:
        current = self.ledger.batch(batch.batch_id)
        before = {i: self.ledger.get(i) for i in batch.drop_ids}
        settlements = [Settlement(i, state) for i in batch.drop_ids[:nbr]]
        try:
            self.ledger.settle(batch.batch_id, batch.attempt, settlements, self.now_ns)
        except FencedError:
            assert current.attempt != batch.attempt
            assert before == {i: self.ledger.get(i) for i in batch.drop_ids}, "a fenced attempt changes nothing"

    @rule(batch=batches)
    def hand_back(self, batch: Batch) -> None:
        current = self.ledger.batch(batch.batch_id)
        is_current = (current.attempt, current.state) == (batch.attempt, BatchState.OPEN)
        try:
            self.ledger.hand_back(batch.batch_id, batch.attempt, self.now_ns)
        except FencedError:
            assert not is_current

    @rule(batch=batches)
    def renew(self, batch: Batch) -> None:
        current = self.ledger.batch(batch.batch_id)
        is_current = (current.attempt, current.state) == (batch.attempt, BatchState.OPEN)
        try:
            assert self.ledger.renew(batch.batch_id, batch.attempt, self.now_ns).lease_until_ns == self.now_ns + 10
        except FencedError:
            assert not is_current

    @invariant()
    def every_drop_is_in_one_known_state_with_a_legal_history(self) -> None:
        drops = list(self.ledger.drops())
        assert {d.drop_id for d in drops} == self.known, "no drop disappears"
        for drop in drops:
            states = [None, *(DropState(str(e["state"])) for e in self.ledger.history(drop.drop_id))]
            assert states[-1] is drop.state
            assert all(after in LEGAL[before] for before, after in itertools.pairwise(states)), states

    @invariant()
    def claimed_drops_belong_to_the_current_attempt_of_one_open_batch(self) -> None:
        drive_holders: dict[str, set[str]] = {}
        for drop in self.ledger.drops(state=DropState.CLAIMED):
            batch = self.ledger.batch(drop.batch_id)
            assert (batch.state, batch.attempt) == (BatchState.OPEN, drop.attempt)
            assert drop.drop_id in batch.drop_ids
            drive_holders.setdefault(drop.drive_id, set()).add(batch.batch_id)
        assert all(len(holders) == 1 for holders in drive_holders.values()), "a drive is in one open batch"

    @invariant()
    def an_open_batch_has_work_left(self) -> None:
        held = {d.batch_id for d in self.ledger.drops(state=DropState.CLAIMED)}
        opened = {b for b in self.attempts if self.ledger.batch(b).state is BatchState.OPEN}
        assert opened == held


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, database=None)
TestLedgerMachine = LedgerMachine.TestCase
