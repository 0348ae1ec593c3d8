"""Exact search over stored vectors at the speed of memory, and one answer to a query over a local store (`answer`).

Exact means: the order of the float64 product of the query and the stored float16 vectors. One pass in low precision
finds a front that provably holds the best k, because every rounding in it is bounded; the front alone is computed in
float64.

Letters: N live rows, D dimension, T query vectors, k results, ε bound on the error of a low-precision cosine.

NumKong's products of float16 read stored rows as they are and sum in float32: one query as fast as memory delivers the
rows, a few queries in the same pass. For the best of many queries PyTorch's float16 or bfloat16 product wins, where the
processor has one (`batch_kind`). Rows that filters let through are gathered where they are few; no others are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numkong
import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..query import Filters, Query
from ..ranking import Formula
from ..search import GATHER, Term, in_threads, kth_largest, positions, rank
from .contract import Snapshot
from .filters import removed_by, untold
from .results import Results
from .vectors import Moments

if TYPE_CHECKING:
    from .local import LocalStore

BLOCK = 16384
STEP = 512
"""Rows that stay in a core's cache while several queries are compared with them, or while they are gathered."""
PART = 0.6
"""Share of the rows up to which a few queries have those gathered that filters let through; more are all read."""
LINE = 32
"""Numbers of float16 in a line of the processor's cache: what is read of memory at once."""
TILE = 4
"""Queries that NumKong compares at once."""
ALONE = 1 << 15
"""Numbers that PyTorch converts in one thread: others would take longer to wake."""
SMALL = 512
"""Up to so many rows, all are computed in float64 at once."""
FEW = 16
"""Most queries of one pass whose sums are all kept; more are compared block by block, where bfloat16 is at hand."""
SUMS = 32
"""Items for each dimension of a vector from which on reading D² sums is little beside reading the vectors."""
RAISED = 0.6
"""The floor is raised where a block of rows has so many values above it for each of the best; few change little."""
HALF_EPS, BRAIN_EPS = 2.0**-11, 2.0**-8
Scratch = tuple[Tensor, Tensor]


@cache
def batch_kind() -> torch.dtype | None:
    """The numbers in which many queries are multiplied, by what the processor has: float16, as the rows are stored,
    else bfloat16; None where it has neither. Nothing is timed. The sums are of float32, as the bounds say.
    """
    if not torch.backends.mkldnn.is_available():
        return None
    if torch.ops.mkldnn._is_mkldnn_fp16_supported():
        return torch.float16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None


def half_bound(norm: float, dimension: int) -> float:
    """ε of a float16 product with a query of that norm and rows of length about 1: query rounded, sums in float32."""
    return norm * (1.1 * HALF_EPS + dimension * 2.0**-24)


def brain_bound(norm: float, dimension: int) -> float:
    """ε of a bfloat16 product: rows, query and result rounded to 8 bits."""
    return norm * (1.6 * BRAIN_EPS + dimension * 2.0**-24)


def batch_bound(kind: torch.dtype, norm: float, dimension: int) -> float:
    """ε of a product of `batch_kind`; one in float16 rounds its result too."""
    return brain_bound(norm, dimension) if kind == torch.bfloat16 else half_bound(norm, dimension) + norm * HALF_EPS


def similarities(snapshot: Snapshot, vectors: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
    """(T, D) → (T, N) float32 cosines of every live row, columns as in snapshot.ids; off by at most `half_bound`.

    columns: (n,) of the only ones wanted → (T, n); no other row is read. All T are compared in one pass.
    """
    queries = _queries(snapshot, vectors)
    if len(snapshot) and not snapshot.blocks:
        return snapshot.similarities(queries, columns)
    norms = np.maximum(np.linalg.norm(queries, axis=1), 1e-30)[:, None]
    half = (queries / norms).astype(np.float16)  # of length 1, so that no number is too large for float16
    lone = len(half) % TILE == 1  # it reads the rows for the others; a tile of its own would take as long as four
    pack = numkong.dots_pack(half[lone:], dtype="f16") if len(half) > 1 else None
    count = len(snapshot) if columns is None else len(columns)
    stored = columns is None and snapshot.rows is not None
    out = np.empty((len(half), sum(map(len, snapshot.blocks)) if stored else count), np.float32)

    def compare(piece: tuple[int, int, int]) -> None:
        block, start, place = piece
        rows = (
            np.asarray(snapshot.blocks[block][start : start + step])
            if columns is None
            else snapshot.vectors(columns[place : place + gathered])
        )
        to = out[:, place : place + len(rows)]
        if pack is None:
            np.multiply(np.asarray(numkong.cdist(half[:1], rows, metric="dot")), norms, out=to, casting="same_kind")
            return
        products = numkong.empty((len(rows), len(half) - lone), dtype="float32")
        lines = rows.reshape(-1).view(np.uint16)[::LINE]
        for i in range(0, len(rows), STEP):
            end = min(i + STEP, len(rows))
            if lone:
                product = np.asarray(numkong.cdist(half[:1], rows[i:end], metric="dot"))
                np.multiply(product, norms[:1], out=to[:1, i:end], casting="same_kind")
            else:  # in the order of memory, which a tile does not keep to: it finds the rows in the cache
                lines[i * half.shape[1] // LINE : end * half.shape[1] // LINE].max(initial=0)
            numkong.dots_packed(rows, pack, out=products, start_row=i, end_row=end)
        np.multiply(np.asarray(products).T, norms[lone:], out=to[lone:], casting="same_kind")

    threads = torch.get_num_threads()
    turns = max(1, -(-count // (threads * BLOCK)))
    step = max(1, -(-count // (threads * turns * STEP))) * STEP  # each thread gets as many, and none waits for another
    gathered = STEP if count > 2 * STEP else 2 * STEP  # a thread would take longer to wake than so few rows do
    pieces = [(0, 0, place) for place in range(0, count, gathered)]
    if columns is None:
        edges = np.cumsum([0, *map(len, snapshot.blocks)]).tolist()
        pieces = [(b, i, edges[b] + i) for b, rows in enumerate(snapshot.blocks) for i in range(0, len(rows), step)]
    if len(half) and count:
        list((in_threads if len(pieces) > 1 else map)(compare, pieces))
    return out if snapshot.rows is None or not stored else out.take(snapshot.rows, axis=1)


def rescore(snapshot: Snapshot, vectors: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(T, D) → (T, n) float64 cosines of chosen columns. Equal rows give equal values wherever they stand: no BLAS,
    whose sums may depend on the row's place. By way of float32: float16 goes straight to float64 without vector code.
    """
    queries = np.asarray(vectors, np.float64)
    out = np.empty((len(queries), len(columns)), np.float64)
    few = max(1, ALONE // max(1, queries.shape[1]))
    for i in range(0, len(columns), few):
        rows = torch.from_numpy(snapshot.vectors(columns[i : i + few])).float().double().numpy()
        for t, query in enumerate(queries):
            out[t, i : i + few] = np.einsum("nd,d->n", rows, query)
    return out


def front(approximate: np.ndarray, k: int, margin: float) -> np.ndarray:
    """Columns that hold the best k surely, when each (N,) value is off by at most margin."""
    if len(approximate) <= k:
        return np.arange(len(approximate))
    return np.flatnonzero(approximate >= kth_largest(approximate, k) - 2 * margin)


def nearest(
    snapshot: Snapshot, vectors: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(T, D) → ids (T, ≤ k) int64 and cosines float32, best first, ties by rising id.

    allowed: (N,) bool of columns that may be answered. Raises UsageError for k < 1 or vectors of another dimension.
    """
    if k < 1:
        raise UsageError(f"k={k} results were asked for; ask for at least 1")
    queries = _queries(snapshot, vectors)
    open_to = None if allowed is None else np.flatnonzero(allowed)
    among = len(snapshot) if open_to is None else len(open_to)
    fronts: list[np.ndarray]
    if among <= SMALL:
        fronts = [np.arange(len(snapshot)) if open_to is None else open_to] * len(queries)
    elif len(queries) > FEW and snapshot.blocks and (kind := batch_kind()):
        if open_to is not None and among <= GATHER * len(snapshot):
            part = Snapshot(snapshot.generation, 0, snapshot.ids[open_to], (snapshot.vectors(open_to),), None)
            return nearest(part, queries, k)
        fronts = _fronts(snapshot, torch.from_numpy(queries), k, allowed, kind)
    else:
        fronts = []
        for i in range(0, len(queries), FEW):
            fronts += _half_fronts(snapshot, queries[i : i + FEW], k, open_to)
    ids, scores = np.empty((len(queries), min(k, among)), np.int64), np.empty((len(queries), min(k, among)), np.float32)
    for i, (query, columns) in enumerate(zip(queries, fronts, strict=True)):
        exact = rescore(snapshot, query[None], columns)[0]
        order = np.lexsort((snapshot.ids[columns], -exact))[:k]
        ids[i], scores[i] = snapshot.ids[columns[order]], exact[order]
    return ids, scores


def _half_fronts(snapshot: Snapshot, queries: np.ndarray, k: int, open_to: np.ndarray | None) -> list[np.ndarray]:
    """For each of a few queries the columns that surely hold its best k. open_to: the only columns wanted."""
    gather = open_to is not None and len(open_to) <= PART * len(snapshot)
    values = similarities(snapshot, queries, open_to if gather else None)
    if open_to is not None and not gather:
        values = values.take(open_to, axis=1)
    margins = [half_bound(float(np.linalg.norm(query)), len(query)) for query in queries]
    found = [front(row, k, margin) for row, margin in zip(values, margins, strict=True)]
    return found if open_to is None else [open_to[columns] for columns in found]


def _fronts(
    snapshot: Snapshot, queries: Tensor, k: int, allowed: np.ndarray | None, kind: torch.dtype
) -> list[np.ndarray]:
    """For each of many queries the columns that surely hold its best k, from one pass over the vectors."""
    lengths = queries.norm(dim=1).clamp_min(1e-30)
    queries = queries / lengths[:, None]  # of length 1, so that no number is too large for float16
    margins = torch.full((len(queries),), 2 * batch_bound(kind, 1.0, queries.shape[1]))
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    best = np.full((len(queries), k), -np.inf, np.float32)
    scratch, start = _scratch(queries.shape[1]), 0
    column, closed = _stored(snapshot, allowed, sum(map(len, snapshot.blocks)))
    for block in snapshot.blocks:
        for i in range(0, len(block), BLOCK):
            part = _many(torch.from_numpy(block[i : i + BLOCK]), queries, kind, scratch)
            if closed is not None:
                part[closed[start : start + len(part)]] = -torch.inf
            if not kept and len(part) >= k:
                best = np.partition(part.float().t().contiguous().numpy(), len(part) - k, axis=1)[:, -k:].copy()
            rows, owner = _above(part, _lower(torch.from_numpy(best.min(axis=1)) - margins, part.dtype))
            values = part[torch.from_numpy(rows), torch.from_numpy(owner)].float().numpy()
            if kept and len(values) > RAISED * best.size:
                best = _raised(best, owner, values)
            kept.append((rows + start, owner, values))
            start += len(part)
    all_rows, owners, every = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    out = _tightened(all_rows, owners, every, best, margins.numpy())
    return out if column is None else [column[rows] for rows in out]


def _above(part: Tensor, floor: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns where an (n, T) part is above the floor (T,), by rising row; both of 16 bits, and few are.

    Floating-point numbers above 0 are in the order of their bits: those NumPy compares much faster. Of the answer eight
    places are looked at as one.
    """
    if floor.min() > 0:
        mask = part.view(torch.int16).numpy() > floor.view(torch.int16).numpy()
    else:
        mask = (part > floor).numpy()
    flat = np.append(mask, np.zeros(-mask.size % 8, bool)) if mask.size % 8 else mask.reshape(-1)
    words = np.flatnonzero(flat.view(np.uint64))
    word, place = np.nonzero(flat.reshape(-1, 8)[words])
    rows, columns = np.divmod(words[word] * 8 + place, mask.shape[1])
    return rows, columns


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


def _many(block: Tensor, queries: Tensor, kind: torch.dtype, scratch: Scratch | None = None) -> Tensor:
    """(rows, T) products of a float16 block with float32 queries of length 1, in float16 or bfloat16."""
    right = queries.t().to(kind)
    if kind == torch.float16:
        return block @ right
    single, brain = scratch or _scratch(queries.shape[1])
    out = torch.empty((len(block), len(queries)), dtype=kind)
    for i in range(0, len(block), len(single)):
        part = block[i : i + len(single)]
        left = brain[: len(part)].copy_(single[: len(part)].copy_(part))
        torch.mm(left, right, out=out[i : i + len(part)])
    return out


def _scratch(dimension: int) -> Scratch:
    """Room for the rows of one step in float32 and bfloat16. Going from float16 to bfloat16 through float32, in memory
    that is there already, takes a quarter of the time of `.to(bfloat16)`, which has no vector code.
    """
    rows = min(BLOCK, 2 * STEP * torch.get_num_threads())
    return torch.empty((rows, dimension)), torch.empty((rows, dimension), dtype=torch.bfloat16)


def _queries(snapshot: Snapshot, vectors: np.ndarray) -> np.ndarray:
    queries = np.ascontiguousarray(vectors, np.float32)
    width = snapshot.blocks[0].shape[1] if snapshot.blocks else queries.shape[-1]
    if queries.ndim != 2 or queries.shape[1] != width:
        raise UsageError(f"query vectors of shape {queries.shape} were given; this gallery compares (T, {width})")
    if not np.isfinite(queries).all():
        raise UsageError("a query vector holds values that are not finite numbers; check the model")
    return queries


# -------------------------------------------------------------------------------- one answer over a local store


class Rows:
    """A `search.Space` of a store's snapshot."""

    weights: np.ndarray | None = None

    def __init__(self, store: LocalStore, rows: Snapshot, marked: Iterable[int] = ()):
        self.store, self.rows, self.marked = store, rows, tuple(marked)
        self.ids = rows.ids
        self.snapshot = f"{store.config['created']} {rows.generation}"

    def present(self) -> Rows:
        """The space to go on with: this one, or of a store whose rows are gone when they are deleted, as it is now."""
        if self.rows.blocks or self.store.snapshot() is self.rows:
            return self
        return Rows(self.store, self.store.snapshot(), self.marked)

    def scores(self, vectors: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """(R, D) → (R, N) float32 cosines with every item, or (R, n) with those at the columns alone."""
        return similarities(self.rows, vectors, columns)

    def sums(self) -> Moments | None:
        """Those of the snapshot, where they save reading vectors; None for a small gallery, and where the store has
        moved on since."""
        if len(self.ids) < SUMS * self.store.binding.dimension:
            return None
        return self.store.moments(self.rows)

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        """Item ids → (k, D) float32; UsageError for an unknown id."""
        return torch.from_numpy(self.rows.vectors(positions(self.ids, ids))).float().numpy()

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
    with store.database.reading() as connection:
        rows = snapshot or store.snapshot()
        space = Rows(store, rows, marked)
        leads = rank(space, terms, query, k, formula)
        if query.filters != Filters():
            note = "; ".join(filter(None, (note, *store.known(untold, query.filters))))
        removed = {}
        if not leads.considered:
            marks = {*query.marks, *space.marked}
            removed = removed_by(connection, query.filters, marks)
        items = {item.id: item for item in store.items(leads.ids.tolist())}
    kept = [j for j, number in enumerate(leads.ids.tolist()) if number in items]
    return Results(
        items=tuple(items[int(leads.ids[j])] for j in kept),
        scores=np.asarray(leads.scores, np.float32)[kept],
        cosines=leads.cosines[kept],
        parts=leads.names,
        contributions=leads.shares[:, kept],
        considered=leads.considered,
        total=len(rows),
        removed=removed,
        generation=rows.generation,
        note=note,
        query=query,
        scored=leads.scored,
    )
