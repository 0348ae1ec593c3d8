"""How sure a figure is, and whether two runs differ, when queries about one person are not independent.

Several queries ask for the same person (two captions, four sketches), and a person who is easy to find is easy with
each of them. So people are drawn, not queries: the bootstrap resamples identities with all their queries, and the
paired test exchanges the two runs within whole identities.

Letters: Q queries, C identities (clusters), M measures, B draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ..errors import UsageError
from ..metrics import Ranks

DRAWS = 2000
FLIPS = 10_000
CELLS = 4_000_000
MEASURES = ("R@1", "R@5", "R@10", "mAP", "mINP")


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over queries and the range that covers the truth in `level` of repetitions with other people."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """Run A minus run B. difference, low, high: of the means, in the measure's unit. p: two-sided, of no difference.

    At p < 0.05 a difference is claimed in at most 5 % of comparisons between runs that do not differ.
    """

    difference: float
    low: float
    high: float
    p: float
    identities: int


def measures(ranks: Ranks, missing: str = "miss") -> dict[str, np.ndarray]:
    """Measure → (Q,) value of each query in percent; nan where the query does not count in it.

    The mean of each over the queries that count is the figure that `Ranks.as_dict` gives. missing: as in
    `metrics.rank`.
    """
    found = ranks.first > 0
    out = {f"R@{k}": np.where(found, 100.0 * (ranks.first <= k), 0.0) for k in (1, 5, 10)}
    if missing == "drop":
        out = {name: np.where(found, value, np.nan) for name, value in out.items()}
    return out | {"mAP": 100.0 * ranks.ap, "mINP": 100.0 * ranks.inp}


def intervals(
    values: Mapping[str, np.ndarray],
    identities: Sequence[int] | np.ndarray,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """Measure → mean and interval by bootstrap over identities, the same draws for every measure.

    values: measure → (Q,), nan where a query does not count. identities: (Q,). The percentile interval is widened by
    the factor sqrt(C / (C − 1)), which the bootstrap of C identities is too narrow by. Where every query has 0 or every
    one 100, no draw differs, and the exact binomial limit for C identities is given instead. Raises UsageError for
    fewer than two identities or a level outside 0 … 1.
    """
    if not 0 < level < 1:
        raise UsageError(f"level={level} was given; allowed is a share between 0 and 1, such as 0.95")
    sums, counts = _clustered(values, identities)
    means = _ratio(sums.sum(axis=0), counts.sum(axis=0))
    drawn = _bootstrap(sums, counts, draws, seed)
    low, high = _expanded(drawn, len(sums), level)
    unseen = 100.0 * (1 - ((1 - level) / 2) ** (1 / len(sums)))
    low, high = np.where(means == 100, 100 - unseen, low), np.where(means == 0, unseen, high)
    return {name: Interval(float(means[i]), float(low[i]), float(high[i])) for i, name in enumerate(values)}


def paired(
    a: np.ndarray,
    b: np.ndarray,
    identities: Sequence[int] | np.ndarray | None = None,
    flips: int = FLIPS,
    draws: int = DRAWS,
    seed: int = 0,
) -> Paired:
    """Whether two runs differ on the same queries: sign-flip (permutation) test over identities, interval by bootstrap.

    a, b: (Q,) values of one measure; a query that does not count in either (nan) is left out.
    identities: (Q,); each query is another person's when left out. Under the null hypothesis
    nothing tells the runs apart for any identity, so all exchanges of A and B within identities are equally likely; p
    is (1 + exchanges at least as extreme) / (1 + flips), which keeps the level exactly for any shape of the values.
    """
    gap = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    sums, counts = _clustered({"gap": gap}, np.arange(len(gap)) if identities is None else identities)
    total = counts.sum()
    observed = float(sums.sum() / total)
    rng = np.random.default_rng(seed)
    extreme, rows = 0, max(1, CELLS // len(sums))
    reached = abs(float(sums.sum())) * (1 - 1e-9)
    for begin in range(0, flips, rows):
        signs = rng.integers(0, 2, (min(rows, flips - begin), len(sums)), dtype=np.int8)
        extreme += int((np.abs(2.0 * (signs @ sums[:, 0]) - sums.sum()) >= reached).sum())
    low, high = _expanded(_bootstrap(sums, counts, draws, seed), len(sums), 0.95)
    return Paired(observed, float(low[0]), float(high[0]), (1 + extreme) / (1 + flips), len(sums))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values after Holm's correction for having looked at all of them: the chance of one false claim among all ≤
    level.
    """
    order = np.argsort(ps, kind="stable")
    out, worst = [0.0] * len(ps), 0.0
    for nth, i in enumerate(order):
        worst = max(worst, min(1.0, (len(ps) - nth) * ps[i]))
        out[i] = worst
    return out


def over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float | None]]:
    """Measure → mean and standard deviation (n − 1) over runs with other seeds; None for a single run."""
    if not runs:
        raise UsageError("no runs were given; give the figures of at least one")
    table = {name: np.array([run[name] for run in runs], np.float64) for name in runs[0]}
    return {k: (float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else None) for k, v in table.items()}


def _clustered(
    values: Mapping[str, np.ndarray], identities: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(C, M) sums and counts of the values that count."""
    table = np.stack([np.asarray(v, np.float64) for v in values.values()], axis=1)
    if len(table) != len(identities):
        raise UsageError(
            f"{len(table)} values and {len(identities)} identities were given; there must be one for each query"
        )
    counted = np.isfinite(table)
    kept = counted.any(axis=1)
    names, of = np.unique(np.asarray(identities)[kept], return_inverse=True)
    if len(names) < 2:
        raise UsageError(f"queries of at least two identities are needed to say how sure a figure is; got {len(names)}")
    sums, counts = np.zeros((2, len(names), table.shape[1]))
    np.add.at(sums, of, np.where(counted, table, 0.0)[kept])
    np.add.at(counts, of, counted[kept].astype(np.float64))
    return sums, counts


def _bootstrap(sums: np.ndarray, counts: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """(B, M) means over identities drawn with replacement, with all their queries."""
    rng, people = np.random.default_rng(seed), len(sums)
    out, rows = [], max(1, CELLS // people)
    for begin in range(0, draws, rows):
        b = min(rows, draws - begin)
        chosen = rng.integers(people, size=(b, people)) + people * np.arange(b)[:, None]
        times = np.bincount(chosen.ravel(), minlength=b * people).reshape(b, people).astype(np.float64)
        out.append(_ratio(times @ sums, times @ counts))
    return np.concatenate(out)


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    value: np.ndarray = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return value


def _expanded(drawn: np.ndarray, people: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of the draws at a level slightly beyond the asked one, which makes up for the bootstrap's n in place of
    n − 1.
    """
    normal = NormalDist()
    tail = normal.cdf(-normal.inv_cdf((1 + level) / 2) * (people / (people - 1)) ** 0.5)
    low, high = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
    return low, high
