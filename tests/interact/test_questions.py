"""The next question: gains against their definition, beliefs against known attributes, and the table."""

from __future__ import annotations

import json

import numpy as np
import pytest

from descry.errors import DataError
from descry.interact.questions import Asker, Question, beliefs, posterior, told, vocabulary
from descry.query import Query


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
    assert told(questions, {"c": "no"}) == [(questions[2], "no")]


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
    asker = Asker.of(space, model, questions)
    assert asker.yes.shape == (5, 300)
    (best, gain), *_ = asker.next(np.random.default_rng(0).normal(size=300), Query(wanted="x"), {})
    assert best in questions
    assert 0 < gain <= 1
