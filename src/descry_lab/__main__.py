"""The papers' tables and figures, one command each.

    python -m descry_lab list                     every table: its command, its rows and their presets
    python -m descry_lab TABLE --data NAME ROOT --start CLIP [--adapt NAME ROOT]    the paper's own size
    python -m descry_lab TABLE --small            synthetic people, from the model that ships (demo, or --start RUN)
    python -m descry_lab TABLE --smoke            two steps a row on a handful of people; claims nothing
    python -m descry_lab small [--jobs 4]         every table on synthetic people; goes on where it stopped
    python -m descry_lab across RUN… --data NAME ROOT…    runs on the test split of several data sets
    python -m descry_lab tables [--check]         the tables of docs/ anew from results/ledger.jsonl and cost.json
    python -m descry_lab cost [TABLE …]           memory and time of a table at the paper's size, counted without a GPU
    python -m descry_lab conversation|weights|demo-report|real-crops …      what docs/ says of the model that ships
    python -m descry_lab demo-sketches MODEL      teaches that model to read drawings by people who cannot draw
    torchrun --nproc-per-node 4 -m descry_lab TABLE …    the same on several GPUs, and with --nnodes on several machines

--preset names the method's preset of every row that is not a rival's: paper (the default), released or recommended.
Runs and data are kept under --work: an interrupted sweep goes on, and a row that several tables need is trained once.
Synthetic people are no evidence of accuracy on real people.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import torch

from descry.embed import load
from descry.errors import DescryError, UsageError
from descry.methods import preset, presets
from descry.training.loop import PRECISION, Settings

from . import cost, own_studies, small, tables
from .engine import Study, differences, first_process, join, note_tests, one_after_the_other, sweep
from .scales import World, worlds
from .studies import STUDIES, command_of, study_of
from .tables import SYNTHETIC, table_of

PAGES = {
    "conversation": ".conversation",
    "weights": ".weights",
    "demo-report": ".demo_report",
    "demo-sketches": ".demo_sketches",
    "real-crops": ".real_crops",
}
"""Measurements of the model that ships, each with a page of docs/."""
PRESETS = ("paper", "released", "recommended")


def main(argv: Sequence[str] | None = None) -> int:
    """One command; its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["small"]:
        return small.run(given[1:])
    if given[:1] == ["tables"]:
        return tables.main(given[1:])
    if given[:1] == ["across"]:
        return own_studies.across(given[1:])
    if given[:1] == ["cost"]:
        return cost.main(given[1:])
    if given and given[0] in PAGES:
        return int(import_module(PAGES[given[0]], __package__).main(given[1:]))
    if given[:1] == ["list"]:
        print("\n".join(map(described, STUDIES.values())))
        return 0
    args = arguments(given)
    encoders = {k: v for k, v in (("image_encoder", args.image_encoder), ("text_encoder", args.text_encoder)) if v}
    return run(study_of(args.table, args.preset, **encoders), args, given)


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The options of a table."""
    parser = tables.parser_of("", __doc__)
    parser.add_argument("table", help="a name that list prints")
    parser.add_argument("--preset", choices=PRESETS, default="paper", help="of the method; rivals keep their own")
    parser.add_argument("--smoke", action="store_true", help="two steps a row; writes no ledger line")
    parser.add_argument("--small", action="store_true", help="synthetic people")
    parser.add_argument("--data", nargs=2, default=[], metavar=("NAME", "ROOT"), help="data set and its folder")
    parser.add_argument("--adapt", nargs=2, metavar=("NAME", "ROOT"), help="what InteractReID's stage 1 is trained on")
    parser.add_argument("--start", default="", help="CLIP folder, hub name or run to begin with")
    parser.add_argument("--image-encoder", default="", help="folder of the ViT that the row ViT+BERT begins with")
    parser.add_argument("--text-encoder", default="", help="folder of its BERT")
    parser.add_argument("--work", type=Path, default=Path("work/lab"), help="runs and data are kept here")
    parser.add_argument("--ledger", type=Path, help="where finished rows are written down; WORK/ledger.jsonl")
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; 0, 1, 2 unless given (smoke: 0)")
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--precision", choices=sorted({"auto", *PRECISION}), default="auto", help="of training")
    parser.add_argument("--accumulate", type=int, default=1, help="micro-batches of one step")
    parser.add_argument("--checkpoint-gradients", action="store_true", help="less memory, more time")
    parser.add_argument("--cache-gradients", type=int, default=0, help="rows encoded at a time; all negatives are kept")
    parser.add_argument("--threads", type=int, default=0, help="of the processor; 0 leaves it to PyTorch")
    parser.add_argument("--watch", action="store_true", help="also say how much choosing the epoch on test flatters")
    parser.add_argument("--kept", action="store_true", help="train nothing: judge and show what is trained already")
    return parser.parse_args(given)


def run(study: Study, args: argparse.Namespace, given: Sequence[str]) -> int:
    """Train, judge, write down, compare and draw one study."""
    seeds = args.seed or ([0] if args.smoke else [0, 1, 2])
    settings = Settings(
        device=args.device, precision=args.precision, accumulate=args.accumulate,
        checkpoint_gradients=args.checkpoint_gradients, cache_gradients=args.cache_gradients,
    )  # fmt: skip
    replace(settings, threads=args.threads, seed=min(seeds)).check()
    if args.threads:
        torch.set_num_threads(args.threads)
    scale = "smoke" if args.smoke else "small" if args.small else "full"
    asked = [cell for cell in study.cells if args.only in cell.row]
    if not asked:
        raise UsageError(
            f"{study.table} has no row with {args.only!r}; it has: {', '.join(c.row for c in study.cells)}"
        )
    for cell in asked:
        if cell.method:
            preset(cell.method, cell.preset)  # refuses a name that it does not have, before anything is made
        lacks = [k for k in ("image_encoder", "text_encoder") if not cell.changes.get(k)]
        if scale == "full" and cell.method == "vit_bert" and lacks:
            raise UsageError(
                f"row {cell.row!r} begins with encoders that were trained apart: give --image-encoder (ViT-B/16) and "
                "--text-encoder (BERT base), folders of safetensors, or leave the row out with --only"
            )
    join()
    world = one_after_the_other(lambda: world_of(study, scale, args, settings))
    world = replace(world, mark=load(world.start, "cpu").fingerprint, watch=args.watch)
    command = " ".join(["python -m descry_lab", *given])
    written = args.ledger or args.work / "ledger.jsonl"
    found = sweep(study, world, seeds, written, command, args.only, args.kept)
    if not first_process():
        return 0
    measured = dict.fromkeys(c.asked for c in table_of(study.table).columns)
    for line in differences(study, found, world, measured) if scale != "smoke" else []:
        print(line)
    note_tests(study, found, world, written)
    if study.draw:
        for path in study.draw({row: runs[0][0] for row, runs in found.items()}, world, args.work / "figures"):
            print(f"figure: {path}")
    if scale != "full":
        print(SYNTHETIC if scale == "small" else "a smoke run: no figure above claims anything")
    return 0


def world_of(study: Study, scale: str, args: argparse.Namespace, settings: Settings) -> World:
    """What a study is made on. Raises UsageError where it lacks its data or its start."""
    if not study.world:
        return worlds(scale, args.work, args.start, args.data, args.adapt, settings, study.splits)
    if scale == "full":
        raise UsageError(f"{study.table} is a study on synthetic people: give --small or --smoke")
    return study.world(scale, args.work, args.start, settings)


def described(study: Study) -> str:
    """A study in words."""
    whose = "ours" if study.world else "the paper"
    lines = [table_of(study.table).title, f"  {command_of(study)}", f"  {whose}: {study.expected}"]
    for cell, named in zip(study.cells, study.by().cells, strict=True):
        other = (
            ""
            if cell.preset
            else f" (--preset {'|'.join(p for p in PRESETS if cell.method and p in presets(cell.method))})"
        )
        lines.append(f"  {cell.row}: " + (f"{cell.method}, {named.preset}{other}" if cell.method else "as it is"))
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DescryError as error:
        print(f"descry_lab: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
