"""A conversation: one inquiry, one gallery, one model. Every answer makes a round; nothing is ever overwritten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .. import language as chipping
from ..errors import UsageError, nearest
from ..language import Chip, Conflict
from ..query import Query
from ..ranking import Ranking, ranking_of
from ..search import Encoder, Leads, Memo, Space, Term, missing, rank, terms_of, understood
from .absence import Calibration, notice_of
from .rounds import ANSWERS, Inquiry, Round, chosen, marked
from .store import InquiryStore


class Session:
    """Ranks rounds and keeps them.

    space: the gallery at one moment. model: `descry.embed.Model` or what acts like it. store: where rounds are saved;
    None for nowhere; what cannot be saved is not done. k: how many leads a round shows. ranking: the model's own unless
    given. A round made by words or marks embeds no picture again: vectors of pictures are kept.
    """

    def __init__(
        self,
        space: Space,
        model: Encoder,
        inquiry: Inquiry | None = None,
        store: InquiryStore | None = None,
        k: int = 50,
        ranking: Ranking | None = None,
    ):
        self.space, self.model, self.store, self.k = space, model, store, k
        self.inquiry = inquiry or Inquiry("inquiry")
        self.ranking = ranking or ranking_of(model)
        self.memo = Memo()
        self._leads: dict[int, Leads] = {}

    # ------------------------------------------------------------------ making rounds

    def ask(self, query: Query, change: str = "new query", below: int | None = None) -> Round:
        """A round with this query below the head, or below another round (0: a first round)."""
        if below is None:
            return self._add(query, change)
        with self.inquiry.whole():
            self.inquiry.head = 0
            if below:
                self.inquiry.go(below)
            return self._add(query, change)

    def refine(self, text: str, replace: Sequence[Chip] = ()) -> Round:
        """A round with what the text says added. replace: held chips that the new ones stand for (see `conflicts`).

        Raises UsageError when the text names nothing.
        """
        new = chipping.parse(text, getattr(self.model, "words", None))
        if not new:
            raise UsageError(f"found nothing to search for in {text!r}; name a garment, a colour or what is not there")
        return self._add(chipping.added(self.query, new, replace), ", ".join(map(str, new)))

    def conflicts(self, text: str) -> list[Conflict]:
        """What the text contradicts among the chips held; nothing is changed."""
        return chipping.conflicts(chipping.chips_of(self.query), chipping.parse(text))

    def set_chips(self, chips: Sequence[Chip]) -> Round:
        """A round with exactly these chips: edited, weighted, switched on or off, or negated."""
        return self._add(chipping.with_chips(self.query, chips), "chips edited")

    def mark(self, like: Iterable[int] = (), unlike: Iterable[int] = (), clear: Iterable[int] = ()) -> Round:
        """A round with items liked, unliked, or neither any more. Raises UsageError for an id the gallery does not
        hold."""
        like, unlike, clear = list(like), list(unlike), list(clear)
        self.space.vectors([*like, *unlike])
        said = [
            f"{word} {', '.join(map(str, ids))}"
            for word, ids in (("liked", like), ("unliked", unlike), ("cleared", clear))
            if ids
        ]
        if not said:
            raise UsageError("no item was named; give the ids shown beside the results")
        kept = tuple(choice for choice in self._current().choices if choice[0] not in clear)
        return self._add(marked(self.query, like, unlike, clear), "; ".join(said), choices=kept)

    def closest(self, item: int) -> Round:
        """A round after "of those shown, this one is the closest". Raises UsageError for an item that was not shown, or
        that left the gallery since."""
        query, choices = chosen(self._current(), item)
        self.space.vectors([item])
        return self._add(query, f"closest: {item}", choices=choices)

    def answer(self, question: Any, answer: str) -> Round:
        """A round after a question (`questions.Question`) was answered "yes", "no" or "unknown" (don't know)."""
        if answer not in ANSWERS:
            raise UsageError(f"{answer!r} is not an answer; {nearest(answer, ANSWERS)}")
        query = self.query
        if answer != "unknown":
            formula = self.ranking.formula
            weight = formula.answer_yes if answer == "yes" else formula.answer_no
            query = chipping.added(query, [Chip(question.phrase, answer == "yes", weight)])
        asked = {**self._current().asked, question.key: answer}
        return self._add(query, f"{question.text} {answer}", asked=asked)

    # ------------------------------------------------------------------ looking

    @property
    def query(self) -> Query:
        """The query on show; an empty one before the first round."""
        current = self.inquiry.current
        return current.query if current else Query()

    @property
    def leads(self) -> Leads:
        """The ranking on show, with contributions and all scores."""
        current = self._current()
        if current.number not in self._leads:
            self._keep(current.number, self.rank(current))
        return self._leads[current.number]

    def terms(self, query: Query, ranking: Ranking | None = None) -> list[Term]:
        """The terms of a query; only marks are left to the search."""
        return terms_of(self.model, [query], ranking or self.ranking, self.memo)[0]

    def rank(self, made: Round, k: int = 0, space: Space | None = None) -> Leads:
        """A round ranked again as it was ranked. Items removed from the gallery since are left out.

        k: how many leads at least. space: the gallery at another moment.
        """
        k = k or max(self.k, len(made.results))
        terms = self.terms(made.query, made.ranking)
        return rank(space or self.space, terms, made.query, k, made.ranking.formula, made.choices, kept=True)

    def notice(self, calibrations: Mapping[str, Calibration]) -> str:
        """What may be said about whether the person is in this gallery at all, by what is wanted; marks and NOT left
        out."""
        return notice_of(self.space, self.model, self.query, calibrations, self.ranking, self.memo)

    def refresh(self) -> bool:
        """Go on with the inquiry as it is stored, where another process changed it; whether it did. Raises UsageError
        for one that was deleted."""
        if self.store is None or not self.store.changed(self.inquiry):
            return False
        self.inquiry, self._leads = self.store.load(self.inquiry.name), {}
        return True

    def undo(self) -> Round:
        """Show the parent again."""
        with self._saving():
            return self.inquiry.undo()

    def redo(self) -> Round:
        """Show the child last seen."""
        with self._saving():
            return self.inquiry.redo()

    def go(self, number: int) -> Round:
        """Show any round; the next one made branches off there."""
        with self._saving():
            return self.inquiry.go(number)

    def delete(self, number: int) -> list[int]:
        """Remove a round and all that was made from it; → their numbers."""
        with self._saving():
            return self.inquiry.delete(number)

    def replay(self) -> list[tuple[Round, bool]]:
        """Every round ranked again → whether it shows the same items in the same order as when it was made."""
        out = []
        for number in sorted(self.inquiry.rounds):
            made = self.inquiry.rounds[number]
            again = self.rank(made).ids[: len(made.results)]
            out.append((made, tuple(again.tolist()) == made.ids))
        return out

    # ------------------------------------------------------------------ machinery

    def _current(self) -> Round:
        if self.inquiry.current is None:
            raise UsageError("the inquiry has no round yet; begin with a sketch, a photograph or words")
        return self.inquiry.current

    def _add(
        self, query: Query, change: str, choices: tuple[Any, ...] | None = None, asked: Mapping[str, str] | None = None
    ) -> Round:
        current = self.inquiry.current
        query = understood(query).after(current.query if current else Query())
        self.space = getattr(self.space, "present", lambda: self.space)()
        choices = (current.choices if current else ()) if choices is None else choices
        self._marked_before(query)
        leads = rank(self.space, self.terms(query), query, self.k, self.ranking.formula, choices, kept=True)
        with self._saving():
            made = self.inquiry.add(
                query=query,
                change=change,
                ranking=self.ranking.only([p.value for p in (*query.wanted, *query.unwanted)]),
                snapshot=self.space.snapshot,
                model=getattr(self.model, "fingerprint", ""),
                results=tuple(zip(leads.ids.tolist(), leads.scores.tolist(), strict=True)),
                choices=choices,
                asked=dict(current.asked if current else {}) if asked is None else dict(asked),
            )
        self._keep(made.number, leads)
        return made

    def _marked_before(self, query: Query) -> None:
        """UsageError for a mark on an item that the gallery does not hold, unless an earlier round has it: an item may
        leave the gallery, and the inquiry goes on without it."""
        gone = set(missing(self.space.ids, sorted(set(query.marks))).tolist())
        if gone:
            self.space.vectors(sorted(gone.difference(*(r.query.marks for r in self.inquiry.rounds.values()))))

    def _keep(self, number: int, leads: Leads) -> None:
        self._leads = {**dict(list(self._leads.items())[-3:]), number: leads}

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """What is done inside is saved, or not done."""
        with self.inquiry.whole():
            yield
            if self.store is not None:
                self.store.save(self.inquiry)
