"""Re-rankers: definitions, what they are for, and that they cannot lose an item."""

from __future__ import annotations

import numpy as np
import pytest

from descry.errors import UsageError
from descry.search import unit
from descry_lab.rerank import bank_sums, inverted_softmax, k_reciprocal, reranker


def test_inverted_softmax_is_a_softmax_over_queries() -> None:
    rng = np.random.default_rng(0)
    bank = rng.normal(size=(5, 8)) * 0.1
    got = np.exp(inverted_softmax(bank, bank_sums(bank, 0.1), 0.1))
    np.testing.assert_allclose(got.sum(axis=0), 1, atol=1e-9)


def test_a_hub_is_put_in_its_place() -> None:
    bank = np.full((20, 4), 0.1)
    bank[:, 2] = 0.5
    similarity = np.array([[0.3, 0.1, 0.45, 0.1]])
    assert similarity.argmax() == 2
    assert reranker("hubness", bank=bank).apply(similarity).argmax() == 0


def test_k_reciprocal_brings_up_the_second_picture_of_the_same_person() -> None:
    rng = np.random.default_rng(4)
    centres = unit(rng.normal(size=(40, 64)))
    vectors = unit(np.repeat(centres, 5, axis=0) + rng.normal(0, 0.05, (200, 64)))
    noisy = unit(centres + rng.normal(0, 0.09, (40, 64)))
    similarity = noisy @ vectors.T
    similarity[:, ::5] -= 0.35
    same = np.arange(200) // 5 == np.arange(40)[:, None]

    def last(s: np.ndarray) -> float:
        return float(np.mean([(row > row[own].min()).sum() - 4 for row, own in zip(s, same, strict=True)]))

    after = reranker("k-reciprocal", vectors=vectors, k1=6, k2=3).apply(similarity)
    assert last(after) < 0.3 * last(similarity)


@pytest.mark.parametrize("n", [1, 2, 5, 300])
def test_k_reciprocal_keeps_every_item_and_the_rest_below(n: int) -> None:
    rng = np.random.default_rng(n)
    vectors = unit(rng.normal(size=(n, 16)))
    s = rng.normal(size=n)
    out = k_reciprocal(s, vectors, candidates=50)
    assert np.isfinite(out).all()
    first = set(np.argsort(-s, kind="stable")[:50].tolist())
    assert set(np.argsort(-out, kind="stable")[: min(50, n)].tolist()) == first
    rest = [i for i in np.argsort(-out, kind="stable") if i not in first]
    assert rest == [i for i in np.argsort(-s, kind="stable") if i not in first]


def test_refusals_and_costs() -> None:
    similarity = np.ones((1, 2))
    assert reranker("none").apply(similarity) is similarity
    with pytest.raises(UsageError, match="did you mean 'hubness'"):
        reranker("hubnes")
    with pytest.raises(UsageError, match="bank="):
        reranker("hubness")
    with pytest.raises(UsageError, match="vectors="):
        reranker("k-reciprocal")
    assert all(reranker(n, np.ones((2, 2)), np.ones((2, 2))).cost for n in ("none", "hubness", "k-reciprocal"))
