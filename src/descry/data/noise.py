"""Wrong pairs on purpose: how much a method suffers from captions that stand beside the wrong photograph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import UsageError
from ..records import Dataset


def with_wrong_pairs(data: Dataset, rate: float, seed: int = 0) -> Dataset:
    """The data set in which a share of the training captions is shuffled among their rows, as RDE's study does it.

    Args:
        data: benchmarks stay as they are.
        rate: 0 to 1; int(rate · N) of the N rows with a caption take part. A few may get their own caption back.
        seed: of the choice and the shuffle.

    Raises:
        UsageError: for a rate outside 0 … 1.
    """
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f"wrong_pairs={rate:g} was given; allowed: a share from 0 to 1, as in wrong_pairs=0.2")
    told = [i for i, row in enumerate(data.train) if row.caption]
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(told)[: int(rate * len(told))]
    rows = list(data.train)
    for to, source in zip(chosen, rng.permutation(chosen), strict=True):
        given = data.train[source]
        rows[to] = replace(rows[to], caption=given.caption, back_translation=given.back_translation)
    note = f"{data.source}; wrong_pairs={rate:g}, seed {seed}" if rate else data.source
    return replace(data, train=tuple(rows), source=note)
