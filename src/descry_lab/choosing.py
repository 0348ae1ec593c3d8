"""Choosing on validation: how parts are composed, and the constants of the formula. Test people only see the winner.

Learned and training-free compositions stand in one table, each with the paired test against the best of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from descry.drawing.person import Person, held
from descry.evaluate import Embedded, evaluate, scores_of
from descry.interact.questions import Question
from descry.language import added, parse
from descry.metrics import Ranks
from descry.ranking import COMPOSITIONS, Composition, Formula, ranking_of
from descry.records import Benchmark
from descry.search import Memo, Term, after_phrase, phrase_term, phrase_vectors, weighed_evidence
from descry.studies.intervals import paired

from .simulation import World, simulate
from .witness import FAITHFUL, Habits

SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)
TOP = 20


@dataclass(frozen=True, eq=False)
class Line:
    """One composition on one benchmark. against: the paired test of its average precision against the winner's."""

    composition: Composition
    ranks: Ranks
    against: Mapping[str, float] | None = None


def compositions(hows: Iterable[str] = COMPOSITIONS) -> list[Composition]:
    """The compositions worth comparing: each way with its shares."""
    out = []
    for how in hows:
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


def tuned(
    world: World,
    grid: Mapping[str, Sequence[float]],
    habits: Sequence[Habits] = (FAITHFUL, Habits(err=0.2, forget=0.2)),
    rounds: int = 5,
    seeds: int = 1,
) -> tuple[Formula, list[tuple[dict[str, float], float]]]:
    """The constants under which questions by gain help most on validation: mean reciprocal rank at the end, over
    habits.

    grid: constant of Formula → values. → the formula and every (constants, figure), best first.
    """
    table = []
    for values in product(*grid.values()):
        constants = dict(zip(grid, values, strict=True))
        formula = replace(world.ranking.formula, **constants)  # type: ignore[arg-type]
        tried = replace(world, ranking=replace(world.ranking, formula=formula))
        ends = [simulate(tried, "gain", h, rounds, s).ranks[-1] for h in habits for s in range(seeds)]
        table.append((constants, float(np.mean([np.mean(1 / r) for r in ends]))))
    table.sort(key=lambda row: -row[1])
    return replace(world.ranking.formula, **table[0][0]), table  # type: ignore[arg-type]


def negation(
    model: Any,
    bench: Benchmark,
    photos: Embedded,
    people: Mapping[int, Person],
    questions: Sequence[Question],
    probes: int = 200,
) -> list[dict[str, Any]]:
    """What "no X" does to the share of X among the first twenty, for every X that 30 to 70 % of the people hold.

    Each row: the share before, with NOT X in the formula, and with the words "no X" given to the encoder as a wanted
    phrase; and the 95 % interval of the share that NOT leaves, and of NOT minus negated English, over probes.
    """
    facts = {pid: held(people[pid]) for pid in photos.pids.tolist()}
    asked = [(q, np.array([facts[p].get(q.attribute) in q.values for p in photos.pids.tolist()])) for q in questions]
    asked = [(q, has) for q, has in asked if 0.3 <= has.mean() <= 0.7]
    ranking = ranking_of(model)
    start = scores_of(model, bench.probes[:probes], photos)
    unwanted = phrase_vectors(model, [q.phrase for q, _ in asked])
    english = model.embed_texts([_negated(q.phrase) for q, _ in asked])
    rows = []
    for (question, has), no, words in zip(asked, unwanted, english, strict=True):
        shares = {"before": _share(start, has)}
        for name, term in (
            ("NOT", phrase_term(question.phrase, no, ranking, wanted=False)),
            ("negated English", Term("text", question.phrase, 1.0, words, "evidence")),
        ):
            z = _standard(photos.vectors @ term.vector)
            part = weighed_evidence(z, ranking.formula, term.shape == "evidence", term.curve, term.strength)
            shares[name] = _share(np.stack([after_phrase(s, part, ranking.formula) for s in start]), has)
        rows.append({"key": question.key, "held by": float(has.mean()), **_intervals(shares)})
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


def _intervals(shares: Mapping[str, np.ndarray], samples: int = 2000) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    n = len(shares["before"])
    draws = rng.integers(n, size=(samples, n))
    before, no, english = (shares[k][draws].mean(axis=1) for k in ("before", "NOT", "negated English"))
    left = np.quantile(no / np.maximum(before, 1e-9), [0.025, 0.975])
    gap = np.quantile(no - english, [0.025, 0.975])
    means = {k: float(v.mean()) for k, v in shares.items()}
    return means | {
        "left": means["NOT"] / max(means["before"], 1e-9),
        "left, interval": [float(x) for x in left],
        "NOT minus English, interval": [float(x) for x in gap],
    }
