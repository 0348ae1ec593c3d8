"""P × K batches: whole, mixed, and the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.errors import UsageError
from descry.training.batches import identity_order, paired_order


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


@settings(max_examples=60, deadline=None)
@given(
    photographs=st.lists(st.integers(1, 5), min_size=1, max_size=40),
    captions=st.integers(1, 2),
    batch=st.integers(2, 12),
    share=st.sampled_from([0.25, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_an_order_of_pairs_is_a_permutation_with_pairs_in_each_batch(photographs, captions, batch, share, seed):
    pids = np.repeat(np.repeat(np.arange(len(photographs)), photographs), captions)
    images = np.repeat(np.arange(sum(photographs)), captions)
    order = paired_order(pids, images, batch, share, seed)
    assert sorted(order) == list(range(len(pids)))
    assert (order == paired_order(pids, images, batch, share, seed)).all()


def test_each_batch_holds_the_share_of_pairs_that_was_asked_for():
    pids, images = np.repeat(np.arange(200), 4), np.repeat(np.arange(400), 2)  # two captions of each of two photographs
    order = paired_order(pids, images, 40, 0.5, 0)
    for rows in order.reshape(-1, 40):
        paired = [r for r in rows if any(pids[r] == pids[q] and images[r] != images[q] for q in rows)]
        assert len(paired) >= 20


def test_pairs_are_of_two_photographs_and_few_are_spread():
    pids, images = np.arange(100), np.arange(100)
    pids[1], pids[3] = 0, 2
    images[3] = 2  # the same photograph, told twice
    order = paired_order(pids, images, 10, 0.5, 0)
    where = order.tolist()
    assert abs(where.index(0) - where.index(1)) == 1
