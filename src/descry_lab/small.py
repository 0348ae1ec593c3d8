"""All tables and figures on synthetic people, with one command that can be stopped and given again.

    python -m descry_lab small [START] [--preset paper] [--jobs 4] [--minutes 12] [--seeds 3] [--only NAME]
    make small

START is what every cell begins with: the model that ships (demo), or a run folder. First every table is run with one
seed, the cheap ones first, so that each table has a figure early; then the tables that compare methods and their parts
get their other seeds; sweeps and figures have one. A cell that several tables need is trained once; each job has one
thread. --minutes bounds what one table may use of processor time with each seed: cells beyond it are left for the next
call, and --minutes 0 trains nothing. --plan only says what there is to do. Finished cells go into the ledger; synthetic
people are no evidence of accuracy on real people.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from multiprocessing import connection
from pathlib import Path

import torch

from descry.embed import load
from descry.errors import DescryError, UsageError
from descry.training.loop import Settings

from .engine import Cell, Training, finished, fit, judge, trainings
from .papers import TABLES
from .scales import START, World, worlds
from .studies import STUDIES, study_of
from .tables import ROOT, parser_of, table_of

SWEEPS = ("interactreid-4", "propot-figure3", "vfe-tps-figure6")
SEEDED = tuple(t for t in STUDIES if t not in TABLES or (t[-2] == "-" and t not in (*SWEEPS, "propot-5")))

WORLD: list[World] = []
"""Of this worker, once it began."""


@dataclass
class Job:
    """A cell to train and judge with one seed, for the first table that needs it."""

    table: str
    cell: Cell
    seed: int
    needs: list[Training] = field(repr=False)

    @property
    def folders(self) -> set[str]:
        """What it writes; two jobs that share a folder do not run at once."""
        return {str(t.folder) for t in self.needs if not t.finished}


def ordered(tables: Sequence[str]) -> list[str]:
    """Tables from cheap to expensive, by how many cells there are to train; sweeps last."""
    return sorted(tables, key=lambda t: (t in SWEEPS, len(STUDIES[t].cells)))


def jobs(world: World, tables: Sequence[str], seeds: int, preset: str = "paper") -> list[Job]:
    """What is to be trained: everything with seed 0, then the tables of rivals and parts with the others. No folder
    twice.
    """
    out, known = [], set()
    for seed in range(seeds):
        for table in [t for t in ordered(tables) if not seed or t in SEEDED]:
            for cell in study_of(table, preset).cells:
                needs = trainings(cell, seed, world, world.data[0])
                if needs and str(needs[-1].folder) not in known:
                    known.add(str(needs[-1].folder))
                    out.append(Job(table, cell, seed, needs))
    return out


def world_of(work: Path, start: str, table: str = "") -> World:
    """The people and the start, those of a study of our own where `table` names one; the first call draws them."""
    make, how = STUDIES[table].world if table else None, Settings(device="cpu")
    world = make("small", work, start, how) if make else worlds("small", work, start or START, [], None, how)
    return replace(world, mark=load(world.start, "cpu").fingerprint)


def begin(work: Path, start: str, table: str) -> None:
    """In each worker, once."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    torch.set_num_threads(1)
    WORLD.append(world_of(work, start, table))


def _end_with_the_parent() -> None:
    """A worker whose parent was killed would wait for ever for its next job."""
    parent = multiprocessing.parent_process()
    if parent:
        connection.wait([parent.sentinel])
        os._exit(1)


def work_on(cell: Cell, seed: int) -> float:
    """Train and judge one cell; processor seconds."""
    begun = time.process_time()
    world = WORLD[0]
    judge(fit(cell, seed, world, world.data[0]), world.data[0], world)
    return time.process_time() - begun


def show(table: str, seeds: int, work: Path, start: str, ledger: Path, preset: str) -> str:
    """The finished cells of one table into the ledger and its figures; what it says."""
    from .__main__ import main

    given = [table, "--small", "--kept", "--work", str(work), "--start", start, "--ledger", str(ledger)]
    given += ["--device", "cpu", "--preset", preset]
    said = StringIO()
    with redirect_stdout(said):
        main([*given, *(x for s in range(seeds) for x in ("--seed", str(s)))])
    return said.getvalue()


def ready(waiting: list[Job], spent: Mapping[tuple[str, int], float], busy: set[str], most: float) -> Iterator[Job]:
    """Jobs that may start now: their folders are free and their table has time left; those without are dropped.

    spent: processor seconds by table and seed. busy: folders that are being written.
    """
    for job in list(waiting):
        if spent.get((job.table, job.seed), 0.0) >= most:
            waiting.remove(job)
            print(f"{job.table}: the time for seed {job.seed} is used up; {job.cell.row} is left for the next call")
        elif not job.folders & busy:
            yield job


def train_all(pool: ProcessPoolExecutor, todo: list[Job], workers: int, minutes: float) -> int:
    """Run the jobs, so many at a time; how many failed."""
    waiting, total, done, failed = list(todo), len(todo), 0, 0
    spent, busy = defaultdict[tuple[str, int], float](float), set[str]()
    running: dict[Future[float], tuple[Job, set[str]]] = {}
    begun = time.monotonic()
    while waiting or running:
        for job in ready(waiting, spent, busy, 60 * minutes):
            if len(running) >= workers:
                break
            waiting.remove(job)
            busy |= job.folders
            running[pool.submit(work_on, job.cell, job.seed)] = (job, job.folders)
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            job, folders = running.pop(future)
            busy -= folders
            done += 1
            try:
                seconds = future.result()
            except (DescryError, OSError, RuntimeError) as error:
                failed += 1
                print(f"{job.table}, {job.cell.row}, seed {job.seed}: {type(error).__name__}: {error}", flush=True)
                continue
            spent[job.table, job.seed] += seconds
            left = (time.monotonic() - begun) / done * (total - done) / 60
            print(f"[{done}/{total}] {job.table}, {job.cell.row}, seed {job.seed}: {seconds:.0f} s; "
                  f"about {left:.0f} min left", flush=True)  # fmt: skip
    return failed


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = parser_of("small", __doc__)
    parser.add_argument("start", nargs="?", default="", help="what every cell begins with; the papers': the demo model")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=12.0, help="processor minutes for a table with one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="tables of papers with this in the name, or one study of ours")
    parser.add_argument("--work", type=Path, default=Path("work/lab"))
    parser.add_argument("--ledger", type=Path, default=ROOT / "results" / "ledger.jsonl")
    parser.add_argument("--preset", choices=("paper", "recommended"), default="paper", help="which every paper has")
    parser.add_argument("--plan", action="store_true")
    return parser.parse_args(argv)


def run(argv: Sequence[str] | None = None) -> int:
    """Train what is missing, then write the ledger and draw. Exit status 1 when a cell failed."""
    args = arguments(argv)
    for name in ("jobs", "seeds"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name} {getattr(args, name)} was given; allowed: 1 or more")
    torch.set_num_threads(1)
    own = args.only if args.only in STUDIES and STUDIES[args.only].world else ""
    world = world_of(args.work, args.start, own)
    tables = [own] if own else [t for t in TABLES if args.only in t]
    todo = [
        j for j in jobs(world, tables, args.seeds, args.preset) if not finished(j.cell, j.seed, world, world.data[0])
    ]
    print(f"{len(tables)} tables and figures, {len(todo)} cells to train")
    if args.plan:
        for job in todo:
            print(f"{job.table}, {job.cell.row}, seed {job.seed}")
        return 0
    context = multiprocessing.get_context("spawn")
    failed = 0
    with ProcessPoolExecutor(args.jobs, context, begin, (args.work, args.start, own)) as pool:
        for first in (True, False):  # what there is with one seed is written down before the others begin
            batch = [j for j in todo if (j.seed == 0) is first]
            failed += train_all(pool, batch, args.jobs, args.minutes)
            shown = ordered(tables) if first else [t for t in ordered(tables) if t in SEEDED and batch]
            given = (args.seeds if not first else 1, args.work, args.start, args.ledger, args.preset)
            told = {table: pool.submit(show, table, *given) for table in shown}
            for table, future in told.items():
                print(f"== {table_of(table).title}\n{future.result()}", flush=True)
    print(f"{args.ledger} has the figures; make tables writes them into docs/results.md")
    return 1 if failed else 0
