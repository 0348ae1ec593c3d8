"""An inquiry: a tree of immutable rounds, with undo, redo and branches.

A round holds everything that decided its order, so that it can be ranked again years later and give the same list:
the whole query, the constants of the formula, how parts were composed, the gallery's state and the model. Nothing
here knows a gallery, a model or a file; `session.py` ranks, `store.py` saves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import LimitExceeded, UsageError
from ..query import Query
from ..ranking import Ranking
from ..search import Choice

MAX_ROUNDS = 500
MAX_MARKS = 500
ANSWERS = ("yes", "no", "unknown")


@dataclass(frozen=True, slots=True)
class Round:
    """One step. number: 1, 2, … in the order made, never used twice. parent: 0 for a first round.

    change: what was done, in a few words. ranking: how it was ranked, with the curves and prompts of its own phrases
    alone. snapshot, model: what it was ranked
    against. results: (item id, score), best first. choices: "closest of these" so far. asked: question key → answer.
    """

    number: int
    parent: int
    query: Query
    change: str
    ranking: Ranking = field(default_factory=Ranking)
    snapshot: str = ""
    model: str = ""
    results: tuple[tuple[int, float], ...] = ()
    choices: tuple[Choice, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[int, ...]:
        """The items shown, best first."""
        return tuple(i for i, _ in self.results)


class Inquiry:
    """The tree and the place in it.

    head: the round on show, 0 before the first. last: the highest number ever given. visited: for each round the
    child that was seen last, which is where redo goes.
    """

    def __init__(
        self,
        name: str,
        rounds: Iterable[Round] = (),
        head: int = 0,
        last: int = 0,
        visited: Mapping[int, int] | None = None,
    ):
        self.name = name
        self.rounds: dict[int, Round] = {r.number: r for r in rounds}
        self.last = max([last, *self.rounds])
        self.head = 0
        self.visited: dict[int, int] = dict(visited or {})
        if head:
            self.go(head)

    @property
    def current(self) -> Round | None:
        """The round on show."""
        return self.rounds.get(self.head)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Everything done to the inquiry inside, or, when an error leaves the block, nothing of it."""
        before = dict(self.rounds), self.head, self.last, dict(self.visited)
        try:
            yield
        except BaseException:
            self.rounds, self.head, self.last, self.visited = before
            raise

    def add(self, **what: Any) -> Round:
        """A new round below the head, which moves there. Raises LimitExceeded beyond 500 rounds or 500 marks."""
        if len(self.rounds) >= MAX_ROUNDS:
            raise LimitExceeded(
                f"the inquiry has {MAX_ROUNDS} rounds, the most allowed; delete a branch or begin a new inquiry"
            )
        query = what["query"]
        marks = len(query.liked) + len(query.unliked) + len(query.closest)
        if marks > MAX_MARKS:
            raise LimitExceeded(f"{marks} items are marked, allowed are {MAX_MARKS}; unmark some")
        made = Round(self.last + 1, self.head, **what)
        self.rounds[made.number] = made
        self.last = made.number
        self.visited[self.head] = made.number
        self.head = made.number
        return made

    def go(self, number: int) -> Round:
        """Show another round (a branch begins with the next one added). Raises UsageError for an unknown number."""
        if number not in self.rounds:
            raise UsageError(
                f"there is no round {number}; there are {', '.join(map(str, sorted(self.rounds))) or 'none yet'}"
            )
        for step in self.path(number):
            self.visited[step.parent] = step.number
        self.head = number
        return self.rounds[number]

    def undo(self) -> Round:
        """Back to the parent. Raises UsageError at a first round."""
        current = self.current
        if current is None or not current.parent:
            raise UsageError("there is nothing to undo: this is the first round")
        self.visited[current.parent] = current.number
        self.head = current.parent
        return self.rounds[self.head]

    def redo(self) -> Round:
        """Forward to the child last visited. Raises UsageError where there is none."""
        child = self.visited.get(self.head)
        if child is None:
            raise UsageError("there is nothing to redo: no round was made from here")
        self.head = child
        return self.rounds[child]

    def delete(self, number: int) -> list[int]:
        """Remove a round and everything made from it; → their numbers. The head moves to the nearest round that
        stays."""
        if number not in self.rounds:
            raise UsageError(f"there is no round {number}; nothing was deleted")
        gone = {number}
        for n in sorted(self.rounds):
            if self.rounds[n].parent in gone:
                gone.add(n)
        if self.head in gone:
            self.head = self.rounds[number].parent
        for n in gone:
            del self.rounds[n]
        self.visited = {a: b for a, b in self.visited.items() if a not in gone and b not in gone}
        return sorted(gone)

    def path(self, number: int | None = None) -> list[Round]:
        """From the first round to this one (the head)."""
        out = []
        at = self.rounds.get(self.head if number is None else number)
        while at is not None:
            out.append(at)
            at = self.rounds.get(at.parent)
        return out[::-1]

    def children(self, number: int) -> list[Round]:
        """The rounds made from this one (0: the first rounds), oldest first."""
        return [self.rounds[n] for n in sorted(self.rounds) if self.rounds[n].parent == number]

    def shown(self) -> list[tuple[int, Round]]:
        """The tree as (depth, round), children below their parents, for printing."""
        out: list[tuple[int, Round]] = []
        todo = [(0, r) for r in reversed(self.children(0))]
        while todo:
            depth, at = todo.pop()
            out.append((depth, at))
            todo += [(depth + 1, r) for r in reversed(self.children(at.number))]
        return out


def marked(query: Query, like: Iterable[int] = (), unlike: Iterable[int] = (), clear: Iterable[int] = ()) -> Query:
    """The query with marks set or cleared. An item is liked, unliked or neither; the last word counts."""
    like, unlike = list(dict.fromkeys(like)), list(dict.fromkeys(unlike))
    both = set(like) & set(unlike)
    if both:
        raise UsageError(f"item {min(both)} was liked and unliked at once; say which")
    said = {*like, *unlike, *clear}
    return query.replace(
        liked=(*(i for i in query.liked if i not in said), *like),
        unliked=(*(i for i in query.unliked if i not in said), *unlike),
        closest=tuple(i for i in query.closest if i not in set(clear)),
    )


def chosen(round_: Round, item: int) -> tuple[Query, tuple[Choice, ...]]:
    """Query and choices after "this is the closest of those shown". Raises UsageError for an item that was not
    shown."""
    if item not in round_.ids:
        raise UsageError(
            f"item {item} was not among the {len(round_.ids)} shown in round {round_.number}; choose one of them"
        )
    query = round_.query.replace(closest=(*(i for i in round_.query.closest if i != item), item))
    return query, (*round_.choices, (item, round_.ids))


def difference(before: Round | None, after: Round) -> dict[str, int]:
    """How the shown items changed: {"new": …, "gone": …, "kept": …}."""
    old, new = set(before.ids if before else ()), set(after.ids)
    return {"new": len(new - old), "gone": len(old - new), "kept": len(new & old)}


def to_json(round_: Round) -> dict[str, Any]:
    """A dict of plain values; pictures as digests."""
    ranking = round_.ranking.to_json()
    return {
        "number": round_.number,
        "parent": round_.parent,
        "change": round_.change,
        "query": round_.query.to_json(),
        "formula": ranking.pop("formula"),
        "composition": ranking,
        "snapshot": round_.snapshot,
        "model": round_.model,
        "results": [[i, s] for i, s in round_.results],
        "choices": [[i, list(shown)] for i, shown in round_.choices],
        "asked": dict(round_.asked),
    }


def from_json(data: dict[str, Any], picture: Any = None) -> Round:
    """The round of `to_json`. picture: from a digest to the picture, as for `Query.from_json`.

    Raises ValueError, KeyError, TypeError or UsageError for what `to_json` does not write.
    """
    number, parent = whole(data["number"]), whole(data["parent"])
    if not parent < number:
        raise ValueError(f"round {number} is said to follow round {parent}")
    asked = {text(key): text(answer) for key, answer in dict(data["asked"]).items()}
    if unknown := set(asked.values()) - set(ANSWERS):
        raise ValueError(f"{min(unknown)!r} is not an answer")
    return Round(
        number=number,
        parent=parent,
        query=Query.from_json(data["query"], picture),
        change=text(data["change"]),
        ranking=Ranking.from_json(data["composition"] | {"formula": data["formula"]}),
        snapshot=text(data["snapshot"]),
        model=text(data["model"]),
        results=tuple((whole(i), float(s)) for i, s in data["results"]),
        choices=tuple((whole(i), tuple(whole(j) for j in shown)) for i, shown in data["choices"]),
        asked=asked,
    )


def visits(data: Any) -> dict[int, int]:
    """The pairs of numbers in which `Inquiry.visited` is kept. Raises ValueError or TypeError for anything else."""
    return {whole(parent): whole(child) for parent, child in data}


def whole(value: Any) -> int:
    """A whole number from 0 that a database can hold. ValueError for anything else."""
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{str(value)[:40]!r} is not a number of a round or an item")
    return value


def text(value: Any) -> str:
    """A text of at most a million characters. ValueError for anything else."""
    if not isinstance(value, str) or len(value) > 1 << 20:
        raise ValueError(f"{str(value)[:40]!r} is not a text that belongs here")
    return value
