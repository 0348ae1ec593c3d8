"""Benchmark → similarity → metrics. The queries go through the same path as those of a searcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .embed import Model
from .errors import UsageError
from .metrics import Ranks, rank
from .records import Benchmark


@dataclass(frozen=True)
class Evaluation:
    """One benchmark answered by one model in one way of composing. ranks: in percent, and per query."""

    benchmark: str
    composition: str
    ranks: Ranks
    probes: int
    photos: int
    fingerprint: str

    def as_row(self) -> dict[str, Any]:
        """Plain values for a table, JSON or CSV."""
        figures = {k: round(v, 2) for k, v in self.ranks.as_dict().items()}
        sizes = {"probes": self.probes, "photos": self.photos, "without_relevant": self.ranks.without_relevant}
        return {"benchmark": self.benchmark, "composition": self.composition} | figures | sizes | {"data": self.fingerprint[:16]}


def similarity(model: Model, bench: Benchmark, composition: str | None = None, photos: np.ndarray | None = None) -> np.ndarray:
    """(probes, photos) float32 cosine of each probe's query with each photograph. photos: their embeddings, if at hand."""
    gallery = model.embed_images([p.path for p in bench.photos]) if photos is None else photos
    queries = model.embed_queries([p.query for p in bench.probes], composition)
    return queries @ gallery.T


def relevance(bench: Benchmark) -> tuple[np.ndarray, np.ndarray]:
    """(probes, photos) bool, twice: photographs of the probe's person, and those that do not count for it."""
    people = np.array([p.pid for p in bench.photos])
    relevant = np.array([p.pid for p in bench.probes])[:, None] == people[None, :]
    ignored = np.zeros_like(relevant)
    for i, probe in enumerate(bench.probes):
        ignored[i, list(probe.ignore)] = True
    return relevant, ignored


def evaluate(
    model: Model, bench: Benchmark, composition: str | None = None, photos: np.ndarray | None = None, missing: Any = "miss"
) -> Evaluation:
    """Rank metrics of a model on one benchmark. A query without a relevant photograph counts as a miss in R@k."""
    scores = similarity(model, bench, composition, photos)
    relevant, ignored = relevance(bench)
    ranks = rank(scores, relevant, ignored if ignored.any() else None, missing)
    how = composition or (model.composition() if "+" in bench.probes[0].query.kind else "")
    return Evaluation(bench.name, how, ranks, len(bench.probes), len(bench.photos), bench.fingerprint())


def ways(model: Model, bench: Benchmark) -> list[str | None]:
    """The compositions in which this model can answer this benchmark; empty when it cannot."""
    kind = bench.probes[0].query.kind
    if "+" not in kind:
        return [None] if kind in model.answers else []
    if not set(kind.split("+")) <= model.answers:
        return []
    return ["early", "late", "pseudo"] if kind in model.answers else ["late"]


def evaluate_all(
    model: Model, benchmarks: dict[str, Benchmark] | Any, hear: Callable[[str], None] = lambda line: None
) -> list[Evaluation]:
    """Every benchmark in every way that the model can answer it; photographs are embedded once per gallery."""
    done: dict[Sequence[str], np.ndarray] = {}
    out = []
    for bench in benchmarks.values():
        for how in ways(model, bench):
            paths = tuple(p.path for p in bench.photos)
            if paths not in done:
                hear(f"embedding {len(paths):,} photographs")
                done[paths] = model.embed_images(paths)
            hear(f"{bench.name}{f', {how} fusion' if how else ''}: {len(bench.probes):,} queries")
            out.append(evaluate(model, bench, how, done[paths]))
    if not out:
        asked = ", ".join(benchmarks)
        raise UsageError(f"the model answers {', '.join(sorted(model.answers))}; the data set asks with {asked}")
    return out
