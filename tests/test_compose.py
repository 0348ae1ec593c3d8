"""Compositions on a toy encoder: exact parts, the right calls, and none twice."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from descry.errors import UsageError
from descry.query import Part, Query
from descry.ranking import COMPOSITIONS, Composition, ranking_of
from descry.search import Memo, fit, stack, terms_of, unit

D = 16


def terms(model, query, composition=None, memo=None):
    return terms_of(model, [query], ranking_of(model).using(composition), memo)[0]


class Encoder:
    def __init__(self, answers=("text", "sketch", "sketch+text"), config=None):
        self.answers, self.config, self.calls = frozenset(answers), config or {}, []

    def _rows(self, kind, keys):
        self.calls.append((kind, len(keys)))
        return unit(
            np.stack([np.random.default_rng(zlib.crc32(repr((kind, k)).encode())).normal(size=D) for k in keys])
        )

    def embed_images(self, pictures):
        return self._rows("image", [bytes(p) for p in pictures])

    def embed_texts(self, texts):
        return self._rows("text", list(texts))

    def pseudo_words(self, pictures):
        return self._rows("word", [bytes(p) for p in pictures])

    def compose_words(self, words, texts):
        return self._rows("compose", [(w.tobytes(), t) for w, t in zip(words, texts, strict=True)])


QUERY = Query(sketches=b"drawing", wanted=("red jacket", "hat"), unwanted=("bag",))


@pytest.mark.parametrize("how", COMPOSITIONS)
@pytest.mark.parametrize("phrases", ["one", "each", "both"])
def test_every_composition_ranks_and_shares_out_exactly(how: str, phrases: str) -> None:
    model = Encoder()
    made = terms(model, QUERY, Composition(how, phrases))
    for term in made:
        if term.parts:
            np.testing.assert_allclose(sum(v for _, _, v in term.parts), term.vector, atol=1e-5)
    x = unit(np.random.default_rng(0).normal(size=(50, D)))
    similarity = stack(made) @ x.T
    fitted = fit(made, similarity)
    _, shares = fitted.contributions(similarity)
    np.testing.assert_allclose(shares.sum(axis=0), fitted.scores(similarity), atol=1e-4)
    kinds = [t.kind for t in made]
    assert kinds.count("not") == 1
    assert sum(t.shape == "evidence" for t in made) == (0 if phrases == "one" else 2)


def test_early_is_one_prompt_and_late_is_two_terms() -> None:
    model = Encoder()
    early = terms(model, QUERY.replace(unwanted=()), Composition("early"))
    assert [(t.kind, t.label) for t in early] == [("sketch+text", "red jacket, hat")]
    assert [label for _, label, _ in early[0].parts] == ["sketch", "red jacket, hat", "together"]
    late = terms(model, QUERY.replace(unwanted=()), Composition("late", text=0.25))
    assert [(t.kind, t.weight) for t in late] == [("sketch", 0.75), ("text", 0.25)]


@pytest.mark.parametrize(("share", "same_as"), [(0.0, "sketch"), (1.0, "text")])
@pytest.mark.parametrize("how", ["sum", "slerp"])
def test_sum_and_slerp_reach_both_ends(how: str, share: float, same_as: str) -> None:
    model = Encoder()
    one = terms(model, Query(sketches=b"s", wanted="red"), Composition(how, text=share))[0]
    pure = Query(sketches=b"s") if same_as == "sketch" else Query(wanted="red")
    np.testing.assert_allclose(one.vector, terms(model, pure)[0].vector, atol=1e-6)


def test_slerp_stays_on_the_great_circle_at_the_stated_share() -> None:
    model = Encoder()
    a = terms(model, Query(sketches=b"s"))[0].vector
    b = terms(model, Query(wanted="red"))[0].vector
    v = terms(model, Query(sketches=b"s", wanted="red"), Composition("slerp", text=0.3))[0].vector
    assert abs(np.linalg.norm(v) - 1) < 1e-6
    assert np.arccos(a @ v) == pytest.approx(0.3 * np.arccos(a @ b), abs=1e-4)


def test_a_model_without_pseudo_words_falls_back_on_late() -> None:
    model = Encoder(answers=("text", "sketch"))
    assert [t.kind for t in terms(model, QUERY, Composition("early"))] == ["sketch", "text", "not"]
    assert not any(kind == "compose" for kind, _ in model.calls)


def test_weighted_phrases_leave_the_prompt_and_switched_off_parts_vanish() -> None:
    query = Query(
        wanted=(Part("red jacket"), Part("scarf", 0.5), Part("hat", on=False)), unwanted=(Part("bag", on=False),)
    )
    made = terms(Encoder(), query)
    assert [(t.label, t.weight, t.shape) for t in made] == [("red jacket", 1.0, "linear"), ("scarf", 0.5, "evidence")]


def test_not_is_never_put_into_a_prompt() -> None:
    model = Encoder()
    seen: list[str] = []
    model.embed_texts = lambda texts: (seen.extend(texts), Encoder.embed_texts(model, texts))[1]  # type: ignore[method-assign]
    model.compose_words = lambda w, texts: (seen.extend(texts), Encoder.compose_words(model, w, texts))[1]  # type: ignore[method-assign]
    terms(model, QUERY)
    assert "bag" in seen
    assert not any("bag" in text and text != "bag" for text in seen)


def test_memo_embeds_nothing_twice() -> None:
    model, memo = Encoder(), Memo()
    terms(model, QUERY, memo=memo)
    before = list(model.calls)
    terms(model, QUERY, memo=memo)
    assert model.calls == before
    terms(model, QUERY.replace(unwanted=("bag", "scarf")), memo=memo)
    assert model.calls[len(before) :] == [("text", 1)]


def test_memo_forgets_the_oldest_but_answers_this_call() -> None:
    memo = Memo(limit=2)
    rows = memo.rows([("text", str(i)) for i in range(5)], lambda new: np.arange(len(new))[:, None])
    assert len(rows) == 5
    assert set(memo._rows) == {("text", "3"), ("text", "4")}


def test_batches_give_what_single_queries_give() -> None:
    queries = [QUERY, Query(wanted="blue"), Query(sketches=(b"a", b"b")), Query(photos=b"p", wanted="x")]
    together = terms_of(Encoder(), queries)
    for query, many in zip(queries, together, strict=True):
        for one, other in zip(terms(Encoder(), query), many, strict=True):
            np.testing.assert_array_equal(one.vector, other.vector)


def test_what_won_on_validation_is_served() -> None:
    chosen = Composition("slerp", "both", text=0.7)
    model = Encoder(config={"composition": chosen.to_json() | {"formula": {"version": 1, "negation": 2.0}, "R@1": 3}})
    assert ranking_of(model).composition == chosen
    assert ranking_of(model).formula.negation == 2.0
    assert ranking_of(Encoder()).composition == Composition()


def test_refusals() -> None:
    with pytest.raises(UsageError, match="query is empty"):
        terms(Encoder(), Query(wanted=Part("red", on=False)))
    with pytest.raises(UsageError, match="slerp"):
        Composition("slrp")
    with pytest.raises(UsageError, match="between 0 and 1"):
        Composition(text=2)
    assert terms(Encoder(), Query(liked=(3,))) == []
