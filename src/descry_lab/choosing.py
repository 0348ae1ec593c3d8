"""Choosing on validation: how parts are composed, and the constants of the formula. Test people only see the winner.

Learned and training-free compositions stand in one table, each with the paired test against the best of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from descry.drawing.person import Person
from descry.evaluate import Embedded, evaluate, scores_of
from descry.interact.absence import auroc
from descry.interact.questions import Question
from descry.language import added, parse
from descry.metrics import Ranks
from descry.ranking import COMPOSITIONS, Composition, Formula, ranking_of
from descry.records import Benchmark
from descry.search import Memo, Term, after_phrase, phrase_term, phrase_vectors, weighed_evidence
from descry.studies.intervals import paired
from descry_people.person import held

from .simulation import World, nearest_ranks, simulate
from .witness import FAITHFUL, Habits

SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)
TOP = 20


@dataclass(frozen=True, eq=False)
class Line:
    """One composition on one benchmark. against: the paired test of its average precision against the winner's."""

    composition: Composition
    ranks: Ranks
    against: Mapping[str, float] | None = None


def compositions() -> list[Composition]:
    """The compositions worth comparing: each way with its shares."""
    out = []
    for how in COMPOSITIONS:
        shares = SHARES if how in ("late", "sum", "slerp", "ranks", "pseudo") else (0.5,)
        early = (0.3, 0.5, 0.7) if how == "early+late" else (0.5,)
        out += [Composition(how, text=text, early=e) for text, e in product(shares, early)]
    return out


def compare(
    model: Any, bench: Benchmark, photos: Embedded, candidates: Sequence[Composition], formula: Formula | None = None
) -> list[Line]:
    """Every candidate on a benchmark of sketch and words, best average precision first; the photographs that a probe
    ignores are left out, as in `evaluate`. formula: the model's own unless given.
    """
    memo = Memo(limit=1 << 20)
    lines = [Line(c, evaluate(model, bench, c, photos, memo=memo, formula=formula).ranks) for c in candidates]
    lines.sort(key=lambda line: -line.ranks.map)
    best, pids = lines[0].ranks.ap, [probe.pid for probe in bench.probes]
    return [lines[0], *(replace(line, against=asdict(paired(line.ranks.ap, best, pids))) for line in lines[1:])]


def chipped(bench: Benchmark) -> Benchmark:
    """The same benchmark with every sentence read into chips: what a searcher's words become before they are
    composed."""
    probes = []
    for probe in bench.probes:
        chips = [c for part in probe.query.wanted for c in parse(part.value)]
        query = added(probe.query.replace(wanted=()), chips) if chips else probe.query
        probes.append(replace(probe, query=query))
    return replace(bench, name=f"{bench.name}, chips", probes=tuple(probes))


def tuned(world: World, grid: Mapping[str, Sequence[float]]) -> tuple[Formula, list[tuple[dict[str, float], float]]]:
    """The constants under which five questions by gain help most on validation: mean reciprocal rank at the end, over a
    faithful witness and one who errs and forgets.

    grid: constant of Formula → values. → the formula and every (constants, figure), best first.
    """
    table = []
    for values in product(*grid.values()):
        constants = dict(zip(grid, values, strict=True))
        formula = replace(world.ranking.formula, **constants)  # type: ignore[arg-type]
        tried = replace(world, ranking=replace(world.ranking, formula=formula))
        ends = [simulate(tried, "gain", habits).ranks[-1] for habits in (FAITHFUL, Habits(err=0.2, forget=0.2))]
        table.append((constants, float(np.mean([np.mean(1 / r) for r in ends]))))
    table.sort(key=lambda row: -row[1])
    return replace(world.ranking.formula, **table[0][0]), table  # type: ignore[arg-type]


def negation(
    model: Any,
    bench: Benchmark,
    photos: Embedded,
    people: Mapping[int, Person],
    questions: Sequence[Question],
) -> list[dict[str, Any]]:
    """What "no X" does to the share of X among the first twenty, for every X that 30 to 70 % of the people hold.

    Each row: how well X is told apart (AUROC); the share before, with NOT X in the formula, with NOT X in version 1 of
    the formula, which weighed every NOT alike, and with the words "no X" given to the encoder as a wanted phrase; the
    95 % interval of the share that NOT leaves, and of NOT minus negated English, over probes; and the ranks of the
    people without X, of whom the NOT is true: their median, and the mean factor by which NOT multiplies them.
    """
    facts = {pid: held(people[pid]) for pid in photos.pids.tolist()}
    asked = [(q, np.array([facts[p].get(q.attribute) in q.values for p in photos.pids.tolist()])) for q in questions]
    asked = [(q, has) for q, has in asked if 0.3 <= has.mean() <= 0.7]
    ranking = ranking_of(model)
    alike = replace(ranking, formula=replace(ranking.formula, version=1))
    start = scores_of(model, bench.probes, photos)
    relevant = np.array([p.pid for p in bench.probes])[:, None] == photos.pids[None, :]
    unwanted = phrase_vectors(model, [q.phrase for q, _ in asked])
    english = model.embed_texts([_negated(q.phrase) for q, _ in asked])
    rows = []
    for (question, has), no, words in zip(asked, unwanted, english, strict=True):
        after = {"before": start}
        for name, term, how in (
            ("NOT", phrase_term(question.phrase, no, ranking, wanted=False), ranking.formula),
            ("version 1", phrase_term(question.phrase, no, alike, wanted=False), alike.formula),
            ("negated English", Term("text", question.phrase, 1.0, words, "evidence"), ranking.formula),
        ):
            z = _standard(photos.vectors @ term.vector)
            part = weighed_evidence(z, how, term.shape == "evidence", term.curve, term.strength)
            after[name] = np.stack([after_phrase(s, part, how) for s in start])
        seen = photos.vectors @ no
        row = {"key": question.key, "held by": float(has.mean()), "AUROC": auroc(seen[has], seen[~has])}
        true = ~has[relevant.argmax(axis=1)]
        ranks = {name: nearest_ranks(after[name][true], relevant[true]) for name in ("before", "NOT", "version 1")}
        rows.append(row | _intervals({name: _share(s, has) for name, s in after.items()}) | _medians(ranks))
    return rows


def _standard(similarity: np.ndarray) -> np.ndarray:
    return np.asarray((similarity - similarity.mean()) / max(float(similarity.std()), 1e-6), np.float32)


def _negated(phrase: str) -> str:
    words = phrase.split()
    return f"no {' '.join(words[1:] if words[0] in ('a', 'an') else words)}"


def _share(scores: np.ndarray, has: np.ndarray) -> np.ndarray:
    """(Q, N), (N,) → (Q,) the share of the first twenty that hold it."""
    best = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
    value: np.ndarray = has[best].mean(axis=1)
    return value


def _intervals(shares: Mapping[str, np.ndarray]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    n = len(shares["before"])
    draws = rng.integers(n, size=(2000, n))
    before, no, english = (shares[k][draws].mean(axis=1) for k in ("before", "NOT", "negated English"))
    left = np.quantile(no / np.maximum(before, 1e-9), [0.025, 0.975])
    gap = np.quantile(no - english, [0.025, 0.975])
    means = {k: float(v.mean()) for k, v in shares.items()}
    return means | {
        "left": means["NOT"] / max(means["before"], 1e-9),
        "left, interval": [float(x) for x in left],
        "left, version 1": means["version 1"] / max(means["before"], 1e-9),
        "NOT minus English, interval": [float(x) for x in gap],
    }


def _medians(ranks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Median ranks, what NOT adds to the median, and the geometric mean of what it multiplies each rank by; with 95 %
    intervals over people."""
    n = len(ranks["before"])
    draws = np.random.default_rng(0).integers(n, size=(2000, n))
    gaps = np.median(ranks["NOT"][draws], axis=1) - np.median(ranks["before"][draws], axis=1)
    doublings = np.log2(ranks["NOT"] / ranks["before"])
    found: dict[str, Any] = {f"median rank, {name}": float(np.median(r)) for name, r in ranks.items()}
    return found | {
        "people without": n,
        "median rank, interval": np.quantile(gaps, [0.025, 0.975]).tolist(),
        "rank, factor": float(2 ** doublings.mean()),
        "rank, factor, interval": (2 ** np.quantile(doublings[draws].mean(axis=1), [0.025, 0.975])).tolist(),
    }
