"""Write what recipes/compare_synthetic.py has trained into the ledger, for the tables that show the same rows.

    python recipes/note_comparison.py WORK [--queries 1000] [--ledger results/ledger.jsonl]
    make tables

WORK is the work folder of compare_synthetic.py; only finished runs are taken, and a line that the ledger holds already
is not written again. Synthetic people are no evidence of accuracy on real people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from descry.methods import propot, vfe_tps
from descry.metrics import summarise
from descry.people.benchmark import benchmark
from descry.studies import ledger
from descry.studies.intervals import intervals, measures

ROOT = Path(__file__).resolve().parent.parent
FULL = "Propot +DPP+IPP+MLM"
SHOWN = ("R@1", "R@5", "R@10", "mAP")


def places() -> dict[str, list[tuple[str, str]]]:
    """Row of the comparison → where it stands: (table, row)."""
    out: dict[str, list[tuple[str, str]]] = {f"Propot {row}": [("propot-4", row)] for row in propot.ROWS}
    out |= {f"VFE-TPS {row}": [("vfe-tps-6", row)] for row in vfe_tps.ROWS}
    out[FULL] += [("propot-5", "adaptive (APA)"), *((f"propot-{n}", "Propot") for n in (1, 2, 3))]
    names = {"sum": "sum", "mean": "mean", "mlp": "weights by an MLP", "learned": "learnt weights"}
    out |= {f"Propot, {kind} for APA": [("propot-5", name)] for kind, name in names.items()}
    out["baseline: IRRA (SDM + ID + MLM)"] = [(f"propot-{n}", "IRRA") for n in (1, 2, 3)]
    out["baseline: linear probe"] = [("vfe-tps-5", "linear probe")]
    out["baseline: CLIP + CMPM"] = [("vfe-tps-5", "CLIP fine-tuned (CMPM)")]
    out["VFE-TPS both"] += [(f"vfe-tps-{n}", "VFE-TPS") for n in (1, 2, 3, 5)]
    out["VFE-TPS none"] += [("vfe-tps-figure5", "none")]
    out["VFE-TPS +TG-MIM"] += [("vfe-tps-figure5", "TG-MIM")]
    out["VFE-TPS, simmim for TG-MIM"] = [("vfe-tps-figure5", "SimMIM")]
    out["VFE-TPS, mae for TG-MIM"] = [("vfe-tps-figure5", "MAE")]
    return out


def entries(work: Path, queries: int) -> Iterator[ledger.Entry]:
    """A line for every place of every finished run."""
    bench = benchmark(work, queries, pixels=False).test["text"]
    whose = np.array([p.pid for p in bench.probes])
    runs = [(work / "stage0", 0, [("vfe-tps-5", "zero-shot CLIP")])]
    for name, where in places().items():
        folder = work / name.replace(" ", "_").replace("/", "-")
        runs += [(run, int(run.name), where) for run in sorted(folder.glob("[0-9]*"))]
    for run, seed, where in runs:
        if not (run / "text.json").is_file() or not (run / "metrics.json").is_file():
            continue
        judged, metrics, config = (_json(run / f"{n}.json") for n in ("text", "metrics", "config"))
        first, ap = np.array(judged["first"]), np.array(judged["ap"])
        ranks = summarise(first, ap, np.full(len(first), np.nan), len(bench.photos))
        values = {k: v for k, v in measures(ranks).items() if k in SHOWN}
        sure = intervals(values, whose)
        for table, row in where:
            yield ledger.Entry(
                table=table, row=row, scale="small", seed=seed, split="test", selection=metrics["selection"],
                figures={"text": {k: round(i.mean, 4) for k, i in sure.items()}},
                intervals={"text": {k: (round(i.low, 2), round(i.high, 2)) for k, i in sure.items()}},
                data={"text": bench.fingerprint()[:16]}, command="python recipes/compare_synthetic.py",
                config=config["config"], commit=ledger.commit(ROOT), hardware=metrics["about"]["hardware"],
                seconds=metrics["seconds"], at=ledger.now(),
            )  # fmt: skip


def _json(path: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return held


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--ledger", type=Path, default=ROOT / "results" / "ledger.jsonl")
    args = parser.parse_args()
    known = {e.key: e.figures for e in ledger.latest(ledger.read(args.ledger))}
    for entry in entries(args.work, args.queries):
        if known.get(entry.key) != entry.figures:
            ledger.append(args.ledger, entry)
            print(f"{entry.table}, {entry.row}, seed {entry.seed}: R@1 {entry.figures['text']['R@1']:.2f}")


if __name__ == "__main__":
    main()
