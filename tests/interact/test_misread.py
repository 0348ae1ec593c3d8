"""One phrase moves nobody beyond the stated bound in ranks, and a true one never worsens the median."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.embed import load
from descry.interact.absence import logistic, regress
from descry.ranking import READABLE, Formula, Ranking, phrase_key
from descry.search import Term, fit, phrase_term, stack, unit, weighed_evidence
from descry_lab.misread import Readings, misread
from descry_lab.simulation import answer_curve


def farthest(formula: Formula, yes: bool, curve: tuple[float, float] | None, weight: float) -> float:
    """By how much a phrase can set two items apart at most: from what one far below gets to what one far above gets."""
    low, high = sorted(weighed_evidence(np.array([-1e9, 1e9]), formula, yes, curve, weight).tolist())
    return round(high - low, 5)  # in float32


PHRASES = st.tuples(
    st.booleans(),
    st.floats(0, 2),
    st.one_of(st.none(), st.tuples(st.floats(0, 8), st.floats(-8, 8))),
)


@settings(max_examples=80, deadline=None)
@given(phrase=PHRASES, seed=st.integers(0, 99), negation=st.floats(0, 20), error=st.floats(0.001, 0.4))
def test_one_phrase_never_buries_anyone(phrase, seed: int, negation: float, error: float) -> None:
    """However wrong, it puts nobody behind more than the items that stood no more than `farthest` below."""
    wanted, weight, curve = phrase
    ranking = Ranking(formula=Formula(negation=negation, error=error), curves={"hat": curve} if curve else {})
    x = unit(np.random.default_rng(seed).normal(size=(120, 6)))
    terms = [Term("sketch", "s", 1.0, x[0]), phrase_term("hat", x[1], ranking, wanted, weight)]
    similarity = stack(terms) @ x.T
    before = fit(terms[:1], similarity[:1], ranking.formula).scores(similarity[:1])
    after = fit(terms, similarity, ranking.formula).scores(similarity)
    rank = (after[None, :] > after[:, None]).sum(axis=1) + 1
    strength, used = ranking.reading("hat", wanted)
    apart = farthest(ranking.formula, wanted, used, weight * strength)
    assert apart <= ranking.formula.reach + 1e-4
    bound = (before[None, :] > before[:, None] - apart - 1e-4).sum(axis=1)
    assert (rank <= bound).all()


def test_an_answer_of_the_shipped_model_moves_nobody_by_more_than_a_spread() -> None:
    """The stated bound: 0.8 spreads of the scores for yes, 0.6 for no; 4 for a NOT that was typed."""
    ranking = load("demo").ranking
    f = ranking.formula
    for phrase in ranking.curves:
        for wanted, weight, most in ((True, f.answer_yes, 0.8), (False, f.answer_no, 0.6), (False, 1.0, 4.0)):
            strength, curve = ranking.reading(phrase, wanted)
            assert farthest(f, wanted, curve, weight * strength) <= most


def places(scores: np.ndarray) -> np.ndarray:
    """(N,) place of each, from 1; items of equal score share their last place."""
    return len(scores) - np.searchsorted(np.sort(scores), scores, side="left")


@settings(max_examples=100, deadline=None)
@given(
    said=st.lists(PHRASES, min_size=1, max_size=4),
    seed=st.integers(0, 99),
    n=st.sampled_from((1, 2, 7, 120, 600)),
    kind=st.sampled_from(("even", "ties", "far apart", "in two heaps", "nothing before")),
    factor=st.sampled_from((1.0, 1.5, 4.0)),
    spare=st.sampled_from((0.0, 3.0, 60.0)),
)
def test_one_phrase_puts_nobody_farther_back_than_the_stated_place(said, seed, n, kind, factor, spare) -> None:
    """For any scores and any phrases: each moves an item from place r to `worst_place(r)` at most."""
    formula = Formula(fall_factor=factor, fall_places=spare)
    rng = np.random.default_rng(seed)
    first = rng.normal(size=n)
    shapes = {
        "even": first, "ties": np.round(first), "far apart": np.exp(4 * first),
        "in two heaps": first / 100 + (first > 0), "nothing before": np.zeros(n),
    }  # fmt: skip
    one = np.eye(1 + len(said), dtype=np.float32)
    ranking = Ranking(formula=formula, curves={f"p{i}": c for i, (_, _, c) in enumerate(said) if c})
    said = sorted(enumerate(said), key=lambda row: not row[1][0])
    terms = [Term("sketch", "s", 1.0, one[0])]
    terms += [phrase_term(f"p{i}", one[1 + i], ranking, wanted, weight) for i, (wanted, weight, _) in said]
    similarity = np.stack([shapes[kind], *rng.normal(size=(len(said), n))]).astype(np.float32)
    scores = fit(terms[:1], similarity[:1], formula).scores(similarity[:1])
    for k in range(2, len(terms) + 1):
        before, fitted = places(scores), fit(terms[:k], similarity[:k], formula)
        scores = fitted.scores(similarity[:k])
        ahead = (scores[None, :] > scores[:, None] + 1e-5).sum(axis=1)
        assert (ahead < [formula.worst_place(int(r)) for r in before]).all()
        shares = fitted.contributions(similarity[:k])[1]
        np.testing.assert_allclose(shares.sum(axis=0), scores, atol=1e-4)
        some = fitted.scores(similarity[:k, ::3])
        np.testing.assert_array_equal(some, scores[::3], err_msg="an item's score does not depend on who is beside it")


def test_a_wrong_not_read_well_costs_places_and_clears_the_first_page() -> None:
    """What the bound is for: half of the gallery has a hat, and the witness says wrongly that he has none."""
    rng = np.random.default_rng(0)
    hat = rng.random(2000) < 0.5
    similarity = np.stack([rng.normal(size=2000), hat + rng.normal(0, 0.05, 2000)]).astype(np.float32)
    formula = Formula(fall_factor=4, fall_places=40)
    ranking = Ranking(formula=formula, curves={"hat": (6.0, 0.0)})
    terms = [Term("sketch", "s", 1.0, np.eye(2)[0]), phrase_term("hat", np.eye(2)[1], ranking, wanted=False)]
    before = places(similarity[0])
    after = places(fit(terms, similarity, ranking.formula).scores(similarity))
    assert not hat[after <= formula.fall_places].any(), "nobody is let in among the first"
    for near, far in ((1, 44), (10, 80), (50, 240)):
        assert after[before == near] <= far == ranking.formula.worst_place(near)
    old = fit(terms, similarity, Formula(version=3)).scores(similarity)
    assert places(old)[hat & (before <= 50)].max() > 900, "version 3 put the same people behind half of the gallery"


@settings(max_examples=60, deadline=None)
@given(weight=st.floats(0, 2), seed=st.integers(0, 99))
def test_a_phrase_that_cannot_be_read_moves_nobody(weight: float, seed: int) -> None:
    ranking = Ranking(curves={"hat": (0.0, -1.0)})
    x = unit(np.random.default_rng(seed).normal(size=(60, 6)))
    base = [Term("sketch", "s", 1.0, x[0])]
    for wanted in (True, False):
        terms = [*base, phrase_term("hat", x[1], ranking, wanted, weight)]
        similarity = stack(terms) @ x.T
        fitted = fit(terms, similarity).scores(similarity)
        np.testing.assert_allclose(fitted, fit(base, similarity[:1]).scores(similarity[:1]), atol=1e-6)


def test_an_unmeasured_phrase_takes_little_and_only_from_what_contradicts_it() -> None:
    x = unit(np.random.default_rng(0).normal(size=(4000, 8)))
    for wanted in (True, False):
        term = phrase_term("hat", x[0], Ranking(), wanted)
        similarity = stack([term]) @ x.T
        moved = fit([term], similarity).scores(similarity)
        z = (similarity[0] - similarity.mean()) / similarity.std()
        fitting = (z > 0.5) if wanted else (z < -0.5)
        assert np.ptp(moved[fitting]) < 0.15, "of those that fit, none is set far before another"
        assert moved.max() < 0.2
        assert moved.min() > -2.7
        assert moved[z.argmin() if wanted else z.argmax()] < -0.3


def test_the_strength_of_a_not_grows_with_what_the_model_can_read() -> None:
    slopes = (0.0, 0.3, 0.8, 1.5, 2.5, 5.0)
    strengths = [Ranking(curves={"hat": (a, 0.0)}).reading("hat", wanted=False)[0] for a in slopes]
    assert strengths == sorted(strengths)
    assert strengths[0] == 0
    assert strengths[-2:] == [1.0, 1.0]
    assert Ranking(curves={"hat": (READABLE, 0.0)}).reads("a hat")
    assert not Ranking(curves={"hat": (0.2, 0.0)}).reads("a hat")
    assert not Ranking().reads("a hat")


def slope_of(groups: list[tuple[int, float, float, float]]) -> tuple[float, float, float, float]:
    """Slope of the plain regression and of the answer curve, mean P(yes) and share. groups: people, mean and spread of
    their scores, 1 where the thing is there."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(mean, spread, n) for n, mean, spread, _ in groups])
    z = (z - z.mean()) / z.std()
    truth = np.repeat([there for *_, there in groups], [n for n, *_ in groups])
    a, b = answer_curve(z, truth)
    return float(regress(z[:, None], truth)[0]), a, float(logistic(a * z + b).mean()), float(truth.mean())


def test_a_curve_is_no_steeper_than_the_pairs_that_are_told_apart_support() -> None:
    """Boots are told from trainers, sandals are not: a plain regression gave "no trainers" its nearly full strength."""
    plain, slope, said, share = slope_of([(800, 0.7, 0.4, 1.0), (750, 0.3, 0.5, 0.0), (450, -1.7, 0.4, 0.0)])
    assert plain > 1.2 * slope
    assert said == pytest.approx(share, abs=1e-6)
    strength, before = (Ranking(curves={"hat": (a, 0.0)}).reading("hat", wanted=False)[0] for a in (slope, plain))
    assert strength < 0.7 * before
    plain, slope, said, share = slope_of([(4000, 0.6, 0.8, 1.0), (4000, -0.6, 0.8, 0.0)])
    assert slope == pytest.approx(plain, rel=0.03), "what is told from everything else alike keeps its regression"
    assert said == pytest.approx(share, abs=1e-6)
    assert slope_of([(50, 0.0, 1.0, 0.0)])[1] == 0
    assert slope_of([(50, -1.0, 1.0, 1.0), (50, 1.0, 1.0, 0.0)])[1] == 0


@pytest.mark.parametrize(
    "said",
    ["red jacket", "A red jacket", "wearing a red jacket", "the red jackets", "a person in a red jacket",
     "red-coloured jacket", "a jacket in red", "jacket that is red", "she has a red jacket", "a red  colored jacket"],
)  # fmt: skip
def test_what_people_type_finds_the_measured_phrase(said: str) -> None:
    ranking = Ranking(curves={"a red jacket": (3.0, -2.0)}, prompts={"a red jacket": (("a red coat",), ())})
    assert ranking.curve(said) == (3.0, -2.0)
    assert ranking.texts(said)[0] == ("a red coat",)


def test_other_things_are_not_confused() -> None:
    keys = [
        phrase_key(p) for p in ("a red jacket", "a red jacket with a hood", "a jacket", "red", "a dress", "a person")
    ]
    assert len(set(keys)) == len(keys)
    assert "" not in keys
    assert phrase_key("a person") == phrase_key("person")
    assert phrase_key("gray trousers") == phrase_key("grey trousers")


def toy(seed: int, people: int = 150, attributes: int = 5) -> Readings:
    rng = np.random.default_rng(seed)
    facts = np.repeat(rng.random((attributes, people)) < 0.4, 2, axis=1)
    z = 4.0 * facts + rng.normal(size=facts.shape)
    z = (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True)
    return Readings(z, facts, np.repeat(np.arange(people), 2))


def test_true_ones_never_worsen_the_median_rank_however_badly_the_model_reads() -> None:
    known, test = toy(0), toy(1)
    rng = np.random.default_rng(2)
    pids = np.arange(150)
    start = rng.normal(size=(150, 300)) + 1.0 * (pids[:, None] == test.pids[None, :])
    start = (start - start.mean(axis=1, keepdims=True)) / start.std(axis=1, keepdims=True)
    rows = list(misread(known, test, start, pids, Ranking(), (0.5, 0.7, 0.95)))
    assert len(rows) == 2 * 3 * 2 * 4
    assert {row["over"] for row in rows} == {0}
    for row in rows:
        if row["said"].startswith("true"):
            assert row["interval"][0] <= 0, row
    helped = [r for r in rows if r["said"].startswith("true") and r["measured"] and r["AUROC"] == 0.95]
    assert all(r["median after"] < r["median before"] for r in helped), helped
