"""The one experiment engine: a study's rows are trained once and kept, judged, written into a ledger and compared.

A cell is one row of a table, trained in one stage or two; cells that come to the same training share it. Under torchrun
every process trains, and the first alone draws people, judges, prints and writes.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed

from descry.checkpoint import save_model
from descry.embed import load
from descry.errors import UsageError
from descry.evaluate import evaluate_all
from descry.methods import preset
from descry.records import Dataset
from descry.studies import ledger
from descry.studies.intervals import Paired, holm, intervals, paired
from descry.studies.results import asked_of, ranks_of, read_results, row_of, write_results
from descry.training.loop import Settings, part, train
from descry.training.start import start

from .epochs import Watch, flattery, read_epochs
from .papers import PART, START
from .scales import World, changed
from .tables import ROOT, SYNTHETIC, beside, table_of

AS_GIVEN = "nothing (as given)"
AS_IS = ("", "zero_shot")
"""Methods of rows that are not trained."""
Figures = dict[str, dict[str, float]]
T = TypeVar("T")
PATIENCE = timedelta(days=7)  # of the processes that wait while the first one judges


@dataclass(frozen=True)
class Cell:
    """One row of a table.

    Attributes:
        row: its name, as in `papers`.
        method: name of a method; "" is the CLIP that the others start from, as it is.
        changes: fields of the method's config.
        preset: of the method; "" takes the one that was asked for, the paper's unless another is named.
        adapt: what InteractReID's stage 1 is trained on, "" for nothing.
        against: the row that it extends or varies; "" for none.
        stages: of the method, which share the steps; () trains as the method's paper does.
        taught: names of other people to learn from, one for each of `stages`; () for the study's own.
        own_rates: below the paper's size, too, rates and schedule are the recipe's own.
        origin: name of another beginning than the study's.
    """

    row: str
    method: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    preset: str = ""
    adapt: str = "PEDES"
    against: str = ""
    stages: tuple[int, ...] = ()
    taught: tuple[str, ...] = ()
    own_rates: bool = False
    origin: str = ""


@dataclass(frozen=True)
class Training:
    """One stage: its run folder, what it starts from and what it is taught on."""

    folder: Path
    origin: str
    taught: Dataset
    stage: int
    last: bool
    epochs: int

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
    out: list[Training] = []
    origin, before = world.origins.get(cell.origin, world.start), world.mark + cell.origin
    stages = stages_of(cell, world, data)
    for stage, taught in stages:
        share = len(data.train) / len(taught.train) / len(stages)
        epochs = max(1, round(world.budget.epochs * share)) if cell.stages else 0  # 0: the budget's
        config = config_of(cell, stage, world, taught, epochs)
        named = [cell.method, cell.preset, stage, config, taught.fingerprint(), before]
        before = hashlib.sha256(json.dumps(named, default=str, sort_keys=True).encode()).hexdigest()[:12]
        folder = world.work / world.scale / f"{cell.method}-{stage}-{before}" / str(seed)
        last = len(out) + 1 == len(stages)
        out.append(Training(folder, origin, taught, stage, last, epochs))
        origin = str(folder)
    return out


def stages_of(cell: Cell, world: World, data: Dataset) -> list[tuple[int, Dataset]]:
    """The stages of a cell and what each learns from."""
    if cell.stages:
        sets = [world.adapt[name] for name in cell.taught] or [data] * len(cell.stages)
        return list(zip(cell.stages, sets, strict=True))
    if not hasattr(preset(cell.method, cell.preset), "stage"):
        return [(1, data)]
    if cell.adapt and cell.adapt not in world.adapt:
        raise UsageError(
            f"row {cell.row!r} adapts on {cell.adapt}: give --adapt tri-pedes ROOT, or another row with --only"
        )
    return [*([(1, world.adapt[cell.adapt])] if cell.adapt else []), (2, data)]


def config_of(cell: Cell, stage: int, world: World, data: Dataset, epochs: int = 0) -> dict[str, Any]:
    """The values that a stage is trained by. Without a composed prompt InteractReID's stage 1 does not know Φ."""
    config = preset(cell.method, cell.preset, data.name.partition(":")[0]).with_stage(stage)
    held = asdict(changed(config, dict(world.taken) | dict(cell.changes), world.budget, epochs, cell.own_rates))
    apart = stage == 1 and "mapping_layers" in held and not held.get("composed", True)
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
        lambda config: changed(
            config, dict(world.taken) | dict(cell.changes), world.budget, at.epochs, cell.own_rates
        ),
    )  # fmt: skip
    if not method.trained:
        if first_process():
            save_model(at.folder, method, cell.method, cell.preset, about)
            (at.folder / "metrics.json").write_text(json.dumps({"selection": AS_GIVEN}), "utf-8")
        return
    taught = replace(at.taught, val={}) if world.scale == "smoke" else at.taught  # two steps leave nothing to choose
    watch = Watch(method, taught.val, data.test, at.folder / "epochs.jsonl", world.device)
    on_step = watch if world.watch and at.last and first_process() else lambda step: None
    note = {"note": SYNTHETIC} if world.scale != "full" else {}
    settings = replace(world.settings, seed=seed, resume=resume)
    train(method, cell.method, cell.preset, taught, at.folder, settings, about | note, on_step)


@dataclass(frozen=True)
class Study:
    """A table or figure: its cells, what else is measured of each, and what is drawn when all are there.

    Attributes:
        table: its name in `papers`.
        data: the data set of the paper; of a study of our own, what it begins with.
        expected: what the paper says, in a line.
        cells: its rows.
        measure: (model, world, run folder) → more figures.
        draw: (row → run folder of the first seed, world, folder for figures) → what was drawn.
        splits: of the data set, each trained and judged alone, whose results are averaged.
        world: (scale, work folder, start, settings) → what a study of our own is made on; None for a paper's.
        tested: ways of asking whose paired tests go into the ledger as a table of their own, "TABLE-tests".
    """

    table: str
    data: str
    expected: str
    cells: tuple[Cell, ...]
    measure: Callable[[Any, World, Path], Figures] | None = None
    draw: Callable[[dict[str, Path], World, Path], list[Path]] | None = None
    splits: int = 1
    world: Callable[[str, Path, str, Settings], World] | None = None
    tested: tuple[str, ...] = ()

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
        for seed in seeds if cell.method not in AS_IS else seeds[:1]:
            if kept and not all(finished(cell, seed, world, data) for data in world.data):
                continue
            begun = time.monotonic()
            runs = [fit(cell, seed, world, data) for data in world.data]
            found.setdefault(cell.row, []).append(runs)
            if not first_process():
                wait_for_all()
                continue
            judged = [judge(run, data, world) for run, data in zip(runs, world.data, strict=True)]
            figures, spans = joined(judged)
            if study.measure:
                figures |= study.measure(load(runs[0], world.device), world, runs[0])
            told = (
                beside(table_of(study.table), cell.row, figures) if world.scale != "smoke" else f"{cell.row}: it runs"
            )
            print(f"seed {seed}, {told}", flush=True)
            if (runs[0] / "epochs.jsonl").is_file():
                added = flattery(read_epochs(runs[0] / "epochs.jsonl")).flattery
                print(f"  choosing the epoch on test would add {added:.2f}")
            seconds = time.monotonic() - begun
            note(study, cell, seed, world, runs, judged, figures, spans, written, command, seconds)
            wait_for_all()
    return found


def results_file(run: Path, data: Dataset, world: World) -> Path:
    """Where a run's results on a data set's test split are kept: beside it, those of the start in the work folder."""
    mark = hashlib.sha256("".join(b.fingerprint() for b in data.test.values()).encode()).hexdigest()[:12]
    started = str(run) == world.start
    return world.work / f"results-{world.mark[:12]}-{mark}.json" if started else run / f"results-{mark}.json"


def judge(run: Path, data: Dataset, world: World) -> dict[str, Any]:
    """Results with values per query of one run on what is asked of one data set, measured once."""
    kept = results_file(run, data, world)
    if not kept.is_file():
        model = load(run, world.device)
        rows = [row_of(e, per_query=True) for e in evaluate_all(model, data.test)]
        about = {"model": str(run), "data": data.name, "split": world.split, "selection": selection(run)}
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
            table.setdefault(asked_of(row | {"note": ""}), []).append(row)
    names = ("R@1", "R@5", "R@10", "mAP", "mINP")
    figures = {asked: {m: float(np.mean([r[m] for r in rows])) for m in names} for asked, rows in table.items()}
    return figures, {asked: rows[0]["intervals"] for asked, rows in table.items() if len(judged) == 1}


def note(
    study: Study, cell: Cell, seed: int, world: World, runs: Sequence[Path], judged: Sequence[dict[str, Any]],
    figures: Figures, spans: dict[str, Any], written: Path, command: str, seconds: float,
) -> None:  # fmt: skip
    """Write a finished cell into the ledger, unless it was a smoke run."""
    if world.scale == "smoke":
        return
    metrics = runs[0] / "metrics.json"
    trained = str(runs[0]) != world.start
    held = json.loads(metrics.read_text(encoding="utf-8")) if trained and metrics.is_file() else {}
    config = runs[0] / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8")).get("config", {}) if trained and config.is_file() else {}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and world.device != "cpu" else ""
    entry = ledger.Entry(
        table=study.table, row=cell.row, scale=world.scale, seed=seed, figures=figures, intervals=spans,
        split=world.split, selection=judged[0]["selection"],
        data={r["benchmark"]: r["data"] for r in judged[0]["results"]}, command=command,
        config=settings | {"start": world.mark, "preset": cell.preset if cell.method else ""},
        synthetic=world.scale != "full",
        commit=ledger.commit(ROOT), hardware=ledger.hardware(torch.get_num_threads(), gpu),
        seconds=round(max(seconds, held.get("seconds", 0.0)), 1), at=ledger.now(),
    )  # fmt: skip
    write(written, entry)


def write(path: Path, entry: ledger.Entry) -> None:
    """Append a line unless the last of its table, row, scale and seed has the same figures."""
    known = [e for e in ledger.read(path) if e.key == entry.key]
    if not known or known[-1].figures != entry.figures:
        ledger.append(path, entry)


def hits(runs: Sequence[Sequence[Path]], world: World, asked: str) -> tuple[np.ndarray, np.ndarray] | None:
    """R@1 of every query in percent, mean over seeds, and whose each query is; None where it was not asked, or of
    several splits."""
    rows = [
        ranks_of(row)
        for of_seed in runs if len(of_seed) == 1
        for row in judge(of_seed[0], world.data[0], world)["results"] if asked_of(row | {"note": ""}) == asked
    ]  # fmt: skip
    return (np.mean([100.0 * (ranks.first == 1) for ranks, _ in rows], axis=0), rows[0][1]) if rows else None


def compared(
    study: Study, found: Mapping[str, list[list[Path]]], world: World, asked: str
) -> dict[str, dict[str, Paired]]:
    """Row → what it is compared with, the first row or the one that it extends → paired test over identities of the
    means over seeds. Rows with fewer seeds than the others are left out.
    """
    out: dict[str, dict[str, Paired]] = {}
    most = max((len(runs) for runs in found.values()), default=0)
    first = study.cells[0]
    whole = {c.row for c in study.cells if len(found.get(c.row, ())) >= (most if c.method not in AS_IS else 1)}
    for cell in study.cells[1:]:
        for what, other in ((START, first.row), (PART, cell.against)):
            if {cell.row, other} <= whole and other:
                ours, theirs = hits(found[cell.row], world, asked), hits(found[other], world, asked)
                if ours and theirs:
                    out.setdefault(cell.row, {})[what] = paired(ours[0], theirs[0], ours[1])
    return out


def differences(study: Study, found: Mapping[str, list[list[Path]]], world: World, ways: Collection[str]) -> list[str]:
    """R@1 of each row against the first, and against the one that it extends, in words."""
    lines = []
    for asked in ways:
        for row, tests in compared(study, found, world, asked).items():
            for what, t in tests.items():
                other = study.cells[0].row if what == START else next(c.against for c in study.cells if c.row == row)
                gap = f"{t.difference:+.2f} [{t.low:+.2f}, {t.high:+.2f}], p {t.p:.4f} (not corrected)"
                lines.append(f"{row} against {other}, {asked}, R@1: {gap}")
    return sorted(lines)


def note_tests(study: Study, found: Mapping[str, list[list[Path]]], world: World, written: Path) -> None:
    """Write the paired tests of a study into the ledger, for its table "TABLE-tests": R@1 by text over the seeds, and
    the differences with p-values that are corrected for the number of rows (Holm). A smoke run writes nothing.
    """
    tests = {asked: compared(study, found, world, asked) for asked in study.tested}
    lines = {e.row: e for e in reversed(ledger.latest(ledger.read(written), study.table, world.scale))}
    for cell in study.cells[1:] if world.scale != "smoke" else ():
        own = {asked: by_row[cell.row] for asked, by_row in tests.items() if cell.row in by_row}
        hit = hits(found.get(cell.row, []), world, "text")
        if not own or not hit or cell.row not in lines:
            continue
        mean = intervals({"R@1": hit[0]}, hit[1])["R@1"]
        figures = {"text": {"R@1": round(mean.mean, 4)}}
        spans: dict[str, Any] = {"text": {"R@1": (round(mean.low, 2), round(mean.high, 2))}}
        for asked, by_what in own.items():
            for what, t in by_what.items():
                rivals = [row for row, v in tests[asked].items() if what in v]
                corrected = dict(zip(rivals, holm([tests[asked][r][what].p for r in rivals]), strict=True))
                figures[f"{asked} {what}"] = {"R@1": round(t.difference, 4), "p": round(corrected[cell.row], 4)}
                spans[f"{asked} {what}"] = {"R@1": (round(t.low, 2), round(t.high, 2))}
        config = {"seeds": list(range(len(found[cell.row]))), "against": cell.against, "p": "Holm over the rows"}
        config |= {"preset": cell.preset}
        name = f"{study.table}-tests"
        write(
            written,
            replace(lines[cell.row], table=name, seed=0, figures=figures, intervals=spans, config=config, seconds=0.0),
        )


# ------------------------------------------------------------------ several processes under torchrun


def join() -> None:
    """Meet the other processes of this torchrun; nothing for a process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
        atexit.register(part)


def first_process() -> bool:
    """Whether this process draws, judges, prints and writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait_for_all() -> None:
    """Return when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


def one_after_the_other(act: Callable[[], T]) -> T:
    """What `act` gives, called by the first process before all others, so that those find the files it wrote."""
    made = act() if first_process() else None
    wait_for_all()
    return act() if made is None else made
