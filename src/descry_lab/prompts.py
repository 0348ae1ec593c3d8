"""Which words read an attribute best: several wordings together, and the attribute's other values as the contrast.

"A long-sleeved top" against "a person" mostly says that no coat hides the top; against "a short sleeve top" it says
what was asked. Candidates come from the vocabulary of attributes, the choice from validation people, and the winners
are data in the model's configuration ("composition" → "readings"), beside the answer curves measured with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from descry.drawing.person import Person
from descry.drawing.vocabulary import NOUNS
from descry.evaluate import Embedded
from descry.interact.absence import auroc
from descry.interact.questions import Question
from descry.ranking import ranking_of
from descry.search import phrase_vectors
from descry_people.person import held, values_of

Reading = tuple[tuple[str, ...], tuple[str, ...]]

COLOURED: dict[str, tuple[str, ...]] = {
    "hair_colour": ("{} hair",),
    "headwear_colour": ("{} headwear", "{} cap"),
    "upper_colour": ("{} top", "{} shirt"),
    "outer_colour": ("{} jacket", "{} coat"),
    "lower_colour": ("{} trousers", "{} jeans", "{} bottoms"),
    "shoes_colour": ("{} shoes",),
    "bag_colour": ("{} bag",),
    "neckwear_colour": ("{} scarf",),
}
SPOKEN: dict[str, dict[str, tuple[str, ...]]] = {
    "sex": {"woman": ("a woman", "a female"), "man": ("a man", "a male")},
    "age": {
        "young": ("a young woman", "a young man"),
        "middle-aged": ("a middle-aged woman", "a middle-aged man"),
        "elderly": ("an elderly woman", "an elderly man"),
    },
    "build": {"slim": ("a slim person",), "average": ("a person of medium build",), "heavy": ("a heavy person",)},
    "hair_length": {
        "bald": ("a bald head",),
        "short": ("short hair",),
        "medium": ("medium length hair",),
        "long": ("long hair",),
    },
    "hair_style": {
        "straight": ("straight hair",),
        "curly": ("curly hair", "wavy hair"),
        "ponytail": ("hair in a ponytail",),
        "bun": ("hair in a bun",),
    },
    "sleeves": {
        "long": ("a sweater", "a hoodie", "a long sleeve shirt", "a long sleeve dress"),
        "short": ("a t-shirt", "a short sleeve shirt", "a short sleeve dress"),
        "sleeveless": ("a tank top", "a sleeveless dress"),
    },
    "upper_pattern": {
        "plain": ("a plain top",),
        "striped": ("a striped top",),
        "checked": ("a checked top",),
        "dotted": ("a dotted top",),
        "logo": ("a top with a logo on the chest",),
    },
}
GAIN = 0.005
"""By how much the area under the curve must rise before other words take the place of the phrase itself."""


def words_of(attribute: str, value: str) -> tuple[str, ...]:
    """Phrases that say a value of an attribute; none for what cannot be said, such as "none"."""
    if attribute in COLOURED:
        return () if value == "none" else tuple(t.format(value) for t in COLOURED[attribute])
    return SPOKEN.get(attribute, NOUNS.get(attribute, {})).get(value, ())


def candidates(question: Question) -> list[Reading]:
    """The phrase itself first; then all wordings of its values; each against nothing and against the other values; and
    whatever is none of the other values.
    """
    like = tuple(w for v in question.values for w in words_of(question.attribute, v))
    others = (v for v in values_of(question.attribute) if v not in question.values)
    unlike = tuple(w for v in others for w in words_of(question.attribute, v))
    plain = (question.phrase,)
    sides = [(plain, ()), (plain, unlike), (like, ()), (like, unlike), (("a person",), unlike)]
    return [(a, b) for n, (a, b) in enumerate(sides) if a and (b or n in (0, 2))]


def directions(model: Any, questions: Sequence[Question]) -> list[list[tuple[Reading, np.ndarray]]]:
    """The candidates of each question with their (D,) directions. All texts are embedded together.

    A question without an attribute, such as a word of captions, has its phrase alone.
    """
    readings = [candidates(q) if q.attribute else [((q.phrase,), ())] for q in questions]
    named = {f"{q} {c}": reading for q, row in enumerate(readings) for c, reading in enumerate(row)}
    alone = replace(ranking_of(model), curves={}, prompts=named)
    rows = iter(phrase_vectors(model, list(named), alone))
    return [[(reading, next(rows)) for reading in row] for row in readings]


def best_of(
    tried: Sequence[tuple[Reading, np.ndarray]], vectors: np.ndarray, truth: np.ndarray
) -> tuple[Reading | None, np.ndarray]:
    """The reading that tells (N, D) photographs with a thing from those without best, and their (N,) cosines.

    truth: (N,) of 1, 0 and nan for unknown. None for the phrase itself, unless other words are better by `GAIN`.
    """
    cosines = [vectors @ vector for _, vector in tried]
    areas = [auroc(s[truth == 1], s[truth == 0]) for s in cosines]
    best = int(np.argmax(areas))
    if not areas[best] > areas[0] + GAIN:  # also where an area is nan
        return None, cosines[0]
    return tried[best][0], cosines[best]


def best_readings(
    model: Any, photos: Embedded, people: Mapping[int, Person], questions: Sequence[Question]
) -> dict[str, list[list[str]]]:
    """Phrase → [wordings, what it is told apart from], for the phrases that other words read better.

    photos, people: of the validation part, whose truth decides. A phrase that already reads best is left out.
    """
    shown, out = [held(people[pid]) for pid in photos.pids.tolist()], dict[str, list[list[str]]]()
    for question, tried in zip(questions, directions(model, questions), strict=True):
        truth = np.array([float(row.get(question.attribute) in question.values) for row in shown])
        better, _ = best_of(tried, photos.vectors, truth)
        if better:
            out[question.phrase] = [list(side) for side in better]
    return out
