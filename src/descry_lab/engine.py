"""The one experiment engine: a study's rows are trained once and kept, judged, written into a ledger and compared.

A cell is one row of a table, trained in one stage or two; cells that come to the same training share it. Under torchrun
every process trains, and the first alone draws people, judges, prints and writes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descry.checkpoint import save_model
from descry.cli.starting import start
from descry.embed import load
from descry.errors import UsageError
from descry.evaluate import evaluate_all
from descry.methods import preset
from descry.records import Dataset
from descry.studies import ledger
from descry.studies.intervals import paired
from descry.studies.results import ranks_of, read_results, row_of, write_results
from descry.train import train

from .epochs import Watch, flattery, read_epochs
from .papers import TABLES
from .processes import first_process, wait_for_all
from .scales import World, changed
from .tables import SYNTHETIC, beside

ROOT = Path(__file__).resolve().parents[2]
AS_GIVEN = "nothing (as given)"
Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Cell:
    """One row of a table.

    Attributes:
        row: its name, as in `papers`.
        method: name of a method; "" is the CLIP that the others start from, as it is.
        changes: fields of the method's config.
        preset: of the method; "" takes the one that was asked for, the paper's unless another is named.
        adapt: what InteractReID's stage 1 is trained on, "" for nothing.
    """

    row: str
    method: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    preset: str = ""
    adapt: str = "PEDES"


@dataclass(frozen=True)
class Training:
    """One stage: its run folder, what it starts from and what it is taught on."""

    folder: Path
    origin: str
    taught: Dataset
    stage: int
    last: bool

    @property
    def finished(self) -> bool:
        """Whether the run ended."""
        return (self.folder / "metrics.json").is_file()


def trainings(cell: Cell, seed: int, world: World, data: Dataset) -> list[Training]:
    """The stages of a cell, first to last. A folder's name is made of all that its weights follow from: the resolved
    config, the training rows and the stages before it; so equal trainings of different tables are one.
    """
    if not cell.method:
        return []
    stages = [(1, data)]
    if hasattr(preset(cell.method, cell.preset), "stage"):
        if cell.adapt and cell.adapt not in world.adapt:
            raise UsageError(
                f"row {cell.row!r} adapts on {cell.adapt}: give --adapt tri-pedes ROOT, or another row with --only"
            )
        stages = [*([(1, world.adapt[cell.adapt])] if cell.adapt else []), (2, data)]
    out, origin, before = [], world.start, world.mark
    for stage, taught in stages:
        named = [cell.method, cell.preset, stage, config_of(cell, stage, world, taught), taught.fingerprint(), before]
        before = hashlib.sha256(json.dumps(named, default=str, sort_keys=True).encode()).hexdigest()[:12]
        folder = world.work / world.scale / f"{cell.method}-{stage}-{before}" / str(seed)
        out.append(Training(folder, origin, taught, stage, stage == stages[-1][0]))
        origin = str(folder)
    return out


def config_of(cell: Cell, stage: int, world: World, data: Dataset) -> dict[str, Any]:
    """The values that a stage is trained by. Without a composed prompt InteractReID's stage 1 does not know Φ."""
    config = preset(cell.method, cell.preset, data.name.partition(":")[0])
    if hasattr(config, "stage"):
        config = replace(config, stage=stage)
    held = asdict(changed(config, cell.changes, world.budget))
    apart = stage == 1 and "mapping_layers" in held and not held["composed"]
    return {k: v for k, v in held.items() if not (apart and k.startswith("mapping_"))}


def finished(cell: Cell, seed: int, world: World, data: Dataset) -> bool:
    """Whether a cell is trained."""
    return all(t.finished for t in trainings(cell, seed, world, data))


def fit(cell: Cell, seed: int, world: World, data: Dataset) -> Path:
    """The run folder of one cell: trained, gone on with, or found finished. InteractReID is trained in two stages."""
    run = Path(world.start)
    for training in trainings(cell, seed, world, data):
        if not training.finished:
            wait_for_all()
            _train(cell, seed, world, data, training)
            wait_for_all()
        run = training.folder
    return run


def _train(cell: Cell, seed: int, world: World, data: Dataset, at: Training) -> None:
    """One stage, from its beginning or from where it stopped."""
    resume = (at.folder / "training.safetensors").is_file()
    torch.manual_seed(seed)
    method, about = start(
        cell.method, cell.preset, at.stage, at.origin, at.taught, at.folder, world.budget.size, resume, False, seed,
        lambda config: changed(config, cell.changes, world.budget),
    )  # fmt: skip
    if not method.trained:
        if first_process():
            save_model(at.folder, method, cell.method, cell.preset, about)
            (at.folder / "metrics.json").write_text(json.dumps({"selection": AS_GIVEN}), "utf-8")
        return
    taught = replace(at.taught, val={}) if world.scale == "smoke" else at.taught  # two steps leave nothing to choose
    watch = Watch(method, taught.val, data.test, at.folder / "epochs.jsonl", world.device)
    hear = watch if world.watch and at.last and first_process() else lambda step: None
    note = {"note": SYNTHETIC} if world.scale != "full" else {}
    settings = replace(world.settings, seed=seed, resume=resume)
    train(method, cell.method, cell.preset, taught, at.folder, settings, about | note, hear)


@dataclass(frozen=True)
class Study:
    """A table or figure: its cells, what else is measured of each, and what is drawn when all are there.

    Attributes:
        table: its name in `papers`.
        data: the data set of the paper.
        expected: what the paper says, in a line.
        cells: its rows.
        measure: (model, world, run folder) → more figures.
        draw: (row → run folder of the first seed, world, folder for figures) → what was drawn.
        splits: of the data set, each trained and judged alone, whose results are averaged.
    """

    table: str
    data: str
    expected: str
    cells: tuple[Cell, ...]
    measure: Callable[[Any, World, Path], Figures] | None = None
    draw: Callable[[dict[str, Path], World, Path], list[Path]] | None = None
    splits: int = 1

    def by(self, which: str = "paper", **encoders: str) -> Study:
        """The study with every row's preset named. encoders: image_encoder and text_encoder of the rows of vit_bert."""
        cells = []
        for cell in self.cells:
            changes = dict(cell.changes) | (encoders if cell.method == "vit_bert" else {})
            cells.append(replace(cell, preset=cell.preset or which, changes=changes))
        return replace(self, cells=tuple(cells))


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
        for seed in seeds if cell.method not in ("", "zero_shot") else seeds[:1]:
            if kept and not all(finished(cell, seed, world, data) for data in world.data):
                continue
            begun = time.monotonic()
            runs = [fit(cell, seed, world, data) for data in world.data]
            found.setdefault(cell.row, []).append(runs)
            if not first_process():
                wait_for_all()
                continue
            judged = [judge(run, data, world) for run, data in zip(runs, world.data, strict=True)]
            figures, intervals = joined(judged)
            if study.measure:
                figures |= study.measure(load(runs[0], world.device), world, runs[0])
            told = beside(TABLES[study.table], cell.row, figures) if world.scale != "smoke" else f"{cell.row}: it runs"
            print(f"seed {seed}, {told}", flush=True)
            if (runs[0] / "epochs.jsonl").is_file():
                added = flattery(read_epochs(runs[0] / "epochs.jsonl")).flattery
                print(f"  choosing the epoch on test would add {added:.2f}")
            seconds = time.monotonic() - begun
            note(study, cell, seed, world, runs, judged, figures, intervals, written, command, seconds)
            wait_for_all()
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
        return AS_GIVEN


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
        command=command, config=settings | {"start": world.mark, "preset": cell.preset},
        synthetic=world.scale != "full",
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
