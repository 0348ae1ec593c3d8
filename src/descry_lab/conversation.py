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
from descry_people.person import held

from .choosing import Line, chipped, compare, compositions, negation, tuned
from .prompts import best_readings
from .rerank import reranker
from .simulation import (
    POLICIES,
    Course,
    World,
    absence_profiles,
    fit_sharpness,
    reading_curves,
    share_of_gain,
    simulate,
    withheld,
    world_of,
)
from .tables import ROOT, laid_out, put
from .witness import FAITHFUL, Habits

HARD = Habits(err=0.2, forget=0.2)
PHRASED = {"text": 8, "sketch+text": 3, "photo+text": 3}
"""Kind of query → how many measured phrases its words are, where absence is judged by them."""
DRAWS = 3
"""How often each person asks with other phrases."""
BEST_COSINE = absence.FEATURES.index("best cosine")
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
    world = val.world(model)
    model.ranking = replace(model.ranking, sharpness=fit_sharpness(world.start, world.relevant))
    formula, table = tuned(val.world(model), GRID)
    model.ranking = replace(model.ranking, formula=formula)
    return {"sentences": _lines(whole), "sentences read into chips": _lines(split), "constants": table[:10]}


def _lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [asdict(x.composition) | x.ranks.as_dict() | {"AP against the best": x.against} for x in lines]


def questions(model: Any, test: Part, seeds: int) -> dict[str, Any]:
    """The must-hold figures of questions by gain, with the whole vocabulary and with a third of the attributes
    withheld, and what they gain beside version 1 of the formula, which weighed every answer alike."""
    out: dict[str, Any] = {}
    for name, table in (("whole", vocabulary()), ("a third withheld", withheld(vocabulary()))):
        world = test.world(model, questions=table)
        alike = replace(world.ranking, formula=replace(world.ranking.formula, version=1))
        faithful = _ideal(test, model, table, FAITHFUL, seeds)
        for label, habits in (("faithful", FAITHFUL), ("20 % wrong, 20 % don't know", HARD)):
            got = _repeated(world, habits, seeds)
            same = faithful if habits == FAITHFUL else _ideal(test, model, table, habits, seeds)
            row: dict[str, Any] = {f"R@{k}": share_of_gain(got, faithful, k) for k in (1, 10)}
            row |= {f"R@{k}, ideal with the same witness": share_of_gain(got, same, k) for k in (1, 10)}
            row["against the start, R@10"] = asdict(paired(_hits(got, -1, 10), _hits(got, 0, 10)))
            first = _repeated(replace(world, ranking=alike), habits, seeds)
            row["against version 1, R@1"] = asdict(paired(_hits(got, -1, 1), _hits(first, -1, 1)))
            row["curve"] = _mean_curve(got)
            out[f"{name}, {label}"] = row
    return out


def _ideal(test: Part, model: Any, table: Sequence[Any], habits: Habits, seeds: int) -> list[Course]:
    """The same policy with the gallery's true attributes, knowing how often the witness errs."""
    world = test.world(model, questions=table, truth=True, witness_error=max(habits.err, 0.01))
    return _repeated(world, habits, seeds)


def _repeated(world: World, habits: Habits, seeds: int) -> list[Course]:
    """Five questions by gain, once for each seed; once for a faithful witness, who leaves nothing to chance."""
    return [simulate(world, "gain", habits, 5, s) for s in range(1 if habits == FAITHFUL else seeds)]


def policies(model: Any, test: Part, seeds: int) -> dict[str, Any]:
    """Curves of every policy for four kinds of witness, and the paired tests of gain against random and fixed order."""
    world = test.world(model)
    out: dict[str, Any] = {}
    for label, habits in (
        ("faithful", FAITHFUL),
        ("10 % wrong, 10 % don't know", Habits(err=0.1, forget=0.1)),
        ("20 % wrong, 20 % don't know", HARD),
        ("vague and contradicting, 20 %", Habits(vague=0.2, contradict=0.2)),
    ):
        courses = {p: [simulate(world, p, habits, 5, s) for s in range(seeds)] for p in POLICIES}
        row: dict[str, Any] = {p: _mean_curve(c) for p, c in courses.items()}
        reached = {p: np.mean([c.rounds_to(10) for c in courses[p]], axis=0) for p in courses}
        for other in ("random", "fixed"):
            row[f"rounds to R@10, gain against {other}"] = asdict(paired(reached["gain"], reached[other]))
        row["rounds to R@10"] = {p: float(v.mean()) for p, v in reached.items()}
        row["answerer"] = courses["all"][0].card
        out[label] = row
    return out


def absences(model: Any, known: Part, test: Part) -> dict[str, Any]:
    """The decision of each kind of query, calibrated on people of neither part, on test people (`absence_row`).

    known: in galleries as large as those asked about; one half fits the regression, the other sets both thresholds.
    """
    out: dict[str, Any] = {}
    for kind in ("sketch", "text", "sketch+text", "photo"):
        sides = [profiles(model, part, [part.benches[kind]]) for part in (known, test)]
        out[kind] = absence_row(kind, sides[0], sides[1])
    for kind, phrases in PHRASED.items():
        name = f"{kind}, {phrases} measured phrases"
        sides = [
            profiles(model, part, [phrased(model, part, kind, phrases, draw) for draw in range(DRAWS)])
            for part in (known, test)
        ]
        out[name] = absence_row(name, sides[0], sides[1], DRAWS)
    return out


def profiles(model: Any, part: Part, benches: Sequence[Benchmark]) -> tuple[np.ndarray, np.ndarray]:
    """(n, F) profiles of present and of absent people, n = benches × people."""
    found = [absence_profiles(model, bench, part.photos, people=PARTS["val"][1]) for bench in benches]
    here, gone = (np.concatenate(rows) for rows in zip(*found, strict=True))
    return here, gone


def absence_row(
    kind: str, known: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], draws: int = 1
) -> dict[str, Any]:
    """A decision and how it fares, beside the best cosine alone; or why it was refused.

    known, test: profiles of present and of absent people. draws: how often each person asks, one draw after the other.
    "interval of 5 %" is what chance makes of a rate of 5 % with so many people in both samples (`absence.alarms`);
    people who ask more than once count for as many as the variance of their shares says.
    """
    who = [np.tile(np.arange(len(side[0]) // draws), draws) for side in (known, test)]
    try:
        fitted = absence.useful(absence.calibrate(kind, *known, [f"calibration {i}" for i in who[0]]))
    except DataError as error:
        return {"refused": str(error)}
    row: dict[str, Any] = absence.judged(fitted, *test, [f"test {i}" for i in who[1]])
    (best, _), (t_best, t_best_gone) = ([rows[:, BEST_COSINE] for rows in side] for side in (known, test))
    plain = np.sort(best)[int(0.05 * (len(best) + 1)) - 1]
    alarmed, detected = (fitted.number(rows) < fitted.absent_below for rows in test)
    row["calibrated on"], row["draws"] = len(best) // draws, draws
    row["best cosine: AUROC"] = 100 * absence.auroc(t_best, t_best_gone)
    row["best cosine: false alarms"] = 100 * float((t_best < plain).mean())
    row["best cosine: absence detected"] = 100 * float((t_best_gone < plain).mean())
    row["detected, against best cosine"] = asdict(paired(detected, t_best_gone < plain, who[1]))
    row["AUROC, against best cosine"] = _auroc_gap(fitted, *test, draws)
    share = alarmed.reshape(draws, -1).mean(axis=0)
    once, spread = float(share.mean() * (1 - share.mean())), float(share.var())
    counts = min(draws, once / spread) if spread > 1e-9 else 1.0  # as many as so many who ask once
    people = [round(counts * n) for n in (fitted.present / draws, len(share))]
    row["interval of 5 %"] = [100 * end for end in absence.alarms(people[0], 0.05, people[1])]
    return row


def phrased(model: Any, part: Part, kind: str, phrases: int, draw: int = 0) -> Benchmark:
    """A benchmark whose words are phrases with a measured answer curve that are true of the person: what chips say.

    draw: which of the phrases that are true; the seed.
    """
    rng = np.random.default_rng(draw)
    probes = []
    for probe in part.benches[kind].probes:
        record = held(part.people[probe.pid])
        true = [q.phrase for q in vocabulary() if record.get(q.attribute) in q.values and model.ranking.curve(q.phrase)]
        chosen = rng.permutation(len(true))[:phrases]
        probes.append(replace(probe, query=probe.query.replace(wanted=tuple(true[i] for i in chosen))))
    value: Benchmark = replace(part.benches[kind], name=f"{kind}, {phrases} measured phrases", probes=tuple(probes))
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


def _auroc_gap(fitted: Any, here: np.ndarray, gone: np.ndarray, draws: int, samples: int = 500) -> dict[str, float]:
    """AUROC of the decision less that of the best cosine, with the 95 % interval of a bootstrap over people."""
    rng, people = np.random.default_rng(0), len(here) // draws
    number, number_gone = fitted.number(here), fitted.number(gone)
    best, best_gone = here[:, BEST_COSINE], gone[:, BEST_COSINE]
    gaps = []
    for _ in range(samples):
        i = (rng.integers(people, size=people) + people * np.arange(draws)[:, None]).ravel()
        gaps.append(absence.auroc(number[i], number_gone[i]) - absence.auroc(best[i], best_gone[i]))
    low, high = np.quantile(gaps, [0.025, 0.975])
    return {"difference": 100 * float(np.mean(gaps)), "low": 100 * float(low), "high": 100 * float(high)}


# ---------------------------------------------------------------------- the page


def question_table(found: dict[str, Any]) -> str:
    """Five questions by gain, and what the same policy reaches with true attributes."""
    heads = (
        "five questions by gain, from the sketch alone", "R@1 start → end", "ideal, same witness", "share of its gain",
        "ideal, faithful witness", "share of its gain", "end, less version 1",
    )  # fmt: skip
    lines = []
    for key, name in ROWS.items():
        row, same = found["questions"][key]["R@1"], found["questions"][key]["R@1, ideal with the same witness"]
        more = found["questions"][key]["against version 1, R@1"]
        gap, low, high = (round(100 * more[k], 1) + 0.0 for k in ("difference", "low", "high"))
        ends = f"{row['start']:.1f} → {row['end']:.1f}"
        lines.append([name, ends, f"{same['ideal']:.1f}", _share(same), f"{row['ideal']:.1f}", _share(row),
                      f"{gap:+.1f} ({low:+.1f} to {high:+.1f})"])  # fmt: skip
    return laid_out(heads, lines)


def _share(row: dict[str, float]) -> str:
    return f"{100 * row['share']:.0f} % ({100 * row['low']:.0f}–{100 * row['high']:.0f})"


def round_table(found: dict[str, Any]) -> str:
    """Rounds to the first ten, by policy and witness, and the paired tests."""
    policies = ("gain", "random", "fixed", "feedback", "closest", "all")
    lines = []
    for witness, row in found["policies"].items():
        tests = (row[f"rounds to R@10, gain against {other}"] for other in ("random", "fixed"))
        gaps = (f"{t['difference']:+.2f} ({t['low']:+.2f} to {t['high']:+.2f}), p {t['p']:.4f}" for t in tests)
        lines.append([witness, *(f"{row['rounds to R@10'][p]:.2f}" for p in policies), *gaps])
    return laid_out(("rounds until among the first ten", *policies, "gain − random", "gain − fixed"), lines)


def negation_table(found: dict[str, Any]) -> str:
    """What "no X" leaves of X among the first 20, and where it puts the people without X."""
    heads = (
        '"no …"', "told apart (AUROC)", "held by", "share in the first 20 before", "after NOT",
        "after the negated English", "left (interval)", "left, version 1", "median rank of people without it",
        "version 1", "rank times (interval)",
    )  # fmt: skip
    lines = []
    for row in found["NOT"]:
        least, most = (round(end, 1) + 0.0 for end in row["median rank, interval"])
        moved = f"{row['median rank, before']:g} → {row['median rank, NOT']:g} ({least:+g} to {most:+g})"
        shares = (f"{100 * row[k]:.0f} %" for k in ("held by", "before", "NOT", "negated English"))
        left, times = (
            f"{row[k]:.2f} ({row[f'{k}, interval'][0]:.2f}–{row[f'{k}, interval'][1]:.2f})"
            for k in ("left", "rank, factor")
        )
        lines.append([row["key"], f"{row['AUROC']:.2f}", *shares, left, f"{row['left, version 1']:.2f}", moved,
                      f"{row['median rank, version 1']:g}", times])  # fmt: skip
    return f"{laid_out(heads, lines)}\n\nIn this table, {_harm(found['NOT'])}."


def _harm(rows: Sequence[dict[str, Any]]) -> str:
    """Of how many attributes a true NOT moves the people more than chance, by the median and by the mean factor."""
    worse = [row["key"] for row in rows if row["median rank, interval"][0] > 0]
    down, up = (sum(side * row["rank, factor, interval"][i] > side for row in rows) for i, side in ((0, 1), (1, -1)))
    named = f" ({', '.join(worse)})" if worse else ""
    return (
        f"a true NOT worsens the median rank by more than chance for {len(worse)} of {len(rows)} attributes{named}; on "
        f"average it moves people down by more than chance for {down} and up for {up}"
    )


def absence_table(found: dict[str, Any]) -> str:
    """The decision "probably not here", beside the best cosine alone."""
    heads = (
        "absence, threshold for 5 % false alarms", "false alarms", "interval of 5 %", "absences found",
        "best cosine: false alarms", "finds", "AUROC", "best cosine", "AUROC gained", "calibration error",
    )  # fmt: skip
    lines = []
    for kind, row in found["absence"].items():
        if "refused" in row:
            lines.append([kind, "refused: near chance", *"––––––––"])
            continue
        low, high = row["interval of 5 %"]
        alarms, finds, plain, plain_finds = (
            f"{row[k]:.1f} %"
            for k in ("false alarms", "absence detected", "best cosine: false alarms", "best cosine: absence detected")
        )
        gained = row["AUROC, against best cosine"]
        lines.append([kind, alarms, f"{low:.1f}–{high:.1f} %", finds, plain, plain_finds, f"{row['AUROC']:.1f}",
                      f"{row['best cosine: AUROC']:.1f}",
                      f"{gained['difference']:+.1f} ({gained['low']:+.1f} to {gained['high']:+.1f})",
                      f"{row['ECE']:.3f}"])  # fmt: skip
    count = next(iter(found["absence"].values()))["calibrated on"]
    note = f"Calibrated on {count:,} other people (`--calibration {count}`); all galleries here hold 500 people."
    note += f" With measured phrases each person asks {DRAWS} times, with other phrases drawn from those true of them."
    note += "".join(f" Not calibrated: {row['refused']}." for row in found["absence"].values() if "refused" in row)
    return f"{laid_out(heads, lines)}\n\n{note}"


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
        made["search_fingerprint"] = model.search_fingerprint
        result["made with"] = result.get("made with", {}) | {name: made}
        result["seconds"] = round(time.time() - start)
        print(f"{name}: done after {result['seconds']} s", flush=True)
        (args.out / "conversation.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
