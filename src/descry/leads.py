"""From terms and marks to the people shown: one search of a gallery by the formula, for gallery, conversation and page.

Works on anything that can compare vectors with its items (`Space`). All items are scored; what is shown is then scored
again, item by item in double precision, so that the order does not depend on threads, batches or the sort's mood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .errors import UsageError
from .query import Filters, Query
from .ranking import Fit, Formula, Term, choice_evidence, fit, mark_terms, near_duplicates, stack, top

CANDIDATES = 20_000
MARGIN = 64
DUPLICATE = 0.97

Choice = tuple[int, tuple[int, ...]]
"""An answer to "closest of these": the item taken, and all items it was taken from."""


class Space(Protocol):
    """A gallery at one moment: N items of dimension D with unit vectors.

    ids: (N,) int64, rising. snapshot: names the moment; the same name, the same items and vectors. error: how far a
    cosine of `scores` may lie from the one in double precision.
    """

    ids: np.ndarray
    snapshot: str
    error: float

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """(R, D) → (R, N) float32 cosines with every item."""

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        """Item ids → (k, D) float32; UsageError for an unknown id."""

    def allowed(self, filters: Filters, marked: Sequence[int]) -> np.ndarray | None:
        """(N,) bool, what filters let through; None for everything."""


class Arrays:
    """A Space of plain arrays. ids: (N,) rising; vectors: (N, D), unit length."""

    error = 1e-6

    def __init__(self, ids: np.ndarray, vectors: np.ndarray, snapshot: str = "arrays"):
        self.snapshot = snapshot
        self.ids = np.asarray(ids, np.int64)
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        if self._vectors.ndim != 2 or len(self.ids) != len(self._vectors) or (np.diff(self.ids) <= 0).any():
            raise UsageError(
                f"ids must rise and go with vectors (N, D); got {self.ids.shape} and {self._vectors.shape}"
            )

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        return np.asarray(vectors, np.float32) @ self._vectors.T

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        return self._vectors[positions(self.ids, ids)]

    def allowed(self, filters: Filters, marked: Sequence[int]) -> np.ndarray | None:
        if filters.marked is None:
            return None
        return np.isin(self.ids, np.asarray(marked, np.int64)) == filters.marked


@dataclass(frozen=True, eq=False, slots=True)
class Leads:
    """What a search shows, best first. Never an identification, and no probability of a person.

    ids: (k,). scores: (k,). names: (kind, label) of each part. shares: (P, k), the part of the score each one gives;
    columns sum to scores. pinned: how many at the top are there because they were liked. everything: (N,) float32,
    all scores in the order of the gallery, for questions and for the decision that nobody is here. whole: whether
    these are all that can be shown, however many are asked for. note: what must be said beside them, "" for nothing.
    """

    ids: np.ndarray
    scores: np.ndarray
    names: tuple[tuple[str, str], ...]
    shares: np.ndarray
    pinned: int
    everything: np.ndarray
    fit: Fit
    whole: bool = False
    note: str = ""

    def why(self, a: int, b: int) -> list[tuple[str, str, float]]:
        """Why the item at rank a (from 1) stands above the one at b: (kind, label, difference), largest difference
        first."""
        for rank in (a, b):
            if not 1 <= rank <= len(self.ids):
                raise UsageError(f"rank {rank} was asked about; shown are 1 to {len(self.ids)}")
        gap = self.shares[:, a - 1] - self.shares[:, b - 1]
        order = np.argsort(-np.abs(gap), kind="stable")
        return [(*self.names[i], float(gap[i])) for i in order]


def search(
    space: Space,
    terms: Sequence[Term],
    query: Query,
    k: int = 20,
    formula: Formula | None = None,
    choices: Sequence[Choice] = (),
    hide: bool = True,
    kept: bool = False,
) -> Leads:
    """Rank a space by the terms of a query (`compose.terms`), its marks and its filters.

    choices: answers to "closest of these" whose rivals are known; ids of `query.closest` not among them count as plain
    likes that fade with age. hide: leave out unliked items and what is as good as the same picture. kept: marks and
    choices were made before, perhaps in another state of the gallery; items that are gone since count for nothing, and
    the note says how many. Liked items that the filters let through stand first. Raises UsageError for an empty query,
    an empty gallery or, unless kept, an id it does not hold.
    """
    formula = formula or Formula()
    note = ""
    if kept:
        query, choices, note = _held(space, query, choices)
    everyone = [*terms, *_marks(space, query, choices)]
    vectors = stack(everyone)
    if not len(space.ids):
        raise UsageError("the gallery holds no items; index a folder first (descry index FOLDER --out GALLERY)")
    similarity = space.scores(vectors)
    fitted = fit(everyone, similarity, formula)
    scores = fitted.scores(similarity)
    allowed = space.allowed(query.filters, [*query.liked, *query.unliked, *query.closest])
    near_enough = CANDIDATES if choices else 20 * k if query.unliked and hide else 0
    few = top(scores, space.ids, max(near_enough, k + MARGIN), allowed=allowed, pinned=query.liked)
    few = np.union1d(few, _undecided(scores, k, _slope(fitted) * space.error, allowed))
    near = space.vectors(space.ids[few].tolist())
    chosen = _chosen(space, near, choices, formula)
    scores[few] += chosen
    if choices and len(few):
        outside = np.ones(len(scores), bool)
        outside[few] = False
        scores[outside] += chosen.min()
    hidden = np.zeros(len(few), bool)
    if hide and query.unliked:
        hidden = near_duplicates(space.vectors(query.unliked) @ near.T, DUPLICATE)
    shown = top(scores[few], space.ids[few], k + MARGIN, pinned=query.liked, hidden=hidden)
    exact = np.einsum("rd,kd->rk", vectors.astype(np.float64), near[shown].astype(np.float64))
    names, shares = fitted.contributions(exact)
    if choices:
        names, shares = [*names, ("closest", f"{len(choices)} chosen")], np.vstack([shares, chosen[shown]])
    total = shares.sum(axis=0, dtype=np.float64)
    ids = space.ids[few][shown]
    order = top(total, ids, k, pinned=query.liked)
    pinned = int(np.isin(ids[order], np.asarray(query.liked, np.int64)).sum())
    whole = len(shown) <= k and len(few) == (len(scores) if allowed is None else int(allowed.sum()))
    return Leads(ids[order], total[order], tuple(names), shares[:, order], pinned, scores, fitted, whole, note)


def _undecided(scores: np.ndarray, k: int, margin: float, allowed: np.ndarray | None) -> np.ndarray:
    """Every item that could be among the best k when each score is off by at most margin."""
    open_to = scores if allowed is None else np.where(allowed, scores, -np.inf)
    if k >= len(scores):
        return np.flatnonzero(open_to > -np.inf)
    least = np.partition(open_to, len(scores) - k)[len(scores) - k]
    return np.flatnonzero((open_to >= least - 2 * margin) & (open_to > -np.inf))


def _slope(fitted: Fit) -> float:
    """How far a score moves, at most, when every cosine moves by one. Reciprocal ranks have no slope: 0, they stand."""
    f = fitted.formula
    if f.fusion == "ranks":
        return 0.0
    steepest = {"linear": 1 / fitted.base_spread, "like": f.like, "unlike": f.unlike}
    steepest |= {"evidence": f.evidence * f.steepness, "not": f.negation * f.steepness}
    lengths = [float(np.linalg.norm(t.vector)) * t.weight * steepest[t.shape] for t in fitted.terms]
    return sum(length / float(fitted.spread[i]) for i, length in enumerate(lengths))


def positions(ids: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Where the wanted ids stand among the rising ids; UsageError names the first that is not there."""
    gone = missing(ids, wanted)
    if len(gone):
        raise UsageError(f"the gallery holds no item {gone[0]}; ids are shown beside every result")
    return np.searchsorted(ids, np.asarray(wanted, np.int64))


def missing(ids: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Those of the wanted ids that are not among the rising ids, in the order given."""
    asked = np.asarray(wanted, np.int64)
    if not len(ids):
        return asked
    at = np.minimum(np.searchsorted(ids, asked), len(ids) - 1)
    return asked[ids[at] != asked]


def _held(space: Space, query: Query, choices: Sequence[Choice]) -> tuple[Query, list[Choice], str]:
    """Query and choices without the items that a space does not hold, and what is to be said of these."""
    marks = {name: getattr(query, name) for name in ("liked", "unliked", "closest")}
    named = {i for ids in (*marks.values(), *(shown for _, shown in choices)) for i in ids}
    gone = set(missing(space.ids, sorted(named)).tolist())
    if not gone:
        return query, list(choices), ""
    query = query.replace(**{name: tuple(i for i in ids if i not in gone) for name, ids in marks.items()})
    left = [(c, tuple(i for i in shown if i not in gone)) for c, shown in choices if c not in gone]
    counted = f"{len(gone)} of the {len(named)} items that marks and choices name"
    return query, left, f"{counted} left the gallery; what left has no effect"


def _marks(space: Space, query: Query, choices: Sequence[Choice]) -> list[Term]:
    weighed = {chosen for chosen, shown in choices if len(shown) > 1}
    plain = [i for i in query.closest if i not in weighed]
    return mark_terms(space.vectors(query.liked), space.vectors(query.unliked), space.vectors(plain))


def _chosen(space: Space, near: np.ndarray, choices: Sequence[Choice], formula: Formula) -> np.ndarray:
    pairs = []
    for chosen, shown in choices:
        if chosen not in shown:
            raise UsageError(f"item {chosen} was chosen as the closest of {list(shown)}, but it is not among them")
        pairs.append((space.vectors([chosen])[0], space.vectors(shown)))
    return choice_evidence(near, pairs, formula)
