"""What NOT and answers do when a model reads an attribute badly: true ones, wrong ones, measured or not.

An attribute that the model reads well is spoilt until present and absent people are told apart only so well (a stated
AUROC): either its labels are exchanged at random, or noise is added to what the model sees. Its curve is measured
on the spoilt validation people, and "no X" and "yes, X" are said of the test people, by the functions that a search
uses. A true one should never worsen the median rank; a wrong one puts nobody from place r behind place
`Formula.worst_place(r)`.

Letters: A attributes, Q people looked for, N photographs of a gallery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from descry.drawing.person import Person
from descry.evaluate import Embedded, scores_of
from descry.interact.absence import auroc
from descry.interact.questions import Question
from descry.ranking import Curve, Formula, Ranking, ranking_of
from descry.records import Benchmark
from descry.search import after_phrase, phrase_vectors, weighed_evidence
from descry_people.person import held

from .simulation import answer_curve, nearest_ranks
from .tables import ROOT, laid_out

AUROCS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SPOILT = ("labels", "reading")
SHOWN = (0.5, 0.7, 0.9, 0.95)
PAGE, FOUND = ROOT / "docs" / "conversation.md", ROOT / "results" / "misread.json"
MARKS = ("<!-- misread: python recipes/misread.py -->", "<!-- end of misread -->")
SAID = {"no": ("true NOT", "wrong NOT"), "yes": ("true yes", "wrong yes")}


@dataclass(frozen=True, eq=False)
class Readings:
    """A gallery with what a model sees of each attribute.

    Attributes:
        z: (A, N) standard scores of the photographs for the attributes' phrases.
        facts: (A, N) bool, whether the attribute holds of the person on the photograph.
        pids: (N,) whose photograph each is.
    """

    z: np.ndarray
    facts: np.ndarray
    pids: np.ndarray

    @classmethod
    def of(cls, model: Any, photos: Embedded, people: Mapping[int, Person], questions: Sequence[Question]) -> Readings:
        """What a model sees of the phrases of questions on photographs of people whose records are known."""
        s = phrase_vectors(model, [q.phrase for q in questions]) @ photos.vectors.T
        shown = [held(people[pid]) for pid in photos.pids.tolist()]
        facts = np.array([[r.get(q.attribute) in q.values for r in shown] for q in questions])
        return cls(standard(s), facts, photos.pids)

    def told_apart(self) -> np.ndarray:
        """(A,) AUROC of each attribute; 0.5 where everybody or nobody holds it."""
        return np.array([_auroc(z, f) for z, f in zip(self.z, self.facts, strict=True)])


def misread(
    known: Readings,
    test: Readings,
    start: np.ndarray,
    pids: np.ndarray,
    ranking: Ranking,
    aurocs: Sequence[float] = AUROCS,
    weight: float = 1.0,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Rows of what was said, how the attribute was spoilt, and what it did to the rank of the person.

    known: validation people, whose labels measure the curves. start: (Q, N) scores over the gallery of `test` before
    anything is said. pids: (Q,) who is looked for. weight: of the phrase. Each row: median rank before and after with
    the 95 % interval of the difference (bootstrap over people), the share of ranks that become ten times worse, and the
    worst rank beside the bound; `over` counts those beyond it.
    """
    rng = np.random.default_rng(seed)
    weights = {"yes": ranking.formula.answer_yes, "no": ranking.formula.answer_no}
    relevant = pids[:, None] == test.pids[None, :]
    own = np.array([np.flatnonzero(row)[0] for row in relevant])
    first = nearest_ranks(start, relevant)
    bound = np.array([ranking.formula.worst_place(place) for place in first.tolist()])
    for how in SPOILT:
        for target in aurocs:
            read = [_spoilt(known, test, a, target, how, rng) for a in range(len(test.z))]
            for measured in (True, False):
                for answer, names in SAID.items():
                    how_much = weight or weights[answer]
                    said = [_said(z, c if measured else None, answer, ranking, how_much) for z, _, c in read]
                    after = np.stack([ranks_after(start, part, relevant, ranking.formula) for part in said])
                    true = np.stack([facts[own] == (answer == "yes") for _, facts, _ in read])
                    for name, told in zip(names, (true, ~true), strict=True):
                        row = {"said": name, "spoilt": how, "AUROC": target, "measured": measured}
                        yield row | _row(first, after, told, bound, rng)


def misread_of(
    model: Any,
    known: tuple[Benchmark, Embedded, Mapping[int, Person]],
    test: tuple[Benchmark, Embedded, Mapping[int, Person]],
    questions: Sequence[Question],
    weight: float = 1.0,
) -> Iterator[dict[str, Any]]:
    """`misread` on two parts of the synthetic benchmark (sketches to begin with), for the attributes that the model
    reads well there (AUROC 0.93) and that 8 to 92 of 100 people hold.

    weight: as in `misread`. Noise is added to the scores of the sketches, so that ranks can move both ways.
    """
    seen = Readings.of(model, known[1], known[2], questions)
    share = seen.facts.mean(axis=1)
    kept = np.flatnonzero((seen.told_apart() > 0.93) & (share > 0.08) & (share < 0.92))
    chosen = [questions[a] for a in kept.tolist()]
    bench, photos, people = test
    scores = standard(scores_of(model, bench.probes, photos))
    scores = standard(scores + np.random.default_rng(0).normal(0, 2.0, scores.shape))
    pids = np.array([p.pid for p in bench.probes])
    readings = (replace(seen, z=seen.z[kept], facts=seen.facts[kept]), Readings.of(model, photos, people, chosen))
    yield from misread(*readings, scores, pids, ranking_of(model), weight=weight)


def _said(z: np.ndarray, curve: Curve | None, answer: str, ranking: Ranking, weight: float) -> np.ndarray:
    """(N,) what one answer gives the photographs, weighed as the ranking weighs a phrase with this curve."""
    one = replace(ranking, curves={} if curve is None else {"it": curve}, prompts={})
    strength, used = one.reading("it", answer == "yes")
    return weighed_evidence(z, one.formula, answer == "yes", used, weight * strength)


def ranks_after(start: np.ndarray, part: np.ndarray, relevant: np.ndarray, formula: Formula) -> np.ndarray:
    """(Q,) ranks after one answer."""
    return nearest_ranks(np.stack([after_phrase(scores, part, formula) for scores in start]), relevant)


def _spoilt(
    known: Readings, test: Readings, a: int, target: float, how: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Curve]:
    """(N,) standard scores and (N,) labels of the test photographs, and the curve measured on the validation ones."""
    z, facts, seen, labels = known.z[a], known.facts[a], test.z[a], test.facts[a]
    if how == "labels":
        draws = _by_person(known.pids, rng), _by_person(test.pids, rng)
        share = _level(lambda p: _auroc(z, facts ^ (draws[0] < p)), target, 0.5)
        facts, labels = facts ^ (draws[0] < share), labels ^ (draws[1] < share)
    else:
        noise = rng.normal(size=z.shape), rng.normal(size=seen.shape)
        level = _level(lambda k: _auroc(z + k * noise[0], facts), target, 60.0)
        z, seen = standard(z + level * noise[0]), standard(seen + level * noise[1])
    return seen, labels, answer_curve(z, facts.astype(float))


def _level(told_apart: Any, target: float, most: float) -> float:
    """The least corruption under which the AUROC has fallen to the target; `most` for 0.5 and below."""
    low, high = 0.0, most
    if target <= 0.5:
        return most
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (middle, high) if told_apart(middle) > target else (low, middle)
    return high


def _by_person(pids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) one draw of 0 … 1 for each person."""
    _, which = np.unique(pids, return_inverse=True)
    return np.asarray(rng.random(which.max() + 1)[which])


def _row(
    first: np.ndarray, after: np.ndarray, told: np.ndarray, bound: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """first, bound: (Q,). after, told: (A, Q). Figures over the cases that `told` selects, people drawn together."""
    before = np.broadcast_to(first, after.shape)
    limit = np.broadcast_to(bound, after.shape)[told]
    interval = spread_of(before, after, told, rng, 400)
    worst = np.argmax(after[told] - before[told])
    return {
        "cases": int(told.sum()),
        "median before": float(np.median(before[told])),
        "median after": float(np.median(after[told])),
        "interval": interval,
        "ten times worse": round(100 * float((after[told] > 10 * before[told]).mean()), 2),
        "worst": [int(before[told][worst]), int(after[told][worst]), int(limit[worst])],
        "over": int((after[told] > limit).sum()),
    }


def spread_of(
    before: np.ndarray, after: np.ndarray, cases: np.ndarray, rng: np.random.Generator, samples: int
) -> list[float]:
    """95 % interval of the difference of the medians over the chosen cases, people drawn together; each is (A, Q)."""
    x, y = np.where(cases, before, np.nan).T, np.where(cases, after, np.nan).T
    draws = rng.integers(len(x), size=(samples, len(x)))
    gaps = [float(np.nanmedian(y[d]) - np.nanmedian(x[d])) for d in draws]
    return [float(end) for end in np.quantile(gaps, [0.025, 0.975])]


def _auroc(values: np.ndarray, facts: np.ndarray) -> float:
    return auroc(values[facts], values[~facts]) if 0 < facts.sum() < len(facts) else 0.5


def standard(values: np.ndarray) -> np.ndarray:
    """Standard scores along the last axis, float64."""
    values = np.asarray(values, np.float64)
    spread = np.maximum(values.std(axis=-1, keepdims=True), 1e-9)
    return np.asarray((values - values.mean(axis=-1, keepdims=True)) / spread)


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The tables of the page, and what all rows say together."""
    heads = {
        "phrase": ("a phrase typed, attribute read with AUROC", "true NOT", "wrong NOT", "true yes", "wrong yes"),
        "answer": ("an answer, attribute read with AUROC", "true no", "wrong no", "true yes", "wrong yes"),
    }
    shown = {
        name: laid_out(head, _lines([r for r in rows if r["as"] == name and r["spoilt"] == "labels"]))
        for name, head in heads.items()
    }
    true = [r for r in rows if r["said"].startswith("true")]
    harm = sum(r["interval"][0] > 0 for r in true)
    higher = [r for r in true if r["median after"] > r["median before"]]
    places = max((r["median after"] - r["median before"] for r in higher), default=0)
    over = sum(r["over"] for r in rows)
    return "\n\n".join(
        [
            shown["phrase"],
            "As an answer to a question, a phrase weighs less, and a wrong one costs less:",
            shown["answer"],
            f"Rows in all: {len(rows)}, with {len(AUROCS)} levels of AUROC. Rows with a true phrase or answer: "
            f"{len(true)}; the median gets worse by more than chance in {harm} of them, and is higher at all in "
            f"{len(higher)} (by {places:g} places at most). Searches that ended below place 3 r + 40: {over}.",
        ]
    )


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Cells by whether the curve is measured, and by level."""
    lines = []
    for measured in (True, False):
        for level in SHOWN:
            cells = [moved(r, "median ") for r in rows if (r["measured"], r["AUROC"]) == (measured, level)]
            lines.append([f"{level:.2f}, curve {'' if measured else 'not '}measured", *cells])
    return lines


def moved(row: Mapping[str, Any], of: str = "") -> str:
    """A median rank before and after, and the interval of the difference. of: what its names begin with."""
    low, high = row["interval"]
    return f"{row[f'{of}before']:.0f} → {row[f'{of}after']:.0f} ({low:+.0f} to {high:+.0f})"
