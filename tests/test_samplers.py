"""P × K batches: whole, mixed, and the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.errors import UsageError
from descry.samplers import identity_order


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    people=st.integers(1, 6),
    instances=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_every_row_comes_in_whole_groups(counts, people, instances, seed):
    pids = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    order = identity_order(pids, people * instances, instances, seed)
    assert set(order) == set(range(len(pids)))
    groups = pids[order].reshape(-1, instances)
    assert (groups == groups[:, :1]).all()
    times = np.bincount(order, minlength=len(pids))
    for pid, count in enumerate(counts):
        own = times[pids == pid]
        assert own.sum() == -(-count // instances) * instances
        assert own.max() - own.min() <= 1


def test_batches_hold_different_people():
    pids = np.repeat(np.arange(50), 8)
    order = identity_order(pids, 32, 4, 0)
    for batch in order[: len(order) // 32 * 32].reshape(-1, 32)[:-2]:
        assert len(np.unique(pids[batch])) == 8
        assert len(np.unique(batch)) == 32


def test_one_busy_person_is_spread_over_the_epoch():
    pids = np.concatenate([np.zeros(40, int), np.repeat(np.arange(1, 81), 2)])
    batches = pids[identity_order(pids, 20, 2, 0)].reshape(-1, 20)
    assert sum(0 in batch for batch in batches) == len(batches)


def test_the_seed_decides():
    pids = np.repeat(np.arange(20), 3)
    same, again, other = (identity_order(pids, 8, 2, seed) for seed in (1, 1, 2))
    assert (same == again).all()
    assert not np.array_equal(same, other)


def test_no_rows_and_no_share():
    assert len(identity_order(np.zeros(0, int), 8, 2, 0)) == 0
    with pytest.raises(UsageError, match="divisor"):
        identity_order(np.zeros(4, int), 8, 3, 0)
