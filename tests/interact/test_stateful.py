"""A searcher who does anything in any order, against a model of sixty lines: the same state at every step."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from descry.interact.rounds import Inquiry
from descry.interact.session import Session
from descry.interact.store import InquiryStore
from descry.query import Query
from descry.ranking import Composition, Ranking
from descry.search import Arrays, unit

from .toy import D, ToyModel

SPACE = Arrays(np.arange(1, 61), unit(np.random.default_rng(5).normal(size=(60, D))))
WORDS = st.sampled_from(["red jacket", "hat", "bag", "scarf", "no hat", "no bag", "blue jacket, no scarf"])


class Small:
    """What an inquiry must do, with dictionaries: number → (parent, wanted, unwanted, liked, unliked, closest)."""

    def __init__(self) -> None:
        self.rounds: dict[int, tuple] = {}
        self.last, self.head, self.seen = 0, 0, {}

    def add(self, state: tuple) -> None:
        self.last += 1
        self.rounds[self.last] = (self.head, *state)
        self.seen[self.head] = self.last
        self.head = self.last

    def state(self) -> tuple:
        return self.rounds[self.head][1:]

    def go(self, number: int) -> None:
        at = number
        while at:
            parent = self.rounds[at][0]
            self.seen[parent], at = at, parent
        self.head = number

    def undo(self) -> None:
        self.seen[self.rounds[self.head][0]] = self.head
        self.head = self.rounds[self.head][0]

    def delete(self, number: int) -> None:
        gone, grew = {number}, True
        while grew:
            more = {n for n, r in self.rounds.items() if r[0] in gone} - gone
            gone, grew = gone | more, bool(more)
        if self.head in gone:
            self.head = self.rounds[number][0]
        self.rounds = {n: r for n, r in self.rounds.items() if n not in gone}
        self.seen = {a: b for a, b in self.seen.items() if a not in gone and b not in gone}


class Searcher(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = InquiryStore(self.folder)
        self.session = Session(SPACE, ToyModel(), Inquiry("i"), self.store, k=8, ranking=Ranking(Composition("late")))
        self.small = Small()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    @rule(text=st.sampled_from(["red", "blue hat", "long coat"]))
    def ask(self, text: str) -> None:
        self.session.ask(Query(wanted=text, sketches=b"s"))
        self.small.add(((text,), (), (), (), ()))

    @precondition(lambda self: self.small.head)
    @rule(text=WORDS)
    def refine(self, text: str) -> None:
        self.session.refine(text)
        wanted, unwanted, *marks = self.small.state()
        for said in text.split(", "):
            phrase = said.removeprefix("no ")
            wanted = tuple(w for w in wanted if w != phrase) + (() if said.startswith("no ") else (phrase,))
            unwanted = tuple(w for w in unwanted if w != phrase) + ((phrase,) if said.startswith("no ") else ())
        self.small.add((wanted, unwanted, *marks))

    @precondition(lambda self: self.small.head)
    @rule(like=st.integers(1, 60), unlike=st.integers(1, 60), which=st.sampled_from("lub"))
    def mark(self, like: int, unlike: int, which: str) -> None:
        if like == unlike:
            return
        likes, unlikes = ([like] if which in "lb" else []), ([unlike] if which in "ub" else [])
        self.session.mark(likes, unlikes)
        wanted, unwanted, liked, unliked, closest = self.small.state()
        said = {*likes, *unlikes}
        self.small.add(
            (
                wanted,
                unwanted,
                (*(i for i in liked if i not in said), *likes),
                (*(i for i in unliked if i not in said), *unlikes),
                closest,
            )
        )

    @precondition(lambda self: self.small.head)
    @rule(item=st.integers(1, 60))
    def unmark(self, item: int) -> None:
        self.session.mark(clear=[item])
        wanted, unwanted, *marks = self.small.state()
        self.small.add((wanted, unwanted, *(tuple(i for i in m if i != item) for m in marks)))

    @precondition(lambda self: self.small.head and self.session.inquiry.current.ids)
    @rule(at=st.integers(0, 7))
    def closest(self, at: int) -> None:
        shown = self.session.inquiry.current.ids
        item = shown[at % len(shown)]
        self.session.closest(item)
        *rest, closest = self.small.state()
        self.small.add((*rest, (*(i for i in closest if i != item), item)))

    @precondition(lambda self: self.small.head and self.small.rounds[self.small.head][0])
    @rule()
    def undo(self) -> None:
        self.session.undo()
        self.small.undo()

    @precondition(lambda self: self.small.seen.get(self.small.head))
    @rule()
    def redo(self) -> None:
        self.session.redo()
        self.small.head = self.small.seen[self.small.head]

    @precondition(lambda self: self.small.rounds)
    @rule(at=st.integers(0, 10**6))
    def branch(self, at: int) -> None:
        number = sorted(self.small.rounds)[at % len(self.small.rounds)]
        self.session.go(number)
        self.small.go(number)

    @precondition(lambda self: self.small.rounds)
    @rule(at=st.integers(0, 10**6))
    def delete(self, at: int) -> None:
        number = sorted(self.small.rounds)[at % len(self.small.rounds)]
        self.session.delete(number)
        self.small.delete(number)

    @precondition(lambda self: self.small.rounds)
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = InquiryStore(self.folder)
        session = Session(
            SPACE, ToyModel(), self.store.load("i"), self.store, k=8, ranking=Ranking(Composition("late"))
        )
        if session.inquiry.head:
            made = session.inquiry.current
            assert tuple(session.rank(made).ids[: len(made.results)].tolist()) == made.ids, (
                "another order after reopening"
            )
        self.session = session

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "small"):
            return
        inquiry = self.session.inquiry
        assert inquiry.head == self.small.head
        assert sorted(inquiry.rounds) == sorted(self.small.rounds)
        for number, made in inquiry.rounds.items():
            query = made.query
            got = (made.parent, tuple(p.value for p in query.wanted), tuple(p.value for p in query.unwanted))
            assert (*got, query.liked, query.unliked, query.closest) == self.small.rounds[number]
        if self.small.head:
            shown = inquiry.current.ids
            liked = [i for i in shown if i in inquiry.current.query.liked]
            assert list(shown[: len(liked)]) == liked, "liked ones stand first"
            assert not set(shown) & set(inquiry.current.query.unliked)


Searcher.TestCase.settings = settings(
    max_examples=10, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSearcher = Searcher.TestCase


@pytest.mark.long
def test_fifty_searchers_of_two_hundred_steps() -> None:
    run_state_machine_as_test(
        Searcher,
        settings=settings(
            max_examples=50, stateful_step_count=200, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
