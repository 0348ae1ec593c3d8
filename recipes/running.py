"""What the recipes share: three scales, cells that are trained once and kept, the ledger, and the printing.

Every recipe takes the same options:

    --smoke                 two steps a cell on a handful of people; claims nothing, writes no reference line
    --small                 synthetic people, from the model that ships (demo, or --start RUN); labelled synthetic
    --data NAME --data ROOT (and --adapt NAME ROOT for InteractReID's stage 1) --start CLIP    the paper's own size
    --work FOLDER           runs and data are kept there; an interrupted sweep goes on, and a cell that several tables
                            need is trained once
    --ledger FILE           where finished cells are written down (default: WORK/ledger.jsonl)
    --seed N                may be repeated; the default is 0, 1, 2 (smoke: 0)
    --kept                  train nothing: only judge and show the cells that are trained already
    --watch                 also judge every epoch on test, and say how much choosing there would have flattered

`python recipes/small.py` runs the --small form of all of them.

Synthetic people are no evidence of accuracy on real people: such a table shows whether the code learns what the paper
says it should, and how far seeds lie apart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import Cell, finished, fit
from worlds import World, worlds

from descry.embed import load
from descry.evaluate import evaluate_all
from descry.records import Dataset
from descry.studies import ledger
from descry.studies.intervals import paired
from descry.studies.results import ranks_of, read_results, row_of, write_results
from descry_lab.epochs import flattery, read_epochs
from descry_lab.papers import TABLES
from descry_lab.tables import SYNTHETIC, beside

ROOT = Path(__file__).resolve().parent.parent
Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Study:
    """A table or figure: its cells, what else is measured of each, and what is drawn when all are there.

    measure: (model, world, run folder) → more figures. draw: (row → run folder of the first seed, world, out folder).
    """

    table: str
    cells: tuple[Cell, ...]
    measure: Callable[[Any, World, Path], Figures] | None = None
    draw: Callable[[dict[str, Path], World, Path], list[Path]] | None = None
    splits: int = 1


def main(study: Study, argv: Sequence[str] | None = None) -> int:
    """The command line of one recipe."""
    args = _arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    scale = "smoke" if args.smoke else "small" if args.small else "full"
    world = worlds(scale, args.work, args.start, args.data, args.adapt, args.device, study.splits)
    seeds = args.seed or ([0] if scale == "smoke" else [0, 1, 2])
    command = " ".join(["python", f"recipes/{script(study.table)}.py", *(f"--{scale}" for _ in [0] if scale != "full")])
    world = replace(world, mark=load(world.start, "cpu").fingerprint, watch=args.watch)
    found = sweep(study, world, seeds, args.ledger or args.work / "ledger.jsonl", command, args.only, args.kept)
    asked = {c.asked for c in TABLES[study.table].columns}
    for line in differences(found, world, asked) if scale != "smoke" else []:
        print(line)
    if study.draw:
        for path in study.draw({row: runs[0][0] for row, runs in found.items()}, world, args.work / "figures"):
            print(f"figure: {path}")
    if scale != "full":
        print(SYNTHETIC if scale == "small" else "a smoke run: no figure above claims anything")
    return 0


def script(table: str) -> str:
    """The recipe of a table, as a module's name: interactreid-1 → interactreid_table1."""
    paper, _, what = table.rpartition("-")
    return f"{paper.replace('-', '_')}_{f'table{what}' if what.isdigit() else what}"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    doc = sys.modules["__main__"].__doc__ or __doc__
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--adapt", nargs=2, metavar=("NAME", "ROOT"))
    parser.add_argument("--start", default="", help="CLIP folder, hub name or run to begin with")
    parser.add_argument("--work", type=Path, default=Path("work/recipes"))
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--kept", action="store_true")
    return parser.parse_args(argv)


def sweep(
    study: Study, world: World, seeds: Sequence[int], written: Path, command: str, only: str = "", kept: bool = False
) -> dict[str, list[list[Path]]]:
    """Train and judge every cell with every seed, the finished ones being kept; row → run folders by seed and split.

    kept: leave out what is not trained yet. The start as it is has nothing random, so one seed is enough.
    """
    found: dict[str, list[list[Path]]] = {}
    for cell in study.cells:
        if only not in cell.row:
            continue
        for seed in seeds if cell.method else seeds[:1]:
            if kept and not all(finished(cell, seed, world, data) for data in world.data):
                continue
            begun = time.monotonic()
            runs = [fit(cell, seed, world, data) for data in world.data]
            judged = [judge(run, data, world) for run, data in zip(runs, world.data, strict=True)]
            figures, intervals = joined(judged)
            if study.measure:
                figures |= study.measure(load(runs[0], world.device), world, runs[0])
            found.setdefault(cell.row, []).append(runs)
            told = beside(TABLES[study.table], cell.row, figures) if world.scale != "smoke" else f"{cell.row}: it runs"
            print(f"seed {seed}, {told}", flush=True)
            if (runs[0] / "epochs.jsonl").is_file():
                added = flattery(read_epochs(runs[0] / "epochs.jsonl")).flattery
                print(f"  choosing the epoch on test would add {added:.2f}")
            note(study, cell, seed, world, runs, judged, figures, intervals, written, command, time.monotonic() - begun)
    return found


def results_file(run: Path, data: Dataset, world: World) -> Path:
    """Where a run's results on a data set's test split are kept: beside it, those of the start in the work folder."""
    mark = hashlib.sha256("".join(b.fingerprint() for b in data.test.values()).encode()).hexdigest()[:12]
    started = str(run) == world.start
    return world.work / f"results-{world.mark[:12]}-{mark}.json" if started else run / f"results-{mark}.json"


def judge(run: Path, data: Dataset, world: World) -> dict[str, Any]:
    """Results with values per query of one run on one data set's test split, measured once."""
    kept = results_file(run, data, world)
    if not kept.is_file():
        model = load(run, world.device)
        rows = [row_of(e, per_query=True) for e in evaluate_all(model, data.test)]
        about = {"model": str(run), "data": data.name, "split": "test", "selection": selection(run)}
        write_results(kept, about, rows)
    return read_results(kept)


def selection(run: Path) -> str:
    """By what the epoch was chosen."""
    try:
        return str(json.loads((run / "metrics.json").read_text(encoding="utf-8"))["selection"])
    except (OSError, ValueError, KeyError):
        return "nothing (as given)"


def joined(judged: Sequence[dict[str, Any]]) -> tuple[Figures, dict[str, Any]]:
    """Figures by what was asked, as the mean over splits; intervals where there is one split."""
    table: dict[str, list[dict[str, Any]]] = {}
    for held in judged:
        for row in held["results"]:
            table.setdefault(f"{row['benchmark']} {row['composition']}".strip(), []).append(row)
    names = ("R@1", "R@5", "R@10", "mAP", "mINP")
    figures = {asked: {m: float(np.mean([r[m] for r in rows])) for m in names} for asked, rows in table.items()}
    return figures, {asked: rows[0]["intervals"] for asked, rows in table.items() if len(judged) == 1}


def note(
    study: Study, cell: Cell, seed: int, world: World, runs: Sequence[Path], judged: Sequence[dict[str, Any]],
    figures: Figures, intervals: dict[str, Any], written: Path, command: str, seconds: float,
) -> None:  # fmt: skip
    """Write a finished cell into the ledger, unless the same line is there already or it was a smoke run."""
    known = [e for e in ledger.read(written) if e.key == (study.table, cell.row, world.scale, seed)]
    if world.scale == "smoke" or (known and known[-1].figures == figures):
        return
    metrics = runs[0] / "metrics.json"
    trained = str(runs[0]) != world.start
    held = json.loads(metrics.read_text(encoding="utf-8")) if trained and metrics.is_file() else {}
    config = runs[0] / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8")).get("config", {}) if config.is_file() else {}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and world.device != "cpu" else ""
    entry = ledger.Entry(
        table=study.table, row=cell.row, scale=world.scale, seed=seed, figures=figures, intervals=intervals,
        split="test", selection=judged[0]["selection"], data={r["benchmark"]: r["data"] for r in judged[0]["results"]},
        command=command, config=settings | {"start": world.mark}, synthetic=world.scale != "full",
        commit=ledger.commit(ROOT),
        hardware=ledger.hardware(torch.get_num_threads(), gpu), seconds=round(max(seconds, held.get("seconds", 0.0)),
        1), at=ledger.now(),
    )  # fmt: skip
    ledger.append(written, entry)


def differences(found: Mapping[str, list[list[Path]]], world: World, wanted: Collection[str]) -> list[str]:
    """R@1 of each row against the first in what is asked, by the paired test over identities of the mean over seeds."""
    values: dict[str, dict[str, list[Any]]] = {}
    whose: dict[str, np.ndarray] = {}
    for row, seeds in found.items():
        for runs in seeds:
            for held in [judge(runs[0], world.data[0], world)] if len(runs) == 1 else []:
                for x in held["results"]:
                    asked = f"{x['benchmark']} {x['composition']}".strip()
                    if asked not in wanted:
                        continue
                    ranks, whose[asked] = ranks_of(x)
                    values.setdefault(row, {}).setdefault(asked, []).append(100.0 * (ranks.first == 1))
    lines, rows = [], list(values)
    for row in rows[1:]:
        for asked in values[row].keys() & values[rows[0]].keys():
            a, b = (np.mean(values[r][asked], axis=0) for r in (row, rows[0]))
            t = paired(a, b, whose[asked])
            gap = f"{t.difference:+.2f} [{t.low:+.2f}, {t.high:+.2f}], p {t.p:.4f} (not corrected)"
            lines.append(f"{row} against {rows[0]}, {asked}, R@1: {gap}")
    return sorted(lines)
