"""The next question: gains against their definition, beliefs against known attributes, and the table."""

from __future__ import annotations

import json

import numpy as np
import pytest

from descry.errors import DataError
from descry.interact.questions import Asker, Question, answered, beliefs, posterior, stated, vocabulary
from descry.query import Query
from descry.ranking import Ranking


def test_the_vocabulary_is_whole_and_holds_no_negation() -> None:
    table = vocabulary()
    assert len(table) >= 60
    for q in table:
        assert q.text.endswith("?"), q
        words = set(q.phrase.split())
        assert not words & {"no", "not", "without", "never"}, q


def test_every_row_speaks_of_an_attribute_of_the_synthetic_people() -> None:
    person = pytest.importorskip("descry.drawing.person")
    for q in vocabulary():
        assert set(q.values) <= set(person.ATTRIBUTES[q.attribute]), q


def test_gain_is_the_mutual_information_written_out() -> None:
    rng = np.random.default_rng(0)
    yes, scores, error = rng.random((3, 7)), rng.normal(size=7), 0.1
    p = np.exp(scores) / np.exp(scores).sum()
    want = []
    for row in yes:
        joint = np.array([[p[i] * (error + (1 - 2 * error) * row[i]), 0] for i in range(7)])
        joint[:, 1] = p - joint[:, 0]
        marginal = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        want.append(float((joint * np.log2(joint / marginal)).sum()))
    asker = Asker([Question(str(i), "?", str(i)) for i in range(3)], yes, 1.0, error)
    np.testing.assert_allclose(asker.gains(scores), want, atol=1e-5)


def test_a_sure_half_split_gains_one_bit_and_a_settled_one_nothing() -> None:
    yes = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]])
    asker = Asker([Question(str(i), "?", str(i)) for i in range(3)], yes, error=0.0)
    np.testing.assert_allclose(asker.gains(np.zeros(4)), [1, 0, 0], atol=1e-4)


def test_what_was_asked_said_or_settled_is_not_asked_again() -> None:
    questions = [Question("a", "?", "a bag", "bag"), Question("b", "?", "a case", "bag"), Question("c", "?", "a hat")]
    asker = Asker(questions, np.random.default_rng(0).random((3, 50)))
    scores = np.zeros(50)

    def keys(query: Query, asked: dict) -> set:
        return {q.key for q, _ in asker.next(scores, query, asked, k=9)}

    assert keys(Query(), {}) == {"a", "b", "c"}
    assert keys(Query(), {"a": "no"}) == {"b", "c"}
    assert keys(Query(), {"a": "yes"}) == {"c"}, "one bag settles the group"
    assert keys(Query(unwanted="a hat"), {"a": "unknown"}) == {"b"}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
def test_beliefs_find_both_halves_without_labels(share: float) -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(3000) < share
    similarity = (0.2 + 0.03 * truth + rng.normal(0, 0.008, 3000)).astype(np.float32)[None]
    got = beliefs(similarity)[0]
    assert ((got > 0.5) == truth).mean() > 0.93
    assert abs(got.mean() - share) < 0.05
    order = np.argsort(similarity[0])
    assert (np.diff(got[order]) >= -1e-6).all(), "more similar, more likely"


def test_beliefs_bear_degenerate_galleries() -> None:
    for similarity in (np.zeros((2, 1)), np.zeros((1, 5)), np.ones((1, 2))):
        got = beliefs(similarity)
        assert np.isfinite(got).all()
        assert ((got >= 0) & (got <= 1)).all()


def test_posterior_sums_to_one_and_sharpens() -> None:
    scores = np.array([3.0, 1.0, -800.0])
    assert posterior(scores).sum() == pytest.approx(1)
    assert posterior(scores, 5)[0] > posterior(scores, 1)[0]


def test_a_table_of_ones_own(tmp_path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps([{"key": "cane", "question": "Does the person use a cane?", "phrase": "a cane"}]))
    assert vocabulary(path) == (Question("cane", "Does the person use a cane?", "a cane"),)
    for text, why in (
        ("[", "cannot be read"),
        ("[]", "is empty"),
        ('[{"key": "a"}]', "row 0 .* lacks question, phrase"),
        ('["a"]', "lacks key"),
        ('[{"key":"a","question":"?","phrase":"p"},{"key":"a","question":"?","phrase":"p"}]', "repeats"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=why):
            vocabulary(path)
    with pytest.raises(DataError, match="cannot be read"):
        vocabulary(tmp_path / "none.json")


def test_asker_of_a_gallery(space, model) -> None:
    questions = vocabulary()[:5]
    model.ranking = Ranking(curves={q.phrase: (2.0, -1.0) for q in questions})
    asker = Asker.of(space, model, questions)
    assert asker.why_none == ""
    assert asker.yes.shape == (5, 300)
    (best, gain), *_ = asker.next(np.random.default_rng(0).normal(size=300), Query(wanted="x"), {})
    assert best in questions
    assert 0 < gain <= 1


@pytest.mark.parametrize(
    ("curves", "why"), [({}, "not measured"), ({q.phrase: (0.1, 0.0) for q in vocabulary()}, "reads none")]
)
def test_nothing_is_asked_about_what_the_model_cannot_read(space, model, curves: dict, why: str) -> None:
    model.ranking = Ranking(curves=curves)
    asker = Asker.of(space, model, vocabulary())
    assert asker.next(np.random.default_rng(0).normal(size=300), Query(wanted="x"), {}, k=9) == []
    assert why in asker.why_none


def test_only_what_can_be_read_is_asked(space, model) -> None:
    model.ranking = Ranking(curves={"a backpack": (2.0, 0.0), "a tie": (0.1, 0.0)})
    asker = Asker.of(space, model, vocabulary())
    assert [q.key for q, _ in asker.next(np.zeros(300), Query(wanted="x"), {}, k=9)] == ["backpack"]


@pytest.mark.parametrize(
    ("said", "closed", "open_"),
    [
        ("a red jacket", {"jacket", "coat", "outerwear", "red-outer", "blue-outer"}, {"red-top", "woman", "bag"}),
        ("wearing backpacks", {"backpack", "handbag", "bag"}, {"black-bag", "cap"}),
        ("she", {"woman"}, {"young"}),
        ("a man in jeans", {"woman", "jeans", "shorts"}, {"black-legs"}),
        ("an old lady", {"woman", "elderly", "young"}, {"slim"}),
        ("navy trousers", {"dark-blue-legs", "blue-legs", "trousers"}, {"dark-blue-top", "trainers"}),
        ("curly hair", {"curly-hair", "ponytail"}, {"black-hair", "long-hair"}),
        ("something odd", set(), {"woman", "bag"}),
    ],
)
def test_what_was_said_in_any_words_is_not_asked(said: str, closed: set, open_: set) -> None:
    found = answered(vocabulary(), Query(wanted=said))
    assert closed <= found
    assert not open_ & found


def test_a_not_answers_for_itself_and_for_its_kinds() -> None:
    assert answered(vocabulary(), Query(unwanted="backpack")) == {"backpack"}
    assert {"bag", "backpack", "handbag", "red-bag"} <= answered(vocabulary(), Query(unwanted="a bag"))
    assert answered(vocabulary(), Query(unwanted="a red jacket")) & {"coat", "woman"} == set()


@pytest.mark.parametrize(
    ("said", "colours"),
    {
        "a black jacket over a pale blue tee, blue denim jeans": {
            "outer": "black", "upper": "light blue", "lower": "blue"
        },
        "the shirt is white, the trousers are black": {"upper": "white", "lower": "black"},
        "a jacket in black and blue jeans": {"outer": "black", "lower": "blue"},
        "a man in a jacket in blue jeans": {"lower": "blue"},
        "long black hair, black dress shoes, a red shopping bag": {"hair": "black", "shoes": "black", "bag": "red"},
        "short brown pants": {"lower": "brown"},
        "dressed in black": {},
    }.items(),
)  # fmt: skip
def test_each_colour_is_that_of_its_garment(said, colours) -> None:
    found = {(n.removesuffix("_colour"), v) for n, v in stated(said) if n.endswith("_colour")}
    assert found == set(colours.items())


def test_a_garment_is_not_read_out_of_the_name_of_another() -> None:
    assert ("lower", "shorts") not in stated("short straight hair")
    assert ("lower", "shorts") in stated("black shorts")
    assert ("lower", "shorts") in stated("short brown pants")
    assert ("lower", "trousers") not in stated("short brown pants")
    assert not {v for n, v in stated("black dress shoes") if n == "upper"}
    assert ("hair_length", "long") in stated("long black hair")
