"""Re-ranking behind one interface: (Q, N) similarities in, (Q, N) out, for queries of any kind.

Letters: Q queries, N items, B bank queries, C candidates. Each re-ranker states its cost; none is on unless it won on
validation, because each may also do harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from descry.errors import UsageError, nearest


@dataclass(frozen=True, slots=True)
class Reranker:
    """name, cost: for people. apply: (Q, N) similarities → (Q, N); only the order within a row has a meaning."""

    name: str
    cost: str
    apply: Callable[[np.ndarray], np.ndarray]


def reranker(
    name: str, vectors: np.ndarray | None = None, bank: np.ndarray | None = None, **options: float
) -> Reranker:
    """ "none", "hubness" (needs bank: (B, N) similarities of other queries) or "k-reciprocal" (needs vectors: (N,
    D))."""
    if name == "none":
        return Reranker(name, "nothing", lambda similarity: similarity)
    if name == "hubness":
        if bank is None:
            raise UsageError("hubness correction needs bank=, the (B, N) similarities of a bank of other queries")
        sums = bank_sums(bank, float(options.get("temperature", 0.05)))
        cost = "B × N once for a snapshot, then N for a query"
        return Reranker(name, cost, lambda s: inverted_softmax(s, sums, float(options.get("temperature", 0.05))))
    if name == "k-reciprocal":
        if vectors is None:
            raise UsageError("k-reciprocal re-ranking needs vectors=, the (N, D) unit vectors of the gallery")
        known: dict[str, Any] = {k: v for k, v in options.items() if k in ("k1", "k2", "share", "candidates")}
        cost = "C² × D + C² × k for a query, C candidates"
        return Reranker(name, cost, lambda s: np.stack([k_reciprocal(row, vectors, **known) for row in s]))
    raise UsageError(f"there is no re-ranker {name!r}; {nearest(name, ['none', 'hubness', 'k-reciprocal'])}")


def bank_sums(bank: np.ndarray, temperature: float = 0.05) -> np.ndarray:
    """(B, N) → (N,): log Σ over the bank of exp(similarity / temperature): how much of a hub each item is."""
    scaled = np.asarray(bank, np.float64) / temperature
    top = scaled.max(axis=0)
    value: np.ndarray = top + np.log(np.exp(scaled - top).sum(axis=0))
    return value


def inverted_softmax(similarity: np.ndarray, sums: np.ndarray, temperature: float = 0.05) -> np.ndarray:
    """Hubness correction (Smith et al. 2017; query bank, Bogolin et al. 2022): an item near every query is near
    none."""
    value: np.ndarray = np.asarray(similarity) / temperature - sums
    return value


def k_reciprocal(
    similarity: np.ndarray, vectors: np.ndarray, k1: int = 20, k2: int = 6, share: float = 0.3, candidates: int = 200
) -> np.ndarray:
    """k-reciprocal encoding (Zhong et al. 2017) within the best candidates of one query of any kind.

    similarity: (N,), vectors: (N, D). The query is a node whose neighbours come from `similarity`; its scale is
    brought to that of the items' cosines, since drawings and sentences lie farther away than photographs. share:
    weight of the original distance against the Jaccard distance. Items beyond the candidates keep their order below
    them.
    """
    n = min(candidates, len(similarity))
    near = np.argsort(-similarity, kind="stable")[:n]
    x = vectors[near].astype(np.float64)
    cosine = np.ones((n + 1, n + 1))
    cosine[1:, 1:] = x @ x.T
    s = similarity[near].astype(np.float64)
    inner = cosine[1:, 1:][~np.eye(n, dtype=bool)]
    scaled = (s - s.mean()) / max(s.std(), 1e-9) * inner.std() + inner.mean() if n > 1 else s
    cosine[0, 1:] = cosine[1:, 0] = np.minimum(scaled, 1.0)
    distance = 2 - 2 * cosine
    order = np.argsort(distance, axis=1, kind="stable")
    codes = _codes(distance, order, min(k1, n))
    if k2 > 1:
        codes = codes[order[:, : min(k2, n + 1)]].mean(axis=1)
    least = np.minimum(codes[0], codes[1:]).sum(axis=1)
    jaccard = 1 - least / np.maximum(codes[0].sum() + codes[1:].sum(axis=1) - least, 1e-12)
    final = (1 - share) * jaccard + share * distance[0, 1:] / max(distance[0, 1:].max(), 1e-12)
    out: np.ndarray = np.asarray(similarity, np.float64) - np.max(similarity) - 2.0
    out[near] = -final
    return out


def _codes(distance: np.ndarray, order: np.ndarray, k1: int) -> np.ndarray:
    """Each row: weights exp(−distance) on the expanded set of its k-reciprocal neighbours, summing to one."""
    m = len(distance)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(m)[None, :].repeat(m, axis=0), axis=1)

    def mutual(k: int) -> np.ndarray:
        close = rank <= k
        return close & close.T

    whole, half = mutual(k1), mutual(max(1, round(k1 / 2)))
    codes = np.zeros((m, m))
    for i in range(m):
        members = whole[i].copy()
        for j in np.flatnonzero(whole[i]):
            if (half[j] & whole[i]).sum() > 2 / 3 * half[j].sum():
                members |= half[j]
        codes[i, members] = np.exp(-distance[i, members])
        codes[i] /= max(codes[i].sum(), 1e-12)
    return codes
