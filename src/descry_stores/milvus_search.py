"""One answer to one query over a Milvus store: the formula on the candidates that its index finds, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from descry import search
from descry.errors import UsageError
from descry.escape import counted
from descry.gallery.results import Results
from descry.gallery.vectors import Moments
from descry.query import Filters, Query
from descry.ranking import Formula

from .milvus import MOST, NEVER, UNKNOWN, MilvusStore, _literal, expression

LEAST, FACTOR, ALL, STEPS = 1000, 20, 4000, 2000


class Candidates(search.Arrays):
    """A Space of a few items that stand for a whole collection. ids: (N,) rising; vectors: (N, D); shown: (N,) bool of
    those that may be shown; the others are marks outside the filters, and what tells how the collection is spread.
    moments: of the whole collection, by which its scores are standardised as those of a local gallery are.
    """

    def __init__(
        self,
        ids: np.ndarray,
        vectors: np.ndarray,
        shown: np.ndarray,
        weights: np.ndarray | None = None,
        moments: Moments | None = None,
    ):
        super().__init__(ids, vectors)
        self.shown, self.weights, self.moments = shown, weights, moments

    def allowed(self, filters: Filters, marked: Sequence[int]) -> np.ndarray | None:
        return self.shown

    def sums(self) -> Moments | None:
        return self.moments


def answer(
    store: MilvusStore,
    terms: Sequence[search.Term],
    query: Query,
    k: int,
    formula: Formula,
    note: str = "",
) -> Results:
    """The best k by the formula among candidates: the items nearest to each term that draws people in, and to all
    terms together.

    How far a phrase may put somebody back is a matter of places in the whole collection before and after it: the first
    of them are held by the STEPS items nearest to all terms up to there, whatever the filters say; the others are told
    by a sample. `exact` is False, and `note` says how many candidates there were and what may differ from a local
    gallery. Where the filters let only ALL items through, or there are no more, every one of them is a candidate.
    """
    wanted = min(MOST, max(LEAST, FACTOR * k))
    marks = {int(row["id"]): np.array(row["vector"], np.float16) for row in store.rows(query.marks, ["id", "vector"])}
    gone = set(query.marks) - set(marks)
    if gone:
        raise UsageError(f"the gallery holds no item {min(gone)}; ids are shown beside every result")
    moments, total = store.moments(), store.count()
    condition = expression(query.filters, store.partition_by)
    passing = store.count(condition) if condition else total
    liked, unliked, closest = (
        np.array([marks[i] for i in ids], np.float32) for ids in (query.liked, query.unliked, query.closest)
    )
    everyone = [*terms, *search.mark_terms(liked, unliked, closest)]
    phrases = [t for t in everyone if t.shape in search.PHRASE_SHAPES]
    others = [t for t in everyone if t.shape not in search.PHRASE_SHAPES]
    pulls = [t.vector for t in everyone if search.SHAPES[t.shape] > 0]
    directions = np.stack([*pulls, _together(everyone, formula, moments)])
    whole = passing <= ALL
    if whole:
        ids = [number for part in store.matching(query.filters) for number in part]
        rows = store.rows(ids, ["id", "vector"])
        near = {int(row["id"]): np.array(row["vector"], np.float16) for row in rows}
    else:
        near = store.near(directions, wanted, query.filters)
        inside = store.rows(list(marks), ["id"], condition)
        near |= {int(row["id"]): marks[int(row["id"])] for row in inside}
    if not near:
        removed = removed_by(store, query.filters, total)
        note = "; ".join(filter(None, (note, *_untold(store, query.filters))))
        return Results((), np.zeros(0, np.float32), total=total, removed=removed, exact=False, note=note, query=query)
    held, sampled = marks | near, dict[int, np.ndarray]()
    if len(held) < total and (moments is None or phrases):
        sums = [[*others, *phrases[:i]] for i in range(len(phrases) + 1)]
        steps = [_together(each, formula, moments) for each in sums if each]
        held |= store.near(np.stack(steps), min(MOST, max(STEPS, 2 * wanted)))
        near = near if condition else held
        sampled = {number: vector for number, vector in store.sample(total).items() if number not in held}
    known = held | sampled
    order = np.array(sorted(known), np.int64)
    vectors = np.stack([known[i] for i in order.tolist()]).astype(np.float32)
    each = (total - len(held)) / max(1, len(sampled))
    weights = np.where(np.isin(order, list(sampled)), each, 1.0) if sampled else None
    space = Candidates(order, vectors, np.isin(order, list(near)), weights, moments)
    found = search.rank(space, terms, query, k, formula)
    items = {item.id: item for item in store.items(found.ids.tolist())}
    kept = [j for j, number in enumerate(found.ids.tolist()) if number in items]  # others delete meanwhile
    said = _differences(store, query, formula, len(near), total, whole, len(phrases), len(sampled))
    return Results(
        items=tuple(items[int(found.ids[j])] for j in kept),
        scores=np.asarray(found.scores, np.float32)[kept],
        cosines=found.cosines[kept],
        parts=found.names,
        contributions=found.shares[:, kept],
        considered=len(near),
        total=total,
        exact=False,
        note="; ".join(filter(None, (note, *said))),
        query=query,
        scored=found.scored if len(near) == total else None,
    )


def _together(terms: Sequence[search.Term], formula: Formula, moments: Moments | None) -> np.ndarray:
    """(D,) all terms as one direction, each as strong as in the formula: nearest to it stand those that are good at all
    of them, though first in none. A NOT phrase alone becomes its opposite.
    """
    strong = {"stick": formula.stick, "like": formula.like, "unlike": formula.unlike / 2}  # unlikeness counts by half
    vectors = np.stack([t.vector for t in terms]).astype(np.float64)
    weights = np.array([t.weight * t.strength * strong.get(t.shape, 1.0) * search.SHAPES[t.shape] for t in terms])
    if moments is not None:
        weights = weights / np.maximum(moments.of(vectors)[1], search.NO_SPREAD)
        linear = np.array([t.shape == "linear" for t in terms])
        if linear.any():
            weights[linear] /= max(float(moments.of(weights[linear] @ vectors[linear])[1][0]), search.NO_SPREAD)
    return search.unit(weights @ vectors)


def _differences(
    store: MilvusStore,
    query: Query,
    formula: Formula,
    near: int,
    total: int,
    whole: bool,
    phrases: int,
    sampled: int,
) -> Iterator[str]:
    """Everything that may make the answer another than a local gallery's, a half sentence each."""
    yield from _untold(store, query.filters)
    whom = "all" if whole else "the nearest"
    yield f"approximate: ranked among {near} candidates of {total} items ({whom} that the filters let through)"
    if near < total and formula.fusion == "ranks":
        yield "ranks are counted among the items that were compared"
    if near < total and phrases:
        others = f" and a sample of {sampled} others" if sampled else ""
        yield f"how far a phrase may put somebody back is judged by the nearest items{others}"
    moments = store.moments()
    if moments is None:
        yield "scores are scaled by a sample; migrate again to scale them by the gallery"
    elif moments.count != total:
        yield f"scores are scaled by the {moments.count} items of the last migration"
    if store.about.get("unfinished"):
        yield "a migration into it has not finished, so that items may be missing; repeat it"


def _untold(store: MilvusStore, filters: Filters) -> list[str]:
    """What the filters say nothing about, a sentence each: as `filters.untold` of a gallery on this machine."""
    said = [
        f"no item has the camera {camera!r}"
        for camera in filters.cameras
        if camera and not store.count(f"camera == {_literal(camera)}")
    ]
    for name, asked, condition in (
        ("camera", bool(filters.cameras) and "" not in filters.cameras, f"camera == {_literal(UNKNOWN)}"),
        ("time", bool(filters.since or filters.until), f"time == {NEVER}"),
    ):
        if asked and (count := store.count(condition)):
            said.append(f"{counted(count, 'item')} of unknown {name} {'is' if count == 1 else 'are'} not searched")
    return said


def removed_by(store: MilvusStore, filters: Filters, total: int) -> dict[str, int]:
    """How many items each filter would keep out by itself."""
    out = {}
    for name in ("cameras", "since", "until", "path"):
        if getattr(filters, name):
            condition = expression(Filters(**{name: getattr(filters, name)}))
            out[name] = total - store.count(condition)
    return out
