"""Which words read an attribute: candidates, the choice on people of known looks, and what a query makes of it."""

import numpy as np
import pytest

from descry.evaluate import Embedded
from descry.interact.absence import auroc
from descry.interact.questions import vocabulary
from descry.query import Query
from descry.ranking import ranking_of
from descry.search import phrase_vectors, terms_of, unit
from descry_lab.prompts import best_readings, candidates, words_of
from descry_people.person import make_person, values_of


class Speaker:
    """A model whose directions are written down: long sleeves look like "no coat", short sleeves are read well."""

    answers = frozenset({"text", "sketch"})

    def __init__(self):
        self.config = {"composition": {"neutral": "a person"}}

    def embed_texts(self, texts):
        rows = []
        for text in texts:
            row = np.array([1.0, 0.0, 0.0, 0.1 * (len(text) % 7)])
            row[1] += "long" in text
            row[2] += "short" in text or "sleeveless" in text or "tank" in text
            rows.append(row)
        return unit(np.array(rows).reshape(-1, 4)).astype(np.float32)


SLEEVES = next(q for q in vocabulary() if q.key == "long-sleeves")


def test_the_phrase_itself_comes_first_and_every_side_has_words():
    for question in vocabulary():
        found = candidates(question)
        assert found[0] == ((question.phrase,), ())
        assert all(like for like, _ in found)
        said = {w for v in question.values for w in words_of(question.attribute, v)}
        assert all(not said & set(unlike) for _, unlike in found), question.key


def test_what_cannot_be_said_has_no_words():
    assert words_of("bag", "none") == ()
    assert words_of("upper_colour", "none") == ()
    assert "sneakers" in words_of("shoes", "trainers")
    assert all(words_of("sleeves", v) for v in values_of("sleeves"))


def test_area_under_the_curve():
    assert auroc(np.array([4.0, 3.0]), np.array([2.0, 1.0])) == 1.0
    assert auroc(np.ones(2), np.ones(2)) == 0.5
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    slow = np.mean([(a > b) + 0.5 * (a == b) for a in scores[truth] for b in scores[~truth]])
    assert auroc(scores[truth], scores[~truth]) == pytest.approx(slow)
    assert np.isnan(auroc(scores, scores[:0]))


def test_words_that_read_better_are_chosen_and_the_configuration_is_left_as_it_was():
    people = {n: make_person(n) for n in range(80)}
    long = np.array([people[n].sleeves == "long" for n in people])
    rng = np.random.default_rng(0)
    photos = np.stack([np.ones(80), rng.random(80), 2.0 * ~long, rng.random(80)], axis=1)
    model = Speaker()
    before = dict(model.config["composition"])
    shown = Embedded(unit(photos).astype(np.float32), np.arange(80))
    found = best_readings(model, shown, people, [SLEEVES])
    assert model.config["composition"] == before
    _, unlike = found[SLEEVES.phrase]
    assert any("short" in w or "tank" in w for w in unlike)


def test_a_reading_changes_the_direction_of_the_phrase_wherever_it_is_scored_by_itself():
    model = Speaker()
    plain = phrase_vectors(model, [SLEEVES.phrase])
    like, unlike = ["a long sleeve shirt", "a long sleeve top"], ["a tank top"]
    model.config["composition"]["readings"] = {SLEEVES.phrase: [like, unlike]}
    assert ranking_of(model).prompts == {SLEEVES.phrase: (tuple(like), tuple(unlike))}
    got = phrase_vectors(model, [SLEEVES.phrase, "a red hat"])
    rows = model.embed_texts([*like, *unlike])
    assert np.allclose(got[0], unit((rows[:2].mean(axis=0) - rows[2])[None])[0], atol=1e-6)
    assert not np.allclose(got[0], plain[0], atol=1e-3)
    model.config["composition"]["readings"] = {}
    assert np.allclose(phrase_vectors(model, ["a red hat"])[0], got[1])
    model.config["composition"]["readings"] = {SLEEVES.phrase: [like, unlike]}
    made = terms_of(model, [Query(wanted="a hat", unwanted=(SLEEVES.phrase,))], ranking_of(model).using("late"))[0]
    assert np.allclose(next(t for t in made if t.kind == "not").vector, got[0])
    assert phrase_vectors(model, []).shape == (0, 4)
