"""Every table of docs/conversation.md: choose on validation people, measure on test people, write JSON.

    python -m descry_lab conversation --model demo --data BENCHMARK --out results --page
    python -m descry_lab conversation --out results --page       (only the page anew)

Hardware and time: four cores without an accelerator; six minutes, the drawing of the benchmark not counted (11,000
photographs to embed, then arrays). Expected numbers stand in docs/conversation.md. Synthetic people are no evidence of
accuracy on real people. The choice is written as `composition.json`: the value of "composition" in the model's
config.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from descry.drawing.person import held
from descry.embed import load
from descry.errors import DataError
from descry.escape import counted
from descry.evaluate import Embedded
from descry.interact import absence
from descry.interact.questions import vocabulary
from descry.metrics import rank
from descry.ranking import Ranking
from descry.records import Benchmark
from descry.search import terms_of
from descry.studies.intervals import paired
from descry_people.benchmark import PARTS, benchmark, held_in, records_of

from .choosing import Line, chipped, compare, compositions, negation, tuned
from .prompts import best_readings
from .rerank import reranker
from .simulation import (
    POLICIES,
    Course,
    World,
    absence_profiles,
    reading_curves,
    share_of_gain,
    sharpness_of,
    simulate,
    withheld,
    world_of,
)
from .tables import ROOT, put
from .witness import FAITHFUL, Habits

HARD = Habits(err=0.2, forget=0.2)
PAGE, FOUND = ROOT / "docs" / "conversation.md", ROOT / "results" / "conversation.json"
MARKS = ("<!-- figures: python -m descry_lab conversation -->", "<!-- end of figures -->")
ROWS = {
    "whole, faithful": "faithful witness",
    "whole, 20 % wrong, 20 % don't know": '20 % wrong, 20 % "don\'t know"',
    "a third withheld, faithful": "a third of the attributes withheld, faithful",
    "a third withheld, 20 % wrong, 20 % don't know": 'a third withheld, 20 % wrong, 20 % "don\'t know"',
}
GRID = {"answer_yes": (0.2, 0.35, 0.5, 0.75), "answer_no": (0.03, 0.06, 0.1, 0.15), "error": (0.05, 0.1, 0.15, 0.2)}


class Part:
    """One part of the benchmark with its photographs embedded."""

    def __init__(self, model: Any, root: Path, name: str, identities: int):
        self.benches = getattr(benchmark(root, part=name, identities=identities), held_in(name))
        self.people = records_of(root, part=name, identities=identities)
        self.photos = Embedded.of(model, self.benches["sketch"])

    def world(self, model: Any, **options: Any) -> World:
        """The simulation's world; options of `world_of`."""
        table = options.pop("questions", vocabulary())
        return world_of(
            model, self.benches["sketch"], self.people, table, self.photos, self.benches["sketch+text"], **options
        )


def choose(model: Any, val: Part) -> dict[str, Any]:
    """Composition, prompts, answer curves, sharpness and constants on validation people: the model's ranking."""
    words = val.benches["sketch+text"]
    whole = compare(model, words, val.photos, compositions())
    best = whole[0].composition
    prompts: Any = best_readings(model, val.photos, val.people, vocabulary())
    model.ranking = Ranking(prompts=prompts)
    curves = reading_curves(model, val.photos, val.people, vocabulary())
    model.ranking = replace(model.ranking, curves=curves)
    split = compare(model, chipped(words), val.photos, [replace(best, phrases=p) for p in ("one", "each", "both")])
    model.ranking = model.ranking.using(replace(best, phrases=split[0].composition.phrases))
    model.ranking = replace(model.ranking, sharpness=sharpness_of(val.world(model)))
    formula, table = tuned(val.world(model), GRID)
    model.ranking = replace(model.ranking, formula=formula)
    return {"sentences": _lines(whole), "sentences read into chips": _lines(split), "constants": table[:10]}


def _lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [asdict(x.composition) | x.ranks.as_dict() | {"AP against the best": x.against} for x in lines]


def questions(model: Any, test: Part, seeds: int) -> dict[str, Any]:
    """The must-hold figures of questions by gain, with the whole vocabulary and with a third of the attributes
    withheld."""
    out: dict[str, Any] = {}
    for name, table in (("whole", vocabulary()), ("a third withheld", withheld(vocabulary()))):
        world = test.world(model, questions=table)
        faithful = _ideal(test, model, table, FAITHFUL, seeds)
        for label, habits in (("faithful", FAITHFUL), ("20 % wrong, 20 % don't know", HARD)):
            got = [simulate(world, "gain", habits, 5, s) for s in range(seeds)]
            same = faithful if habits == FAITHFUL else _ideal(test, model, table, habits, seeds)
            row: dict[str, Any] = {f"R@{k}": share_of_gain(got, faithful, k) for k in (1, 10)}
            row |= {f"R@{k}, ideal with the same witness": share_of_gain(got, same, k) for k in (1, 10)}
            row["against the start, R@10"] = asdict(paired(_hits(got, -1, 10), _hits(got, 0, 10)))
            row["curve"] = _mean_curve(got)
            out[f"{name}, {label}"] = row
    return out


def _ideal(test: Part, model: Any, table: Sequence[Any], habits: Habits, seeds: int) -> list[Course]:
    """The same policy with the gallery's true attributes, knowing how often the witness errs."""
    world = test.world(model, questions=table, truth=True, witness_error=max(habits.err, 0.01))
    return [simulate(world, "gain", habits, 5, s) for s in range(seeds)]


def policies(model: Any, test: Part, seeds: int, rounds: int = 5) -> dict[str, Any]:
    """Curves of every policy for four kinds of witness, and the paired tests of gain against random and fixed order."""
    world = test.world(model)
    out: dict[str, Any] = {}
    for label, habits in (
        ("faithful", FAITHFUL),
        ("10 % wrong, 10 % don't know", Habits(err=0.1, forget=0.1)),
        ("20 % wrong, 20 % don't know", HARD),
        ("vague and contradicting, 20 %", Habits(vague=0.2, contradict=0.2)),
    ):
        courses = {p: [simulate(world, p, habits, rounds, s) for s in range(seeds)] for p in POLICIES}
        row: dict[str, Any] = {p: _mean_curve(c) for p, c in courses.items()}
        reached = {p: np.mean([c.rounds_to(10) for c in courses[p]], axis=0) for p in courses}
        for other in ("random", "fixed"):
            row[f"rounds to R@10, gain against {other}"] = asdict(paired(reached["gain"], reached[other]))
        row["rounds to R@10"] = {p: float(v.mean()) for p, v in reached.items()}
        row["answerer"] = courses["all"][0].card
        out[label] = row
    return out


def absences(model: Any, known: Part, test: Part) -> dict[str, Any]:
    """The calibrated decision of each kind of query on test people, and the paired test against the best cosine.

    known: people of neither part, in galleries as large as those asked about; one half fits the regression, the other
    sets both thresholds.
    """
    out: dict[str, Any] = {}
    size = PARTS["val"][1]
    asked = {kind: (known.benches[kind], test.benches[kind]) for kind in ("sketch", "text", "sketch+text", "photo")}
    for kind in ("text", "sketch+text", "photo+text"):
        asked[f"{kind}, measured phrases"] = (phrased(model, known, kind), phrased(model, test, kind))
    for kind, (calibrated_on, tested_on) in asked.items():
        who = [f"calibration {p.pid}" for p in calibrated_on.probes]
        here, gone, best, _ = absence_profiles(model, calibrated_on, known.photos, people=size)
        try:
            fitted = absence.useful(absence.calibrate(kind, here, gone, who))
        except DataError as error:
            out[kind] = {"refused": str(error)}
            continue
        t_here, t_gone, t_best, t_best_gone = absence_profiles(model, tested_on, test.photos, people=size)
        row: dict[str, Any] = absence.judged(fitted, t_here, t_gone, [f"test {p.pid}" for p in tested_on.probes])
        plain = np.sort(best)[int(0.05 * (len(best) + 1)) - 1]
        row["calibrated on"] = len(here)
        row["best cosine: AUROC"] = 100 * absence.auroc(t_best, t_best_gone)
        row["best cosine: false alarms"] = 100 * float((t_best < plain).mean())
        row["best cosine: absence detected"] = 100 * float((t_best_gone < plain).mean())
        detected = fitted.number(t_gone) < fitted.absent_below
        row["detected, against best cosine"] = asdict(paired(detected, t_best_gone < plain))
        row["AUROC, against best cosine"] = _auroc_gap(fitted, t_here, t_gone, t_best, t_best_gone)
        half = 196 * (0.05 * 0.95 * (1 / len(t_here) + 1 / fitted.present)) ** 0.5
        row["interval of 5 %"] = [5 - half, 5 + half]  # of these probes, and of those that set the threshold
        out[kind] = row
    return out


def phrased(model: Any, part: Part, kind: str, phrases: int = 3) -> Benchmark:
    """A benchmark whose words are phrases with a measured answer curve that are true of the person: what chips say."""
    rng = np.random.default_rng(0)
    probes = []
    for probe in part.benches[kind].probes:
        record = held(part.people[probe.pid])
        true = [q.phrase for q in vocabulary() if record.get(q.attribute) in q.values and model.ranking.curve(q.phrase)]
        chosen = rng.permutation(len(true))[:phrases]
        probes.append(replace(probe, query=probe.query.replace(wanted=tuple(true[i] for i in chosen))))
    value: Benchmark = replace(part.benches[kind], name=f"{kind}, measured phrases", probes=tuple(probes))
    return value


def reranked(model: Any, val: Part, test: Part) -> dict[str, Any]:
    """Re-rankers for text and sketch queries, with the bank taken from validation people."""
    out: dict[str, Any] = {}
    for kind in ("text", "sketch"):
        scores, bank = (_cosines(model, part.benches[kind], test.photos) for part in (test, val))
        relevant = np.array([p.pid for p in test.benches[kind].probes])[:, None] == test.photos.pids[None, :]
        who, plain = [p.pid for p in test.benches[kind].probes], rank(scores, relevant)
        for name in ("none", "hubness", "k-reciprocal"):
            start = time.perf_counter()
            tool = reranker(name, test.photos.vectors, bank)
            got = rank(tool.apply(scores), relevant)
            took = 1000 * (time.perf_counter() - start) / len(scores)
            figures = got.as_dict() | {"ms a query": round(took, 2), "cost": tool.cost}
            out[f"{kind}, {name}"] = figures | {"AP against none": asdict(paired(got.ap, plain.ap, who))}
    return out


def _cosines(model: Any, bench: Any, photos: Embedded) -> np.ndarray:
    """(Q, N) cosines of each query's first term."""
    terms = terms_of(model, [p.query for p in bench.probes])
    value: np.ndarray = np.stack([made[0].vector for made in terms]) @ photos.vectors.T
    return value


def _hits(courses: Sequence[Course], step: int, k: int) -> np.ndarray:
    value: np.ndarray = np.mean([c.ranks[step] <= k for c in courses], axis=0)
    return value


def _mean_curve(courses: Sequence[Course]) -> dict[str, Any]:
    curves = [c.curve() for c in courses]
    return {m: np.round(np.mean([c[m] for c in curves], axis=0), 2).tolist() for m in curves[0]}


def _auroc_gap(fitted: Any, here: Any, gone: Any, best: Any, best_gone: Any, samples: int = 500) -> dict[str, float]:
    rng = np.random.default_rng(0)
    number, number_gone = fitted.number(here), fitted.number(gone)
    gaps = []
    for _ in range(samples):
        i = rng.integers(len(here), size=len(here))
        gaps.append(absence.auroc(number[i], number_gone[i]) - absence.auroc(best[i], best_gone[i]))
    low, high = np.quantile(gaps, [0.025, 0.975])
    return {"difference": 100 * float(np.mean(gaps)), "low": 100 * float(low), "high": 100 * float(high)}


# ---------------------------------------------------------------------- the page


def question_table(found: dict[str, Any]) -> str:
    """Five questions by gain, and what the same policy reaches with true attributes."""
    lines = [
        "| five questions by gain, from the sketch alone | R@1 start → end | ideal, same witness | share of its gain |"
        " ideal, faithful witness | share of its gain |",
        "|---|---|---|---|---|---|",
    ]
    for key, name in ROWS.items():
        row, same = found["questions"][key]["R@1"], found["questions"][key]["R@1, ideal with the same witness"]
        lines.append(
            f"| {name} | {row['start']:.1f} → {row['end']:.1f} | {same['ideal']:.1f} | {_share(same)} |"
            f" {row['ideal']:.1f} | {_share(row)} |"
        )
    return "\n".join(lines)


def _share(row: dict[str, float]) -> str:
    return f"{100 * row['share']:.0f} % ({100 * row['low']:.0f}–{100 * row['high']:.0f})"


def round_table(found: dict[str, Any]) -> str:
    """Rounds to the first ten, by policy and witness, and the paired tests."""
    policies = ("gain", "random", "fixed", "feedback", "closest", "all")
    lines = [
        f"| rounds until among the first ten | {' | '.join(policies)} | gain − random | gain − fixed |",
        "|---" * (len(policies) + 3) + "|",
    ]
    for witness, row in found["policies"].items():
        means = " | ".join(f"{row['rounds to R@10'][p]:.2f}" for p in policies)
        tests = " | ".join(_test(row[f"rounds to R@10, gain against {other}"]) for other in ("random", "fixed"))
        lines.append(f"| {witness} | {means} | {tests} |")
    return "\n".join(lines)


def _test(t: dict[str, float]) -> str:
    return f"{t['difference']:+.2f} ({t['low']:+.2f} to {t['high']:+.2f}), p {t['p']:.4f}"


def negation_table(found: dict[str, Any]) -> str:
    """What "no X" leaves of X among the first 20."""
    lines = [
        '| "no …" | held by | share in the first 20 before | after NOT | after the negated English | left (interval) |',
        "|---|---|---|---|---|---|",
    ]
    for row in found["NOT"]:
        low, high = row["left, interval"]
        shares = " | ".join(f"{100 * row[k]:.0f} %" for k in ("held by", "before", "NOT", "negated English"))
        lines.append(f"| {row['key']} | {shares} | {row['left']:.2f} ({low:.2f}–{high:.2f}) |")
    return "\n".join(lines)


def absence_table(found: dict[str, Any]) -> str:
    """The decision "probably not here", beside the best cosine alone."""
    lines = [
        "| absence, threshold for 5 % false alarms | false alarms | absences found | best cosine: false alarms |"
        " finds | AUROC | best cosine | AUROC gained | calibration error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, row in found["absence"].items():
        if "refused" in row:
            lines.append(f"| {kind} | refused: near chance |" + " – |" * 7)
            continue
        lines.append(
            f"| {kind} | {row['false alarms']:.1f} % | {row['absence detected']:.1f} % |"
            f" {row['best cosine: false alarms']:.1f} % | {row['best cosine: absence detected']:.1f} % |"
            f" {row['AUROC']:.1f} | {row['best cosine: AUROC']:.1f} | {_gained(row['AUROC, against best cosine'])} |"
            f" {row['ECE']:.3f} |"
        )
    first = next(iter(found["absence"].values()))
    low, high = first["interval of 5 %"]
    count = first["calibrated on"]
    note = f"Calibrated on {count:,} other people (`--calibration {count}`); all galleries here hold 500 people."
    note += f" With so many probes, and so many that set the threshold, 5 % has the interval {low:.1f} to {high:.1f} %."
    note += "".join(f" Not calibrated: {row['refused']}." for row in found["absence"].values() if "refused" in row)
    return "\n".join(lines) + f"\n\n{note}"


def _gained(t: dict[str, float]) -> str:
    return f"{t['difference']:+.1f} ({t['low']:+.1f} to {t['high']:+.1f})"


def _sizes(found: dict[str, Any]) -> str:
    names = {"questions": "questions", "policies": "rounds", "NOT": "“no …”", "absence": "absence"}
    made: dict[str, list[str]] = {}
    for step, name in names.items():
        how = found["made with"][step]
        text = f"{how['people']:,} test people, {counted(how['seeds'], 'seed')}, formula version {how['formula']}"
        made.setdefault(text, []).append(name)
    return "; ".join(f"{', '.join(which)}: {text}" for text, which in made.items())


def section(found: dict[str, Any]) -> str:
    """Everything between the marks."""
    parts = (
        f"Measured on {_sizes(found)}.",
        question_table(found),
        round_table(found),
        negation_table(found),
        absence_table(found),
    )
    return "\n\n".join(parts)


def main(argv: Sequence[str]) -> int:
    """Choose, measure, write."""
    parser = argparse.ArgumentParser("python -m descry_lab conversation", description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--data", type=Path, help="folder of the frozen benchmark; without, nothing is measured")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--calibration", type=int, default=PARTS["calibration"][1], help="people who set thresholds")
    parser.add_argument("--people", type=int, default=PARTS["test"][1], help="the first so many test people")
    parser.add_argument("--only", nargs="+", default=[], help="only these steps; the others stay as they are in OUT")
    parser.add_argument("--keep", action="store_true", help="keep the model's composition and constants; do not choose")
    parser.add_argument("--page", action="store_true", help="write the tables of docs/conversation.md from OUT")
    args = parser.parse_args(argv)
    if args.data:
        measure(args)
    if args.page:
        put(PAGE, MARKS, section(json.loads((args.out / FOUND.name).read_text("utf-8"))))
    return 0


def measure(args: argparse.Namespace) -> None:
    """Choose on validation people unless the choice is kept, then every step on test people."""
    start, model = time.time(), load(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    sizes = {"val": PARTS["val"][1], "test": args.people, "calibration": args.calibration}

    @cache
    def part(name: str) -> Part:
        return Part(model, args.data, name, sizes[name])

    whole = {"model": model.fingerprint, "note": model.note}
    before = json.loads((args.out / FOUND.name).read_text("utf-8")) if args.only else {}
    result: dict[str, Any] = before | whole
    if not args.keep:
        result["validation"] = choose(model, part("val"))
        served = model.ranking.to_json()
        result["chosen on validation"] = {k: v for k, v in served.items() if k not in ("curves", "prompts")}
        (args.out / "composition.json").write_text(json.dumps(served, indent=1) + "\n", "utf-8")
    steps: dict[str, Callable[[], Any]] = {
        "compositions on test": lambda: _lines(
            compare(model, part("test").benches["sketch+text"], part("test").photos, compositions())
        ),
        "questions": lambda: questions(model, part("test"), args.seeds),
        "policies": lambda: policies(model, part("test"), args.seeds),
        "NOT": lambda: negation(
            model, part("test").benches["sketch"], part("test").photos, part("test").people, vocabulary()
        ),
        "absence": lambda: absences(model, part("calibration"), part("test")),
        "re-ranking": lambda: reranked(model, part("val"), part("test")),
    }
    for name, step in steps.items():
        if args.only and name not in args.only:
            continue
        result[name] = step()
        formula = model.ranking.formula.version
        made = {"people": args.people, "seeds": args.seeds, "formula": formula}
        result["made with"] = result.get("made with", {}) | {name: made}
        result["seconds"] = round(time.time() - start)
        print(f"{name}: done after {result['seconds']} s", flush=True)
        (args.out / "conversation.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
