"""Which question is worth asking next: the one whose answer is expected to narrow the gallery most.

Letters: A questions, N items. For each item the encoder's similarity to a question's phrase gives P(yes | item); the
scores of the current round give a posterior over items. The expected gain of a question is the mutual information
between its answer and the person, H(Σ p r) − Σ p H(r) in bits, where r is P(yes | item) seen through a witness who
errs now and then ("don't know" only scales it). No language model and no training; the vocabulary is a table that
users can extend. Only what the model was found to read is asked about (`Ranking.reads`), and nothing that the query
says already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ..drawing.vocabulary import COLOURS, NOUNS, PHRASES
from ..errors import DataError
from ..query import Query
from ..ranking import Ranking, phrase_key, ranking_of
from ..safe_files import json_of
from ..search import Space, phrase_vectors
from .absence import logistic

SAMPLE = 4096
SEXES = {
    "woman": frozenset(("woman", "women", "lady", "girl", "female", "she", "her", "hers")),
    "man": frozenset(("man", "men", "gentleman", "guy", "bloke", "boy", "male", "he", "him", "his")),
}
"""The words that say whether a woman or a man is meant."""
WITNESS_ERROR = 0.1


@dataclass(frozen=True, slots=True)
class Question:
    """One row of the vocabulary.

    key: its name. text: how it is asked. phrase: what a "yes" says, as the encoder reads it. group: questions of one
    group exclude each other, so a "yes" settles them all; "" for none. attribute, values: what a record of attributes
    answers "yes" with; only for simulated witnesses.
    """

    key: str
    text: str
    phrase: str
    group: str = ""
    attribute: str = ""
    values: tuple[str, ...] = ()


def vocabulary(path: str | Path | None = None) -> tuple[Question, ...]:
    """The questions of a JSON table (the package's own by default). Raises DataError naming the row that is wrong.

    A row needs "key", "question" and "phrase"; "group", "attribute" and "values" may be left out.
    """
    source = files(__package__).joinpath("attributes.json") if path is None else Path(path)
    try:
        rows = json_of(source.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"the question table {source} cannot be read ({error}); it must be a JSON list of rows"
        ) from None
    out: dict[str, Question] = {}
    for i, row in enumerate(rows if isinstance(rows, list) else [rows]):
        missing = [
            n
            for n in ("key", "question", "phrase")
            if not (isinstance(row, dict) and isinstance(row.get(n), str) and row[n].strip())
        ]
        if missing:
            raise DataError(
                f"row {i} of {source} lacks {', '.join(missing)}; a row is key, question, phrase and maybe group"
            )
        if row["key"] in out:
            raise DataError(f"row {i} of {source} repeats the key {row['key']!r}; keys must differ")
        values = row.get("values", [])
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise DataError(f"row {i} of {source}: values must be a list of texts; got {values!r:.80}")
        optional = (row.get("group", ""), row.get("attribute", ""), tuple(values))
        out[row["key"]] = Question(row["key"], row["question"], row["phrase"], *optional)
    if not out:
        raise DataError(f"the question table {source} is empty; give at least one row")
    return tuple(out.values())


class Asker:
    """The questions of a vocabulary over one gallery, ready to be asked many times.

    Costs A × N × 8 bytes; made once for a snapshot, a question then takes two products of that size.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        yes: np.ndarray,
        sharpness: float = 1.0,
        error: float = WITNESS_ERROR,
        why_none: str = "",
    ):
        """yes: (A, N) P(yes | item), see `beliefs`. sharpness: from scores to log-odds, as `Ranking.sharpness`. error:
        share of answers taken to be wrong. why_none: why there is no question at all.
        """
        self.why_none = why_none
        self.questions, self.sharpness = tuple(questions), sharpness
        self.yes = np.asarray(yes, np.float32)
        self.seen = np.float32(error) + np.float32(1 - 2 * error) * self.yes
        self.doubt = _entropy(self.seen)

    @classmethod
    def of(cls, space: Space, model: Any, questions: Sequence[Question], error: float = WITNESS_ERROR) -> Asker:
        """For a gallery: phrases are embedded and read by the model that made its vectors, with its ranking.

        Questions about what the model was not found to read are left out; `why_none` says so where none is left.
        """
        ranking = ranking_of(model)
        kept = [q for q in questions if ranking.reads(q.phrase)]
        if not kept:
            return cls((), np.zeros((0, len(space.ids))), ranking.sharpness, error, unreadable(ranking))
        similarity = space.scores(phrase_vectors(model, [q.phrase for q in kept]))
        return cls(kept, read(kept, similarity, ranking), ranking.sharpness, error)

    def gains(self, scores: np.ndarray) -> np.ndarray:
        """(N,) or (Q, N) scores of the current round → (A,) or (Q, A) expected gains in bits."""
        p = posterior(scores, self.sharpness)
        value: np.ndarray = np.maximum(_entropy(p @ self.seen.T) - p @ self.doubt.T, 0)
        return value

    def next(
        self, scores: np.ndarray, query: Query, asked: Mapping[str, str], k: int = 1
    ) -> list[tuple[Question, float]]:
        """The k questions most worth asking now, with their gains; fewer when the vocabulary is used up.

        Left out: what was asked, what the query says, and groups that a "yes" has settled.
        """
        said = answered(self.questions, query)
        settled = {q.group for q in self.questions if q.group and asked.get(q.key) == "yes"}
        gains = self.gains(scores)
        open_ = [
            i
            for i, q in enumerate(self.questions)
            if q.key not in asked and q.key not in said and q.group not in settled
        ]
        best = sorted(open_, key=lambda i: (-float(gains[i]), i))[:k]
        return [(self.questions[i], float(gains[i])) for i in best]


def unreadable(ranking: Ranking) -> str:
    """Why no question is asked of a model that was found to read nothing."""
    if not ranking.curves:
        return (
            "no question is asked: what this model can read was not measured; run descry model measure on labelled data"
        )
    return "no question is asked: measured on labelled data, this model reads none of what could be asked about"


def answered(questions: Sequence[Question], query: Query) -> set[str]:
    """The keys of the questions that a query answers, in other words too, by attribute: "a red jacket" says whether
    there is a jacket, a coat or an outer layer and which colour it has; NOT "backpack" says nothing of other bags.
    """
    out: set[str] = set()
    for part, wanted in [*((p, True) for p in query.wanted), *((p, False) for p in query.unwanted)]:
        words, facts = phrase_key(part.value), stated(part.value)
        for q in questions:
            same = phrase_key(q.phrase) == words or (wanted and _within(phrase_key(q.phrase), words))
            values = {value for name, value in facts if name == q.attribute and value}
            settled = bool(values) and (wanted or (bool(q.values) and set(q.values) <= values))
            none_of_it = not wanted and (q.attribute.removesuffix("_colour"), "") in facts
            if same or settled or none_of_it:
                out.add(q.key)
    return out


def stated(phrase: str) -> set[tuple[str, str]]:
    """The (attribute, value) that a phrase names, by the vocabulary of attributes; the value "" for a garment or thing
    as such.

    >>> sorted(stated("a red jacket")), sorted(stated("she"))
    ([('outer', 'jacket'), ('outer_colour', 'red')], [('sex', 'woman')])
    """
    key = re.sub(rf"\b(short|long|mini|maxi) ((?:(?:{'|'.join(_colour_words())}) )+)", r"\2\1 ", phrase_key(phrase))
    words = set(re.findall(r"[a-z]+", phrase.casefold()))
    pieces = _pieces(key.split())
    garments = {name for name, _ in pieces}
    out = {("sex", value) for value, names in SEXES.items() if words & names}
    for attribute, values in _names().items():
        found = {(value, name) for value, names in values.items() for name in names if _within(name, key)}
        found = {(value, name) for value, name in found if name in garments or name not in _garments()}
        out |= {(attribute, value) for value in _longest(found)}
    for garment, piece in pieces:
        named = {(value, phrase_key(c)) for value, names in COLOURS.items() for c in names}
        colours = _longest({(value, colour) for value, colour in named if _within(colour, piece)})
        out |= {(f"{_garments()[garment]}_colour", colour) for colour in colours}
    return out


def _longest(found: set[tuple[str, str]]) -> set[str]:
    """(value, name) → the values whose name is in no longer one: "dark blue", not "blue"."""
    return {v for v, n in found if not any(n != m and _within(n, m) for _, m in found)}


def _pieces(words: Sequence[str]) -> list[tuple[str, str]]:
    """Each garment that a phrase names and the words that may tell its colour: those before it up to the last garment
    ("a black jacket over a white shirt"), and a colour said right after it ("the shirt is white", "a jacket in black").
    """
    out, start, at = list[tuple[str, str]](), 0, 0
    while at < len(words):
        name = _garment_at(words, at)
        if not name:
            at += 1
            continue
        at = end = at + len(name.split())
        while end < len(words) and words[end] in _LINKS:
            end += 1
        last = end
        while last < len(words) and words[last] in _colour_words():
            last += 1
        if last > end > at and (words[end - 1] != "in" or not _garment_at(words, last)):
            at = last
        out.append((name, " ".join(words[start:at])))
        start = at
    return out


def _garment_at(words: Sequence[str], at: int) -> str:
    """The longest name of a garment, or "hair", that begins at a word; "" for none."""
    return next((n for k in (4, 3, 2, 1) if (n := " ".join(words[at : at + k])) in _garments()), "")


@cache
def _garments() -> dict[str, str]:
    """The key of each name of a garment, and "hair" → attribute."""
    names = {phrase_key(n): name for name, values in NOUNS.items() for ns in values.values() for n in ns}
    return names | {"hair": "hair"}


_LINKS = frozenset({"is", "are", "was", "were", "in", "that", "which"})


@cache
def _colour_words() -> frozenset[str]:
    return frozenset(word for names in COLOURS.values() for name in names for word in name.split())


@cache
def _names() -> dict[str, dict[str, tuple[str, ...]]]:
    """Attribute → value → keys of the phrases that say it; colours are found by themselves."""
    plain = {name: values for name, values in PHRASES.items() if name not in ("sex",) and not name.endswith("_colour")}
    whole = {name: dict(values) for name, values in plain.items()}
    for name, values in NOUNS.items():
        for value, nouns in values.items():
            whole.setdefault(name, {})[value] = (*whole.get(name, {}).get(value, ()), *nouns)
    for value, names in {"young": ("young", "teenage"), "elderly": ("elderly", "old")}.items():
        whole["age"][value] = (*whole["age"].get(value, ()), *names)
    return {name: {v: tuple({phrase_key(n) for n in ns}) for v, ns in vs.items()} for name, vs in whole.items()}


def _within(part: str, whole: str) -> bool:
    return f" {part} " in f" {whole} "


def posterior(scores: np.ndarray, sharpness: float = 1.0) -> np.ndarray:
    """(…, N) scores → (…, N) float32 weights that sum to 1: what the scores say about where to look, no probability."""
    scores = np.asarray(scores, np.float32) * np.float32(sharpness)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def beliefs(similarity: np.ndarray, rounds: int = 40) -> np.ndarray:
    """(A, N) similarities to the phrases of questions → (A, N) float32 P(yes | item), without any labels.

    Each question splits a gallery in two, so its similarities are taken for a mixture of two normal distributions of
    one width; expectation-maximisation (Dempster et al. 1977) on a fixed sample finds both, and Bayes' rule gives
    P(yes).
    """
    similarity = np.asarray(similarity, np.float32)
    n = similarity.shape[1]
    sample = similarity[:, np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64)].astype(np.float64)
    mean, spread = sample.mean(axis=1, keepdims=True), np.maximum(sample.std(axis=1, keepdims=True), 1e-6)
    z = (sample - mean) / spread
    low, high = np.full(mean.shape, -1.0), np.full(mean.shape, 1.0)
    width, share = np.full(mean.shape, 0.6), np.full(mean.shape, 0.5)
    for _ in range(rounds):
        r = logistic((high - low) / width**2 * (z - (high + low) / 2) + np.log(share / (1 - share)))
        heavy = np.clip(r.mean(axis=1, keepdims=True), 0.02, 0.98)
        high = (r * z).mean(axis=1, keepdims=True) / heavy
        low = ((1 - r) * z).mean(axis=1, keepdims=True) / (1 - heavy)
        within = (r * (z - high) ** 2 + (1 - r) * (z - low) ** 2).mean(axis=1, keepdims=True)
        width, share = np.sqrt(np.maximum(within, 0.05)), heavy
    slope = (high - low) / width**2
    offset = np.log(share / (1 - share)) - slope * (high + low) / 2
    return logistic((slope / spread) * similarity + (offset - slope * mean / spread)).astype(np.float32)


def read(questions: Sequence[Question], similarity: np.ndarray, ranking: Ranking) -> np.ndarray:
    """(A, N) P(yes | item): by the curve measured for a phrase where there is one, by `beliefs` elsewhere."""
    yes = beliefs(similarity)
    for row, question in enumerate(questions):
        curve = ranking.curve(question.phrase)
        if curve:
            (a, b), s = curve, similarity[row]
            yes[row] = logistic(a * (s - s.mean()) / max(float(s.std()), 1e-6) + b)
    return yes


def _entropy(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    value: np.ndarray = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return value
