"""What comparisons from one start share: rows trained with one budget and the same seeds, several at a time, finished
ones kept; each judged in the same ways. What follows from the results stands in verdict.py.

A work folder holds one contest: the same start, people and budget. It says so in contest.json, and anything else is
refused. Synthetic people are no evidence of accuracy on real people.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from descry.cli.starting import start
from descry.clip import Clip
from descry.embed import load
from descry.errors import UsageError
from descry.evaluate import evaluate, ways
from descry.methods import Recipe
from descry.records import Benchmark, Dataset
from descry.studies.results import asked_of, read_results, row_of, write_results
from descry.train import Settings, train
from descry_lab.scales import united
from descry_lab.tables import SYNTHETIC
from descry_people.read import read_people

FIRST = "the start, as it is"
"""The row of the start itself, which is not trained."""
ASKED = ("text", "sketch", "sketch+text")
Held = dict[str, dict[int, dict[str, Any]]]
"""Row → seed → results; the start has seed 0 only."""


@dataclass(frozen=True)
class Budget:
    """What every row gets. precision: of training; judging is always in fp32. warmup: epochs."""

    epochs: int = 2
    batch: int = 64
    lr: float = 2e-4
    warmup: float = 0.2
    precision: str = "fp32"


@dataclass(frozen=True)
class Row:
    """One row. changes: fields of the method's config. against: the row that it extends or varies; "": none.

    stages: of the method; the steps are shared among them. data: which people, a key of Contest.people. as_is: rates
    and schedule are the preset's own.
    """

    method: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    against: str = ""
    stages: tuple[int, ...] = (1,)
    data: str = ""
    preset: str = "recommended"
    as_is: bool = False


@dataclass(frozen=True)
class Contest:
    """table: of the ledger. start: run folder or "demo". people: what rows learn from, key → folders; those of several
    folders are united. silent: folders whose captions nobody reads. asked: folder of the people asked for, its part:
    "test" or "val".
    """

    table: str
    start: str
    rows: Mapping[str, Row]
    people: Mapping[str, Sequence[Path]]
    asked: Path
    part: str
    work: Path
    budget: Budget = Budget()
    seeds: tuple[int, ...] = (0, 1, 2)
    silent: tuple[Path, ...] = ()

    def folder(self, name: str, seed: int) -> Path:
        """Where a row's runs with one seed are kept."""
        return self.work / "runs" / re.sub(r"[^\w+.-]+", "_", name) / str(seed)

    def run(self, name: str, seed: int) -> Path:
        """The run folder that is judged."""
        return self.folder(name, seed) / f"stage{self.rows[name].stages[-1]}"


def claim(contest: Contest) -> None:
    """Note in the work folder what its runs are made of; UsageError where it holds those of another contest."""
    kept = contest.work / "contest.json"
    asked_for = {
        "table": contest.table, "start": load(contest.start, "cpu").fingerprint, "budget": asdict(contest.budget),
        "people": {k: [read_people(f).source for f in v] for k, v in contest.people.items()},
        "rows": {k: len(rows_of(contest, k).train) for k in contest.people},
        "asked": len(bench_of(contest)["text"].probes),
    }  # fmt: skip
    asked_for = json.loads(json.dumps(asked_for))
    if kept.is_file() and json.loads(kept.read_text("utf-8")) != asked_for:
        raise UsageError(f"{contest.work} holds runs from another start, people or budget; give another --work")
    contest.work.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asked_for, indent=1) + "\n", "utf-8")


def rows_of(contest: Contest, key: str) -> Dataset:
    """The training rows of one key; people of the silent folders without their captions, one row for a photograph."""
    parts = []
    for folder in contest.people[key]:
        data = read_people(folder)
        if folder in contest.silent:
            data = replace(data, train=tuple({e.image_id: replace(e, caption="") for e in data.train}.values()))
        parts.append(data)
    return parts[0] if len(parts) == 1 else united(parts)


def bench_of(contest: Contest) -> Mapping[str, Benchmark]:
    """The benchmarks that all rows answer."""
    held = read_people(contest.asked)
    return held.val if contest.part == "val" else held.test


def budgeted(config: Any, row: Row, budget: Budget, epochs: int, clip: Clip) -> Any:
    """A preset with a row's changes, at the size of the start, trained as everybody: only the losses are its own."""
    fitting = {"heads": 4, "mask_unit": 2 * clip.patch, "mapping_hidden": 256, "image_size": clip.image_size}
    fitting |= {"text_dropout": 0.0, "mapping_dropout": 0.0}
    if row.changes.get("mim") == "mae" or clip.grid[0] % 2 or clip.grid[1] % 2:
        fitting["mask_unit"] = clip.patch
    config = replace(config, **({k: v for k, v in fitting.items() if hasattr(config, k)} | dict(row.changes)))
    return config.with_recipe(shared(config.recipe, budget, epochs, row.as_is))


def steps_of(contest: Contest, row: Row, taught: Dataset) -> int:
    """Epochs of each stage of a row, so that all take the same steps whatever they learn from."""
    usual = len(rows_of(contest, "").train) * contest.budget.epochs
    return max(1, round(usual / len(taught.train) / len(row.stages)))


def shared(old: Recipe, budget: Budget, epochs: int, as_is: bool = False) -> Recipe:
    """The same steps, rate and pictures for every row."""
    if as_is:
        warm = min(old.warmup_epochs, epochs / 4)
        return replace(
            old, epochs=epochs, batch_size=budget.batch, warmup_epochs=warm, augment="flip", selection="last"
        )
    return replace(
        old, epochs=epochs, batch_size=budget.batch, lr=budget.lr, optimiser="adamw", eps=1e-8, weight_decay=0.02,
        schedule="iteration", warmup_epochs=budget.warmup, warmup_from=budget.lr / 100, end_lr=budget.lr / 100,
        augment="flip", back_translation=0.0, clean_captions=True, drop_last=True, selection="last",
    )  # fmt: skip


def fit(contest: Contest, name: str, seed: int) -> Path:
    """The run folder of one row with one seed: trained, gone on with, or found finished."""
    row, origin = contest.rows[name], contest.start
    shape = load(contest.start, "cpu").method.clip
    for stage in row.stages:
        out = contest.folder(name, seed) / f"stage{stage}"
        if not (out / "metrics.json").is_file():
            resume = (out / "training.safetensors").is_file()
            torch.manual_seed(seed)
            taught = rows_of(contest, row.data)
            epochs = steps_of(contest, row, taught)
            method, about = start(
                row.method, row.preset, stage, origin, taught, out, None, resume, False, seed,
                lambda c, epochs=epochs: budgeted(c, row, contest.budget, epochs, shape),
            )  # fmt: skip
            how = Settings(seed=seed, device="cpu", precision=contest.budget.precision, threads=1, resume=resume)
            train(method, row.method, row.preset, taught, out, how, about | {"note": SYNTHETIC})
        (out / "training.safetensors").unlink(missing_ok=True)  # finished: nothing will resume it
        origin = str(out)
    return Path(origin)


def judge(contest: Contest, run: str | Path, kept: Path) -> dict[str, Any]:
    """Results with values per query of one run in every way of asking that it can answer, measured once."""
    if not kept.is_file():
        model, benches = load(run, "cpu"), bench_of(contest)
        photos = model.embed_images([p.path for p in benches["text"].photos])
        found = [
            evaluate(model, benches[kind], how, photos)
            for kind in ASKED
            for how in ways(model, benches[kind])
            if how in (None, "early", "late")
        ]
        write_results(kept, {"model": Path(run).name}, [row_of(e, per_query=True) for e in found])
    return read_results(kept)


def one(contest: Contest, name: str, seed: int) -> dict[str, Any]:
    """One row with one seed, trained and judged, on one thread."""
    torch.set_num_threads(1)
    return judge(contest, fit(contest, name, seed), contest.run(name, seed) / "results.json")


def run(contest: Contest, names: Sequence[str], jobs: int = 1) -> Held:
    """Train and judge these rows with every seed, `jobs` at a time; row → results by seed."""
    claim(contest)
    todo = [(seed, name) for seed in contest.seeds for name in names]
    if jobs <= 1:
        for seed, name in todo:
            tell(name, seed, one(contest, name, seed))
        return finished(contest)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        going = {pool.submit(one, contest, name, seed): (name, seed) for seed, name in todo}
        for done in as_completed(going):
            tell(*going[done], done.result())
    return finished(contest)


def end_with_parent() -> None:
    """Let a worker end when the process that started it was ended from outside; its run is gone on with next time."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def tell(name: str, seed: int, held: dict[str, Any]) -> None:
    """A line for the terminal."""
    print(f"{name}, seed {seed}: " + ", ".join(f"{asked_of(r)} {r['R@1']:.2f}" for r in held["results"]), flush=True)


def finished(contest: Contest) -> Held:
    """What was judged so far, the start first."""
    found: Held = {FIRST: {0: judge(contest, contest.start, contest.work / "start.json")}}
    for name in contest.rows:
        kept = {seed: contest.run(name, seed) / "results.json" for seed in contest.seeds}
        if held := {seed: read_results(k) for seed, k in kept.items() if k.is_file()}:
            found[name] = held
    return found


def wanted(table: Mapping[str, Row], only: str) -> list[str]:
    """Rows whose name contains `only`, and those that they are compared with."""
    named = [n for n in table if only in n]
    return [n for n in table if n in {*named, *(table[n].against for n in named)}]


def options(about: str | None, begins: str) -> argparse.ArgumentParser:
    """The command line that every contest has. about: the recipe's docstring. begins: what --start names."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", default="", help=begins)
    parser.add_argument("--work", type=Path, required=True, help="folder for people and runs; kept for going on")
    parser.add_argument("--smoke", action="store_true", help="a few people and steps, to see that it runs")
    parser.add_argument(
        "--only", default="", help="only rows whose name contains this, and what they are compared with"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each of one thread")
    for name in ("people", "epochs"):
        parser.add_argument(f"--{name}", type=int, default=0, help="another number than the recipe's")
    parser.add_argument("--lr", type=float, default=0.0, help="another rate than the recipe's")
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; default 0, 1, 2")
    return parser


def scaled(parser: argparse.ArgumentParser, args: argparse.Namespace, small: Any, smoke: Any) -> Any:
    """The recipe's scale with what the command line changes; without --start and --smoke the parser says what lacks."""
    if not args.smoke and not args.start:
        parser.error("give --start RUN (--help says which), or --smoke")
    scale = smoke if args.smoke else small
    budget = replace(scale.budget, **{k: v for k in ("epochs", "lr") if (v := getattr(args, k))})
    return replace(scale, budget=budget, people=args.people or scale.people, seeds=tuple(args.seed or scale.seeds))
