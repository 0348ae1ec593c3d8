"""What a conversation won: shares of an ideal gain and paired tests, with intervals over people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from .simulate import Course


def share_of_gain(
    courses: Sequence[Course], ideal: Sequence[Course], k: int = 1, samples: int = 2000, seed: int = 0
) -> dict[str, float]:
    """How much of the ideal gain in R@k was reached, with a 95 % bootstrap interval over people (seeds of one go
    together). Raises DataError where the ideal itself gains nothing: a share of that would say anything."""
    start = np.mean([c.ranks[0] <= k for c in courses], axis=0)
    end = np.mean([c.ranks[-1] <= k for c in courses], axis=0)
    best = np.mean([c.ranks[-1] <= k for c in ideal], axis=0)
    if best.mean() <= start.mean():
        raise DataError(
            f"the ideal ends at R@{k} {100 * best.mean():.1f} and began at {100 * start.mean():.1f}: "
            "there is no gain to take a share of"
        )
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(start), size=(samples, len(start)))
    gained, possible = (end - start)[draws].mean(axis=1), (best - start)[draws].mean(axis=1)
    low, high = np.nanquantile(gained / np.where(possible > 0, possible, np.nan), [0.025, 0.975])
    return {
        "start": 100 * float(start.mean()),
        "end": 100 * float(end.mean()),
        "ideal": 100 * float(best.mean()),
        "share": float((end - start).mean() / (best - start).mean()),
        "low": float(low),
        "high": float(high),
    }


def paired(a: np.ndarray, b: np.ndarray, samples: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Mean of a − b over people with a 95 % bootstrap interval, and a two-sided p by random signs (permutation
    test)."""
    gap = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    rng = np.random.default_rng(seed)
    means = np.array([gap[rng.integers(len(gap), size=len(gap))].mean() for _ in range(2000)])
    flips = np.array([np.abs((gap * rng.choice((-1.0, 1.0), len(gap))).mean()) for _ in range(samples)])
    low, high = np.quantile(means, [0.025, 0.975])
    p = (1 + int((flips >= abs(gap.mean()) - 1e-12).sum())) / (samples + 1)
    return {"difference": float(gap.mean()), "low": float(low), "high": float(high), "p": p}
