"""The one formula: terms of a query, their similarities to a gallery, and what follows from them. Pure arrays.

Letters: D dimension, N items of a gallery, T terms, R rows (terms, then the parts of composed terms), k items on show.

Similarities of different kinds do not compare (a drawing lies farther from every photograph than a sentence does), so
each term is first put on one scale, z = (s − mean) / spread over the whole gallery, filters or not. Then, with
weights w ≥ 0:

    base(i)  = Σ w z(i) / spread of that sum                  what is looked for: sketch, photo, text, compositions
    score(i) = base(i) + Σ w f e(z(i)) + Σ w n e(−z(i))        phrases as evidence; NOT
               + w l z(i) − w u max(0, z(i)) + closest(i)      liked, unliked, "closest of these"
    e(z)     = log(ε + (1 − 2ε) / (1 + exp(−a z − b)))         evidence of one answer that is wrong with probability ε,
               less its value at z = 0                         so that the average item gets nothing

A NOT phrase is scored by itself and never put to the encoder as negated English, which CLIP reads as the thing
itself. Both kinds of evidence saturate: one wrong answer can push a person down, never bury one. Evaluation,
gallery, conversation and page use this module, so what is measured is what is served. Numbers here are scores, not
probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .errors import UsageError, nearest

SHAPES = {"linear": 1, "evidence": 1, "not": -1, "like": 1, "unlike": -1}
"""How a term counts, and its sign. A shape is chosen by `compose`; "linear" terms make the base."""


@dataclass(frozen=True, slots=True)
class Formula:
    """The constants of the formula. version changes whenever the same constants would rank differently.

    evidence (f), negation (n), like (l), unlike (u): strengths in units of the base's spread. answer_yes, answer_no:
    weight of a phrase that only answers a question; less than one said unasked, because witnesses err more often
    where they did not choose to speak. steepness (a): of the answer curve. error (ε): how often an answer is wrong.
    closest: strength of "closest of these"; temperature: of that choice, in cosine. fusion: "z" adds standardised
    similarities, "ranks" adds reciprocal ranks 1 / (60 + rank), standardised.
    """

    version: int = 1
    evidence: float = 1.0
    negation: float = 4.0
    answer_yes: float = 0.5
    answer_no: float = 0.125
    like: float = 0.75
    unlike: float = 0.5
    steepness: float = 1.7
    error: float = 0.05
    closest: float = 1.0
    temperature: float = 0.1
    fusion: str = "z"

    def __post_init__(self) -> None:
        if self.fusion not in ("z", "ranks"):
            raise UsageError(f"fusion={self.fusion!r} was given; {nearest(self.fusion, ['z', 'ranks'])}")
        if not 0.0 < self.error < 0.5 or self.steepness <= 0 or self.temperature <= 0:
            raise UsageError(f"error must lie in (0, 0.5), steepness and temperature above 0; got {asdict(self)}")


FORMULA = Formula()


@dataclass(frozen=True, eq=False, slots=True)
class Term:
    """One vector that is compared with every item.

    kind: what it came from, for the reader: "sketch", "photo", "text", "sketch+text", "not", "liked", "unliked",
    "closest". label: the phrase or file. weight: ≥ 0. vector: (D,). shape: one of SHAPES. parts: (kind, label,
    vector) of a composition; the vectors sum to `vector`, so that its score can be shared out among them exactly.
    curve: (a, b) of the answer curve 1 / (1 + exp(−(a z + b))) where it was measured for this phrase; the formula's
    steepness otherwise.
    """

    kind: str
    label: str
    weight: float
    vector: np.ndarray
    shape: str = "linear"
    parts: tuple[tuple[str, str, np.ndarray], ...] = ()
    curve: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """A formula fitted to a gallery: the terms with the mean and spread of each row. Made by `fit`."""

    terms: tuple[Term, ...]
    formula: Formula
    mean: np.ndarray
    spread: np.ndarray
    base_spread: float
    ladders: tuple[np.ndarray, ...] = field(default=())

    def scores(self, similarity: np.ndarray) -> np.ndarray:
        """(R, N) similarities of `stack(terms)` → (N,) float32 scores. The N may be any items of the gallery."""
        total = np.zeros(similarity.shape[1], np.float32)
        for row in range(len(self.terms)):
            total += self._term(row, similarity[row])
        return total

    def contributions(self, similarity: np.ndarray) -> tuple[list[tuple[str, str]], np.ndarray]:
        """(R, k) similarities → the (kind, label) of each part and (P, k) shares whose columns sum to the scores.

        A composed term is shared out among its parts, measured from the average item. What the composition adds beyond
        its parts stands under the label "together".
        """
        names: list[tuple[str, str]] = []
        rows: list[np.ndarray] = []
        at = len(self.terms)
        for row, term in enumerate(self.terms):
            whole = self._term(row, similarity[row])
            if not term.parts or self.formula.fusion == "ranks":
                names.append((term.kind, term.label))
                rows.append(whole)
            else:
                scale = term.weight / (self.spread[row] * self.base_spread)
                for part, (kind, label, _) in enumerate(term.parts, at):
                    names.append((kind, label))
                    rows.append(((similarity[part] - self.mean[part]) * scale).astype(np.float32))
            at += len(term.parts)
        return names, np.stack(rows) if rows else np.zeros((0, similarity.shape[1]), np.float32)

    def _term(self, row: int, s: np.ndarray) -> np.ndarray:
        term, f = self.terms[row], self.formula
        z = _standard(s, self, row)
        w = np.float32(term.weight)
        if term.shape == "linear":
            return w * z / np.float32(self.base_spread)
        if term.shape == "like":
            return w * np.float32(f.like) * z
        if term.shape == "unlike":
            return -w * np.float32(f.unlike) * np.maximum(z, 0)
        yes = term.shape == "evidence"
        return w * np.float32(f.evidence if yes else f.negation) * evidence(z, f, yes, term.curve)


def evidence(
    z: np.ndarray, formula: Formula = FORMULA, yes: bool = True, curve: tuple[float, float] | None = None
) -> np.ndarray:
    """e(z) of the module's text: log-likelihood of "yes" (or "no") for an item with standard score z; 0 for the
    average.

    curve: (a, b) of the answer curve, where it is known; (steepness, 0) otherwise.

    >>> [round(float(v), 2) for v in evidence(np.array([-9.0, 0.0, 9.0]))]
    [-2.3, 0.0, 0.64]
    """
    a, b = curve or (formula.steepness, 0.0)
    sign = 1.0 if yes else -1.0

    def seen(x: Any) -> Any:
        return formula.error + (1 - 2 * formula.error) / (1.0 + np.exp(np.clip(-sign * x, -60, 60)))

    return np.log(seen(a * z + b) / seen(b)).astype(np.float32)


def stack(terms: Sequence[Term]) -> np.ndarray:
    """(R, D) float32: the vectors of the terms, then those of their parts: what a gallery is asked to compare."""
    rows = [t.vector for t in terms] + [vector for t in terms for _, _, vector in t.parts]
    if not rows:
        raise UsageError("there is nothing to rank by: give a sketch, a photograph, a phrase or a mark")
    return np.stack(rows).astype(np.float32)


def fit(terms: Sequence[Term], similarity: np.ndarray, formula: Formula = FORMULA) -> Fit:
    """The formula fitted to a gallery. similarity: (R, N) of `stack(terms)` with every item that could be ranked.

    Raises UsageError when the rows do not fit the terms or a value is not finite.
    """
    similarity = np.asarray(similarity)
    wanted = len(terms) + sum(len(t.parts) for t in terms)
    if similarity.ndim != 2 or len(similarity) != wanted or not similarity.shape[1]:
        raise UsageError(f"similarity must be ({wanted} rows of stack(terms), N ≥ 1 items); got {similarity.shape}")
    for term in terms:
        if term.shape not in SHAPES:
            raise UsageError(f"a term of shape {term.shape!r} was given; {nearest(term.shape, list(SHAPES))}")
    mean = similarity.mean(axis=1, dtype=np.float64)
    spread = np.maximum(similarity.std(axis=1, dtype=np.float64), 1e-6)
    if not np.isfinite(spread).all():
        raise UsageError("a similarity is not a finite number; check the embeddings of the query and the gallery")
    ladders: tuple[np.ndarray, ...] = ()
    if formula.fusion == "ranks":
        ladders = tuple(np.sort(row) for row in similarity[: len(terms)])
    draft = Fit(tuple(terms), formula, mean, spread, 1.0, ladders)
    linear = [draft._term(i, similarity[i]) for i, t in enumerate(terms) if t.shape == "linear"]
    base = float(np.sum(linear, axis=0).std(dtype=np.float64)) if linear else 1.0
    return Fit(tuple(terms), formula, mean, spread, base if base > 1e-6 else 1.0, ladders)


def _standard(s: np.ndarray, fitted: Fit, row: int) -> np.ndarray:
    if not fitted.ladders:
        return ((s - fitted.mean[row]) / fitted.spread[row]).astype(np.float32)
    ladder = fitted.ladders[row]
    steps = 1.0 / (61.0 + np.arange(len(ladder)))
    ranks = len(ladder) - np.searchsorted(ladder, s, side="right")
    return ((steps[ranks] - steps.mean()) / max(steps.std(), 1e-9)).astype(np.float32)


def mark_terms(liked: np.ndarray, unliked: np.ndarray, closest: np.ndarray | None = None) -> list[Term]:
    """Rocchio's terms (Rocchio 1971) from the vectors of marked items: their mean direction, to be added or taken away.

    liked: (L, D); unliked: (U, D); closest: (C, D) choices of "closest of these", oldest first, each counting half as
    much as the one after it; only for choices whose rivals are unknown (`choice_evidence` takes those into account).
    """
    terms = []
    for kind, shape, vectors in (("liked", "like", liked), ("unliked", "unlike", unliked)):
        if len(vectors):
            terms.append(Term(kind, f"{len(vectors)} {kind}", 1.0, unit(np.mean(vectors, axis=0)), shape))
    if closest is not None and len(closest):
        ages = 0.5 ** np.arange(len(closest))[::-1]
        terms.append(Term("closest", f"{len(closest)} chosen", 1.0, unit(ages @ closest), "like"))
    return terms


def choice_evidence(
    items: np.ndarray, choices: Sequence[tuple[np.ndarray, np.ndarray]], formula: Formula = FORMULA
) -> np.ndarray:
    """Bayesian update of "closest of these" (PicHunter, Cox et al. 2000, its softmax user model): (C,) log-likelihoods.

    items: (C, D) unit candidates. choices: (chosen (D,), shown (S, D) with the chosen one among them) for each
    answer. If item i were the person, a searcher takes a with probability exp(cos(i, a) / t) / Σ over the shown of
    exp(cos(i, b) / t). The same ε as for answers keeps one slip from deciding. The mean over the candidates is taken
    away.
    """
    total = np.zeros(len(items), np.float64)
    if not len(items):
        return total.astype(np.float32)
    for chosen, shown in choices:
        if len(shown) < 2:
            continue
        logits = (items @ shown.T).astype(np.float64) / formula.temperature
        top = logits.max(axis=1)
        log_all = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        taken = np.exp((items @ chosen) / formula.temperature - log_all)
        total += np.log(formula.error / len(shown) + (1 - formula.error) * taken)
    return (formula.closest * (total - total.mean())).astype(np.float32)


def near_duplicates(similarity: np.ndarray, threshold: float = 0.97) -> np.ndarray:
    """(U, N) cosines of unliked items to all → (N,) bool: the unliked ones and what is as good as the same picture."""
    return np.any(np.asarray(similarity) >= threshold, axis=0)


def top(
    scores: np.ndarray,
    ids: np.ndarray,
    k: int,
    *,
    allowed: np.ndarray | None = None,
    pinned: Sequence[int] = (),
    hidden: np.ndarray | None = None,
) -> np.ndarray:
    """Positions (≤ k,) best first: pinned ids, then by falling score; equal scores by rising id, so the order is one.

    scores, ids: (N,). allowed: (N,) bool, what filters let through. hidden: (N,) bool, left out unless pinned.
    Raises UsageError for k < 1.
    """
    if k < 1:
        raise UsageError(f"k={k} results were asked for; ask for at least 1")
    keep = np.ones(len(scores), bool) if allowed is None else allowed.copy()
    first = (
        np.isin(ids, np.asarray(pinned, dtype=np.asarray(ids).dtype)) & keep
        if len(pinned)
        else np.zeros(len(ids), bool)
    )
    if hidden is not None:
        keep &= ~hidden
    ahead = np.flatnonzero(first)
    rest = np.flatnonzero(keep & ~first)
    wanted = k - len(ahead)
    if 0 < wanted < len(rest):
        values = scores[rest]
        rest = rest[values >= np.partition(values, len(values) - wanted)[len(values) - wanted]]
    blocks = [block[np.lexsort((ids[block], -scores[block]))] for block in (ahead, rest)]
    return np.concatenate(blocks)[:k]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 along the last axis, float32; a zero vector stays zero."""
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def formula_from_json(data: dict[str, Any]) -> Formula:
    """The formula of `dataclasses.asdict`; UsageError for another version or an unknown constant."""
    if data.get("version") != FORMULA.version:
        raise UsageError(
            f"a formula of version {data.get('version')!r} was given; this descry ranks with version {FORMULA.version}"
        )
    known = set(asdict(FORMULA))
    for name in data:
        if name not in known:
            raise UsageError(f"the formula has no constant {name!r}; {nearest(name, sorted(known))}")
    return Formula(**data)
