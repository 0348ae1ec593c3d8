"""A simulated witness: knows a record of the person, never a picture of them, and forgets, errs and contradicts at
will.

Several published "interaction gains" come from an answerer that looks at the target image. This one cannot: it is made
from a record (attribute → value), and what else it may see is written on its card, which goes into every result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from descry.errors import UsageError
from descry.interact.questions import Question

COLOUR_WORDS = ("colour", "tone")


@dataclass(frozen=True, slots=True)
class Habits:
    """How a witness fails, each a probability per answer, drawn independently.

    forget: says "don't know". err: says the opposite of the record. vague: knows no colours this time, and says "don't
    know" when asked for one or leaves it out. contradict: takes back an earlier answer, saying its opposite.
    """

    forget: float = 0.0
    err: float = 0.0
    vague: float = 0.0
    contradict: float = 0.0

    def __post_init__(self) -> None:
        for name, rate in asdict(self).items():
            if not 0.0 <= rate <= 1.0:
                raise UsageError(f"{name}={rate} was given; a rate lies between 0 and 1")


FAITHFUL = Habits()


class Witness:
    """One witness of one person. Randomness only from the generator."""

    def __init__(self, record: Mapping[str, str], habits: Habits, generator: np.random.Generator):
        self.record, self.habits, self.generator = dict(record), habits, generator

    def answer(self, question: Question) -> str:
        """ "yes", "no" or "unknown". A record without the attribute is "unknown"."""
        forgets, errs, vague = self.generator.random(3)
        value = self.record.get(question.attribute)
        if value is None or not question.values or forgets < self.habits.forget:
            return "unknown"
        if question.attribute.endswith(COLOUR_WORDS) and (vague < self.habits.vague or value == "none"):
            return "unknown" if value != "none" else "no"
        truth = value in question.values
        return "yes" if truth != (errs < self.habits.err) else "no"

    def tells(self, questions: Sequence[Question], said: Iterable[str]) -> tuple[Question, str] | None:
        """Something said unasked: a question that holds of the person and was not said yet, with "yes" (or "no" in
        error).

        None when nothing is left or it is forgotten.
        """
        known = set(said)
        held = [q for q in questions if q.key not in known and self.record.get(q.attribute) in q.values]
        if not held:
            return None
        question = held[int(self.generator.integers(len(held)))]
        answer = self.answer(question)
        return None if answer == "unknown" else (question, answer)

    def takes_back(self, asked: Mapping[str, str]) -> tuple[str, str] | None:
        """An earlier answer turned round, or None."""
        keys = [key for key, answer in asked.items() if answer in ("yes", "no")]
        if not keys or self.generator.random() >= self.habits.contradict:
            return None
        key = keys[int(self.generator.integers(len(keys)))]
        return key, "no" if asked[key] == "yes" else "yes"

    def closest(self, shown: Sequence[Mapping[str, str]]) -> int:
        """Which of the shown people agrees with the record in most attributes (the first of equals).

        Each attribute is looked at wrongly with probability err and not at all with probability forget.
        """
        best, place = -1.0, 0
        for i, other in enumerate(shown):
            agreed = 0.0
            for name, value in self.record.items():
                draw = self.generator.random(2)
                if draw[0] >= self.habits.forget:
                    agreed += (other.get(name) == value) != (draw[1] < self.habits.err)
            if agreed > best:
                best, place = agreed, i
        return place


def answerer_card(habits: Habits, questions: Sequence[Question], sees_shown: bool) -> dict[str, Any]:
    """What the simulated answerer could see and how it fails: part of every result of a simulation."""
    return {
        "knows": "a record of the person: attribute and value, without any picture of the person",
        "sees": "attributes of the people shown, to compare them with the record"
        if sees_shown
        else "no picture at all",
        "never sees": "the target's photographs, their scores or their ranks",
        "habits": asdict(habits),
        "questions": len(questions),
        "attributes": sorted({q.attribute for q in questions if q.attribute}),
    }
