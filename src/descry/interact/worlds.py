"""From a benchmark and a model to arrays: the worlds in which witnesses are simulated and absence is calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluate import Embedded, probes_of, scores_of
from ..people.person import Person, held
from ..ranking import ranking_of
from ..records import Benchmark
from ..search import phrase_vectors, stack, terms_of
from .absence import FEATURES, profile_of, wanted_only
from .logistic import regress
from .questions import Question, read
from .simulate import World, fit_sharpness


def world_of(
    model: Any,
    sketch: Benchmark,
    people: Mapping[int, Person],
    questions: Sequence[Question],
    photos: Embedded,
    sentence: Benchmark | None = None,
    witness_error: float = 0.1,
    truth: bool = False,
) -> World:
    """A simulation's world from the synthetic benchmark: sketches to start with, phrases of questions, records of
    people.

    The model's own ranking is used. truth: P(yes) from the records of the people on the photographs instead of the
    encoder.
    """
    ranking = ranking_of(model)
    pids = [p.pid for p in sketch.probes]
    records = [held(people[pid]) for pid in pids]
    shown = [held(people[pid]) for pid in photos.pids.tolist()]
    similarity = phrase_vectors(model, [q.phrase for q in questions]) @ photos.vectors.T
    spread = np.maximum(similarity.std(axis=1, keepdims=True), 1e-6)
    z = ((similarity - similarity.mean(axis=1, keepdims=True)) / spread).astype(np.float32)
    facts = np.array([[r.get(q.attribute) in q.values for r in shown] for q in questions], np.float32)
    return World(
        start=scores_of(model, sketch.probes, photos),
        relevant=np.array(pids)[:, None] == photos.pids[None, :],
        questions=tuple(questions),
        z=z,
        yes=facts if truth else read(questions, similarity, ranking),
        ranking=ranking,
        records=records,
        sentence=scores_of(model, probes_of(sentence, pids), photos) if sentence else None,
        vectors=photos.vectors,
        shown_records=shown,
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
    model: Any, bench: Benchmark, photos: Embedded, people: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Profiles of every probe with the person's photographs in the gallery and without them, and the best cosines.

    people: how many share a gallery; the benchmark's are divided into galleries of that size, because a best score
    grows with the number of people it is the best of. 0 for one gallery of all.

    → present (Q, F), absent (Q, F), best cosine when present (Q,), when absent (Q,). The formula is fitted again to the
    smaller gallery.
    """
    everyone = {pid: i for i, pid in enumerate(dict.fromkeys(photos.pids.tolist()))}
    block = np.array([everyone[pid] // (people or len(everyone)) for pid in photos.pids.tolist()])
    out: list[list[np.ndarray]] = []
    made = terms_of(model, [wanted_only(p.query) for p in bench.probes])
    for probe, terms in zip(bench.probes, made, strict=True):
        seen = block == everyone[probe.pid] // (people or len(everyone))
        seen[list(probe.ignore)] = False
        kept = (seen, seen & (photos.pids != probe.pid))
        similarity = stack(terms) @ photos.vectors.T
        out.append([profile_of(terms, similarity[:, rows], ranking_of(model)) for rows in kept])
    present, absent = (np.array(column) for column in zip(*out, strict=True))
    best = FEATURES.index("best cosine")
    return present, absent, present[:, best], absent[:, best]
