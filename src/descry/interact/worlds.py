"""From a benchmark and a model to arrays: the worlds in which witnesses are simulated and absence is calibrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compose import Composition, Memo, composition_of, curves_of, formula_of, phrase_vectors, terms_of
from ..errors import DataError
from ..people.person import Person, held
from ..ranking import Formula, Term, fit, stack
from ..records import Benchmark
from .absence import profile
from .logistic import regress
from .questions import SHARPNESS, Question, read
from .simulate import World, fit_sharpness


@dataclass(frozen=True, eq=False)
class Embedded:
    """A benchmark's photographs, embedded once. vectors: (N, D); pids: (N,)."""

    vectors: np.ndarray
    pids: np.ndarray

    @classmethod
    def of(cls, model: Any, bench: Benchmark, progress: Callable[[int], None] | None = None) -> Embedded:
        paths = [p.path for p in bench.photos]
        vectors = model.embed_images(paths, progress=progress) if progress else model.embed_images(paths)
        return cls(vectors, np.array([p.pid for p in bench.photos]))


def base_scores(
    model: Any,
    bench: Benchmark,
    photos: Embedded,
    composition: Composition | None = None,
    formula: Formula | None = None,
    pids: Sequence[int] | None = None,
    memo: Memo | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(Q, N) scores of the formula for every probe of a benchmark, and (Q, N) cosines of each one's first term.

    pids: the order of people wanted; that of the benchmark otherwise. memo: for vectors that several calls share.
    Raises DataError when someone is missing.
    """
    formula = formula or formula_of(model)
    rows = list(bench.probes)
    if pids is not None:
        first = {p.pid: p for p in reversed(rows)}
        missing = [pid for pid in pids if pid not in first]
        if missing:
            raise DataError(f"the benchmark {bench.name!r} has no probe of {len(missing)} people, such as {missing[0]}")
        rows = [first[pid] for pid in pids]
    made = terms_of(model, [p.query for p in rows], composition, memo)
    scores = np.empty((len(rows), len(photos.vectors)), np.float32)
    cosines = np.empty_like(scores)
    for i, terms in enumerate(made):
        similarity = stack(terms) @ photos.vectors.T
        scores[i] = fit(terms, similarity, formula).scores(similarity)
        cosines[i] = similarity[0]
    return scores, cosines


def world_of(
    model: Any,
    sketch: Benchmark,
    people: Mapping[int, Person],
    questions: Sequence[Question],
    photos: Embedded,
    sentence: Benchmark | None = None,
    formula: Formula | None = None,
    sharpness: float | None = None,
    witness_error: float = 0.1,
    truth: bool = False,
) -> World:
    """A simulation's world from the synthetic benchmark: sketches to start with, phrases of questions, records of
    people.

    truth: P(yes) from the records of the people on the photographs instead of the encoder. sharpness: of the posterior
    (fit it on validation with `sharpness_of`); the model's configuration, or the default, otherwise.
    """
    formula = formula or formula_of(model)
    pids = [p.pid for p in sketch.probes]
    start, _ = base_scores(model, sketch, photos, formula=formula)
    records = [held(people[pid]) for pid in pids]
    shown = [held(people[pid]) for pid in photos.pids.tolist()]
    similarity = phrase_vectors(model, [q.phrase for q in questions]) @ photos.vectors.T
    spread = np.maximum(similarity.std(axis=1, keepdims=True), 1e-6)
    z = ((similarity - similarity.mean(axis=1, keepdims=True)) / spread).astype(np.float32)
    facts = np.array([[r.get(q.attribute) in q.values for r in shown] for q in questions], np.float32)
    chosen = (model.config.get("composition") or {}).get("sharpness", SHARPNESS) if sharpness is None else sharpness
    return World(
        start=start,
        relevant=np.array(pids)[:, None] == photos.pids[None, :],
        questions=tuple(questions),
        z=z,
        yes=facts if truth else read(questions, similarity, curves_of(model)),
        curves=curves_of(model),
        records=records,
        sentence=base_scores(model, sentence, photos, formula=formula, pids=pids)[0] if sentence else None,
        vectors=photos.vectors,
        shown_records=shown,
        formula=formula,
        sharpness=float(chosen),
        witness_error=witness_error,
        truth=truth,
    )


def sharpness_of(world: World) -> float:
    """The sharpness that validation people are least surprised by."""
    return fit_sharpness(world.start, world.relevant)


def reading_curves(
    model: Any, photos: Embedded, people: Mapping[int, Person], questions: Sequence[Question]
) -> dict[str, list[float]]:
    """Phrase → (a, b): how well the encoder reads each question's phrase, measured on validation people.

    A logistic regression of the truth on the standard score (Platt scaling). A phrase that cannot be read gets a flat
    curve, so that its question is never worth asking, instead of noise that looks like knowledge.
    """
    shown = [held(people[pid]) for pid in photos.pids.tolist()]
    out = {}
    similarity = phrase_vectors(model, [q.phrase for q in questions]) @ photos.vectors.T
    for question, s in zip(questions, similarity, strict=True):
        truth = np.array([r.get(question.attribute) in question.values for r in shown], float)
        z = (s - s.mean()) / max(float(s.std()), 1e-6)
        a, b = regress(z[:, None], truth)
        out[question.phrase] = [round(max(float(a), 0.0), 4), round(float(b), 4)]
    return out


def withheld(questions: Sequence[Question], share: float = 1 / 3, seed: int = 0) -> list[Question]:
    """The questions left when a share of the attributes is withheld from the vocabulary."""
    names = sorted({q.attribute for q in questions})
    gone = set(np.random.default_rng(seed).permutation(names)[: round(share * len(names))].tolist())
    return [q for q in questions if q.attribute not in gone]


def absence_profiles(
    model: Any, bench: Benchmark, photos: Embedded, composition: Composition | None = None, people: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Profiles of every probe with the person's photographs in the gallery and without them, and the plain best
    cosines.

    people: how many share a gallery; the benchmark's are divided into galleries of that size, because a best score
    grows with the number of people it is the best of. 0 for one gallery of all.

    → present (Q, F), absent (Q, F), best cosine when present (Q,), when absent (Q,). The formula is fitted again to the
    smaller gallery.
    """
    formula = formula_of(model)
    made = terms_of(model, [p.query for p in bench.probes], composition or composition_of(model))
    everyone = {pid: i for i, pid in enumerate(dict.fromkeys(photos.pids.tolist()))}
    block = np.array([everyone[pid] // (people or len(everyone)) for pid in photos.pids.tolist()])
    out: list[tuple[np.ndarray, np.ndarray, float, float]] = []
    for probe, terms in zip(bench.probes, made, strict=True):
        similarity = stack(terms) @ photos.vectors.T
        seen = block == everyone[probe.pid] // (people or len(everyone))
        seen[list(probe.ignore)] = False
        here = _profiled(terms, similarity[:, seen], formula)
        gone = _profiled(terms, similarity[:, seen & (photos.pids != probe.pid)], formula)
        out.append((here[0], gone[0], here[1], gone[1]))
    present, absent, best, best_gone = zip(*out, strict=True)
    return np.array(present), np.array(absent), np.array(best), np.array(best_gone)


def _profiled(terms: list[Term], similarity: np.ndarray, formula: Formula) -> tuple[np.ndarray, float]:
    scores = fit(terms, similarity, formula).scores(similarity)
    return profile(scores, similarity[0]), float(similarity[0].max())
