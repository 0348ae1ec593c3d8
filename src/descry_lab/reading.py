"""What a model reads of people, measured on labelled data: prompts, answer curves, composition, sharpness, absence.

Labels are attributes where a data set has them (records of synthetic people, the attribute file of Market-1501), else
the words of its captions: a person of whom somebody says "a red jacket" has one, and a person of whom only another
jacket is named has none. Nobody has a bag, hat or beard of which no caption speaks; of hair, age or trousers, which
everybody has, such a person says nothing. All is counted by person. What a model cannot read gets a flat curve, so that
it neither counts as evidence nor is asked about.

Letters: A phrases, N photographs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from descry.data.market_attributes import UPPER, read_attributes
from descry.errors import DataError, UsageError
from descry.evaluate import Embedded, scores_of
from descry.interact import absence
from descry.interact.questions import Question, stated, vocabulary
from descry.language import parse
from descry.ranking import READABLE, Ranking, phrase_key, ranking_of
from descry.records import Benchmark, Photo
from descry_people.person import held
from descry_people.read import read_records

from .choosing import Line, compare, compositions
from .prompts import best_of, directions
from .simulation import absence_profiles, answer_curve, fit_sharpness

LEAST = 10
"""People with a label, and without it, below which a phrase is not measured."""
OFTEN = 20
"""People of whom captions must say a phrase that is not in the vocabulary before it is measured."""
SURE = 3.5
"""Standard errors above chance from which a phrase counts as read: hundreds of words are tried, some by luck."""
Embed = Callable[[Benchmark], Embedded]
OPTIONAL = ("beard", "headwear", "eyewear", "outer", "bag", "neckwear", "carried")


@dataclass(frozen=True, slots=True)
class Reading:
    """How one phrase is read.

    Attributes:
        phrase: as it is looked up.
        people: of whom it holds, and of whom it does not.
        auroc: share of pairs of photographs, with and without, told apart; 0 to 1. low, high: its 95 % interval.
        curve: (a, b) of its answer curve; a is 0 where chance would explain that it is read.
        prompts: the texts that read it better than the phrase itself, and what they are told apart from; () for none.
    """

    phrase: str
    people: tuple[int, int]
    auroc: float
    low: float
    high: float
    curve: tuple[float, float]
    prompts: tuple[tuple[str, ...], ...] = ()

    @property
    def readable(self) -> bool:
        """Whether a question may be asked about it."""
        return self.curve[0] >= READABLE


@dataclass(frozen=True)
class Measured:
    """All that was measured of a model on one data set.

    Attributes:
        ranking: the model's own with what was measured put in its place.
        readings: of the phrases, best read first.
        labels: where the labels came from.
        unmeasured: phrases of the vocabulary for which the data has too few people.
        compositions: all that were compared, best first; none where nothing asks with sketch and words.
        absence: kind of query → what a calibration could do, or why it is refused.
    """

    ranking: Ranking
    readings: tuple[Reading, ...]
    labels: str
    unmeasured: tuple[str, ...]
    compositions: tuple[Line, ...]
    absence: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [asdict(r) | {"readable": r.readable} for r in self.readings]
        best = self.compositions[0].composition.to_json() if self.compositions else None
        return {
            "labels": self.labels,
            "phrases": rows,
            "unmeasured": list(self.unmeasured),
            "composition": best,
            "sharpness": self.ranking.sharpness,
            "absence": dict(self.absence),
        }


def measure(model: Any, benchmarks: Mapping[str, Benchmark], folder: Path) -> Measured:
    """Measure a model on the benchmarks of one split. folder: of the data set, where its attributes lie.

    Raises DataError where no phrase has labels of enough people.
    """
    bench = max(benchmarks.values(), key=lambda b: len(b.photos))
    vectors: dict[str, np.ndarray] = {}

    def embedded(some: Benchmark) -> Embedded:
        new = [p.path for p in some.photos if p.path not in vectors]
        vectors.update(zip(new, model.embed_images(new), strict=True) if new else ())
        return Embedded.from_vectors(np.stack([vectors[p.path] for p in some.photos]), some)

    photos = embedded(bench)
    questions = list(vocabulary())
    truth, labels = _truth(questions, bench.photos, benchmarks, folder)
    measured, unmeasured = _readings(model, photos, questions, truth)
    if not measured:
        raise DataError(
            f"{folder} says of too few people what they look like ({labels}); measuring needs {LEAST} people with and "
            f"{LEAST} without a thing; give data with attributes or more captions"
        )
    ranking = ranking_of(model)
    curves, prompts = dict(ranking.curves), dict(ranking.prompts)
    for reading in measured:
        known = ranking.known(reading.phrase)
        for name in {known, reading.phrase}:
            curves.pop(name, None)
            prompts.pop(name, None)
        curves[reading.phrase] = reading.curve
        if reading.prompts:
            prompts[reading.phrase] = (reading.prompts[0], reading.prompts[1])
    ranking = replace(ranking, curves=curves, prompts=prompts)
    both = benchmarks.get("sketch+text")
    lines: tuple[Line, ...] = ()
    if both is not None and {"sketch", "text"} <= set(model.answers):
        own = ranking.composition
        tried = [replace(own, how=c.how, text=c.text, early=c.early) for c in compositions()]
        lines = tuple(compare(model, both, embedded(both), tried, ranking.formula))
        ranking = ranking.using(lines[0].composition)
    changed = model.with_ranking(ranking)
    ranking = replace(ranking, sharpness=_sharpness(changed, benchmarks, embedded))
    return Measured(
        ranking,
        tuple(sorted(measured, key=lambda r: -r.auroc)),
        labels,
        tuple(unmeasured),
        lines,
        _absence(model.with_ranking(ranking), benchmarks, embedded),
    )


def _truth(
    questions: list[Question], photos: Sequence[Photo], benchmarks: Mapping[str, Benchmark], folder: Path
) -> tuple[np.ndarray, str]:
    """(A, N) of 1, 0 and nan for unknown, and where it comes from. Frequent phrases of captions join the questions."""
    records = folder / "people.jsonl"
    if records.is_file():
        people = read_records(folder)
        rows = [held(people[p.pid]) if p.pid in people else None for p in photos]
        return np.array([[np.nan if r is None else float(r.get(q.attribute) in q.values) for r in rows]
                         for q in questions]), "attributes of the people's records"  # fmt: skip
    matlab = next(iter(sorted(folder.rglob("market_attribute.mat"))), None)
    if matlab is not None:
        codes = read_attributes(matlab)
        rows_of = [codes.get(Path(p.path).name[:4], {}) for p in photos]
        return np.array([[_market(q, row) for row in rows_of] for q in questions]), f"attributes of {matlab.name}"
    return _said(questions, photos, benchmarks), "words of the captions"


def _market(question: Question, codes: Mapping[str, int]) -> float:
    """1, 0 or nan: what the attribute file of Market-1501 says of a question."""
    fields = {"woman": "gender", "long-hair": "hair", "backpack": "backpack", "handbag": "handbag", "headwear": "hat"}
    where, _, what = question.key.rpartition("-")
    name = fields.get(question.key, "")
    if what in ("top", "legs") and where in {*UPPER, "grey", "pink", "brown"}:
        name = f"{'up' if what == 'top' else 'down'}{'gray' if where == 'grey' else where}"
    if question.key == "bag":
        given = [codes.get(n, 0) for n in ("backpack", "bag", "handbag")]
        return math.nan if not any(given) else float(2 in given)
    if question.key == "long-sleeves":
        return {1: 1.0, 2: 0.0}.get(codes.get("up", 0), math.nan)
    return {1: 0.0, 2: 1.0}.get(codes.get(name, 0), math.nan)


def _said(questions: list[Question], photos: Sequence[Photo], benchmarks: Mapping[str, Benchmark]) -> np.ndarray:
    captions: dict[int, set[str]] = {}
    for bench in benchmarks.values():
        for probe in bench.probes:
            captions.setdefault(probe.pid, set()).update(str(p.value) for p in probe.query.wanted)
    said, denied = dict[int, set[str]](), dict[int, set[str]]()
    for pid, texts in captions.items():
        chips = [c for text in texts for c in parse(text[:1000])]
        said[pid] = {c.text for c in chips if c.wanted and c.weight == 1.0} | {t for t in texts if _pronoun(t)}
        denied[pid] = {phrase_key(c.text) for c in chips if not c.wanted}
    keys = {phrase_key(q.phrase) for q in questions}
    often = Counter(key for pid in said for key in {phrase_key(t): t for t in said[pid]})
    questions += [Question(k, "", k) for k, n in often.most_common(100) if n >= OFTEN and k not in keys]
    facts = {pid: set().union(*map(stated, texts)) if texts else set() for pid, texts in said.items()}
    spoken = {pid: {phrase_key(t) for t in texts} for pid, texts in said.items()}
    return np.array([[_held(q, p.pid, facts, spoken, denied) for p in photos] for q in questions])


def _pronoun(text: str) -> bool:
    return any(name == "sex" for name, _ in stated(text))


def _held(
    question: Question,
    pid: int,
    facts: Mapping[int, set[tuple[str, str]]],
    spoken: Mapping[int, set[str]],
    denied: Mapping[int, set[str]],
) -> float:
    if not spoken.get(pid):
        return math.nan
    key = phrase_key(question.phrase)
    if key in denied[pid]:
        return 0.0
    if not question.attribute:
        return float(any(f" {key} " in f" {phrase} " for phrase in spoken[pid]))
    values = {value for name, value in facts[pid] if name == question.attribute}
    if values & set(question.values):
        return 1.0
    owner = question.attribute.removesuffix("_colour")
    named = any(name == owner for name, _ in facts[pid])
    if owner in OPTIONAL:
        return math.nan if named and not (values - {""}) else 0.0
    return 0.0 if values - {""} else math.nan


def _readings(
    model: Any, photos: Embedded, questions: Sequence[Question], truth: np.ndarray
) -> tuple[list[Reading], list[str]]:
    """The readings of all phrases with enough people, and the phrases without."""
    out, unmeasured = list[Reading](), list[str]()
    for question, held_by, tried in zip(questions, truth, directions(model, questions), strict=True):
        known = np.isfinite(held_by)
        has, pids = held_by[known] == 1, photos.pids[known]
        people = len(set(pids[has].tolist())), len(set(pids[~has].tolist()))
        if min(people) < LEAST:
            unmeasured.append(question.phrase)
            continue
        better, cosines = best_of(tried, photos.vectors, held_by)
        z = (cosines - cosines.mean()) / max(float(cosines.std()), 1e-6)
        z = z[known]
        area, low, high = absence.telling(z[has], z[~has], pids[has], pids[~has], samples=200)
        a, b = answer_curve(z, has.astype(float))
        if area - SURE * (high - low) / 3.92 <= 0.5 or a <= 0:
            share = float(np.clip(has.mean(), 0.01, 0.99))
            a, b = 0.0, math.log(share / (1 - share))
        curve = round(a, 4), round(b, 4)
        out.append(Reading(question.phrase, people, area, low, high, curve, better or ()))
    return out, unmeasured


def _sharpness(model: Any, benchmarks: Mapping[str, Benchmark], embedded: Embed) -> float:
    """By the queries that a conversation begins with: the first of sketch, text and photo that the data has."""
    kind = next((k for k in ("sketch", "text", "photo") if k in benchmarks and k in model.answers), "")
    if not kind:
        return float(model.ranking.sharpness)
    bench = benchmarks[kind]
    probes = bench.probes[:500]
    scores = scores_of(model, probes, embedded(bench))
    relevant = np.array([p.pid for p in probes])[:, None] == np.array([p.pid for p in bench.photos])[None, :]
    for row, probe in zip(relevant, probes, strict=True):
        row[list(probe.ignore)] = False
    seen = relevant.any(axis=1)
    return fit_sharpness(scores[seen], relevant[seen]) if seen.any() else float(model.ranking.sharpness)


def _absence(model: Any, benchmarks: Mapping[str, Benchmark], embedded: Embed) -> dict[str, str]:
    """What a calibration of each kind of query could do on these people; galleries calibrate for themselves."""
    out = {}
    for kind, bench in benchmarks.items():
        if kind not in ("text", "sketch", "sketch+text", "photo") or not set(kind.split("+")) <= set(model.answers):
            continue
        some = replace(bench, probes=bench.probes[:1000])
        who = [f"{p.pid}" for p in some.probes]
        try:
            here, gone = absence_profiles(model, some, embedded(bench), equal=True)
            out[kind] = absence.useful(absence.calibrate(kind, here, gone, who)).summary()
        except (DataError, UsageError) as error:
            out[kind] = f"refused: {error}"
    return out
