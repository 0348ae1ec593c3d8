"""Exact search over stored vectors at the speed of memory.

Exact means: the order of the float64 product of the query and the stored float16 vectors. One pass in low precision
finds a front that provably holds the best k, because every rounding in it is bounded; the front alone is computed in
float64.

Letters: N live rows, D dimension, T query vectors, k results, ε bound on the error of a low-precision cosine.

On a processor, PyTorch's float16 matrix-vector product reads stored rows as fast as memory delivers them; for many
queries at once a bfloat16 matrix product over cached blocks wins. Where a processor lacks either, a short measurement
finds out and float32 takes its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from .contract import Snapshot

BLOCK = 16384
SMALL = 4096
FEW = 6
HALF_EPS, BRAIN_EPS = 2.0**-11, 2.0**-8


@lru_cache(maxsize=8)
def routes(dimension: int, threads: int) -> tuple[str, str]:
    """The fastest product for one query ("half" or "single") and for many ("brain" or "single") on this machine.

    Half is taken only if it also sums in more than half precision: its error must be that of rounding. The quickest of
    several short runs counts, and single precision must win clearly, since a busy machine may delay any of them.
    """
    generator = torch.Generator().manual_seed(0)
    block = torch.nn.functional.normalize(torch.randn(8192, dimension, generator=generator)).half()
    query = torch.nn.functional.normalize(torch.randn(dimension, generator=generator), dim=0)
    truth = block.double() @ query.double()
    error = float((torch.mv(block, query.half()).double() - truth).abs().max())
    one = "single"
    if error < half_bound(1.0, dimension):
        one = _clearly(_one, block, query, "half")
    return one, _clearly(_many, block, query.repeat(64, 1), "brain")


def _clearly(product: Callable[[Tensor, Tensor, str], Tensor], block: Tensor, query: Tensor, usual: str) -> str:
    quick, single = _clock(lambda: product(block, query, usual)), _clock(lambda: product(block, query, "single"))
    return usual if quick < 1.5 * single else "single"


def _clock(work: Callable[[], Tensor]) -> float:
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def half_bound(norm: float, dimension: int) -> float:
    """ε of a float16 product with a query of that norm and rows of length about 1: query and result rounded, sums in
    float32.
    """
    return norm * (2.1 * HALF_EPS + dimension * 2.0**-24)


def brain_bound(norm: float, dimension: int) -> float:
    """ε of a bfloat16 product: rows, query and result rounded to 8 bits."""
    return norm * (1.6 * BRAIN_EPS + dimension * 2.0**-24)


def similarities(snapshot: Snapshot, vectors: np.ndarray) -> np.ndarray:
    """(T, D) → (T, N) float32 cosines of every live row, columns as in snapshot.ids; off by at most `half_bound`."""
    queries = _queries(snapshot, vectors)
    out = np.empty((len(queries), len(snapshot)), np.float32)
    if len(snapshot) == 0:
        return out
    route = routes(queries.shape[1], torch.get_num_threads())[0]
    places = None if snapshot.rows is None else torch.from_numpy(snapshot.rows)
    for row, query in zip(out, queries, strict=True):
        scores = torch.cat([_one(torch.from_numpy(b), query, route) for b in snapshot.blocks])
        torch.from_numpy(row).copy_(scores if places is None else scores[places])
    return out


def rescore(snapshot: Snapshot, vectors: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(T, D) → (T, n) float64 cosines of chosen columns. Equal rows give equal values wherever they stand."""
    queries = np.asarray(vectors, np.float64)
    out = np.empty((len(queries), len(columns)), np.float64)
    for i in range(0, len(columns), BLOCK):
        rows = snapshot.vectors(columns[i : i + BLOCK]).astype(np.float64)
        for t, query in enumerate(queries):
            out[t, i : i + BLOCK] = (rows * query).sum(axis=1)
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
    route = routes(queries.shape[1], torch.get_num_threads())[1]
    bound = brain_bound if route == "brain" else half_bound
    margins = torch.tensor([2 * bound(float(q.norm()), len(q)) for q in queries])
    kept_rows, kept_queries, kept_values = [], [], []
    floor = torch.full((len(queries),), -torch.inf)
    total, start = sum(map(len, snapshot.blocks)), 0
    column, closed = _stored(snapshot, allowed, total)
    for block in snapshot.blocks:
        for i in range(0, len(block), BLOCK):
            part = _many(torch.from_numpy(block[i : i + BLOCK]), queries, route)
            if closed is not None:
                part[closed[start : start + len(part)]] = -torch.inf
            where = (part > _lower(floor, part.dtype)).nonzero()
            if len(where) > 2 * k * len(queries) and len(part) >= k:
                floor = torch.maximum(floor, part.topk(k, dim=0, sorted=False).values.amin(dim=0).float() - margins)
                where = (part > _lower(floor, part.dtype)).nonzero()
            kept_rows.append(where[:, 0] + start)
            kept_queries.append(where[:, 1])
            kept_values.append(part[where[:, 0], where[:, 1]].float())
            start += len(part)
    rows, owner, values = torch.cat(kept_rows), torch.cat(kept_queries), torch.cat(kept_values)
    out = [_tightened(rows[owner == q], values[owner == q], k, float(margins[q])) for q in range(len(queries))]
    return out if column is None else [column[rows] for rows in out]


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


def _tightened(rows: Tensor, values: Tensor, k: int, margin: float) -> np.ndarray:
    if len(rows) > k:
        rows = rows[values >= values.topk(k, sorted=False).values.min() - margin]
    return rows.numpy()


def _one(block: Tensor, query: Tensor, route: str) -> Tensor:
    """(rows,) products of a float16 block with one float32 query."""
    if route == "half":
        return torch.mv(block, query.half())
    return torch.cat(
        [torch.mv(block[i : i + BLOCK].float(), query) for i in range(0, len(block), BLOCK)] or [query[:0]]
    )


def _many(block: Tensor, queries: Tensor, route: str) -> Tensor:
    """(rows, T) products of a float16 block, small enough for the cache, with float32 queries."""
    kind = torch.bfloat16 if route == "brain" else torch.float32
    return torch.mm(block.to(kind), queries.t().to(kind))


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
