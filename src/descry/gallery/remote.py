"""One answer to one query over a distributed store: the formula on the candidates that its index finds, and no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import leads, ranking
from ..query import Query
from .gallery import Results
from .milvus import MOST, MilvusStore

LEAST, FACTOR = 1000, 20


def answer(
    store: MilvusStore,
    terms: Sequence[ranking.Term],
    query: Query,
    k: int,
    formula: ranking.Formula,
    note: str = "",
) -> Results:
    """The best k among the nearest candidates of every term that draws people in, by the formula over those candidates.

    `exact` is False and `considered` says over how many: an item that no single term brings among its candidates cannot
    be shown, and the scale of the scores is that of the candidates, not of the whole gallery.
    """
    wanted = min(MOST, max(LEAST, FACTOR * k))
    marks = [*query.liked, *query.unliked, *query.closest]
    pulls = [t.vector for t in terms if ranking.SHAPES[t.shape] > 0]
    if query.liked or query.closest:
        pulls.append(ranking.unit(store.vectors([*query.liked, *query.closest]).astype(np.float32).mean(axis=0)))
    ids = set(marks)
    for vector in pulls:
        ids |= set(store.nearest(vector[None], wanted, query.filters)[0].ravel().tolist())
    order = np.array(sorted(ids), np.int64)
    if not len(order):
        return Results((), (), np.zeros(0, np.float32), total=store.count(), exact=False, note=note)
    vectors = store.vectors(order.tolist()).astype(np.float32)
    found = leads.search(leads.Arrays(order, vectors), terms, query.replace(filters=type(query.filters)()), k, formula)
    items = store.items(found.ids.tolist())
    first = found.fit.terms[0].vector
    cosines = vectors[np.searchsorted(order, found.ids)] @ first
    said = f"approximate: ranked among {len(order)} candidates of {store.count()} items"
    return Results(
        ids=tuple(int(i) for i in found.ids),
        paths=tuple(i.path for i in items),
        scores=np.asarray(found.scores, np.float32),
        items=tuple(items),
        cosines=cosines.astype(np.float32),
        parts=found.names,
        contributions=found.shares,
        considered=len(order),
        total=store.count(),
        exact=False,
        note=f"{note}; {said}" if note else said,
    )
