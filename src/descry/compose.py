"""From a query to terms: how pictures and phrases are put together before the formula of `ranking` counts them.

Learned composition (a pseudo-word inside a prompt, InteractReID §III-D) and the training-free ones stand side by
side, since only validation can say which is better; the winner is data in the model's configuration, under
"composition".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np

from .errors import UsageError, nearest
from .query import Part, Query, digest
from .ranking import Formula, Term, unit

Curves = Mapping[str, tuple[float, float]]
Readings = Mapping[str, tuple[Sequence[str], Sequence[str]]]
"""Phrase → the wordings that stand for it, and those of what it is told apart from (none: the neutral phrase)."""
HOW = ("early", "late", "sum", "slerp", "ranks", "early+late", "pseudo")
PHRASES = ("one", "each", "both")


class Encoder(Protocol):
    """What is asked of a model: `descry.embed.Model` has it, and so has a small fake in a test."""

    answers: frozenset[str]
    config: dict[str, Any]

    def embed_images(self, pictures: Sequence[Any]) -> np.ndarray: ...
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray: ...
    def pseudo_words(self, pictures: Sequence[Any]) -> np.ndarray: ...
    def compose_words(self, words: np.ndarray, texts: Sequence[str]) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Composition:
    """How the parts of a query become terms.

    how: "early", one prompt with a pseudo-word for the picture; "late", the scores of picture and words side by side;
    "sum" and "slerp", one vector on the line or the great circle between the two; "ranks", reciprocal ranks of the two;
    "early+late", all three; "pseudo", the picture's pseudo-word, with the words side by side. Without a pseudo-word
    in the model, "early", "early+late" and "pseudo" become "late".
    phrases: "one" prompt of all wanted phrases, "each" by itself as evidence, or "both". A phrase whose weight is not
    1 is always scored by itself, because a prompt knows no weights; so is one whose answer curve was measured. text:
    share of the words in late, sum, slerp and ranks, 0 to 1. early: share of the composed prompt in "early+late".
    neutral: what a NOT phrase and a phrase on its own are compared with ("a person"); "" for nothing. joiner: what
    stands between the phrases of one prompt.
    """

    how: str = "early"
    phrases: str = "one"
    text: float = 0.5
    early: float = 0.5
    neutral: str = "a person"
    joiner: str = ", "

    def __post_init__(self) -> None:
        if self.how not in HOW:
            raise UsageError(f"there is no composition {self.how!r}; {nearest(self.how, HOW)}")
        if self.phrases not in PHRASES:
            raise UsageError(f"phrases={self.phrases!r} was given; {nearest(self.phrases, PHRASES)}")
        for name in ("text", "early"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name}={getattr(self, name)} was given; a share lies between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in a model's configuration; `how` is called "default" there."""
        data = asdict(self)
        return {"default": data.pop("how")} | data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Composition:
        """The composition of `to_json`; names that say something else about the model ("formula", figures) are left."""
        known = {f.name for f in fields(cls)} & set(data)
        how = {"how": data["default"]} if "default" in data else {}
        return cls(**({name: data[name] for name in known} | how))


def composition_of(model: Encoder) -> Composition:
    """The composition in a model's configuration (what won on validation), or the default one."""
    return Composition.from_json(model.config.get("composition") or {})


def formula_of(model: Encoder) -> Formula:
    """The formula's constants in a model's configuration ("composition" → "formula"), or the default ones."""
    from .ranking import formula_from_json

    data = (model.config.get("composition") or {}).get("formula")
    formula = formula_from_json(data) if data else Formula()
    ranks = composition_of(model).how == "ranks"
    return Formula(**(asdict(formula) | {"fusion": "ranks"})) if ranks else formula


class Memo:
    """Vectors of pictures and texts that were embedded before, so that refining by words re-encodes no picture.

    limit: most entries kept; the oldest go first. One memo belongs to one model and is used by one thread at a time.
    """

    def __init__(self, limit: int = 4096):
        self.limit = limit
        self._rows: dict[tuple[str, ...], np.ndarray] = {}

    def rows(self, keys: Sequence[tuple[str, ...]], embed: Any) -> dict[tuple[str, ...], np.ndarray]:
        """The vector of each key; embed(positions) → (len(positions), D) is called once, for the keys not yet known."""
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        new = [i for key, i in sorted(first.items(), key=lambda item: item[1]) if key not in self._rows]
        if new:
            for i, row in zip(new, embed(new), strict=True):
                self._rows[keys[i]] = row
        found = {key: self._rows[key] for key in keys}
        while len(self._rows) > self.limit:
            del self._rows[next(iter(self._rows))]
        return found


def curves_of(model: Encoder) -> Curves:
    """Phrase → (a, b) of its answer curve, for the phrases whose curve was measured with this model."""
    measured = (model.config.get("composition") or {}).get("curves") or {}
    return {phrase: (float(a), float(b)) for phrase, (a, b) in measured.items()}


def readings_of(model: Encoder) -> Readings:
    """Phrase → how this model reads it best, for the phrases where validation found better words than the phrase."""
    chosen = (model.config.get("composition") or {}).get("readings") or {}
    return {phrase: (tuple(like), tuple(unlike)) for phrase, (like, unlike) in chosen.items()}


def terms(
    model: Encoder,
    query: Query,
    composition: Composition | None = None,
    memo: Memo | None = None,
    curves: Curves | None = None,
) -> list[Term]:
    """The terms of one query: pictures, phrases and NOT; marks are added by who knows the gallery's vectors.

    Raises UsageError when nothing is on, ImageRejected for a picture that cannot be read.
    """
    return terms_of(model, [query], composition, memo, curves)[0]


def terms_of(
    model: Encoder,
    queries: Sequence[Query],
    composition: Composition | None = None,
    memo: Memo | None = None,
    curves: Curves | None = None,
) -> list[list[Term]]:
    """`terms` of many queries, embedded in batches. curves: the model's own (`curves_of`) unless given."""
    curves = curves_of(model) if curves is None else curves
    how = composition or composition_of(model)
    if how.how in ("early", "early+late", "pseudo") and "sketch+text" not in model.answers:
        how = Composition(**(asdict(how) | {"how": "late"}))
    memo = memo or Memo(limit=1 << 40)
    readings = readings_of(model)
    plans = [_Plan(query, how, curves, readings) for query in queries]
    pictures = [p for plan in plans for p in plan.pictures]
    names = [digest(p.value) for p in pictures]
    images = memo.rows([("image", n) for n in names], lambda new: model.embed_images([pictures[i].value for i in new]))
    words = [t for plan in plans for t in plan.texts()]
    texts = memo.rows([("text", t) for t in words], lambda new: model.embed_texts([words[i] for i in new]))
    composed = [
        (n, part, text)
        for plan, ns in zip(plans, _split(names, plans), strict=True)
        for n, part, text in plan.prompts(ns)
    ]
    spelt = memo.rows(
        [("word", n) for n, _, _ in composed], lambda new: model.pseudo_words([composed[i][1].value for i in new])
    )
    early = memo.rows(
        [("composed", n, text) for n, _, text in composed],
        lambda new: model.compose_words(
            np.stack([spelt[("word", composed[i][0])] for i in new]), [composed[i][2] for i in new]
        ),
    )
    rows = images | texts | early
    return [plan.terms(ns, rows) for plan, ns in zip(plans, _split(names, plans), strict=True)]


def _split(names: list[str], plans: list[_Plan]) -> list[list[str]]:
    out, at = [], 0
    for plan in plans:
        out.append(names[at : at + len(plan.pictures)])
        at += len(plan.pictures)
    return out


def phrase_vectors(
    model: Encoder, phrases: Sequence[str], neutral: str | None = None, readings: Readings | None = None
) -> np.ndarray:
    """(P, D) of phrases that are scored by themselves: the mean of each phrase's wordings, less that of what it is told
    apart from (`readings_of`) or else the neutral phrase, where there is one.

    neutral: the composition's unless given. readings: the model's (`readings_of`) unless given.
    """
    neutral = composition_of(model).neutral if neutral is None else neutral
    readings = readings_of(model) if readings is None else readings
    words = list(dict.fromkeys(w for p in phrases for w in _wordings(p, neutral, readings)))
    rows = dict(zip(words, model.embed_texts(words), strict=True)) if words else {}
    if not phrases:
        return model.embed_texts([])
    return np.stack([_direction(p, neutral, readings, rows) for p in phrases])


def _wordings(phrase: str, neutral: str, readings: Readings) -> list[str]:
    """Every text that the direction of a phrase needs."""
    like, unlike = readings.get(phrase, ((phrase,), ()))
    return [*like, *(unlike or ([neutral] if neutral else []))]


def _direction(phrase: str, neutral: str, readings: Readings, rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """The direction of a phrase from its embedded wordings."""
    like, unlike = readings.get(phrase, ((phrase,), ()))
    unlike = unlike or ([neutral] if neutral else [])
    if not unlike and len(like) == 1:
        return rows[like[0]]
    mean = np.mean([rows[w] for w in like], axis=0)
    return np.asarray(unit((mean - np.mean([rows[w] for w in unlike], axis=0) if unlike else mean)[None])[0])


class _Plan:
    """What of one query has to be embedded, and how the vectors become terms."""

    def __init__(self, query: Query, how: Composition, curves: Curves, readings: Readings):
        self.how, self.kind, self.curves, self.readings = how, query.kind, curves, readings
        self.sketches = [p for p in query.sketches if p.on]
        self.pictures = [*self.sketches, *(p for p in query.photos if p.on)]
        wanted = [p for p in query.wanted if p.on]
        together = how.phrases in ("one", "both")
        alone = [p for p in wanted if p.weight != 1.0 or p.value in curves]
        self.prompt = how.joiner.join(p.value for p in wanted if together and p not in alone)
        self.single = [p for p in wanted if how.phrases in ("each", "both") or p in alone]
        self.unwanted = [p for p in query.unwanted if p.on]
        if not (self.pictures or wanted or self.unwanted or query.liked or query.closest):
            raise UsageError(
                "the query is empty: give a sketch, a photograph, a phrase or a mark, and leave it switched on"
            )

    def texts(self) -> list[str]:
        alone = (w for p in (*self.single, *self.unwanted) for w in _wordings(p.value, self.how.neutral, self.readings))
        return [*([self.prompt] if self.prompt else []), *alone]

    def prompts(self, names: list[str]) -> list[tuple[str, Part, str]]:
        if not self.pictures or self.how.how not in ("early", "early+late", "pseudo"):
            return []
        text = "" if self.how.how == "pseudo" else self.prompt
        if not text and self.how.how != "pseudo":
            return []
        return [(name, part, text) for name, part in zip(names, self.pictures, strict=True)]

    def terms(self, names: list[str], rows: dict[tuple[str, ...], np.ndarray]) -> list[Term]:
        out = self._base(names, rows)
        spelt = {key[1]: row for key, row in rows.items() if key[0] == "text"}
        for shape, kind, parts in (("evidence", "text", self.single), ("not", "not", self.unwanted)):
            for part in parts:
                vector = _direction(part.value, self.how.neutral, self.readings, spelt)
                curve = self.curves.get(part.value)
                out.append(Term(kind, part.value, part.weight, vector, shape, curve=curve))
        return out

    def _base(self, names: list[str], rows: dict[tuple[str, ...], np.ndarray]) -> list[Term]:
        how, kind = self.how, "+".join(k for k in self.kind.split("+") if k != "text")
        pictures = text = composed = None
        if self.pictures:
            weight = max(p.weight for p in self.pictures)
            pictures = self._mean(kind, [rows[("image", n)] for n in names])
        if self.prompt:
            text = Term("text", self.prompt, 1.0, rows[("text", self.prompt)])
        found = [rows[("composed", n, t)] for n, _, t in self.prompts(names)]
        if found:
            mean = self._mean(f"{kind}+text" if how.how != "pseudo" else kind, found)
            composed = _decomposed(mean, [t for t in (pictures, text if how.how != "pseudo" else None) if t])
        if composed and how.how == "early":
            return [composed]
        if composed and how.how == "pseudo":
            pictures = composed
        if pictures is None or text is None:
            return [t for t in (pictures, text) if t]
        a, b = (1 - how.text) * weight, how.text
        if how.how in ("sum", "slerp"):
            return [_mixed(pictures, text, how.how, b / (a + b) if a + b else 0.5)]
        side = [_weighted(pictures, a), _weighted(text, b)]
        if composed and how.how == "early+late":
            return [_weighted(composed, how.early), *(_weighted(t, t.weight * (1 - how.early)) for t in side)]
        return side

    def _mean(self, kind: str, vectors: list[np.ndarray]) -> Term:
        weights = np.array([p.weight for p in self.pictures], np.float32)
        label = kind.split("+")[0] if len(vectors) == 1 else f"{len(vectors)} pictures"
        return Term(kind, label, 1.0, unit(weights @ np.stack(vectors)) if weights.any() else vectors[0])


def _weighted(term: Term, weight: float) -> Term:
    return Term(term.kind, term.label, weight, term.vector, term.shape, term.parts)


def _mixed(picture: Term, text: Term, how: str, share: float) -> Term:
    """One vector between two: on the line, or on the great circle (Shoemake 1985), `share` of the way to the text."""
    a, b = 1 - share, share
    if how == "slerp":
        angle = float(np.arccos(np.clip(picture.vector @ text.vector, -1, 1)))
        if angle > 1e-4:
            a, b = np.sin((1 - share) * angle) / np.sin(angle), np.sin(share * angle) / np.sin(angle)
    vector = a * picture.vector + b * text.vector
    length = max(float(np.linalg.norm(vector)), 1e-12)
    parts = tuple((t.kind, t.label, t.vector * (c / length)) for t, c in ((picture, a), (text, b)))
    return Term(f"{picture.kind}+text", text.label, 1.0, vector / length, parts=parts)


def _decomposed(composed: Term, known: list[Term]) -> Term:
    """A composed term with its parts: the nearest mixture of the parts' own vectors, and what goes beyond it."""
    matrix = np.stack([t.vector for t in known], axis=1).astype(np.float64)
    shares = np.linalg.lstsq(matrix, composed.vector.astype(np.float64), rcond=None)[0]
    parts = [(t.kind, t.label, (s * t.vector).astype(np.float32)) for t, s in zip(known, shares, strict=True)]
    rest = composed.vector - np.sum([vector for _, _, vector in parts], axis=0)
    label = known[-1].label if known[-1].kind == "text" else composed.label
    return Term(composed.kind, label, 1.0, composed.vector, parts=(*parts, (composed.kind, "together", rest)))
