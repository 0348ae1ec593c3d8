"""One answer to one query over a distributed store: the formula on the candidates that its index finds, and no more."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from .. import search
from ..escape import counted
from ..query import Filters, Query
from ..ranking import Formula
from .milvus import MOST, MilvusStore
from .milvus_rows import NEVER, UNKNOWN, expression
from .results import Results

LEAST, FACTOR, ALL = 1000, 20, 4000


class Candidates(search.Arrays):
    """A Space of the items that may be shown; those that may not, such as marks outside the filters, lend their
    vectors and nothing else. ids: (N,) rising; vectors: (N, D); shown: (N,) bool.
    """

    def __init__(self, ids: np.ndarray, vectors: np.ndarray, shown: np.ndarray):
        super().__init__(ids[shown], vectors[shown])
        self.all = search.Arrays(ids, vectors)

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        return self.all.vectors(ids)


def answer(
    store: MilvusStore,
    terms: Sequence[search.Term],
    query: Query,
    k: int,
    formula: Formula,
    note: str = "",
) -> Results:
    """The best k among the nearest candidates of every term that draws people in, by the formula over those candidates.

    `exact` is False and `considered` says over how many: an item that no single term brings among its candidates cannot
    be shown, and the scale of the scores is that of the candidates, not of the whole gallery. Where the filters let
    only ALL items through, or there are no more, every one of them is a candidate.
    """
    wanted = min(MOST, max(LEAST, FACTOR * k))
    marks = [*query.liked, *query.unliked, *query.closest]
    pulls = [t.vector for t in terms if search.SHAPES[t.shape] > 0]
    if query.liked or query.closest:
        pulls.append(search.unit(store.vectors([*query.liked, *query.closest]).astype(np.float32).mean(axis=0)))
    condition = expression(query.filters, store.partition_by)
    passing = store.count(condition)
    if passing <= ALL:
        ids = {number for part in store.matching(query.filters) for number in part}
    else:
        ids = {int(row["id"]) for row in store.rows(marks, ["id"], condition)}
        for vector in pulls:
            ids |= set(store.nearest(vector[None], wanted, query.filters)[0].ravel().tolist())
    total = store.count()
    if not ids:
        removed = removed_by(store, query.filters, total)
        note = "; ".join(filter(None, (note, *_untold(store, query.filters))))
        return Results(
            (), (), np.zeros(0, np.float32), total=total, removed=removed, exact=False, note=note, query=query
        )
    order = np.array(sorted(ids.union(marks)), np.int64)
    vectors = store.vectors(order.tolist()).astype(np.float32)
    space = Candidates(order, vectors, np.isin(order, list(ids)))
    found = search.rank(space, terms, query, k, formula)
    items = store.items(found.ids.tolist())
    whom = "all" if passing <= ALL else "the nearest"
    said = "; ".join(filter(None, (note, *_untold(store, query.filters))))
    said += "; " * bool(said)
    said += f"approximate: ranked among {len(ids)} candidates of {total} items ({whom} that the filters let through)"
    return Results(
        ids=tuple(int(i) for i in found.ids),
        paths=tuple(i.path for i in items),
        scores=np.asarray(found.scores, np.float32),
        items=tuple(items),
        cosines=found.cosines,
        parts=found.names,
        contributions=found.shares,
        considered=len(ids),
        total=total,
        exact=False,
        note=said,
        query=query,
        scored=found.scored if len(ids) == total else None,
    )


def _untold(store: MilvusStore, filters: Filters) -> list[str]:
    """What the filters say nothing about, a sentence each: as `filters.untold` of a gallery on this machine."""
    said = [
        f"no item has the camera {camera!r}"
        for camera in filters.cameras
        if camera and not store.count(f"camera == {json.dumps(camera, ensure_ascii=False)}")
    ]
    for name, asked, condition in (
        ("camera", bool(filters.cameras) and "" not in filters.cameras, f"camera == {json.dumps(UNKNOWN)}"),
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
