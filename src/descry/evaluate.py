"""Benchmark → similarity → metrics. The queries are embedded by the path of a searcher's.

"early", "late" and "pseudo" join sketch and words into one vector; "served" is what a gallery of it does: terms,
weights and formula included. Nothing of size probes × photographs is kept but for "served": similarities are formed and
ranked a block of rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .data.leaks import Leaks, without_leaks
from .embed import Model
from .errors import UsageError
from .interact.worlds import Embedded, base_scores
from .metrics import Ranks, rank_people, summarise
from .records import Benchmark


@dataclass(frozen=True)
class Evaluation:
    """One benchmark answered by one model in one way of composing.

    ranks: in percent, and per query. identities: (Q,) whose query each is, for intervals and paired tests. note: what
    sets it apart from the benchmark as it is, such as "without leaked identities" or "mean of 2 runs"; "" for nothing.
    """

    benchmark: str
    composition: str
    ranks: Ranks
    probes: int
    photos: int
    fingerprint: str
    identities: np.ndarray
    note: str = ""

    def as_row(self) -> dict[str, Any]:
        """Plain values for a table, JSON or CSV."""
        figures = {k: round(v, 2) for k, v in self.ranks.as_dict().items()}
        sizes = {"probes": self.probes, "photos": self.photos, "without_relevant": self.ranks.without_relevant}
        return (
            {"benchmark": self.benchmark, "composition": self.composition}
            | figures
            | sizes
            | {"data": self.fingerprint[:16], "note": self.note}
        )


def similarity(
    model: Model, bench: Benchmark, composition: str | None = None, photos: np.ndarray | None = None
) -> np.ndarray:
    """(probes, photos) float32 cosine of each probe's query with each photograph. photos: their embeddings, if at
    hand.
    """
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
    model: Model,
    bench: Benchmark,
    composition: str | None = None,
    photos: np.ndarray | None = None,
    missing: Any = "miss",
) -> Evaluation:
    """Rank metrics of a model on one benchmark. A query without a relevant photograph counts as a miss in R@k.

    composition: "early", "late", "pseudo" or "served". photos: (G, D) embeddings of the benchmark's photographs, if at
    hand. missing: as in `metrics.rank`.
    """
    gallery = model.embed_images([p.path for p in bench.photos]) if photos is None else photos
    if composition == "served":
        scores, _ = base_scores(model, bench, Embedded(gallery, np.array([p.pid for p in bench.photos])))
        return judged(bench, scores, composition, missing)
    queries = model.embed_queries([p.query for p in bench.probes], composition)
    how = composition or (model.composition() if "+" in bench.probes[0].query.kind else "")
    return judged(bench, (queries, gallery), how, missing)


def judged(bench: Benchmark, scores: Any, composition: str = "", missing: Any = "miss") -> Evaluation:
    """The metrics of any method's scores: (probes, photographs), larger is nearer, in the benchmark's order; or as a
    pair of (probes, D) and (photographs, D) vectors. Raises UsageError for another shape.
    """
    asked = np.array([p.pid for p in bench.probes])
    people = np.array([p.pid for p in bench.photos])
    ranks = rank_people(scores, asked, people, [p.ignore for p in bench.probes], missing)
    return Evaluation(bench.name, composition, ranks, len(asked), len(people), bench.fingerprint(), asked)


def averaged(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """For benchmarks that are runs of one, "NAME/1", "NAME/2" … (PKU-Sketch: a person's sentences), the mean of the
    runs.

    The queries of all runs together have that mean when the runs are equally long; runs that are not are left alone.
    """
    groups: dict[tuple[str, str, str], list[Evaluation]] = {}
    for e in evaluations:
        name, slash, run = e.benchmark.rpartition("/")
        if slash and run.isdigit():
            groups.setdefault((name, e.composition, e.note), []).append(e)
    out = []
    for (name, how, note), runs in groups.items():
        if len(runs) < 2 or len({r.probes for r in runs}) > 1:
            continue
        first, ap, inp = (np.concatenate([getattr(r.ranks, k) for r in runs]) for k in ("first", "ap", "inp"))
        ranks = summarise(first, ap, inp, runs[0].photos)
        said = f"{note}; mean of {len(runs)} runs".removeprefix("; ")
        together = "+".join(r.fingerprint[:8] for r in runs)
        whose = np.concatenate([r.identities for r in runs])
        out.append(Evaluation(name, how, ranks, len(first), runs[0].photos, together, whose, said))
    return out


def ways(model: Model, bench: Benchmark) -> list[str | None]:
    """The compositions in which this model can answer this benchmark; empty when it cannot."""
    kind = bench.probes[0].query.kind
    if "+" not in kind:
        return [None] if kind in model.answers else []
    if not set(kind.split("+")) <= model.answers:
        return []
    one_vector: list[str | None] = ["early", "late", "pseudo"] if kind in model.answers else ["late"]
    return [*one_vector, "served"] if model.config.get("composition") else one_vector


def evaluate_all(
    model: Model,
    benchmarks: Mapping[str, Benchmark],
    hear: Callable[[str], None] = lambda line: None,
    leaks: Leaks | None = None,
) -> list[Evaluation]:
    """Every benchmark in every way that the model can answer it; each photograph is embedded once.

    leaks: where some of its identities stand in a benchmark, that one is also evaluated without them.
    """
    known: dict[str, np.ndarray] = {}
    out = []
    for bench in benchmarks.values():
        clean = without_leaks(bench, leaks) if leaks else bench
        for how in ways(model, bench):
            new = [p.path for p in bench.photos if p.path not in known]
            if new:
                hear(f"embedding {len(new):,} photographs")
                known |= dict(zip(new, model.embed_images(new), strict=True))
            hear(f"{bench.name}{f', {how} fusion' if how else ''}: {len(bench.probes):,} queries")
            out.append(evaluate(model, bench, how, np.stack([known[p.path] for p in bench.photos])))
            if clean.probes and len(clean.photos) < len(bench.photos):
                found = evaluate(model, clean, how, np.stack([known[p.path] for p in clean.photos]))
                out.append(replace(found, note="without leaked identities"))
    if not out:
        asked = ", ".join(benchmarks)
        raise UsageError(f"the model answers {', '.join(sorted(model.answers))}; the data set asks with {asked}")
    return out + averaged(out)
