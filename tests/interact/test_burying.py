"""One wrong answer buries nobody: whatever was said before, one more phrase, NOT or answer puts no item from place r
behind place 3 r + 40, with measured answer curves and without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.errors import UsageError
from descry.interact.questions import Question
from descry.interact.session import Session
from descry.language import Chip, added
from descry.query import Query
from descry.ranking import FORMULA, Composition, Ranking
from descry.search import TIE, Arrays

THINGS = ("hat", "bag", "scarf", "coat", "skirt", "beard")
SAY, NOT, YES, NO, UNLIKE, LIKE, DROP, UNDO = "say", "not", "yes", "no", "unlike", "like", "drop", "undo"
STEPS = st.lists(
    st.tuples(st.sampled_from((SAY, NOT, YES, NO, UNLIKE, LIKE, DROP, UNDO)), st.integers(0, len(THINGS) - 1)),
    min_size=2, max_size=7,
)  # fmt: skip


class Axes:
    """A picture or word is an axis: what an item shows of a thing is written down."""

    answers = frozenset({"text", "sketch"})

    def embed_images(self, pictures):
        return np.eye(2 + len(THINGS), dtype=np.float32)[[0] * len(pictures)]

    def embed_texts(self, texts):
        return np.eye(2 + len(THINGS), dtype=np.float32)[[1 + THINGS.index(t) for t in texts]]


def space(n: int, seed: int) -> Arrays:
    """Items with a likeness to the sketch and with things that some have, at random or by that likeness."""
    rng = np.random.default_rng(seed)
    like = rng.normal(size=n)
    shown = [like]
    for _ in THINGS:
        has = (rng.random(n), like, -like)[rng.integers(3)]
        has = has > np.quantile(has, rng.uniform(0.02, 0.98))
        shown.append(0.5 * has + rng.normal(0, 0.05, n))
    rows = 0.1 * np.stack(shown, axis=1)
    length = np.linalg.norm(rows, axis=1).max() * 1.01
    rest = np.sqrt(length**2 - (rows**2).sum(axis=1))
    return Arrays(np.arange(1, n + 1), np.column_stack([rows, rest]) / length)


def places(scores: np.ndarray) -> np.ndarray:
    """(N,) place of each, from 1; items of equal score share their last place."""
    return len(scores) - np.searchsorted(np.sort(scores), scores, side="left")


def said(session: Session, step: str, thing: str) -> None:
    """One step of a searcher."""
    query = session.query
    if step in (YES, NO):
        session.answer(Question(thing, f"a {thing}?", thing), step)
    elif step in (SAY, NOT):
        session.ask(added(query, [Chip(thing, step == SAY)]), below=session.inquiry.head)
    elif step == DROP:
        kept = [part for part in query.unwanted if part.value != thing]
        session.ask(query.replace(unwanted=tuple(kept)), below=session.inquiry.head)
    elif step == UNDO and session.inquiry.current.parent:
        session.undo()
    elif step in (LIKE, UNLIKE):
        item = int(session.leads.ids[THINGS.index(thing)])
        session.mark(**{step: [item]})


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, n=st.sampled_from((150, 700)), seed=st.integers(0, 999), measured=st.integers(0, 63))
def test_whatever_was_said_before_one_more_phrase_buries_nobody(steps, n, seed, measured) -> None:
    curves = {thing: ((6.0, 0.0), (2.0, -1.0))[i % 2] for i, thing in enumerate(THINGS) if measured >> i & 1}
    ranking = Ranking(Composition("late", "each", neutral=""), curves=curves)
    session = Session(space(n, seed), Axes(), k=12, ranking=ranking)
    session.ask(Query(sketches=b"s"))
    for step, at in steps:
        thing, query = THINGS[at], session.query
        new = thing not in {part.value for part in (*query.wanted, *query.unwanted)}
        before = places(session.leads.everything)
        said(session, step, thing)
        if new and step in (SAY, NOT, YES, NO):
            after = session.leads.everything
            ahead = (after[None, :] > after[:, None] + TIE).sum(axis=1)
            assert (ahead < [FORMULA.worst_place(int(place)) for place in before]).all(), (step, thing)
    for made, same in session.replay():
        assert same, made.change


def test_a_wrong_phrase_after_a_not_that_helped() -> None:
    """The order in which phrases were said is the order in which they are weighed, not wanted ones first."""
    rng = np.random.default_rng(0)
    n = 1500
    like = np.sort(rng.normal(size=n))[::-1]
    hat, bag = np.zeros(n), rng.random(n) < 0.9
    hat[:400], bag[400:430] = 1, 0  # those ahead wear hats; those behind them have no bag
    rows = 0.02 * np.column_stack([like, hat, bag, *np.zeros((4, n))])
    vectors = np.column_stack([rows, np.sqrt(1 - (rows**2).sum(axis=1))])
    ranking = Ranking(Composition("late", "each", neutral=""), curves={"hat": (6.0, 0.0), "bag": (6.0, 0.0)})
    session = Session(Arrays(np.arange(1, n + 1), vectors), Axes(), ranking=ranking)
    session.ask(Query(sketches=b"s"))
    said(session, NOT, "hat")
    before = places(session.leads.everything)
    said(session, SAY, "bag")
    after = places(session.leads.everything)
    assert session.query.said == ("hat", "bag")
    assert (after <= [FORMULA.worst_place(int(place)) for place in before]).all()
    wanted_first = Session(Arrays(np.arange(1, n + 1), vectors), Axes(), ranking=ranking)
    wanted_first.ask(session.query.replace(said=()))
    other = places(wanted_first.leads.everything)
    assert (other > [FORMULA.worst_place(int(place)) for place in before]).any(), "this is the case to guard against"


def test_the_order_is_kept_and_a_phrase_that_changes_is_said_anew() -> None:
    first = Query(wanted=("red jacket",), unwanted=("hat",))
    assert first.after(Query()).said == ()
    second = added(first, [Chip("bag", True)]).after(first)
    assert [p.value for p, _ in second.phrases] == ["red jacket", "hat", "bag"]
    assert second.said == ("red jacket", "hat", "bag")
    assert Query.from_json(second.to_json()) == second
    turned = added(second, [Chip("hat", True)]).after(second)
    assert [(p.value, wanted) for p, wanted in turned.phrases] == [("red jacket", True), ("bag", True), ("hat", True)]
    assert second.replace(unwanted=()).after(second).said == (), "what is left stands in the usual order"


def test_an_order_read_from_a_store_is_a_list_of_text() -> None:
    plain = Query(wanted="hat").to_json()
    query = Query.from_json(plain | {"said": [1, "hat", "gone"]})
    assert query.said == ("1", "hat", "gone")
    assert [p.value for p, _ in query.phrases] == ["hat"]
    for wrong in ("hat", 5, {"hat": 1}):
        with pytest.raises(UsageError):
            Query.from_json(plain | {"said": wrong})
