"""The formula against its definition, written out slowly."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.errors import UsageError
from descry.ranking import FORMULA, Formula
from descry.search import (
    Term,
    choice_evidence,
    evidence,
    fit,
    fit_scores,
    mark_terms,
    near_duplicates,
    stack,
    top,
    unit,
)


def gallery(n: int = 200, d: int = 8, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, d)))


def some_terms(d: int = 8) -> list[Term]:
    v = unit(np.random.default_rng(1).normal(size=(5, d)))
    composed = Term("sketch+text", "red", 1.5, v[0], parts=(("sketch", "s", v[0] - v[1]), ("text", "red", v[1])))
    return [
        composed,
        Term("text", "tall", 0.5, v[1]),
        Term("text", "hat", 1.0, v[2], "evidence"),
        Term("not", "bag", 0.7, v[3], "not"),
        Term("liked", "1 liked", 1.0, v[4], "like"),
        Term("unliked", "1 unliked", 1.0, v[2], "unlike"),
    ]


def slow_score(terms: list[Term], x: np.ndarray, f: Formula) -> np.ndarray:
    """The module's text, one item at a time."""
    z = []
    for t in terms:
        s = [float(np.dot(item, t.vector)) for item in x]
        mean = sum(s) / len(s)
        spread = (sum((v - mean) ** 2 for v in s) / len(s)) ** 0.5
        z.append([(v - mean) / spread for v in s])
    linear = [sum(t.weight * z[r][i] for r, t in enumerate(terms) if t.shape == "linear") for i in range(len(x))]
    mean = sum(linear) / len(linear)
    base = (sum((v - mean) ** 2 for v in linear) / len(linear)) ** 0.5

    def e(v: float) -> float:
        return float(np.log(2 * (f.error + (1 - 2 * f.error) / (1 + np.exp(-f.steepness * v)))))

    out = []
    for i in range(len(x)):
        total = linear[i] / base
        for r, t in enumerate(terms):
            v = z[r][i]
            if t.shape == "evidence":
                total += t.weight * f.evidence * e(v)
            elif t.shape == "not":
                total += t.weight * f.negation * e(-v)
            elif t.shape == "like":
                total += t.weight * f.like * v
            elif t.shape == "unlike":
                total -= t.weight * f.unlike * max(0.0, v)
        out.append(total)
    return np.array(out)


def test_scores_are_the_formula_written_out() -> None:
    x, terms = gallery(), some_terms()
    f = Formula(evidence=0.8, negation=1.2, like=0.6, unlike=0.4, steepness=2.0, error=0.1, fall_places=len(x))
    similarity = stack(terms) @ x.T
    np.testing.assert_allclose(fit(terms, similarity, f).scores(similarity), slow_score(terms, x, f), atol=2e-5)


@pytest.mark.parametrize("fusion", ["z", "ranks"])
def test_contributions_sum_to_the_scores(fusion: str) -> None:
    x, terms = gallery(), some_terms()
    similarity = stack(terms) @ x.T
    fitted = fit(terms, similarity, Formula(fusion=fusion))
    names, shares = fitted.contributions(similarity[:, :20])
    np.testing.assert_allclose(shares.sum(axis=0), fitted.scores(similarity)[:20], atol=1e-5)
    assert ("not", "bag") in names
    assert (("sketch", "s") in names) == (fusion == "z")


def test_not_takes_away_and_never_adds_much() -> None:
    z = np.linspace(-6, 6, 101)
    for curve in (None, (3.0, -2.0), (0.5, 1.0)):
        away = evidence(z, yes=False, curve=curve)
        assert (np.diff(away) < 1e-6).all()
        assert away[50] == 0, "the average item gets nothing"
        assert away.max() - away.min() <= np.log(1 / FORMULA.error), "one wrong answer must not bury a person"
    assert evidence(np.array([2.0]), curve=(0.0, -1.0)) == 0, "a phrase that cannot be read says nothing"


def test_ranks_ignore_the_scale_of_a_term() -> None:
    x = gallery()
    terms = some_terms()[:2]
    similarity = stack(terms) @ x.T
    bent = np.sign(similarity) * np.abs(similarity) ** 3
    f = Formula(fusion="ranks")
    np.testing.assert_allclose(
        fit(terms, similarity, f).scores(similarity), fit(terms, bent, f).scores(bent), atol=1e-6
    )


def test_rocchio_pulls_towards_liked_and_away_from_unliked() -> None:
    x = gallery()
    terms = [Term("text", "t", 1.0, x[0]), *mark_terms(x[[5]], x[[9]])]
    similarity = stack(terms) @ x.T
    plain = fit(terms[:1], similarity[:1]).scores(similarity[:1])
    marked = fit(terms, similarity).scores(similarity)
    place = {name: (np.sum(plain > plain[i]), np.sum(marked > marked[i])) for name, i in (("liked", 5), ("unliked", 9))}
    assert place["liked"][1] < place["liked"][0]
    assert place["unliked"][1] > place["unliked"][0]


def test_choice_evidence_is_the_softmax_of_the_choice() -> None:
    x, f = gallery(40), Formula(temperature=0.2, error=0.05, closest=1.5)
    shown = x[[3, 7, 11]]
    got = choice_evidence(x, [(x[7], shown)], f)
    want = []
    for item in x:
        e = np.exp([float(item @ b) / 0.2 for b in shown])
        want.append(np.log(0.05 / 3 + 0.95 * e[1] / e.sum()))
    np.testing.assert_allclose(got, 1.5 * (np.array(want) - np.mean(want)), atol=1e-5)
    assert got.argmax() == 7
    assert not choice_evidence(x, [(x[7], x[[7]])], f).any(), "a choice among one says nothing"


def test_near_duplicates() -> None:
    assert near_duplicates(np.array([[0.99, 0.5, 0.2], [0.1, 0.98, 0.3]])).tolist() == [True, True, False]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 4), min_size=1, max_size=30),
    k=st.integers(1, 35),
    pinned=st.sets(st.integers(0, 29)),
    hidden=st.sets(st.integers(0, 29)),
    barred=st.sets(st.integers(0, 29)),
)
def test_top_is_a_sort_with_ties_by_id(values: list[int], k: int, pinned: set, hidden: set, barred: set) -> None:
    n = len(values)
    ids = np.random.default_rng(n).permutation(n).astype(np.int64)
    want = []
    for i in range(n):
        if i in barred or (i in hidden and ids[i] not in pinned):
            continue
        want.append((0 if ids[i] in pinned else 1, -values[i], ids[i], i))
    want = [i for *_, i in sorted(want)][:k]
    flags = [np.isin(np.arange(n), list(s)) for s in (hidden, barred)]
    got = top(np.array(values, np.float32), ids, k, allowed=~flags[1], pinned=sorted(pinned), hidden=flags[0])
    assert got.tolist() == want


def test_refusals_say_what_is_allowed() -> None:
    with pytest.raises(UsageError, match="nothing to rank by"):
        stack([])
    with pytest.raises(UsageError, match="fusion"):
        Formula(fusion="sum")
    with pytest.raises(UsageError, match="rows of stack"):
        fit(some_terms(), np.zeros((2, 5)))
    with pytest.raises(UsageError, match="not a finite"):
        fit([Term("text", "t", 1.0, np.ones(2))], np.array([[np.nan, 1.0]]))
    with pytest.raises(UsageError, match="shape"):
        fit([Term("text", "t", 1.0, np.ones(2), "line")], np.ones((1, 3)))
    with pytest.raises(UsageError, match="at least 1"):
        top(np.ones(3), np.arange(3), 0)


def test_formula_goes_through_json_and_refuses_another_version() -> None:
    assert Formula.from_json(asdict(Formula(error=0.2))) == Formula(error=0.2)
    with pytest.raises(UsageError, match="version"):
        Formula.from_json(asdict(FORMULA) | {"version": 99})
    with pytest.raises(UsageError, match="steepness"):
        Formula.from_json(asdict(FORMULA) | {"stepness": 1})


def test_a_constant_term_changes_nothing() -> None:
    x = gallery()
    term = Term("text", "t", 1.0, x[0])
    similarity = np.stack([x @ x[0], np.full(len(x), 0.3, np.float32)])
    both = fit([term, Term("text", "flat", 1.0, x[1])], similarity).scores(similarity)
    assert (np.argsort(-both, kind="stable") == np.argsort(-(x @ x[0]), kind="stable")).all()


@pytest.mark.parametrize("seed", range(8))
def test_an_item_that_stands_for_several_counts_as_that_many(seed):
    """Weights fit the formula as the items they stand for would; scores of items are the same."""
    rng = np.random.default_rng(seed)
    x, weights = gallery(60, seed=seed), rng.integers(1, 5, 60)
    similarity = stack(some_terms()) @ x.T
    f = Formula(fall_places=5.0)
    one, scores = fit_scores(some_terms(), np.repeat(similarity, weights, axis=1), f)
    other, alike = fit_scores(some_terms(), similarity, f, weights=weights.astype(float))
    np.testing.assert_allclose(np.repeat(alike, weights), scores, atol=1e-5)
    np.testing.assert_allclose(other.spread, one.spread, rtol=1e-5)
