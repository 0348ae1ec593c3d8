"""Rank metrics of person re-identification, exact and per query.

Definitions, for one query with the ranking 1, 2, … of the photographs that are not ignored and n_rel relevant ones:
  R@k   1 when a relevant one is among the first k.
  AP    (1 / n_rel) Σ over the relevant ranks r of (relevant ones up to r) / r; mAP is its mean.
  INP   n_rel / (rank of the last relevant one); mINP is its mean.
Equal similarities keep the gallery's order (stable), so a result never depends on the sort's mood.

>>> r = rank([[0.9, 0.1, 0.5]], [[False, False, True]])
>>> (r.r1, r.r5, r.map, r.minp)
(0.0, 100.0, 50.0, 50.0)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .errors import UsageError

CHUNK_CELLS = 20_000_000


@dataclass(frozen=True)
class Ranks:
    """Metrics in percent, and the values per query (nan where a query has no relevant photograph).

    cmc: (K,) R@1 … R@K in percent, K = number of photographs, at most 100. first: (Q,) 1-based rank of the first relevant
    one, 0 where there is none. ap, inp: (Q,) in 0 … 1.
    """

    r1: float
    r5: float
    r10: float
    map: float
    minp: float
    cmc: np.ndarray
    first: np.ndarray
    ap: np.ndarray
    inp: np.ndarray
    queries: int
    without_relevant: int

    def as_dict(self) -> dict[str, float]:
        """The five headline figures in percent."""
        return {"R@1": self.r1, "R@5": self.r5, "R@10": self.r10, "mAP": self.map, "mINP": self.minp}


def rank(
    similarity: Any, relevant: Any, ignored: Any = None, missing: Literal["miss", "drop"] = "miss"
) -> Ranks:
    """Rank metrics of a similarity matrix.

    similarity: (Q, G), larger is nearer. relevant: (Q, G) bool. ignored: (Q, G) bool, photographs that a query may not be
    compared with (same picture, same camera, junk). missing: what a query without a relevant photograph counts in R@k:
    "miss" a miss, "drop" not at all; mAP and mINP always leave it out. Raises UsageError for shapes that do not fit, values
    that are not numbers, or when no query has a relevant photograph.
    """
    similarity, relevant = _array(similarity), _array(relevant).astype(bool)
    ignored = None if ignored is None else _array(ignored).astype(bool)
    if similarity.ndim != 2 or similarity.shape != relevant.shape or (ignored is not None and ignored.shape != similarity.shape):
        shapes = (similarity.shape, relevant.shape, None if ignored is None else ignored.shape)
        raise UsageError(f"similarity, relevant and ignored must all be (queries, photographs); got {shapes}")
    if missing not in ("miss", "drop"):
        raise UsageError(f"missing={missing!r} was given; allowed: 'miss' (counts as a miss), 'drop' (is left out)")
    if not len(similarity) or not similarity.shape[1]:
        raise UsageError(f"there is nothing to rank: {similarity.shape[0]} queries, {similarity.shape[1]} photographs")
    rows = max(1, CHUNK_CELLS // similarity.shape[1])
    parts = [
        _rank_rows(similarity[i : i + rows], relevant[i : i + rows], None if ignored is None else ignored[i : i + rows])
        for i in range(0, len(similarity), rows)
    ]
    first, ap, inp = (np.concatenate(column) for column in zip(*parts, strict=True))
    return summarise(first, ap, inp, similarity.shape[1], missing)


def summarise(first: np.ndarray, ap: np.ndarray, inp: np.ndarray, photos: int, missing: str = "miss") -> Ranks:
    """Ranks from the values per query. first: (Q,), 0 = none; ap, inp: (Q,), nan = none; photos: gallery size."""
    has = first > 0
    if not has.any():
        raise UsageError("no query has a relevant photograph; check that probes and photographs share identities")
    counted = len(first) if missing == "miss" else int(has.sum())
    depth = min(photos, 100)
    hits = np.bincount(np.minimum(first[has], depth + 1), minlength=depth + 2)[1 : depth + 1]
    cmc = 100.0 * np.cumsum(hits) / counted

    def at(k: int) -> float:
        return float(cmc[min(k, depth) - 1])

    return Ranks(
        r1=at(1),
        r5=at(5),
        r10=at(10),
        map=100.0 * float(np.mean(ap[has])),
        minp=100.0 * float(np.mean(inp[has])),
        cmc=cmc,
        first=first,
        ap=ap,
        inp=inp,
        queries=len(first),
        without_relevant=int((~has).sum()),
    )


def _array(x: Any) -> np.ndarray:
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)


def _rank_rows(similarity: np.ndarray, relevant: np.ndarray, ignored: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """First rank, AP and INP per row. Values are sorted, never their positions: NumPy does that several times faster."""
    if not np.isfinite(similarity).all():
        raise UsageError("the similarity holds values that are not finite numbers; check the embeddings")
    if ignored is not None:
        similarity = np.where(ignored, -np.inf, similarity)
        relevant = relevant & ~ignored
    queries, photos = similarity.shape
    first = np.zeros(queries, np.int64)
    ap, inp = np.full(queries, np.nan), np.full(queries, np.nan)
    ascending = np.sort(similarity, axis=1)
    for i in range(queries):
        wanted = np.flatnonzero(relevant[i])
        if not len(wanted):
            continue
        scores = similarity[i, wanted]
        upto = np.searchsorted(ascending[i], scores, side="right")
        ranks = photos - upto + 1
        for j in np.flatnonzero(upto - np.searchsorted(ascending[i], scores, side="left") > 1):
            ranks[j] += np.count_nonzero(similarity[i, : wanted[j]] == scores[j])
        ranks.sort()
        first[i] = ranks[0]
        ap[i] = np.mean(np.arange(1, len(ranks) + 1) / ranks)
        inp[i] = len(ranks) / ranks[-1]
    return first, ap, inp
