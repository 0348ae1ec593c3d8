"""Intervals cover what they should, the paired test keeps its level, and both know that queries of one person are
alike.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from descry.errors import UsageError
from descry.metrics import rank
from descry.studies.intervals import holm, intervals, measures, over_seeds, paired

EASY, MIDDLE, HARD = 3.2, 0.0, -3.2  # log-odds of a hit: R@1 near 90, 50 and 10


def people(rng, count, level, spread=1.8, most=6):
    """Queries of `count` identities, 1 … most each, and the chance of a hit of each query: alike within an identity."""
    whose = np.repeat(np.arange(count), rng.integers(1, most + 1, count))
    return whose, 1 / (1 + np.exp(-rng.normal(level, spread, count)))[whose]


def coverage(cases, level, spread, count=200):
    rng = np.random.default_rng(5)
    truth = 100 * (1 / (1 + np.exp(-np.random.default_rng(99).normal(level, spread, 1_000_000)))).mean()
    hits = 0
    for case in range(cases):
        whose, chance = people(rng, count, level, spread)
        found = intervals({"R@1": 100.0 * (rng.random(len(whose)) < chance)}, whose, draws=1000, seed=case)["R@1"]
        hits += found.low <= truth <= found.high
    return hits / cases


def test_intervals_cover_the_truth_in_a_short_simulation():
    assert 0.90 <= coverage(200, MIDDLE, 1.8) <= 0.99


@pytest.mark.long
@pytest.mark.parametrize(("level", "spread"), [(EASY, 1.8), (MIDDLE, 1.8), (HARD, 1.8), (MIDDLE, 0.2)])
@pytest.mark.parametrize("count", [200, 1000])
def test_intervals_cover_the_truth_in_93_to_97_percent_of_1000_cases(level, spread, count):
    assert 0.93 <= coverage(1000, level, spread, count) <= 0.97


def test_queries_of_one_person_make_the_interval_wider_than_independent_ones():
    rng = np.random.default_rng(0)
    whose, chance = people(rng, 300, MIDDLE, spread=4.0)
    hits = {"R@1": 100.0 * (rng.random(len(whose)) < chance)}
    clustered, alone = (intervals(hits, w)["R@1"] for w in (whose, np.arange(len(whose))))
    assert clustered.high - clustered.low > 1.4 * (alone.high - alone.low)
    assert clustered.mean == pytest.approx(alone.mean)


def test_the_interval_of_a_mean_is_the_normal_one_where_that_holds():
    values = np.random.default_rng(1).normal(50, 10, 4000)
    found = intervals({"x": values}, np.arange(4000), draws=4000)["x"]
    half = 1.96 * values.std(ddof=1) / np.sqrt(4000)
    assert [found.mean - found.low, found.high - found.mean] == pytest.approx([half, half], rel=0.06)


def test_measures_have_the_means_that_ranks_have():
    rng = np.random.default_rng(2)
    wanted = rng.random((40, 30)) < 0.08
    for missing in ("miss", "drop"):
        ranks = rank(rng.random((40, 30)), wanted, missing=missing)
        assert ranks.without_relevant > 0
        means = {k: np.nanmean(v) for k, v in measures(ranks, missing).items()}
        assert means == pytest.approx(ranks.as_dict())
        found = intervals(measures(ranks, missing), np.arange(40))
        assert {k: i.mean for k, i in found.items()} == pytest.approx(ranks.as_dict())


def test_all_right_and_all_wrong_are_not_certain():
    whose = np.arange(60) // 2
    right, wrong = (intervals({"R@1": np.full(60, v)}, whose)["R@1"] for v in (100.0, 0.0))
    assert (right.mean, right.high, wrong.low) == (100, 100, 0)
    assert right.low == pytest.approx(100 * 0.025 ** (1 / 30))
    assert wrong.high == pytest.approx(100 - right.low)


def test_draws_depend_on_the_seed_alone():
    values, whose = {"x": np.arange(60.0)}, np.arange(60) // 3
    assert intervals(values, whose) == intervals(values, whose)
    assert intervals(values, whose) != intervals(values, whose, seed=1)


def test_the_paired_test_equals_the_count_over_all_exchanges():
    rng = np.random.default_rng(3)
    whose = np.array([0, 0, 1, 2, 2, 3, 4, 5, 6, 7])
    a, b = rng.normal(1, 1, 10), rng.normal(0, 1, 10)
    sums = np.bincount(whose, a - b)
    exact = np.mean([abs(np.dot(s, sums)) >= abs(sums.sum()) - 1e-12 for s in itertools.product((-1, 1), repeat=8)])
    found = paired(a, b, whose, flips=40_000)
    assert found.p == pytest.approx(exact, abs=0.01)
    assert found.difference == pytest.approx((a - b).mean())
    assert found.identities == 8
    assert found.low < found.difference < found.high


def false_claims(cases, flips):
    """Two runs equally good for everybody, with the errors of one person's queries alike."""
    rng, claims = np.random.default_rng(7), 0
    for case in range(cases):
        whose, _ = people(rng, 200, MIDDLE)
        shared, own = rng.normal(0, 1, 200)[whose], rng.normal(0, 1, (2, 200))[:, whose]
        a, b = shared + own + rng.normal(0, 0.3, (2, len(whose)))
        claims += paired(a, b, whose, flips=flips, draws=2, seed=case).p < 0.05
    return claims / cases


def test_the_paired_test_keeps_its_level_in_a_short_simulation():
    assert false_claims(200, 199) <= 0.09


@pytest.mark.long
def test_the_paired_test_keeps_its_level_in_1000_cases():
    assert 0.035 <= false_claims(1000, 999) <= 0.065


def test_a_test_that_ignores_identities_would_not_keep_it():
    rng, claims = np.random.default_rng(8), 0
    for case in range(60):
        gap = np.repeat(rng.normal(0, 1, 100), 6)
        claims += paired(gap, np.zeros(600), np.arange(600), flips=199, draws=2, seed=case).p < 0.05
    assert claims > 12


def test_a_difference_that_is_there_is_found_and_none_is_1():
    rng = np.random.default_rng(4)
    b = rng.normal(0, 1, 400)
    assert paired(b + 0.5, b, np.arange(400) // 2).p < 0.001
    same = paired(b, b, np.arange(400))
    assert (same.p, same.difference, same.low, same.high) == (1.0, 0.0, 0.0, 0.0)


def test_queries_that_do_not_count_are_left_out():
    a, b = np.array([1.0, np.nan, 3.0, 5.0]), np.array([0.0, 9.0, np.nan, 1.0])
    found = paired(a, b, [0, 1, 2, 3])
    assert (found.difference, found.identities) == (2.5, 2)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_seeds():
    assert over_seeds([{"R@1": 10.0}, {"R@1": 14.0}]) == {"R@1": (12.0, pytest.approx(8**0.5))}
    assert over_seeds([{"R@1": 10.0}]) == {"R@1": (10.0, None)}
    with pytest.raises(UsageError, match="no runs"):
        over_seeds([])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: intervals({"x": np.zeros(4)}, [0, 0, 0, 0]), "at least two identities"),
        (lambda: intervals({"x": np.zeros(4)}, [0, 1]), "one for each query"),
        (lambda: intervals({"x": np.zeros(4)}, [0, 1, 2, 3], level=95), "level=95"),
        (lambda: paired(np.full(3, np.nan), np.zeros(3), [0, 1, 2]), "at least two identities"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(UsageError, match=text):
        call()
