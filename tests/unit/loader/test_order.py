"""Exactly once per epoch, over ranks, workers and stops; the order is the same for every number of workers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.errors import ConfigurationError
from scenelake.loader.order import EpochOrder, Line
from scenelake.loader.windows import runs_of

LANES = 12
WORKERS = [n for n in range(1, LANES + 1) if LANES % n == 0]

orders = st.builds(
    dict,
    nbr_items=st.integers(0, 400),
    nbr_ranks=st.integers(1, 5),
    batch_size=st.integers(1, 9),
    lanes=st.sampled_from([1, 3, LANES]),
    block_batches=st.integers(1, 5),
    seed=st.sampled_from([None, 0, 7]),
    epoch=st.integers(0, 3),
)


def order_of(given: dict, rank: int = 0, **more) -> EpochOrder:
    return EpochOrder(rank=rank, **given, **more)


@settings(deadline=None)
@given(orders)
def test_every_item_comes_once_over_all_ranks_and_ranks_are_equal(given: dict) -> None:
    by_rank = [order_of(given, r) for r in range(given["nbr_ranks"])]
    batches = [[o.batch(k) for k in range(o.nbr_batches)] for o in by_rank]
    seen = np.concatenate([np.empty(0, np.int64), *(b for bs in batches for b in bs)])
    assert np.array_equal(np.sort(seen), np.arange(given["nbr_items"]))
    sizes = [sum(map(len, bs)) for bs in batches]
    assert max(sizes) - min(sizes) <= 1
    for found in batches:
        assert all(len(b) == given["batch_size"] for b in found[:-1])


@settings(deadline=None)
@given(orders)
def test_full_batches_alone_are_as_many_for_every_rank(given: dict) -> None:
    by_rank = [order_of(given, r, has_partial=False) for r in range(given["nbr_ranks"])]
    batches = [[o.batch(k) for k in range(o.nbr_batches)] for o in by_rank]
    assert len({len(b) for b in batches}) == 1
    found = [b for bs in batches for b in bs]
    assert all(len(b) == given["batch_size"] for b in found)
    seen = np.concatenate([np.empty(0, np.int64), *found])
    assert len(np.unique(seen)) == len(seen)
    assert given["nbr_items"] - len(seen) < given["nbr_ranks"] * given["batch_size"] + given["nbr_ranks"]


def delivered(order: EpochOrder, nbr_workers: int, base: int, position: int) -> list[int]:
    """Batches as torch's DataLoader hands them out: in turn from its workers, the ones that are done left out."""
    shares = [list(order.workers_share(w, nbr_workers, base, position)) for w in range(nbr_workers)]
    found = []
    while any(shares):
        found += [share.pop(0) for share in shares if share]
    return found


@settings(deadline=None)
@given(st.data())
def test_workers_give_the_same_batches_in_the_same_order_from_wherever_they_start(data: st.DataObject) -> None:
    given = data.draw(orders.map(lambda o: {**o, "lanes": LANES}))
    order = order_of(given)
    position = data.draw(st.integers(0, order.nbr_batches))
    for nbr_workers in WORKERS:
        assert delivered(order, nbr_workers, position, position) == list(range(position, order.nbr_batches))


@settings(deadline=None)
@given(st.data())
def test_each_worker_goes_on_where_it_stopped(data: st.DataObject) -> None:
    order = order_of(data.draw(orders.map(lambda o: {**o, "lanes": LANES})))
    nbr_workers = data.draw(st.sampled_from(WORKERS))
    base = data.draw(st.integers(0, order.nbr_batches))
    rest = []
    for worker in range(nbr_workers):
        share = list(order.workers_share(worker, nbr_workers, base, base))
        done = data.draw(st.integers(0, len(share)))
        position = share[done - 1] + 1 if done else base
        assert list(order.workers_share(worker, nbr_workers, base, position)) == share[done:]
        rest += share
    assert sorted(rest) == list(range(base, order.nbr_batches))


@settings(deadline=None)
@given(orders.filter(lambda o: o["lanes"] == LANES), st.sampled_from(WORKERS))
def test_no_two_workers_read_the_same_block(given: dict, nbr_workers: int) -> None:
    order = order_of(given)
    blocks = [{order.block_of(k) for k in order.workers_share(w, nbr_workers, 0, 0)} for w in range(nbr_workers)]
    assert sum(map(len, blocks)) == len(set().union(*blocks))
    assert all(len(order.block(*block)) for block in set().union(*blocks))


def test_a_number_of_workers_that_would_change_the_order_is_refused() -> None:
    order = EpochOrder(100, 0, 0, 0, 1, 4, 8, 2)
    with pytest.raises(ConfigurationError, match=r"divides lanes=8 \(of \[1, 2, 4, 8\]\), got 3"):
        order.workers_share(0, 3, 0, 0)
    with pytest.raises(ConfigurationError, match="rank: expected 0 to 1, got 2"):
        EpochOrder(100, 0, 0, 2, 2, 4, 8, 2)


def test_seed_and_epoch_decide_the_order() -> None:
    counts = np.array([5, 0, 9, 30, 1, 7])
    runs = runs_of(counts, 4)

    def sequence(seed: int | None, epoch: int) -> list[int]:
        order = EpochOrder(int(counts.sum()), seed, epoch, 0, 1, 4, 2, 3)
        line = Line.of_runs(*runs, seed, epoch)
        return np.concatenate([line.items(order.batch(k)) for k in range(order.nbr_batches)]).tolist()

    assert sequence(1, 0) == sequence(1, 0)
    assert sorted(sequence(1, 0)) == list(range(52))
    assert len({tuple(sequence(s, e)) for s, e in ((1, 0), (1, 1), (2, 0), (None, 0))}) == 4
    assert sequence(None, 0) == sequence(None, 5)


def test_the_order_is_the_same_for_ever() -> None:
    order = EpochOrder(10, 3, 1, 0, 1, 5, 1, 2)
    line = Line.of_runs(*runs_of(np.array([4, 6]), 2), 3, 1)
    assert [line.items(order.batch(k)).tolist() for k in range(2)] == GOLDEN


GOLDEN = [[2, 1, 6, 0, 7], [4, 9, 8, 3, 5]]
