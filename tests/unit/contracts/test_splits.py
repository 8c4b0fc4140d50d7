"""Neither a drive nor a cluster of duplicates straddles splits."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.contracts.errors import ConfigurationError
from scenelake.contracts.splits import SPLITS, assign_splits, shares_problem, split_groups, split_of

SHARES = (0.8, 0.1, 0.1)
scenes = st.lists(
    st.tuples(st.sampled_from([f"d{i}" for i in range(12)]), st.none() | st.sampled_from("abcdefgh")), max_size=40
)


@settings(deadline=None)
@given(scenes, st.integers(0, 5))
def test_nothing_that_belongs_together_is_torn_apart(given_scenes: list[tuple[str, str | None]], seed: int) -> None:
    drives, clusters = [d for d, _ in given_scenes], [c for _, c in given_scenes]
    splits, groups = assign_splits(drives, clusters, SHARES, seed)
    for group, split in zip(groups, splits, strict=True):
        own = [split_of(d, SHARES, seed) for d, g in zip(drives, groups, strict=True) if g == group]
        assert split == min(own, key=SPLITS.index), "the most exposed of the drives' own splits"
    for keys in (drives, clusters, groups):
        found: dict[str, set[str]] = {}
        for key, split in zip(keys, splits, strict=True):
            if key is not None:
                found.setdefault(key, set()).add(split)
        assert all(len(s) == 1 for s in found.values())
    again, _ = assign_splits(drives[::-1], clusters[::-1], SHARES, seed)
    assert again[::-1] == splits


@settings(deadline=None)
@given(scenes)
def test_a_group_is_no_larger_than_it_must_be(given_scenes: list[tuple[str, str | None]]) -> None:
    """Against a search by brute force for what is joined."""
    groups = split_groups([d for d, _ in given_scenes], [c for _, c in given_scenes])
    for i in range(len(given_scenes)):
        reached, grown = {i}, True
        while grown:
            near = {
                j
                for j, (drive, cluster) in enumerate(given_scenes)
                for k in reached
                if drive == given_scenes[k][0] or (cluster is not None and cluster == given_scenes[k][1])
            }
            grown, reached = not near <= reached, reached | near
        assert reached == {j for j, g in enumerate(groups) if g == groups[i]}


def test_shares_are_kept_roughly_and_a_new_drive_moves_nobody() -> None:
    drives = [f"drive {i}" for i in range(5000)]
    splits, _ = assign_splits(drives, [None] * 5000, SHARES)
    counts = Counter(splits)
    assert [abs(counts[s] / 5000 - share) < 0.02 for s, share in zip(SPLITS, SHARES, strict=True)] == [True] * 3
    more, _ = assign_splits([*drives, "new"], [None] * 5001, SHARES)
    assert more[:5000] == splits
    assert assign_splits(drives, [None] * 5000, (1.0, 0.0, 0.0))[0] == ["train"] * 5000


def test_a_duplicate_takes_nothing_out_of_train_and_gives_it_back_when_it_goes() -> None:
    names = [f"drive {i}" for i in range(200)]
    own = {name: split_of(name, SHARES) for name in names}
    train = next(n for n in names if own[n] == "train")
    test = next(n for n in names if own[n] == "test")
    assert assign_splits([train, test], [None, None], SHARES)[0] == ["train", "test"]
    assert assign_splits([test, train], ["c", "c"], SHARES) == (["train"] * 2, [min(train, test)] * 2)
    assert assign_splits([train, test], ["c", "d"], SHARES)[0] == ["train", "test"]


@pytest.mark.parametrize("shares", [(0.5, 0.4), (0.5, 0.4, 0.2), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    assert shares_problem(SHARES) is None
    with pytest.raises(ConfigurationError, match="split_shares"):
        assign_splits(["d"], [None], shares)
