"""What a table needs at the paper's size: memory and arithmetic of a training step, counted without carrying it out.

    python -m descry_lab cost [TABLE …]      print what each training of these tables needs
    python -m descry_lab cost --write        count all anew into results/cost.json; docs/results.md is made from it

Steps have the batch, the picture size and the encoders of the paper (ViT-B/16, or the ViT-B and BERT of VFE-TPS's
baseline) and texts of the greatest length; see `tracing`. Time is an estimate: the operations of all steps by a stated
rate. Loading, validation and what a method prepares are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch._subclasses import FakeTensorMode

from descry.clip import random_clip
from descry.data import module
from descry.methods import method_class, preset
from descry.text import Words, word_level

from .engine import AS_IS, Cell, Study
from .scales import PARTS
from .studies import STUDIES, study_of
from .tables import ROOT, laid_out
from .tracing import Counted, Step, traced

FILE = ROOT / "results" / "cost.json"
RATE = 300e12
"""Floating-point operations a second that a time is estimated with: 30 % of what an H100 is sold with in bfloat16."""
VIT_B16 = (16, 512, 768, 12, 512, 12)
"""Patch, shared width, width and layers of the image encoder, width and layers of the text encoder."""
CLIP_VOCABULARY, BERT_VOCABULARY, LENGTH = 49_408, 30_522, 77
ROWS = {"market-sketch-1k": 4_763 // 2}
"""Training rows where no data card has them: half of the sketches; how many are of training people is not published."""


def vocabulary(size: int = 0) -> Words:
    """A vocabulary of this many entries; of no more than the prompt needs where none is asked for."""
    prompt = "a photo of * , and"
    known = len(word_level([prompt]))
    return word_level([prompt, " ".join(f"w{i}" for i in range(size - known))])


@cache
def step_of(
    name: str, config: Any, identities: int, rows: int = 0, precision: str = "bf16", checkpointed: bool = False
) -> Step:
    """Trace one step of a method with encoders of the papers' size. rows: 0 takes the recipe's batch.

    checkpointed: as `--checkpoint-gradients`.
    """
    words = vocabulary(BERT_VOCABULARY if name == "vit_bert" else 0)
    with FakeTensorMode():
        clip = random_clip(config.image_size, *VIT_B16, CLIP_VOCABULARY, LENGTH, words.end, words.placeholder)
        with Counted(checks=False):  # the transformers library draws anew what is out of bounds
            method = method_class(name)(clip, words, config, identities)
        return traced(method, rows, precision, checkpointed)


@dataclass(frozen=True)
class Training:
    """One stage of a row at the paper's size.

    Attributes:
        method: its name.
        stage: of the method.
        config: what it is trained by.
        data: data set of its rows.
        times: how often it is trained (splits of a data set).
    """

    method: str
    stage: int
    config: Any
    data: str
    times: int = 1

    @property
    def steps(self) -> int:
        """Of the whole training."""
        recipe, rows = self.config.recipe, people_and_rows(self.data)[1]
        full, rest = divmod(rows, recipe.batch_size)
        return int(recipe.epochs * (full + (rest > 0 and not (recipe.drop_last and full))) * self.times)


def people_and_rows(data: str) -> tuple[int, int]:
    """Training identities and rows of a data set, as its card has them."""
    expected = module(data).CARD.expected
    number = {k: e.number for k, e in expected.items() if e.number}
    rows = ROWS.get(data) or number.get("train captions") or number["train photos"]
    return number["train ids"], rows


def trainings(study: Study) -> Iterator[Training]:
    """What a table trains at the paper's size, each training once: rows that come to the same share it."""
    seen = set()
    for cell in study.by().cells:
        for training in _stages(cell, study):
            config = asdict(training.config)
            if training.stage == 1 and training.method == "interactreid" and not config["composed"]:
                config = {k: v for k, v in config.items() if not k.startswith("mapping_")}
            key = (training.method, training.stage, training.data, json.dumps(config, default=str, sort_keys=True))
            if key not in seen:
                seen.add(key)
                yield training


def _stages(cell: Cell, study: Study) -> Iterator[Training]:
    if cell.method in AS_IS:
        return
    own = replace(preset(cell.method, cell.preset, study.data), **cell.changes)
    if not hasattr(own, "stage"):
        yield Training(cell.method, 1, own, study.data, study.splits)
        return
    if cell.adapt:
        sets = dict(zip(PARTS, ("cuhk-pedes", "icfg-pedes", "rstpreid"), strict=True))
        first = preset(cell.method, cell.preset, "tri-pedes").with_stage(1)
        yield Training(cell.method, 1, replace(first, **cell.changes), sets.get(cell.adapt, "tri-pedes"))
    yield Training(cell.method, 2, own.with_stage(2), study.data, study.splits)


def needs(study: Study) -> dict[str, Any]:
    """Of a table: gigabytes of its largest training, trainings, and hours of all of them with one seed."""
    found = [(t, step_of(t.method, t.config, people_and_rows(t.data)[0])) for t in trainings(study)]
    seconds = sum(step.flop * training.steps for training, step in found) / RATE
    return {
        "gigabytes": round(max(step.bytes for _, step in found) / 1e9, 1),
        "trainings": sum(t.times for t, _ in found),
        "steps": sum(t.steps for t, _ in found),
        "hours": round(seconds / 3600, 2),
    }


METHODS = {
    "InteractReID, stage 1": ("interactreid", 1, "tri-pedes"),
    "InteractReID, stage 2": ("interactreid", 2, "market-sketch-1k"),
    "Propot": ("propot", 1, "cuhk-pedes"),
    "VFE-TPS": ("vfe_tps", 1, "cuhk-pedes"),
    "ViT+BERT, VFE-TPS's baseline": ("vit_bert", 1, "cuhk-pedes"),
}
"""The trainings whose steps are told one by one, by the preset `paper`."""
WAYS: dict[str, dict[str, Any]] = {
    "bf16": {},
    "fp32": {"precision": "fp32"},
    "bf16, checkpointed": {"checkpointed": True},
}


def of_methods() -> dict[str, dict[str, Any]]:
    """A step of each method's `paper` preset at its batch: in bfloat16, in 32 bits, and with activations recomputed."""
    out: dict[str, dict[str, Any]] = {}
    for title, (name, stage, data) in METHODS.items():
        config = preset(name, "paper", data).with_stage(stage)
        ways: dict[str, Any] = {}
        for way, how in WAYS.items():
            if name != "vit_bert" or "checkpointed" not in how:  # its encoders are not a CLIP's
                ways[way] = asdict(step_of(name, config, people_and_rows(data)[0], **how))
        out[title] = ways
    return out


def read(path: Path = FILE) -> dict[str, Any]:
    """What `--write` wrote."""
    value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return value


def told(found: dict[str, Any]) -> str:
    """What a table needs, in a cell."""
    many = "1 training" if found["trainings"] == 1 else f"{found['trainings']} trainings"
    hours = f"{found['hours']:.1f} h" if found["hours"] >= 1 else f"{60 * found['hours']:.0f} min"
    return f"{found['gigabytes']:.0f} GB; {many}, {found['steps']:,} steps, {hours}"


def markdown(methods: dict[str, Any]) -> str:
    """The table of the methods' steps."""
    lines = []
    for title, of in methods.items():
        one = of["bf16"]
        cells = [f"{of[w]['bytes'] / 1e9:.1f}" if w in of else "–" for w in WAYS]
        lines.append([title, f"{one['rows']}", f"{one['trained'] / 1e6:.1f}", f"{one['flop'] / 1e12:.1f}", *cells])
    heads = ("method, preset `paper`", "batch", "million trained", "TFLOP a step", *(f"GB, {w}" for w in WAYS))
    return laid_out(heads, lines) + "\n"


def main(argv: Sequence[str]) -> int:
    """Print what tables need; with --write count everything anew."""
    parser = argparse.ArgumentParser("python -m descry_lab cost", description=main.__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="names that list prints; all unless given")
    parser.add_argument("--write", action="store_true", help=f"write {FILE.relative_to(ROOT)}")
    args = parser.parse_args(argv)
    if args.write and args.tables:
        parser.error("--write counts all tables; leave the names out")
    torch.manual_seed(0)
    found = {}
    for name in args.tables or [n for n, study in STUDIES.items() if not study.world]:
        found[name] = needs(study_of(name))
        print(f"{name}: {told(found[name])}", flush=True)
    if args.write:
        held = {"torch": torch.__version__, "rate": RATE, "methods": of_methods(), "tables": found}
        FILE.write_text(json.dumps(held, indent=1) + "\n", "utf-8")
    return 0
