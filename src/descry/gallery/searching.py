"""One answer to one query over a local store: the store as a space for `descry.leads`, and items beside the ids it
shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import numpy as np

from .. import leads, ranking
from ..errors import UsageError
from ..query import Filters, Query
from . import scan
from .contract import Snapshot
from .filters import removed_by
from .local import LocalStore
from .results import Results


class Rows:
    """A `leads.Space` of a store's snapshot. error: how far a cosine of `scores` may lie from the float64 one."""

    def __init__(self, store: LocalStore, rows: Snapshot, marked: Iterable[int] = ()):
        self.store, self.rows, self.marked = store, rows, tuple(marked)
        self.ids = rows.ids
        self.snapshot = f"{store.config['created']} {rows.generation}"
        self.error = scan.half_bound(1.0, store.binding.dimension)

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """(R, D) → (R, N) float32 cosines with every item."""
        return scan.similarities(self.rows, vectors)

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        """Item ids → (k, D) float32; UsageError for an unknown id."""
        return self.rows.vectors(leads.positions(self.ids, ids)).astype(np.float32)

    def allowed(self, filters: Filters, marked: Sequence[int]) -> np.ndarray | None:
        """(N,) bool, what filters let through; None for everything."""
        return self.store.allowed(self.rows, filters, {*marked, *self.marked})


def answer(
    store: LocalStore,
    terms: Sequence[ranking.Term],
    query: Query,
    k: int,
    formula: ranking.Formula,
    snapshot: Snapshot | None = None,
    marked: Iterable[int] = (),
    note: str = "",
) -> Results:
    """See `Gallery.search`. Rows, filters and metadata are read in one view of the database unless a snapshot is
    given.
    """
    if k < 1:
        raise UsageError(f"k={k} results were asked for; ask for at least 1")
    with ExitStack() as stack:
        rows = snapshot or stack.enter_context(store.reading())
        connection = stack.enter_context(store.database.reading())
        space = Rows(store, rows, marked)
        marks = [*query.liked, *query.unliked, *query.closest]
        allowed = space.allowed(query.filters, marks)
        considered = len(rows) if allowed is None else int(allowed.sum())
        if len(rows) and not considered:
            removed = removed_by(connection, query.filters, {*marks, *space.marked})
            empty = np.zeros(0, np.float32)
            return Results((), (), empty, total=len(rows), removed=removed, generation=rows.generation, note=note)
        found = leads.search(space, terms, query, k, formula)
        items = {item.id: item for item in store.items(found.ids.tolist())}
        kept = [j for j, number in enumerate(found.ids.tolist()) if number in items]
        shown = [int(found.ids[j]) for j in kept]
        first = found.fit.terms[0].vector[None]
        cosines = scan.rescore(rows, first, rows.columns(shown))[0].astype(np.float32)
    return Results(
        ids=tuple(shown),
        paths=tuple(items[i].path for i in shown),
        scores=np.asarray(found.scores, np.float32)[kept],
        items=tuple(items[i] for i in shown),
        cosines=cosines,
        parts=found.names,
        contributions=found.shares[:, kept],
        considered=considered,
        total=len(rows),
        generation=rows.generation,
        note=note,
    )
