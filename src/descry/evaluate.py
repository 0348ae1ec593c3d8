"""Benchmark → ranks → metrics, with the ranking that searches use: `search` makes the terms and the scores.

Nothing of size probes × photographs is kept: scores are formed and ranked a block of probes at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .data.leaks import Leaks, without_leaks
from .embed import Model
from .errors import DataError, UsageError
from .language import read
from .metrics import Ranks, rank_people, summarise
from .query import Query
from .ranking import SERVED, Composition, Ranking, ranking_of
from .records import Benchmark, Probe
from .search import Memo, score_all, stored, terms_of, usable


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


@dataclass(frozen=True, eq=False)
class Embedded:
    """The photographs of a benchmark, embedded once, as a gallery stores them.

    Attributes:
        vectors: (N, D) float32, of the precision that a gallery keeps.
        pids: (N,) whose photograph each is.
    """

    vectors: np.ndarray
    pids: np.ndarray

    @classmethod
    def of(cls, model: Any, bench: Benchmark, progress: Callable[[int], None] | None = None) -> Embedded:
        """Embed the photographs of a benchmark. progress: called with the number done."""
        paths = [p.path for p in bench.photos]
        vectors = model.embed_images(paths, progress=progress) if progress else model.embed_images(paths)
        return cls.from_vectors(vectors, bench)

    @classmethod
    def from_vectors(cls, vectors: np.ndarray, bench: Benchmark) -> Embedded:
        """From (N, D) embeddings in the benchmark's order."""
        return cls(stored(vectors), np.array([p.pid for p in bench.photos]))


def _decided(query: Query) -> Query:
    """The query; with its words as they are where none of them can be decided, since a caption has to be answered."""
    texts = [part.value for part in query.wanted]
    understood = not texts or any(said.phrases or not said.negated for said in map(read, texts))
    return query if understood else replace(query, verbatim=True)


def scores_of(
    model: Any,
    probes: Sequence[Probe],
    photos: Embedded,
    ranking: Ranking | None = None,
    memo: Memo | None = None,
    verbatim: bool = False,
) -> np.ndarray:
    """(Q, N) scores of every probe with every photograph, those that a gallery of the photographs ranks by.

    ranking: the model's own unless given. memo: for vectors that several calls share. verbatim: captions as they are,
    negations included (the papers' protocol).
    """
    ranking = ranking or ranking_of(model)
    queries = [replace(p.query, verbatim=True) if verbatim else _decided(p.query) for p in probes]
    return score_all(photos.vectors, terms_of(model, queries, ranking, memo), ranking.formula)


def probes_of(bench: Benchmark, pids: Sequence[int]) -> list[Probe]:
    """The first probe of each person, in the order of pids; DataError when someone has none."""
    first = {p.pid: p for p in reversed(bench.probes)}
    missing = [pid for pid in pids if pid not in first]
    if missing:
        raise DataError(f"the benchmark {bench.name!r} has no probe of {len(missing)} people, such as {missing[0]}")
    return [first[pid] for pid in pids]


def evaluate(
    model: Any,
    bench: Benchmark,
    composition: Composition | str | None = None,
    photos: Embedded | np.ndarray | None = None,
    missing: Any = "miss",
    verbatim: bool = False,
    memo: Memo | None = None,
    formula: Any = None,
) -> Evaluation:
    """Rank metrics of a model on one benchmark. A query without a relevant photograph counts as a miss in R@k.

    composition: how pictures and words are joined, by name or as a value; None or "served": the model's own.
    photos: the benchmark's photographs, or their (N, D) embeddings, if at hand. missing: as in `metrics.rank`.
    verbatim, memo: as in `scores_of`. formula: other constants than the model's.
    """
    served = composition is None or composition == SERVED
    ranking = ranking_of(model).using(None if served else composition)
    ranking = replace(ranking, formula=formula) if formula else ranking
    if photos is None:
        photos = Embedded.of(model, bench)
    elif not isinstance(photos, Embedded):
        photos = Embedded.from_vectors(photos, bench)
    memo = memo or Memo()
    known = photos

    def block(start: int, stop: int) -> np.ndarray:
        return scores_of(model, bench.probes[start:stop], known, ranking, memo, verbatim)

    return judged(bench, block, _named(model, bench, ranking, served), missing)


def _named(model: Any, bench: Benchmark, ranking: Ranking, served: bool) -> str:
    """What the way of composing is called in a result: "served" where the model's own was chosen on validation."""
    if "+" not in bench.probes[0].query.kind:
        return ""
    if served and model.config.get("composition"):
        return SERVED
    return usable(model, ranking).composition.how


def judged(bench: Benchmark, scores: Any, composition: str = "", missing: Any = "miss") -> Evaluation:
    """The metrics of any method's scores: (probes, photographs), larger is nearer, in the benchmark's order; or as a
    pair of (probes, D) and (photographs, D) vectors, or a function of rows (see `metrics.rank_people`). Raises
    UsageError for another shape.
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
        if slash and run.isdecimal():
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
    named: list[str | None] = ["early", "late", "pseudo"] if kind in model.answers else ["late"]
    return [*named, SERVED] if model.config.get("composition") else named


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
