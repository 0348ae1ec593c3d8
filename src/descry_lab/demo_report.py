"""Measure the demo model on the frozen benchmark: metrics.json beside the model, and the tables in docs.

    python -m descry_lab demo-report WORK [--model demo] [--write]

WORK is where the benchmark is kept or drawn. Without --write the figures are only printed.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from descry.embed import load
from descry.evaluate import Embedded, Evaluation, evaluate
from descry.gallery.contract import Binding
from descry.ranking import Composition
from descry.records import Benchmark
from descry.report.error_rates import about_model
from descry.report.error_rates import markdown as known_errors
from descry.search import Memo
from descry.studies.intervals import intervals, measures, paired
from descry_people.benchmark import BENCHMARK_VERSION, baseline_table, benchmark

from .choosing import SHARES, compare
from .tables import ROOT, laid_out, parser_of, put

MODEL = ROOT / "src" / "descry" / "models" / "demo"
PAGE = ROOT / "docs" / "demo-model.md"
SLICE = 100
MARKS = ("<!-- figures: python -m descry_lab demo-report -->", "<!-- end of figures -->")
KNOWN = ("<!-- known errors: python -m descry_lab demo-report -->", "<!-- end of known errors -->")


def row(found: Evaluation) -> tuple[dict[str, Any], np.ndarray]:
    """R@1, mAP and mINP with their intervals, and R@1 of each query."""
    values = measures(found.ranks)
    spans = intervals({k: values[k] for k in ("R@1", "mAP", "mINP")}, found.identities)
    return {k: [round(v.mean, 2), round(v.low, 2), round(v.high, 2)] for k, v in spans.items()}, values["R@1"]


def measured(model: Any, benches: Mapping[str, Benchmark], late: float) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Every way of asking → figures; and R@1 per query. late: the words' share in late fusion, chosen on validation."""
    photos = Embedded.of(model, benches["text"])
    table, each = {}, {}
    asked: list[tuple[str, str, Composition | None]] = [
        ("text", "text", None),
        ("sketch", "sketch", None),
        ("photo", "photo", None),
    ]
    composition: Composition = model.ranking.composition
    both: list[tuple[str, Composition | None]] = [
        ("early", replace(composition, how="early")),
        ("late", replace(composition, how="late", text=late)),
        ("pseudo", replace(composition, how="pseudo")),
    ]
    asked += [(f"sketch+text, {name}", "sketch+text", how) for name, how in [*both, ("served", None)]]
    for name, kind, how in asked:
        table[name], each[name] = row(evaluate(model, benches[kind], how, photos))
    return table, each


def readers(model: Any, work: Path) -> dict[str, Any]:
    """How sketches are read → R@1 on validation as `descry evaluate` gives it, and the rows of the test that change.

    "one encoder": the model before its sketches were read apart, by the image encoder that reads photographs.
    """
    before = copy.copy(model)
    before.sketch_method = model.method
    parts, out = {"val": benchmark(work, part="val").val, "test": benchmark(work).test}, dict[str, Any]()
    photos = {part: Embedded.of(model, benches["text"]) for part, benches in parts.items()}
    asked = [("text", None), ("sketch", None), ("sketch+text", "early"), ("sketch+text", "late")]
    for name, known in (("one encoder", before), ("sketches apart", model)):
        memo = Memo(1 << 20)
        found = {f"{kind}, {how}" if how else kind: evaluate(known, parts["val"][kind], how, photos["val"], memo=memo)
                 for kind, how in asked}  # fmt: skip
        out[name] = {"val R@1": {kind: round(e.ranks.r1, 2) for kind, e in found.items()}}
        for kind, row_of in (("sketch", "sketch"), ("sketch+text", "sketch+text, served")):
            ranked = evaluate(known, parts["test"][kind], None, photos["test"], memo=memo)
            out[name][f"test, {row_of}"] = row(ranked)[0]["R@1"]
    return out


def report(model: Any, work: Path) -> dict[str, Any]:
    """All that metrics.json says of a model."""
    known = benchmark(work, part="val").val["sketch+text"]
    tried = [replace(model.ranking.composition, how="late", text=share) for share in SHARES]
    late = compare(model, known, Embedded.of(model, known), tried)[0].composition.text  # by mean average precision
    test = benchmark(work).test
    table, each = measured(model, test, late)
    people = np.array([p.pid for p in test["text"].probes])
    oracle = baseline_table(work)["oracle"]
    tests = {}
    for a, b in (
        ("sketch+text, served", "text"),
        ("sketch+text, served", "sketch"),
        ("sketch+text, early", "sketch+text, late"),
    ):
        gap = asdict(paired(each[a], each[b], people))
        tests[f"{a} − {b}"] = {k: round(gap[k], 4 if k == "p" else 2) for k in ("difference", "low", "high", "p")}
    slice_table, _ = measured(model, benchmark(work, SLICE).test, late)
    return {
        "benchmark": BENCHMARK_VERSION,
        "fingerprint": model.fingerprint,
        "search_fingerprint": model.search_fingerprint,
        "composition": model.config.get("composition"),
        "late_share_of_words": late,
        "test": table,
        "readers of sketches": readers(model, work),
        "oracle R@1": {k: round(v, 2) for k, v in oracle.items()},
        "paired R@1": tests,
        f"first {SLICE} people": {k: v["R@1"][0] for k, v in slice_table.items()},
        "pretrained_clip": model.pretrained,
        "note": model.note,
    }


def markdown(found: dict[str, Any]) -> str:
    """The table of the page."""
    lines = []
    for name, v in found["test"].items():
        best = found["oracle R@1"].get(name.split(",")[0])
        share = (f"{best:.1f}", f"{v['R@1'][0] / best:.2f}") if best else ("–", "–")
        r, low, high = v["R@1"]
        lines.append([name, f"{r:.1f} ({low:.1f}–{high:.1f})", f"{v['mAP'][0]:.1f}", f"{v['mINP'][0]:.1f}", *share])
    tests = [
        [name, f"{t['difference']:+.1f}", f"{t['low']:+.1f} to {t['high']:+.1f}", f"{t['p']:.4f}"]
        for name, t in found["paired R@1"].items()
    ]
    shown = laid_out(("asked with", "R@1 (95 % interval)", "mAP", "mINP", "oracle R@1", "R@1 / oracle"), lines)
    return f"{shown}\n\n{laid_out(('R@1, paired by person', 'difference', '95 % interval', 'p'), tests)}"


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("demo-report", __doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(argv)
    begun = time.monotonic()
    found = report(load(options.model, device="cpu"), options.work)
    text = markdown(found)
    print(text)
    print(f"\n{time.monotonic() - begun:.0f} s")
    if options.write:
        (MODEL / "metrics.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        put(PAGE, MARKS, text)
        known = about_model(Binding("demo", found["fingerprint"], 0, {}))
        put(PAGE.with_name("responsible-use.md"), KNOWN, known_errors(known["error_rates"]))
    return 0
