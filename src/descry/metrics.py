"""Rank metrics of person re-identification, exact and per query.

Definitions, for one query with the ranking 1, 2, … of the photographs that are not ignored and n_rel relevant ones:
  R@k   1 when a relevant one is among the first k.
  AP    (1 / n_rel) Σ over the relevant ranks r of (relevant ones up to r) / r; mAP is its mean.
  INP   n_rel / (rank of the last relevant one); mINP is its mean.
Equal similarities keep the gallery's order (stable), so that a result never depends on the sorting algorithm.

>>> r = rank([[0.9, 0.1, 0.5]], [[False, False, True]])
>>> (r.r1, r.r5, r.map, r.minp)
(0.0, 100.0, 50.0, 50.0)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .errors import UsageError

CHUNK_CELLS = 20_000_000
COUNTED = 12  # with more relevant photographs than this, sorting a row is quicker than counting for each


@dataclass(frozen=True)
class Ranks:
    """Metrics in percent, and the values per query (nan where a query has no relevant photograph).

    cmc: (K,) R@1 … R@K in percent, K = number of photographs, at most 100. first: (Q,) 1-based rank of the first
    relevant one, 0 where there is none. ap, inp: (Q,) in 0 … 1.
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


def rank(similarity: Any, relevant: Any, ignored: Any = None, missing: Literal["miss", "drop"] = "miss") -> Ranks:
    """Rank metrics of a similarity matrix.

    similarity: (Q, G), larger is nearer. relevant: (Q, G) bool. ignored: (Q, G) bool, photographs that a query may not
    be compared with (same picture, same camera, junk). missing: what a query without a relevant photograph counts in
    R@k: "miss" a miss, "drop" not at all; mAP and mINP always leave it out. Raises UsageError for shapes that do not
    fit, values that are not numbers, or when no query has a relevant photograph.
    """
    similarity, relevant = _array(similarity), _array(relevant).astype(bool)
    ignored = None if ignored is None else _array(ignored).astype(bool)
    if (
        similarity.ndim != 2
        or similarity.shape != relevant.shape
        or (ignored is not None and ignored.shape != similarity.shape)
    ):
        shapes = (similarity.shape, relevant.shape, None if ignored is None else ignored.shape)
        raise UsageError(f"similarity, relevant and ignored must all be (queries, photographs); got {shapes}")
    if missing not in ("miss", "drop"):
        raise UsageError(f"missing={missing!r} was given; allowed: 'miss' (counts as a miss), 'drop' (is left out)")
    if not len(similarity) or not similarity.shape[1]:
        raise UsageError(f"there is nothing to rank: {similarity.shape[0]} queries, {similarity.shape[1]} photographs")
    rows = max(1, CHUNK_CELLS // similarity.shape[1])
    parts = []
    for i in range(0, len(similarity), rows):
        scores, wanted = similarity[i : i + rows], relevant[i : i + rows]
        _check_finite(scores)
        if ignored is not None:
            hidden = ignored[i : i + rows]
            scores, wanted = np.where(hidden, -np.inf, scores), wanted & ~hidden
        parts.append(_rank_rows(scores, _positions(wanted)))
    return _joined(parts, similarity.shape[1], missing)


def rank_people(
    similarity: Any,
    query_pids: Any,
    photo_pids: Any,
    ignored: Sequence[Sequence[int]] | None = None,
    missing: Literal["miss", "drop"] = "miss",
    cells: int = CHUNK_CELLS,
) -> Ranks:
    """`rank` where relevance is "the same identity", in bounded memory: no (Q, G) array but the similarity's own is
    made.

    similarity: (Q, G), which may be a memory map; or a pair of (Q, D) queries and (G, D) photographs, whose products
    are formed a block of rows at a time; or a function (start, stop) → (stop - start, G). query_pids: (Q,), photo_pids:
    (G,). ignored: for each query, the row numbers of the photographs that it may not be compared with. cells: entries
    of the similarity held at once. Raises as `rank`.
    """
    asked, people = _array(query_pids), _array(photo_pids)
    photos = len(people)
    block, shape = _blocks(similarity, (len(asked), photos))
    if shape != (len(asked), photos):
        raise UsageError(f"scores of shape {shape} were given for {len(asked)} queries and {photos} photographs")
    if missing not in ("miss", "drop"):
        raise UsageError(f"missing={missing!r} was given; allowed: 'miss' (counts as a miss), 'drop' (is left out)")
    if not len(asked) or not photos:
        raise UsageError(f"there is nothing to rank: {len(asked)} queries, {photos} photographs")
    order = np.argsort(people, kind="stable")
    begin, end = (np.searchsorted(people[order], asked, side) for side in ("left", "right"))
    rows, parts = max(1, cells // photos), []
    for i in range(0, len(asked), rows):
        scores = block(i, min(i + rows, len(asked)))
        _check_finite(scores)
        numbers = range(i, i + len(scores))
        wanted = [np.sort(order[begin[q] : end[q]]) for q in numbers]
        if ignored is not None and any(len(ignored[q]) for q in numbers):
            scores = np.array(scores, np.result_type(scores, np.float32))  # whole numbers hold no infinity
            for row, q in enumerate(numbers):
                scores[row, list(ignored[q])] = -np.inf
                wanted[row] = np.setdiff1d(wanted[row], np.asarray(ignored[q], np.int64), assume_unique=True)
        parts.append(_rank_rows(scores, wanted))
    return _joined(parts, photos, missing)


def _blocks(similarity: Any, shape: tuple[int, int]) -> tuple[Callable[[int, int], np.ndarray], tuple[int, ...]]:
    """A function that gives rows of scores, and the shape of all of them."""
    if callable(similarity):
        return similarity, shape
    if not isinstance(similarity, tuple):
        scores = _array(similarity)
        return lambda start, stop: scores[start:stop], scores.shape
    left, right = map(_array, similarity)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise UsageError(f"scores of shape {left.shape} x {right.shape} cannot be formed; both must be (rows, D)")
    held: list[np.ndarray] = []

    def product(start: int, stop: int) -> np.ndarray:
        if not held:
            held.append(np.empty((stop - start, len(right)), np.result_type(left, right)))
        return np.matmul(left[start:stop], right.T, out=held[0][: stop - start])

    return product, (len(left), len(right))


def summarise(first: np.ndarray, ap: np.ndarray, inp: np.ndarray, photos: int, missing: str = "miss") -> Ranks:
    """Ranks from the values per query. first: (Q,), 0 = none; ap, inp: (Q,), nan = none; photos: gallery size."""
    has = first > 0
    if not has.any():
        raise UsageError(
            "no query has a relevant photograph: either probes and photographs share no identity, or all that show the "
            "person are ignored, as those of the query's own camera and those a sketch was drawn from are; check pid, "
            "camera and drawn_from"
        )
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


def _check_finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise UsageError("the similarity holds values that are not finite numbers; check the embeddings")


def _positions(wanted: np.ndarray) -> list[np.ndarray]:
    rows, columns = np.nonzero(wanted)
    return np.split(columns, np.searchsorted(rows, np.arange(1, len(wanted))))


def _joined(parts: list[tuple[np.ndarray, ...]], photos: int, missing: str) -> Ranks:
    first, ap, inp = (np.concatenate(column) for column in zip(*parts, strict=True))
    return summarise(first, ap, inp, photos, missing)


def _rank_rows(similarity: np.ndarray, wanted: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """First rank, AP and INP per row. wanted: for each row the ascending positions of the relevant ones; −inf is
    ignored.
    """
    first = np.zeros(len(similarity), np.int64)
    ap, inp = np.full(len(similarity), np.nan), np.full(len(similarity), np.nan)
    for i, (row, positions) in enumerate(zip(similarity, wanted, strict=True)):
        if not len(positions):
            continue
        ranks = _counted(row, positions) if len(positions) <= COUNTED else _sorted(row, positions)
        ranks.sort()
        first[i] = ranks[0]
        ap[i] = np.mean(np.arange(1, len(ranks) + 1) / ranks)
        inp[i] = len(ranks) / ranks[-1]
    return first, ap, inp


def _counted(row: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Ranks by counting who stands before: greater, or equal and earlier. Quickest where few are relevant."""
    out = np.empty(len(positions), np.int64)
    for n, at in enumerate(positions):
        score = row[at]
        out[n] = 1 + np.count_nonzero(row[:at] >= score) + np.count_nonzero(row[at + 1 :] > score)
    return out


def _sorted(row: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Ranks from the sorted values: NumPy sorts values faster than positions. Ties are counted after."""
    ascending, scores = np.sort(row), row[positions]
    upto = np.searchsorted(ascending, scores, side="right")
    ranks: np.ndarray = len(row) - upto + 1
    for j in np.flatnonzero(upto - np.searchsorted(ascending, scores, side="left") > 1):
        ranks[j] += np.count_nonzero(row[: positions[j]] == scores[j])
    return ranks
