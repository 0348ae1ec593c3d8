"""What a phrase may weigh, over models that read well, badly and not at all: chosen on validation, judged on test.

    python -m descry_lab weights --data BENCHMARK --model demo --model RUN [--people 200] [--page]

To the models named come two made of the first one's: "weak", with noise added to its weights until it finds few, and
"untrained", with random weights alone. Each is measured on validation people as `descry model measure` does. Then "no
X" and "yes, X" are said, true and wrong, of attributes that it reads or not, with the curve that was measured and
without (a phrase that nobody measured). A last reader sees what the first model sees, but its labels are exchanged at
random: what is said has nothing to do with what is seen. Queries are sketches with noise: ranks can move both ways.

The choice, for phrases without a curve: of the settings with which a true phrase worsens the median rank of no model,
the one with the greatest gain in log2 of the rank when one witness in five is wrong.

Time: about 6 minutes of one core at 200 people. Synthetic people are no evidence of accuracy on real people.

Letters: A attributes, Q people looked for, N photographs of a gallery.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descry.checkpoint import load_any, save_model
from descry.embed import Model, load
from descry.evaluate import Embedded, scores_of
from descry.interact.questions import vocabulary
from descry.ranking import Formula, Ranking
from descry.search import weighed_evidence
from descry_people.benchmark import PARTS, benchmark, held_in, records_of

from .misread import Readings, moved, ranks_after, spread_of, standard
from .reading import measure
from .simulation import nearest_ranks
from .tables import ROOT, laid_out, parser_of, put

PAGE, FOUND = ROOT / "docs" / "conversation.md", "weights.json"
MARKS = ("<!-- weights: python -m descry_lab weights -->", "<!-- end of weights -->")
CURVES = ((1.5, 2.0), (1.5, 3.0), (2.0, 4.0), (3.0, 6.0))
STRENGTHS = (0.25, 0.5, 1.0)
FALLS = (2.0, 3.0, 4.0, 10.0)
ATTRIBUTES = 24
NOISE = {"weak": 0.5, "untrained": 1.0}
"""Noise added to each matrix of weights, in units of its own spread."""
WRONG = 0.2
"""Share of answers that are wrong, when the gain is weighed."""


@dataclass(frozen=True, eq=False)
class Reader:
    """A model on one part of the benchmark.

    Attributes:
        name: of the model.
        start: (Q, N) scores before anything is said.
        relevant: (Q, N) bool.
        readings: what it sees of A attributes, and what is true.
        phrases: (A,) of the attributes.
        ranking: with the curves measured on validation people.
    """

    name: str
    start: np.ndarray
    relevant: np.ndarray
    readings: Readings
    phrases: tuple[str, ...]
    ranking: Ranking


def main(argv: Sequence[str]) -> int:
    """Measure, choose, judge, write."""
    parser = parser_of("weights", __doc__)
    parser.add_argument("--data", type=Path, help="folder of the frozen benchmark; without, nothing is measured")
    parser.add_argument("--model", action="append", default=[], help="a run folder, or demo; the first one is spoilt")
    parser.add_argument("--people", type=int, default=200, help="of each part")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--page", action="store_true", help="write the table of docs/conversation.md from OUT")
    args = parser.parse_args(argv)
    if args.data:
        found = judged(args.data, args.model or ["demo"], args.people)
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / FOUND).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    if args.page:
        put(PAGE, MARKS, page(json.loads((args.out / FOUND).read_text("utf-8"))))
    return 0


def judged(root: Path, names: Sequence[str], people: int) -> dict[str, Any]:
    """The choice on validation people, and what it does to test people."""
    parts: dict[str, list[Reader]] = {"val": [], "test": []}
    first = ""
    with tempfile.TemporaryDirectory() as spare:
        for name, model in models(names, Path(spare)):
            ranking = None
            first = first or model.search_fingerprint
            for part, readers in parts.items():
                readers.append(reader(name, model, root, part, min(people, PARTS[part][1]), ranking))
                ranking = readers[-1].ranking
            print(f"{name}: measured", flush=True)
    for readers in parts.values():
        readers.append(exchanged(readers[0]))
    tried = [row for curve, s in product(CURVES, STRENGTHS) for row in unmeasured(parts["val"], curve, s)]
    falls = [row for factor in FALLS for row in measured(parts["val"][:-1], factor)]
    curve, strength = chosen(tried)
    test = list(unmeasured(parts["test"], curve, strength)) + list(measured(parts["test"][:-1], Formula().fall_factor))
    return {
        "search_fingerprint": first, "people": people, "curve": curve, "strength": strength,
        "readable": readable(parts["test"][:-1]), "validation": tried, "falls": falls, "test": test,
    }  # fmt: skip


def models(names: Sequence[str], spare: Path) -> Iterator[tuple[str, Model]]:
    """The models named, and the two that are made of the first."""
    for name in names:
        yield Path(name).name, load(name, device="cpu")
    for name, kept in (("weak", 1.0), ("untrained", 0.0)):
        method, config, _ = load_any(names[0])
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in method.parameters():
                if weights.ndim > 1:
                    drawn = torch.randn(weights.shape, generator=generator) * weights.std()
                    weights.copy_(kept * weights + NOISE[name] * drawn)
        save_model(spare / name, method, config["method"], config["preset"], config["about"])
        yield name, load(str(spare / name), device="cpu")


def reader(name: str, model: Model, root: Path, part: str, people: int, ranking: Ranking | None) -> Reader:
    """A model on one part. ranking: measured before; None to measure it here."""
    bench = getattr(benchmark(root, part=part), held_in(part))["sketch"]
    who = {p.pid for p in bench.probes[:people]}
    photos = tuple(p for p in bench.photos if p.pid in who)
    bench = replace(bench, probes=tuple(replace(p, ignore=()) for p in bench.probes[:people]), photos=photos)
    embedded = Embedded.of(model, bench)
    if ranking is None:
        folder = next(root.glob(f"people-{part}-v1-{PARTS[part][1]}"))
        ranking = measure(model.with_ranking(Ranking()), {"sketch": bench}, folder).ranking
    records = records_of(root, part=part)
    table = vocabulary()
    readings = Readings.of(model.with_ranking(ranking), embedded, records, table)
    share = readings.facts.mean(axis=1)
    common = np.flatnonzero((share > 0.1) & (share < 0.9))
    kept = np.unique(common[np.linspace(0, len(common) - 1, min(ATTRIBUTES, len(common))).astype(int)])
    start = scores_of(model, bench.probes, embedded)
    start = standard(standard(start) + np.random.default_rng(0).normal(0, 2, start.shape))
    relevant = np.array([p.pid for p in bench.probes])[:, None] == embedded.pids[None, :]
    chosen_readings = replace(readings, z=readings.z[kept], facts=readings.facts[kept])
    return Reader(name, start, relevant, chosen_readings, tuple(table[a].phrase for a in kept), ranking)


def exchanged(known: Reader) -> Reader:
    """The same reader, whose labels say nothing of what is seen: exchanged between people."""
    rng = np.random.default_rng(1)
    _, which = np.unique(known.readings.pids, return_inverse=True)
    facts = np.stack([f[np.unique(which, return_index=True)[1]][rng.permutation(which.max() + 1)][which]
                      for f in known.readings.facts])  # fmt: skip
    name = f"{known.name}, labels at random"
    return replace(known, name=name, readings=replace(known.readings, facts=facts))


def unmeasured(readers: Sequence[Reader], curve: tuple[float, float], strength: float) -> Iterator[dict[str, Any]]:
    """Rows for phrases that nobody measured, weighed by a curve and with the strength of a NOT."""
    for known in readers:
        formula = known.ranking.formula
        for wanted in (False, True):
            how = (1.0, curve) if wanted else (strength / formula.negation, (curve[0], -curve[1]))
            parts = [weighed_evidence(z, formula, wanted, how[1], how[0]) for z in known.readings.z]
            for row in _rows(known, parts, wanted, formula):
                yield {"curve": curve, "strength": strength, "measured": False} | row


def measured(readers: Sequence[Reader], factor: float) -> Iterator[dict[str, Any]]:
    """Rows for phrases with the curve that was measured of the model, under a bound on the fall."""
    for known in readers:
        formula = replace(known.ranking.formula, fall_factor=factor)
        for wanted in (False, True):
            parts = []
            for phrase, z in zip(known.phrases, known.readings.z, strict=True):
                strength, curve = known.ranking.reading(phrase, wanted)
                parts.append(weighed_evidence(z, formula, wanted, curve, strength))
            for row in _rows(known, parts, wanted, formula):
                yield {"fall_factor": factor, "measured": True} | row


def _rows(known: Reader, parts: Sequence[np.ndarray], wanted: bool, formula: Formula) -> Iterator[dict[str, Any]]:
    first = nearest_ranks(known.start, known.relevant)
    after = np.stack([ranks_after(known.start, part, known.relevant, formula) for part in parts])
    own = known.relevant.argmax(axis=1)
    true = known.readings.facts[:, own] == wanted
    before = np.broadcast_to(first, after.shape)
    over = after > np.array([formula.worst_place(r) for r in first.tolist()])
    rng = np.random.default_rng(0)
    for said, cases in (("true", true), ("wrong", ~true)):
        yield {
            "model": known.name, "said": f"{said} {'yes' if wanted else 'NOT'}",
            "before": float(np.median(before[cases])), "after": float(np.median(after[cases])),
            "interval": spread_of(before, after, cases, rng, 200),
            "log2": float(np.mean(np.log2(after[cases]) - np.log2(before[cases]))), "over": int(over[cases].sum()),
        }  # fmt: skip


def chosen(tried: Sequence[dict[str, Any]]) -> tuple[tuple[float, float], float]:
    """The setting for phrases without a curve: harmless for every model where there is one, then the greatest gain."""

    def of(setting: tuple[tuple[float, float], float]) -> tuple[float, float]:
        rows = [r for r in tried if (r["curve"], r["strength"]) == setting]
        harm = sum(r["said"].startswith("true") and r["interval"][0] > 0 for r in rows)
        gain = sum(-r["log2"] * (WRONG if r["said"].startswith("wrong") else 1 - WRONG) for r in rows)
        return -harm, gain

    return max(dict.fromkeys((r["curve"], r["strength"]) for r in tried), key=of)


def readable(readers: Sequence[Reader]) -> dict[str, dict[str, float]]:
    """Model → median AUROC of the attributes, the share that it was found to read, and the first median rank."""
    return {
        k.name: {
            "AUROC": float(np.median(k.readings.told_apart())),
            "read": float(np.mean([k.ranking.reads(p) for p in k.phrases])),
            "rank": float(np.median(nearest_ranks(k.start, k.relevant))),
        }
        for k in readers
    }


def page(found: dict[str, Any]) -> str:
    """The tables of the page."""
    names = list(dict.fromkeys(r["model"] for r in found["test"]))
    kinds = ("true NOT", "wrong NOT", "true yes", "wrong yes")
    heads = (f"median rank of {2 * found['people']} photographs", "AUROC, attributes read", *kinds)
    lines = []
    for with_curve, name in product((True, False), names):
        rows = {r["said"]: r for r in found["test"] if r["model"] == name and r["measured"] == with_curve}
        if rows:
            can = found["readable"].get(name)
            of = f"{can['AUROC']:.2f}, {100 * can['read']:.0f} %" if can else "0.50, –"
            which = f"{name}, {'measured' if with_curve else 'not measured'}"
            lines.append([which, of, *(moved(rows[kind]) for kind in kinds)])
    return f"{laid_out(heads, lines)}\n\n{_choice(found)}"


def _choice(found: dict[str, Any]) -> str:
    """What was chosen on validation people, and what the bound on a fall matters there."""
    tried, first = found["validation"], found["test"][0]["model"]
    harm = {(tuple(r["curve"]), r["strength"]) for r in tried if r["said"].startswith("true") and r["interval"][0] > 0}
    all_of = {(tuple(r["curve"]), r["strength"]) for r in tried}
    wrong = [r for r in found["falls"] if r["model"] == first and r["said"] == "wrong NOT"]
    after = ", ".join(f"{r['after']:g}" for r in wrong)
    curve, factors = (", ".join(f"{x:g}" for x in values) for values in (found["curve"], FALLS))
    return (
        f"{found['people']} test people; intervals are over people. On {found['people']} validation people, "
        f"{len(all_of)} settings for phrases without a measured curve were compared; {len(harm)} of them let a true "
        f"phrase worsen the median of a model by more than chance. Searches use curve ({curve}), NOT with strength "
        f"{found['strength']:g}. With the factors {factors} in the place of the 3 in 3 r + 40, a wrong NOT moves the "
        f"median rank of {first} from {wrong[0]['before']:g} to {after}."
    )
