"""A benchmark of conversations: simulated witnesses, policies, and the rank of the person after every round.

Letters: Q probes, N photographs, A questions, T rounds. All probes go through a round together, as arrays; the scores
are those of `ranking`, term by term (a test compares them with a `Session`), so what is measured is what is served.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from descry.drawing.person import Person
from descry.errors import DataError, UsageError, nearest
from descry.evaluate import Embedded, probes_of, scores_of
from descry.interact.absence import auroc, logistic, profile_of, regress, wanted_only
from descry.interact.questions import WITNESS_ERROR, Asker, Question, posterior, read
from descry.ranking import Curve, Ranking, ranking_of
from descry.records import Benchmark
from descry.search import after_phrase, choice_evidence, phrase_vectors, stack, terms_of, weighed_evidence
from descry_people.person import held

from .witness import FAITHFUL, Habits, Witness, answerer_card

POLICIES = ("none", "sentence", "feedback", "gain", "random", "fixed", "closest", "all")
SHOWN = 10


@dataclass(frozen=True, eq=False)
class World:
    """A benchmark as arrays.

    start: (Q, N) base scores of round 0 (a sketch). sentence: (Q, N) base scores with the fixed sentence, or None.
    relevant: (Q, N) bool. vectors: (N, D) of the photographs, or None where no policy marks. z: (A, N) standard
    scores of the photographs for the phrases of the questions. yes: (A, N) P(yes | photograph). records: of the Q
    people looked for; shown_records: of the N people on the photographs, for witnesses who compare. ranking: that of
    the model. witness_error: how often an answer is taken to be wrong.
    """

    start: np.ndarray
    relevant: np.ndarray
    questions: tuple[Question, ...]
    z: np.ndarray
    yes: np.ndarray
    records: Sequence[Mapping[str, str]]
    sentence: np.ndarray | None = None
    vectors: np.ndarray | None = None
    shown_records: Sequence[Mapping[str, str]] = ()
    ranking: Ranking = field(default_factory=Ranking)
    witness_error: float = WITNESS_ERROR
    truth: bool = False

    def contributions(self) -> dict[str, np.ndarray]:
        """(A, N) what a "yes" and a "no" of weight 1 add to the scores. truth: Bayes' rule with P(yes), which is then 0
        or 1, and with the witness's errors; log-odds become scores through the sharpness of the posterior."""
        f = self.ranking.formula
        if self.truth:
            seen = self.witness_error + (1 - 2 * self.witness_error) * self.yes
            whole = {"yes": np.log(2 * seen) / f.answer_yes, "no": np.log(2 * (1 - seen)) / f.answer_no}
            return {name: (values / self.ranking.sharpness).astype(np.float32) for name, values in whole.items()}
        rows = range(len(self.questions))
        return {answer: np.stack([self.part(answer, a, 1.0) for a in rows]) for answer in ("yes", "no")}

    def part(self, answer: str, a: int, weight: float) -> np.ndarray:
        """(N,) what a "yes" or "no" to question a adds to the scores, as `search` weighs it."""
        strength, curve = self.ranking.reading(self.questions[a].phrase, answer == "yes")
        return weighed_evidence(self.z[a], self.ranking.formula, answer == "yes", curve, weight * strength)


@dataclass(frozen=True, eq=False)
class Course:
    """What one policy did. ranks: (T + 1, Q) rank of the person after each round, from 1. card: the answerer's."""

    policy: str
    habits: Habits
    seed: int
    ranks: np.ndarray
    answers: Mapping[str, int] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    def curve(self) -> dict[str, list[float]]:
        """Per round, the first being the start: R@1 and R@10 in percent, median rank, mean of log2 rank."""
        r = self.ranks
        return {
            "R@1": [round(100 * float(x), 2) for x in (r <= 1).mean(axis=1)],
            "R@10": [round(100 * float(x), 2) for x in (r <= 10).mean(axis=1)],
            "median rank": [float(x) for x in np.median(r, axis=1)],
            "log2 rank": [round(float(x), 3) for x in np.log2(r).mean(axis=1)],
        }

    def rounds_to(self, k: int = 10) -> np.ndarray:
        """(Q,) the first round in which the person is among the first k; T + 1 where that never happens."""
        hit = self.ranks <= k
        return np.where(hit.any(axis=0), hit.argmax(axis=0), len(self.ranks))


def simulate(world: World, policy: str, habits: Habits = FAITHFUL, rounds: int = 5, seed: int = 0) -> Course:
    """One policy over all probes. Raises UsageError for an unknown policy or one this world lacks the data for."""
    if policy not in POLICIES:
        raise UsageError(f"there is no policy {policy!r}; {nearest(policy, POLICIES)}")
    if policy == "sentence" and world.sentence is None:
        raise UsageError("the policy 'sentence' needs scores of sketch and sentence together; this benchmark has none")
    if policy in ("closest", "all") and (world.vectors is None or not world.shown_records):
        raise UsageError(
            f"the policy {policy!r} needs vectors and records of the photographs; this benchmark lacks them"
        )
    play = _Play(world, habits, seed)
    ranks = [play.ranks()]
    for step in range(1, rounds + 1):
        if policy == "sentence" and step == 1:
            play.scores = np.array(world.sentence, np.float32)
        elif policy in ("gain", "random", "fixed"):
            play.ask(policy)
        elif policy == "feedback":
            play.hear()
        elif policy == "closest":
            play.choose()
        elif policy == "all":
            (play.hear, lambda: play.ask("gain"), play.choose)[(step - 1) % 3]()
        ranks.append(play.ranks())
    card = answerer_card(habits, world.questions, policy in ("closest", "all"))
    return Course(policy, habits, seed, np.stack(ranks), dict(play.answers), card)


class _Play:
    """All probes of a world in the middle of a conversation."""

    def __init__(self, world: World, habits: Habits, seed: int):
        self.world = world
        self.base = np.array(world.start, np.float32)
        self.closest = np.zeros_like(self.base)
        self.scores = self.base.copy()
        self.parts: list[dict[str, np.ndarray]] = [{} for _ in world.records]
        seeds = np.random.SeedSequence(seed).spawn(len(world.records) + 1)
        self.generator = np.random.default_rng(seeds[-1])
        self.witnesses = [
            Witness(record, habits, np.random.default_rng(s))
            for record, s in zip(world.records, seeds[:-1], strict=True)
        ]
        self.asked: list[dict[str, str]] = [{} for _ in world.records]
        self.made: dict[tuple[str, int, float], np.ndarray] = {}
        self.index = {q.key: i for i, q in enumerate(world.questions)}
        self.ideal = world.contributions() if world.truth else {}
        formula = world.ranking.formula
        self.answered = {"yes": formula.answer_yes, "no": formula.answer_no}
        self.asker = Asker(world.questions, world.yes, world.ranking.sharpness, world.witness_error)
        read = world.ranking
        self.readable = np.array([world.truth or not read.curves or read.reads(q.phrase) for q in world.questions])
        self.answers = {"yes": 0, "no": 0, "unknown": 0, "taken back": 0}
        self.order = self.generator.permutation(len(world.questions))
        groups = [q.group or q.key for q in world.questions]
        self.group = np.array([[a == b for b in groups] for a in groups])

    def ranks(self) -> np.ndarray:
        """(Q,) rank of the nearest photograph of the person; equal scores count against it by position."""
        best = np.where(self.world.relevant, self.scores, -np.inf).max(axis=1)
        place = (self.world.relevant & (self.scores == best[:, None])).argmax(axis=1)
        above = (self.scores > best[:, None]).sum(axis=1)
        before = (self.scores == best[:, None]) & (np.arange(self.scores.shape[1]) < place[:, None])
        value: np.ndarray = above + before.sum(axis=1) + 1
        return value

    def ask(self, policy: str) -> None:
        """One question to each witness: by gain, at random, or in one order fixed by the seed."""
        gains = self.asker.gains(self.scores) if policy == "gain" else None
        for i, witness in enumerate(self.witnesses):
            self._contradict(i, witness)
            open_ = np.flatnonzero(~self._closed(i))
            if not len(open_):
                continue
            if gains is not None:
                a = open_[gains[i, open_].argmax()]
            elif policy == "random":
                a = open_[self.generator.integers(len(open_))]
            else:
                a = next(x for x in self.order if x in set(open_.tolist()))
            self._add(i, int(a), witness.answer(self.world.questions[a]))

    def hear(self) -> None:
        """One thing said unasked by each witness."""
        for i, witness in enumerate(self.witnesses):
            self._contradict(i, witness)
            told = witness.tells(self.world.questions, self.asked[i])
            if told:
                self._add(i, self.index[told[0].key], told[1], 1.0)

    def choose(self) -> None:
        """ "Closest of these" among the first ten, by each witness."""
        world = self.world
        assert world.vectors is not None
        for i, witness in enumerate(self.witnesses):
            shown = np.argsort(-self.scores[i], kind="stable")[:SHOWN]
            taken = shown[witness.closest([world.shown_records[j] for j in shown])]
            choice = [(world.vectors[taken], world.vectors[shown])]
            self.closest[i] += choice_evidence(world.vectors, choice, world.ranking.formula)
            self._sum(i)

    def _closed(self, i: int) -> np.ndarray:
        closed = ~self.readable  # what the model cannot read is not asked
        for key, answer in self.asked[i].items():
            a = self.index[key]
            closed |= self.group[a] if answer == "yes" else np.arange(len(closed)) == a
        return closed

    def _add(self, i: int, a: int, answer: str, weight: float | None = None) -> None:
        key = self.world.questions[a].key
        self.parts[i].pop(key, None)
        if answer != "unknown":
            part = self._part(answer, a, self.answered[answer] if weight is None else weight)
            self.parts[i][key] = part
        self.asked[i][key] = answer
        self.answers[answer] += 1
        self._sum(i)

    def _sum(self, i: int) -> None:
        """The scores of one probe: the base, what was said, in that order, and "closest of these", as `search` adds
        them."""
        total = self.base[i]
        for part in self.parts[i].values():
            total = total + part if self.ideal else after_phrase(total, part, self.world.ranking.formula)
        self.scores[i] = total + self.closest[i]

    def _part(self, answer: str, a: int, weight: float) -> np.ndarray:
        """What one answer adds: of the true attributes where the world is the ideal, else as it is served."""
        if self.ideal:
            return np.asarray(weight * self.ideal[answer][a])
        if (answer, a, weight) not in self.made:
            self.made[answer, a, weight] = self.world.part(answer, a, weight)
        return self.made[answer, a, weight]

    def _contradict(self, i: int, witness: Witness) -> None:
        back = witness.takes_back(self.asked[i])
        if back:
            self._add(i, self.index[back[0]], back[1])
            self.answers["taken back"] += 1


def nearest_ranks(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """(Q, N) scores and bool → (Q,) rank of the nearest photograph of each person, from 1; ties count for it."""
    best = np.where(relevant, scores, -np.inf).max(axis=1)
    return np.asarray((scores > best[:, None]).sum(axis=1) + 1)


def fit_sharpness(scores: np.ndarray, relevant: np.ndarray) -> float:
    """The sharpness of the posterior under which validation targets are least surprising. scores, relevant: (Q, N)."""
    best, sharpest = np.inf, 1.0
    for sharpness in np.geomspace(0.25, 8, 26):
        found = (posterior(scores, float(sharpness)) * relevant).sum(axis=1)
        loss = float(-np.log(np.maximum(found, 1e-12)).mean())
        if loss < best:
            best, sharpest = loss, float(sharpness)
    return sharpest


def table(courses: Sequence[Course], measure: str = "R@1") -> list[str]:
    """Lines for people: one policy each, the mean over seeds of a measure after every round."""
    names = list(dict.fromkeys(c.policy for c in courses))
    lines = [f"{measure:<10}" + "".join(f"{f'round {t}':>10}" for t in range(len(courses[0].ranks)))] if courses else []
    for name in names:
        curves = np.mean([c.curve()[measure] for c in courses if c.policy == name], axis=0)
        lines.append(f"{name:<10}" + "".join(f"{v:>10.1f}" for v in curves))
    return lines


def to_json(course: Course) -> dict[str, Any]:
    """A course as plain values, with its answerer card; ranks per probe included for paired tests."""
    return {
        "policy": course.policy,
        "habits": asdict(course.habits),
        "seed": course.seed,
        "curve": course.curve(),
        "rounds to R@10, mean": float(course.rounds_to().mean()),
        "answers": dict(course.answers),
        "answerer": dict(course.card),
        "ranks": course.ranks.T.tolist(),
    }


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


def reading_curves(
    model: Any, photos: Embedded, people: Mapping[int, Person], questions: Sequence[Question]
) -> dict[str, list[float]]:
    """Phrase → (a, b): how well the encoder reads each question's phrase, measured on validation people.

    A phrase that cannot be read gets a flat curve, so that its question is never worth asking, instead of noise that
    looks like knowledge.
    """
    shown = [held(people[pid]) for pid in photos.pids.tolist()]
    out = {}
    similarity = phrase_vectors(model, [q.phrase for q in questions]) @ photos.vectors.T
    for question, s in zip(questions, similarity, strict=True):
        truth = np.array([r.get(question.attribute) in question.values for r in shown], float)
        z = (s - s.mean()) / max(float(s.std()), 1e-6)
        a, b = answer_curve(z, truth)
        out[question.phrase] = [round(a, 4), round(b, 4)]
    return out


def answer_curve(z: np.ndarray, truth: np.ndarray) -> Curve:
    """Slope and offset of P(yes) by standard score: logistic regression, no steeper than the AUROC supports.

    z: (n,) of unit spread. truth: (n,) of 1 and 0. The steepest slope is d √(1 + p (1 − p) d²), d = √2 Φ⁻¹(AUROC), p
    the share with the thing: that of two normal distributions of one spread. A regression is steeper where a thing is
    told apart from only some of the others, as trainers from boots but not from sandals; a NOT, whose weight goes by
    the slope, would then count as if it were read well.
    """
    held_by, share = truth == 1, float(np.clip(truth.mean(), 1e-6, 1 - 1e-6))
    apart = np.clip(auroc(z[held_by], z[~held_by]), 0.5, 1 - 1e-12) if 0 < held_by.sum() < len(z) else 0.5
    d = math.sqrt(2) * NormalDist().inv_cdf(float(apart))
    steepest = d * math.sqrt(1 + share * (1 - share) * d * d)
    a, b = map(float, regress(z[:, None], truth))
    if 0 <= a <= steepest:
        return a, b
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if logistic(steepest * z + middle).mean() < share else (low, middle)
    return steepest, low


def withheld(questions: Sequence[Question], share: float = 1 / 3) -> list[Question]:
    """The questions left when a share of the attributes is withheld from the vocabulary."""
    names = sorted({q.attribute for q in questions})
    gone = set(np.random.default_rng(0).permutation(names)[: round(share * len(names))].tolist())
    return [q for q in questions if q.attribute not in gone]


def absence_profiles(
    model: Any, bench: Benchmark, photos: Embedded, people: int = 0, equal: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Profiles of every probe with the person's photographs in the gallery and without them.

    people: how many share a gallery; the benchmark's are divided into galleries of that size, because a best score
    grows with the number of people it is the best of. 0 for one gallery of all.

    equal: where the person is here, leave out as many photographs of others, so that both galleries are of one size; in
    a small gallery the size alone would tell them apart.

    → present (Q, F), absent (Q, F). The formula is fitted again to the smaller gallery.
    """
    rng = np.random.default_rng(0)
    everyone = {pid: i for i, pid in enumerate(dict.fromkeys(photos.pids.tolist()))}
    block = np.array([everyone[pid] // (people or len(everyone)) for pid in photos.pids.tolist()])
    out: list[list[np.ndarray]] = []
    made = terms_of(model, [wanted_only(p.query) for p in bench.probes])
    for probe, terms in zip(bench.probes, made, strict=True):
        seen = np.flatnonzero(block == everyone[probe.pid] // (people or len(everyone)))
        seen = seen[~np.isin(seen, probe.ignore)]
        similarity, others = stack(terms) @ photos.vectors[seen].T, photos.pids[seen] != probe.pid
        here = np.ones(len(seen), bool)
        if equal:
            left_out = min(int((~others).sum()), int(others.sum()) - 1)
            here[rng.choice(np.flatnonzero(others), left_out, replace=False)] = False
        out.append([profile_of(terms, similarity[:, rows], ranking_of(model)) for rows in (here, others)])
    present, absent = (np.array(column) for column in zip(*out, strict=True))
    return present, absent


def share_of_gain(courses: Sequence[Course], ideal: Sequence[Course], k: int = 1) -> dict[str, float]:
    """How much of the ideal gain in R@k was reached, with a 95 % bootstrap interval over people (seeds of one go
    together). Raises DataError where the ideal itself gains nothing: a share of that would say anything."""
    start = np.mean([c.ranks[0] <= k for c in courses], axis=0)
    end = np.mean([c.ranks[-1] <= k for c in courses], axis=0)
    best = np.mean([c.ranks[-1] <= k for c in ideal], axis=0)
    if best.mean() <= start.mean():
        raise DataError(
            f"the ideal ends at R@{k} {100 * best.mean():.1f} and began at {100 * start.mean():.1f}: "
            "there is no gain to take a share of"
        )
    draws = np.random.default_rng(0).integers(len(start), size=(2000, len(start)))
    gained, possible = (end - start)[draws].mean(axis=1), (best - start)[draws].mean(axis=1)
    low, high = np.nanquantile(gained / np.where(possible > 0, possible, np.nan), [0.025, 0.975])
    return {
        "start": 100 * float(start.mean()),
        "end": 100 * float(end.mean()),
        "ideal": 100 * float(best.mean()),
        "share": float((end - start).mean() / (best - start).mean()),
        "low": float(low),
        "high": float(high),
    }
