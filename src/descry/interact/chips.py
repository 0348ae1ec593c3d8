"""Chips: what a searcher said, as phrases that can be seen, weighted, switched off, turned round or thrown away.

Negated English is never given to the encoder; "no backpack" becomes the phrase "backpack" with a NOT beside it, which
the formula takes away. The reading is by rules (grammar.py) and may err, which is why chips are shown before they
count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import LimitExceeded
from ..query import Part, Query
from .grammar import read
from .nouns import nouns, words_of

MAX_CHARACTERS = 1000
MAX_PARTS = 32


@dataclass(frozen=True, slots=True)
class Chip:
    """One phrase. wanted: False for NOT. weight: 0 to 2. cut: what of it lies beyond the encoder's limit, unread."""

    text: str
    wanted: bool = True
    weight: float = 1.0
    on: bool = True
    cut: str = ""

    def flipped(self) -> Chip:
        """The same phrase with the other sign."""
        return dataclasses.replace(self, wanted=not self.wanted)

    def __str__(self) -> str:
        return self.text if self.wanted else f"NOT {self.text}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two chips that can hardly both hold; the searcher says whether the new one replaces the old one or both stay."""

    old: Chip
    new: Chip
    why: str


def parse(sentence: str, words: Any = None) -> list[Chip]:
    """Free feedback → chips in the order said. words: the model's `Words`, to say what its limit cuts off.

    Raises LimitExceeded beyond 1,000 characters or 32 phrases.

    >>> [str(c) for c in parse("wearing a red jacket, no backpack")]
    ['red jacket', 'NOT backpack']
    """
    if len(sentence) > MAX_CHARACTERS:
        raise LimitExceeded(
            f"the text has {len(sentence)} characters, allowed are {MAX_CHARACTERS}; say it in several rounds"
        )
    phrases = read(sentence)
    if len(phrases) > MAX_PARTS:
        raise LimitExceeded(f"the text names {len(phrases)} things, allowed are {MAX_PARTS}; say it in several rounds")
    cut = words.cut if words is not None else lambda text: ""
    return [Chip(p.text, p.wanted, p.weight, cut=cut(p.text)) for p in phrases]


def chips_of(query: Query) -> list[Chip]:
    """The phrases of a query as chips."""
    rows = [(part, True) for part in query.wanted] + [(part, False) for part in query.unwanted]
    return [Chip(part.value, wanted, part.weight, part.on) for part, wanted in rows]


def conflicts(held: Sequence[Chip], new: Sequence[Chip]) -> list[Conflict]:
    """What the new chips contradict among those held: the other sign, another colour of one garment, man and woman."""
    found = []
    for chip in new:
        for old in held:
            why = _contradiction(old, chip) if old.on and chip.on else ""
            if why:
                found.append(Conflict(old, chip, why))
    return found


def _contradiction(old: Chip, new: Chip) -> str:
    if old.wanted != new.wanted:
        return "wanted and unwanted at once" if old.text == new.text else ""
    if not new.wanted or old.text == new.text:
        return ""
    a, b = set(old.text.split()), set(new.text.split())
    thing = a & b & nouns()
    for name in ("colours", "lengths", "patterns"):
        one, other = a & words_of(name), b & words_of(name)
        if thing and one and other and not one & other:
            return f"{' '.join(sorted(one))} or {' '.join(sorted(other))} {' '.join(sorted(thing))}"
    men, women = {"man", "boy", "guy", "gentleman", "male"}, {"woman", "girl", "lady", "female"}
    if (a & men and b & women) or (a & women and b & men):
        return f"{old.text} or {new.text}"
    return ""


def added(query: Query, chips: Sequence[Chip], replace: Sequence[Chip] = ()) -> Query:
    """The query with more chips. A phrase said again takes the new sign and weight; replace: held chips that go.

    Raises LimitExceeded beyond 32 phrases.
    """
    gone = {c.text for c in (*replace, *chips)}
    kept = [c for c in chips_of(query) if c.text not in gone]
    return with_chips(query, [*kept, *{c.text: c for c in chips}.values()])


def with_chips(query: Query, chips: Sequence[Chip]) -> Query:
    """The query with exactly these phrases. Raises LimitExceeded beyond 32."""
    if len(chips) > MAX_PARTS:
        raise LimitExceeded(f"{len(chips)} phrases were given, allowed are {MAX_PARTS}; switch off or delete some")

    def parts(wanted: bool) -> tuple[Part, ...]:
        return tuple(Part(c.text, c.weight, c.on) for c in chips if c.wanted == wanted)

    return query.replace(wanted=parts(True), unwanted=parts(False))
