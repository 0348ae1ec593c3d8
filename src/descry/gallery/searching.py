"""One answer to one query over a local store: the store as a space to rank, and items beside the ids it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import numpy as np

from ..query import Filters, Query
from ..ranking import Formula
from ..search import Heights, Term, positions, rank
from . import scan
from .contract import Snapshot
from .filters import removed_by, untold
from .local import LocalStore
from .results import Results


class Rows:
    """A `search.Space` of a store's snapshot. error: how far a cosine of `scores` may lie from the float64 one."""

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
        return self.rows.vectors(positions(self.ids, ids)).astype(np.float32)

    def allowed(self, filters: Filters, marked: Sequence[int]) -> np.ndarray | None:
        """(N,) bool, what filters let through; None for everything."""
        return self.store.allowed(self.rows, filters, {*marked, *self.marked})


def answer(
    store: LocalStore,
    terms: Sequence[Term],
    query: Query,
    k: int,
    formula: Formula,
    snapshot: Snapshot | None = None,
    marked: Iterable[int] = (),
    note: str = "",
) -> Results:
    """See `Gallery.search`. Rows, filters and metadata are read in one view of the database unless a snapshot is
    given.
    """
    with ExitStack() as stack:
        rows = snapshot or stack.enter_context(store.reading())
        connection = stack.enter_context(store.database.reading())
        space = Rows(store, rows, marked)
        leads = rank(space, terms, query, k, formula)
        if query.filters != Filters():
            note = "; ".join(filter(None, (note, *untold(connection, query.filters))))
        removed = {}
        if not leads.considered:
            marks = {*query.liked, *query.unliked, *query.closest, *space.marked}
            removed = removed_by(connection, query.filters, marks)
        items = {item.id: item for item in store.items(leads.ids.tolist())}
    kept = [j for j, number in enumerate(leads.ids.tolist()) if number in items]
    shown = [items[int(leads.ids[j])] for j in kept]
    return Results(
        ids=tuple(item.id for item in shown),
        paths=tuple(item.path for item in shown),
        scores=np.asarray(leads.scores, np.float32)[kept],
        items=tuple(shown),
        cosines=leads.cosines[kept],
        parts=leads.names,
        contributions=leads.shares[:, kept],
        considered=leads.considered,
        total=len(rows),
        removed=removed,
        generation=rows.generation,
        note=note,
        query=query,
        heights=Heights.of(leads.everything),
    )
