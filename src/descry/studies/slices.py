"""Where a result is strong and where weak: the same metrics over parts of the queries.

A part is a value of the probe's group (a sketch's style, a sentence's completeness), of a plain attribute, of the
camera that took the query's photograph, or a range of caption lengths.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UsageError
from ..evaluate import Evaluation
from ..records import Benchmark, Probe
from .intervals import DRAWS, intervals, measures

LENGTHS = ((0, 10), (11, 20), (21, 30), (31, 50), (51, 10**9))
MOST_VALUES = 20
FEWEST = 10  # identities; of fewer a bootstrap says nothing that can be trusted


def labels(bench: Benchmark) -> dict[str, list[str]]:
    """Name of the slice → the value of each probe ("" for none), for the slices that divide these probes."""
    camera = {p.path: p.camera for p in bench.photos}
    out = {
        "group": [p.group for p in bench.probes],
        "caption length": [_length(p) for p in bench.probes],
        "camera": [next((camera.get(str(x.value), "") for x in p.query.photos), "") for p in bench.probes],
    }
    for name in sorted({k for p in bench.probes for k, v in p.attributes.items() if isinstance(v, (str, bool, int))}):
        values = [p.attributes.get(name, "") for p in bench.probes]
        out[name] = [str(v) if isinstance(v, (str, bool, int)) else "" for v in values]
    return {k: v for k, v in out.items() if 2 <= len({x for x in v if x}) <= MOST_VALUES}


def slices(bench: Benchmark, evaluation: Evaluation, draws: int = DRAWS) -> list[dict[str, Any]]:
    """A row of plain values for each part of the queries: slice, value, queries, identities, measures, intervals.

    Raises UsageError when the evaluation is not of this benchmark.
    """
    if evaluation.probes != len(bench.probes):
        raise UsageError(f"the evaluation has {evaluation.probes} queries, the benchmark {len(bench.probes)}")
    figures, rows = measures(evaluation.ranks), []
    for name, values in labels(bench).items():
        for value in _ordered(values):
            chosen = np.array([v == value for v in values])
            whose = evaluation.identities[chosen]
            part = {k: v[chosen] for k, v in figures.items()}
            people = len(np.unique(whose))
            sure = intervals(part, whose, draws=draws) if people >= FEWEST else {}
            rows.append(
                {"benchmark": bench.name, "composition": evaluation.composition, "slice": name, "value": value}
                | {"queries": int(chosen.sum()), "identities": people}
                | {k: _mean(v) for k, v in part.items()}
                | {"intervals": {k: [round(i.low, 2), round(i.high, 2)] for k, i in sure.items()}}
            )
    return rows


def _mean(values: np.ndarray) -> float | None:
    counted = values[np.isfinite(values)]
    return round(float(counted.mean()), 2) if len(counted) else None


def _length(probe: Probe) -> str:
    words = sum(len(str(p.value).split()) for p in probe.query.wanted)
    if not words:
        return ""
    return _range(next(r for r in LENGTHS if words <= r[1]))


def _ordered(values: list[str]) -> list[str]:
    """Without the empty one; ranges of lengths by length, names by alphabet."""
    found = {v for v in values if v}
    lengths = [_range(r) for r in LENGTHS]
    return sorted(found, key=lambda v: (lengths.index(v) if v in lengths else 0, v))


def _range(bounds: tuple[int, int]) -> str:
    low, high = bounds
    return (
        f"over {low - 1} words" if high == LENGTHS[-1][1] else f"{low}-{high} words" if low else f"up to {high} words"
    )
