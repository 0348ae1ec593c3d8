"""Witnesses fail at the stated rates, and the simulation counts what a session would count."""

from __future__ import annotations

import numpy as np
import pytest

from descry.errors import UsageError
from descry.interact.questions import Question, beliefs
from descry.interact.session import Session
from descry.query import Query
from descry.ranking import FORMULA, Composition, Ranking
from descry.search import fit, phrase_vectors, stack, unit
from descry.studies.intervals import paired
from descry_lab.simulation import POLICIES, World, fit_sharpness, share_of_gain, simulate, to_json
from descry_lab.witness import Habits, Witness, answerer_card

QUESTIONS = tuple(Question(f"q{i}", f"Is it {i}?", f"thing{i}", "", f"a{i}", ("yes",)) for i in range(6))


def record(bits: np.ndarray) -> dict[str, str]:
    return {f"a{i}": "yes" if b else "no" for i, b in enumerate(bits)}


def test_rates_are_kept() -> None:
    n = 4000
    witness = Witness({"a0": "yes"}, Habits(forget=0.2, err=0.25), np.random.default_rng(0))
    answers = [witness.answer(QUESTIONS[0]) for _ in range(n)]
    forgot = answers.count("unknown") / n
    assert forgot == pytest.approx(0.2, abs=0.025)
    assert answers.count("no") / (n - answers.count("unknown")) == pytest.approx(0.25, abs=0.03)


def test_a_faithful_witness_says_the_record_and_unknown_beyond_it() -> None:
    witness = Witness({"a0": "yes", "a1": "no"}, Habits(), np.random.default_rng(0))
    assert [witness.answer(q) for q in QUESTIONS[:3]] == ["yes", "no", "unknown"]
    assert witness.tells(QUESTIONS, []) == (QUESTIONS[0], "yes")
    assert witness.tells(QUESTIONS, ["q0"]) is None


def test_vague_witnesses_know_no_colours() -> None:
    colour = Question("red", "Is it red?", "red", "", "top_colour", ("red",))
    witness = Witness({"top_colour": "red", "a0": "yes"}, Habits(vague=1.0), np.random.default_rng(0))
    assert witness.answer(colour) == "unknown"
    assert witness.answer(QUESTIONS[0]) == "yes"


def test_contradiction_turns_an_answer_round() -> None:
    witness = Witness({}, Habits(contradict=1.0), np.random.default_rng(0))
    assert witness.takes_back({"q0": "yes", "q1": "unknown"}) == ("q0", "no")
    assert Witness({}, Habits(), np.random.default_rng(0)).takes_back({"q0": "yes"}) is None


def test_closest_is_the_one_that_agrees_most() -> None:
    witness = Witness(record(np.array([1, 1, 0])), Habits(), np.random.default_rng(0))
    assert witness.closest([record(np.array(b)) for b in ([0, 0, 1], [1, 1, 1], [1, 0, 1])]) == 1


def test_rates_must_be_rates() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        Habits(err=20)


def toy_world(people: int = 60, truth: bool = False, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    bits = rng.random((people, 6)) < 0.5
    shown = np.repeat(bits, 2, axis=0)
    codes = unit(rng.normal(size=(6, 32)))
    vectors = unit((2 * shown - 1) @ codes + rng.normal(0, 0.3, (2 * people, 32)))
    z = codes @ vectors.T
    z = (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True)
    relevant = np.arange(people)[:, None] == np.arange(2 * people)[None, :] // 2
    start = rng.normal(size=(people, 2 * people)) + 1.5 * relevant
    records = [record(b) for b in bits]
    return World(
        start=start.astype(np.float32),
        relevant=relevant,
        questions=QUESTIONS,
        z=z.astype(np.float32),
        yes=shown.T.astype(np.float32) if truth else beliefs(z),
        records=records,
        sentence=(start + relevant).astype(np.float32),
        vectors=vectors,
        shown_records=[records[i // 2] for i in range(2 * people)],
        truth=truth,
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_helps_a_faithful_witness_and_is_repeatable(policy: str) -> None:
    world = toy_world()
    course = simulate(world, policy, rounds=4, seed=1)
    assert course.ranks.shape == (5, 60)
    assert (course.ranks >= 1).all()
    again = simulate(world, policy, rounds=4, seed=1)
    np.testing.assert_array_equal(course.ranks, again.ranks)
    gain = np.log2(course.ranks[0]).mean() - np.log2(course.ranks[-1]).mean()
    assert gain == 0 if policy == "none" else gain > 0.2
    card = to_json(course)["answerer"]
    assert "without any picture" in card["knows"]
    assert ("attributes of the people shown" in card["sees"]) == (policy in ("closest", "all"))


def test_true_attributes_gain_at_least_as_much_and_errors_cost() -> None:
    noisy, true = toy_world(), toy_world(truth=True)
    got = [simulate(noisy, "gain", rounds=5, seed=s) for s in range(3)]
    ideal = [simulate(true, "gain", rounds=5, seed=s) for s in range(3)]
    erring = [simulate(noisy, "gain", Habits(err=0.4, forget=0.2), rounds=5, seed=s) for s in range(3)]
    share = share_of_gain(got, ideal, k=10)
    assert share["low"] <= share["share"] <= share["high"]
    assert share["ideal"] >= share["end"] - 5
    assert np.mean([c.ranks[-1] for c in erring]) > np.mean([c.ranks[-1] for c in got])


def test_the_simulation_counts_what_a_session_counts(space, model) -> None:
    """Base terms, a yes and a no through both paths: the same scores."""
    session = Session(space, model, ranking=Ranking(Composition("late", "each")))
    query = Query(sketches=b"s")
    session.ask(query)
    hat, bag = Question("a", "?", "hat"), Question("b", "?", "bag")
    session.answer(hat, "yes")
    session.answer(bag, "no")
    similarity = space.scores(phrase_vectors(model, ["hat", "bag"]))
    z = (similarity - similarity.mean(axis=1, keepdims=True)) / similarity.std(axis=1, keepdims=True)
    terms = session.terms(query)
    base_similarity = stack(terms) @ space.vectors(space.ids).T
    base = fit(terms, base_similarity).scores(base_similarity)
    world = World(base[None], np.zeros((1, 300), bool), (hat, bag), z, z, [{}])
    parts = world.contributions()
    np.testing.assert_allclose(
        session.leads.everything,
        base + FORMULA.answer_yes * parts["yes"][0] + FORMULA.answer_no * parts["no"][1],
        atol=1e-4,
    )


def test_rounds_to_hit_and_curves() -> None:
    course = simulate(toy_world(), "gain", rounds=3)
    hits = course.rounds_to(10)
    assert ((hits >= 0) & (hits <= 4)).all()
    assert (course.ranks[0][hits == 0] <= 10).all()
    assert course.curve()["R@10"][0] == pytest.approx(100 * (course.ranks[0] <= 10).mean(), abs=0.01)


def test_paired_sees_a_difference_and_no_difference() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    assert paired(a + 0.5, a).p < 0.001
    same = paired(a, rng.permutation(a))
    assert same.low < 0 < same.high
    assert same.p > 0.05


def test_sharpness_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 50))
    p = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    drawn = np.array([rng.choice(50, p=row) for row in p])
    assert fit_sharpness(logits, np.arange(50) == drawn[:, None]) == pytest.approx(3, rel=0.25)


def test_refusals() -> None:
    world = toy_world()
    with pytest.raises(UsageError, match="did you mean 'gain'"):
        simulate(world, "gian")
    bare = World(world.start, world.relevant, world.questions, world.z, world.yes, world.records)
    for policy in ("sentence", "closest", "all"):
        with pytest.raises(UsageError, match="needs"):
            simulate(bare, policy)


def test_the_card_lists_what_the_answerer_knows() -> None:
    card = answerer_card(Habits(err=0.2), QUESTIONS, sees_shown=False)
    assert card["habits"]["err"] == 0.2
    assert card["attributes"] == sorted({q.attribute for q in QUESTIONS})


def test_formula_constants_reach_the_simulation() -> None:
    world = toy_world()
    assert world.ranking.formula == FORMULA
