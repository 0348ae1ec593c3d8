"""Exact search over stored vectors at the speed of memory, and one answer to a query over a local store (`answer`).

Exact means: the order of the float64 product of the query and the stored float16 vectors. One pass in low precision
finds a front that provably holds the best k, because every rounding in it is bounded; the front alone is computed in
float64.

Letters: N live rows, D dimension, T query vectors, k results, ε bound on the error of a low-precision cosine.

On a processor, PyTorch's float16 matrix-vector product reads stored rows as fast as memory delivers them; several
vectors are compared in one pass in float32 over cached blocks, and for the best of many queries a bfloat16 product of
such blocks wins. Where a processor lacks the instructions for either, float32 takes its place (`routes`).
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..query import Filters, Query
from ..ranking import Formula
from ..search import Heights, Term, positions, rank
from .contract import Snapshot
from .filters import removed_by, untold
from .local import LocalStore
from .results import Results

BLOCK = 16384
STEP = 1024
SWEEP = 256
"""Rows that one thread widens at a time; in float32 they stay in its cache."""
SMALL = 4096
FEW = 6
HALF_EPS, BRAIN_EPS = 2.0**-11, 2.0**-8
Scratch = tuple[Tensor, Tensor]


@cache
def routes() -> tuple[str, str]:
    """The product for one query ("half" or "single") and for many ("brain" or "single"), by what the processor has.

    Half needs instructions that convert float16 (every x86 processor with AVX2 has them, and every 64-bit ARM), brain
    those that multiply bfloat16. Nothing is timed. PyTorch sums both in float32, as `half_bound` and `brain_bound` say.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    half = capability.startswith(("AVX2", "AVX512")) or platform.machine().lower() in ("aarch64", "arm64")
    brain = torch.ops.mkldnn._is_mkldnn_bf16_supported() if torch.backends.mkldnn.is_available() else False
    return "half" if half else "single", "brain" if brain else "single"


def half_bound(norm: float, dimension: int) -> float:
    """ε of a float16 product with a query of that norm and rows of length about 1: query and result rounded, sums in
    float32.
    """
    return norm * (2.1 * HALF_EPS + dimension * 2.0**-24)


def brain_bound(norm: float, dimension: int) -> float:
    """ε of a bfloat16 product: rows, query and result rounded to 8 bits."""
    return norm * (1.6 * BRAIN_EPS + dimension * 2.0**-24)


def similarities(snapshot: Snapshot, vectors: np.ndarray) -> np.ndarray:
    """(T, D) → (T, N) float32 cosines of every live row, columns as in snapshot.ids; off by at most `half_bound`.

    Several vectors are compared in one pass: a few rows at a time are widened to float32 in the processor's cache and
    multiplied with all of them, so that nine vectors cost little more than one.
    """
    queries = _queries(snapshot, vectors)
    out = np.empty((len(queries), len(snapshot)), np.float32)
    if len(snapshot) == 0:
        return out
    stored = torch.from_numpy(out)
    if snapshot.rows is not None:
        stored = torch.empty((len(queries), sum(map(len, snapshot.blocks))))
    start, at_once = 0, SWEEP * torch.get_num_threads()
    room = torch.empty((at_once, queries.shape[1]))
    for block in map(torch.from_numpy, snapshot.blocks):
        if len(queries) == 1 and routes()[0] == "half":
            stored[0, start : start + len(block)] = torch.mv(block, queries[0].half())
            start += len(block)
            continue
        for i in range(0, len(block), at_once):
            part = block[i : i + at_once]
            single = room[: len(part)].copy_(part)
            torch.mm(queries, single.t(), out=stored[:, start : start + len(part)])
            start += len(part)
    if snapshot.rows is not None:
        torch.index_select(stored, 1, torch.from_numpy(snapshot.rows), out=torch.from_numpy(out))
    return out


def rescore(snapshot: Snapshot, vectors: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(T, D) → (T, n) float64 cosines of chosen columns. Equal rows give equal values wherever they stand: no BLAS,
    whose sums may depend on the row's place. By way of float32: float16 goes straight to float64 without vector code.
    """
    queries = np.asarray(vectors, np.float64)
    out = np.empty((len(queries), len(columns)), np.float64)
    for i in range(0, len(columns), BLOCK):
        rows = torch.from_numpy(snapshot.vectors(columns[i : i + BLOCK])).float().double().numpy()
        for t, query in enumerate(queries):
            out[t, i : i + BLOCK] = np.einsum("nd,d->n", rows, query)
    return out


def front(approximate: np.ndarray, k: int, margin: float, allowed: np.ndarray | None = None) -> np.ndarray:
    """Columns that hold the best k surely, when each (N,) value is off by at most margin."""
    columns = np.arange(len(approximate)) if allowed is None else np.flatnonzero(allowed)
    values = approximate if allowed is None else approximate[columns]
    if len(columns) <= k:
        return columns
    least = float(torch.topk(torch.from_numpy(np.ascontiguousarray(values)), k, sorted=False).values.min())
    return columns[values >= least - 2 * margin]


def nearest(
    snapshot: Snapshot, vectors: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(T, D) → ids (T, ≤ k) int64 and cosines float32, best first, ties by rising id.

    allowed: (N,) bool of columns that may be answered. Raises UsageError for k < 1 or vectors of another dimension.
    """
    if k < 1:
        raise UsageError(f"k={k} results were asked for; ask for at least 1")
    queries = _queries(snapshot, vectors)
    among = len(snapshot) if allowed is None else int(allowed.sum())
    fronts: list[np.ndarray] | None = None
    if len(queries) > FEW and among > SMALL:
        fronts = _fronts(snapshot, queries, k, allowed)
    found = [_best(snapshot, q, k, allowed, fronts[i] if fronts else None) for i, q in enumerate(queries)]
    width = min(k, among)
    ids = np.stack([i for i, _ in found]) if found else np.zeros((0, width), np.int64)
    scores = np.stack([s for _, s in found]) if found else np.zeros((0, width), np.float32)
    return ids, scores


def _best(
    snapshot: Snapshot, query: Tensor, k: int, allowed: np.ndarray | None, columns: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    vector = query.numpy()[None]
    if columns is None:
        if len(snapshot) <= SMALL:
            columns = np.arange(len(snapshot)) if allowed is None else np.flatnonzero(allowed)
        else:
            margin = half_bound(float(query.norm()), len(query))
            columns = front(similarities(snapshot, vector)[0], k, margin, allowed)
    exact = rescore(snapshot, vector, columns)[0]
    order = np.lexsort((snapshot.ids[columns], -exact))[:k]
    return snapshot.ids[columns[order]], exact[order].astype(np.float32)


def _fronts(snapshot: Snapshot, queries: Tensor, k: int, allowed: np.ndarray | None) -> list[np.ndarray]:
    """For each query the columns that surely hold its best k, from one pass over the vectors."""
    route = routes()[1]
    bound = brain_bound if route == "brain" else half_bound
    margins = torch.tensor([2 * bound(float(q.norm()), len(q)) for q in queries])
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    best = np.full((len(queries), k), -np.inf, np.float32)
    scratch, start = _scratch(queries.shape[1]), 0
    column, closed = _stored(snapshot, allowed, sum(map(len, snapshot.blocks)))
    for block in snapshot.blocks:
        for i in range(0, len(block), BLOCK):
            part = _many(torch.from_numpy(block[i : i + BLOCK]), queries, route, scratch)
            if closed is not None:
                part[closed[start : start + len(part)]] = -torch.inf
            if not kept and len(part) >= k:
                best = part.topk(k, dim=0, sorted=False).values.float().t().numpy()
            where = (part > _lower(torch.from_numpy(best.min(axis=1)) - margins, part.dtype)).nonzero()
            rows, owner = where[:, 0], where[:, 1]
            values = part[rows, owner].float().numpy()
            if kept and len(values) > len(queries):
                best = _raised(best, owner.numpy(), values)
            kept.append(((rows + start).numpy(), owner.numpy(), values))
            start += len(part)
    all_rows, owners, every = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    out = _tightened(all_rows, owners, every, best, margins.numpy())
    return out if column is None else [column[rows] for rows in out]


def _raised(best: np.ndarray, owner: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(T, k) best values so far, with those of another block taken in; owner: the query of each value."""
    count, k = best.shape
    every = np.concatenate([best.ravel(), values])
    owners = np.concatenate([np.repeat(np.arange(count), k), owner])
    order = np.lexsort((-every, owners))
    firsts = np.searchsorted(owners[order], np.arange(count))
    value: np.ndarray = every[order[firsts[:, None] + np.arange(k)]]
    return value


def _stored(snapshot: Snapshot, allowed: np.ndarray | None, total: int) -> tuple[np.ndarray | None, Tensor | None]:
    """The column of each stored row, and which stored rows may not be answered; None where there is nothing to say."""
    if snapshot.rows is None:
        return None, None if allowed is None else torch.from_numpy(~allowed)
    column = np.full(total, -1, np.int64)
    column[snapshot.rows] = np.arange(len(snapshot))
    closed = column < 0
    if allowed is not None:
        closed[snapshot.rows] = ~allowed
    return column, torch.from_numpy(closed)


def _lower(floor: Tensor, kind: torch.dtype) -> Tensor:
    """The floor in another precision, never rounded upwards."""
    return (floor - floor.abs() * BRAIN_EPS).nan_to_num(nan=-torch.inf, neginf=-torch.inf).to(kind)


def _tightened(
    rows: np.ndarray, owner: np.ndarray, values: np.ndarray, best: np.ndarray, margins: np.ndarray
) -> list[np.ndarray]:
    """Per query the rows whose value may still be among the best, by rising row."""
    inside = values >= (best.min(axis=1) - margins)[owner]
    rows, owner = rows[inside], owner[inside]
    order = np.argsort(owner, kind="stable")
    return np.split(rows[order], np.searchsorted(owner[order], np.arange(1, len(best))))


def _many(block: Tensor, queries: Tensor, route: str, scratch: Scratch | None = None) -> Tensor:
    """(rows, T) products of a float16 block, small enough for the cache, with float32 queries."""
    kind = torch.bfloat16 if route == "brain" else torch.float32
    right = queries.t().to(kind)
    single, brain = scratch or _scratch(queries.shape[1])
    out = torch.empty((len(block), len(queries)), dtype=kind)
    for i in range(0, len(block), len(single)):
        part = block[i : i + len(single)]
        left = single[: len(part)].copy_(part)
        if route == "brain":
            left = brain[: len(part)].copy_(left)
        torch.mm(left, right, out=out[i : i + len(part)])
    return out


def _scratch(dimension: int) -> Scratch:
    """Room for the rows of one step in float32 and bfloat16. Going from float16 to bfloat16 through float32, in memory
    that is there already, takes a quarter of the time of `.to(bfloat16)`, which has no vector code.
    """
    rows = min(BLOCK, STEP * torch.get_num_threads())
    return torch.empty((rows, dimension)), torch.empty((rows, dimension), dtype=torch.bfloat16)


def _queries(snapshot: Snapshot, vectors: np.ndarray) -> Tensor:
    queries = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
    width = snapshot.blocks[0].shape[1] if snapshot.blocks else queries.shape[-1]
    if queries.ndim != 2 or queries.shape[1] != width:
        raise UsageError(
            f"query vectors of shape {tuple(queries.shape)} were given; this gallery compares (T, {width})"
        )
    if not torch.isfinite(queries).all():
        raise UsageError("a query vector holds values that are not finite numbers; check the model")
    return queries


# -------------------------------------------------------------------------------- one answer over a local store


class Rows:
    """A `search.Space` of a store's snapshot. error: how far a cosine of `scores` may lie from the float64 one."""

    def __init__(self, store: LocalStore, rows: Snapshot, marked: Iterable[int] = ()):
        self.store, self.rows, self.marked = store, rows, tuple(marked)
        self.ids = rows.ids
        self.snapshot = f"{store.config['created']} {rows.generation}"
        self.error = half_bound(1.0, store.binding.dimension)

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """(R, D) → (R, N) float32 cosines with every item."""
        return similarities(self.rows, vectors)

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
