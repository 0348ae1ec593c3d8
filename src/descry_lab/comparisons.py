"""Our own studies, on synthetic people: every method and its parts from one CLIP, what stage 2 of InteractReID does to
the demo model, and how a CLIP should begin. They show whether a part does what its paper says and how far seeds lie
apart, never how well people are found.

    python -m descry_lab comparison --small --start work/demo/stage0
    python -m descry_lab demo-stage2 --small --start demo
    python -m descry_lab demo-start --small

Every row takes the same steps with the same batch, rate and seeds. The last epoch counts. R@1, as the mean over seeds,
is compared with the start and with the row that a row extends, by the paired test over people, corrected for the number
of rows (Holm).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from descry.checkpoint import SKETCHES, load_any, sketches_of, write_config
from descry.embed import load
from descry.errors import UsageError
from descry.methods import Recipe, baselines, interactreid, propot, vfe_tps
from descry.records import Benchmark, Dataset
from descry.tabular import json_lines
from descry.training.loop import Settings
from descry_people.benchmark import MIXTURE, write_part
from descry_people.folder import write_people
from descry_people.read import read_people

from .engine import Cell, Figures, Study
from .scales import Budget, Network, World, united, untrained

FIRST = Cell("the start, as it is")
ASKED = ("text", "sketch", "sketch+text")
SIZES = {"smoke": (16, 32), "small": (64, 128)}
"""(width, height) of the pictures drawn."""


def _only(benches: Mapping[str, Benchmark], kinds: tuple[str, ...] = ASKED) -> dict[str, Benchmark]:
    return {kind: benches[kind] for kind in kinds}


def _train_only(people: int) -> dict[str, int]:
    return {"train": people, "val": 0, "test": 0}


# ------------------------------------------------------------------ every method from one CLIP

POPULATION, ASKED_FIRST = 7, 500_000
COMPARED = {
    "smoke": Budget((32, 16), 6, 0, 5, 1, 6),
    "small": Budget((96, 48), 3600, 0, 1000, 2, 64, warmup=0.2),
}


def _rows() -> list[Cell]:
    """Every method, its ablations, and what the papers put in the place of their own parts; each is trained by its
    recommended losses."""
    table = {f"baseline: {name}": Cell("", "baseline", changes) for name, changes in baselines.ROWS.items()}
    extends = {
        "baseline: IRRA (SDM + ID + MLM)": "baseline: CLIP + SDM + ID",
        "baseline: CLIP + SDM + ID": "baseline: CLIP + SDM",
    }
    table |= {f"Propot {name}": Cell("", "propot", changes) for name, changes in propot.ROWS.items()}
    table |= {
        f"Propot, {k} for APA": Cell("", "propot", {"aggregation": k}, against="Propot +DPP+IPP+MLM")
        for k in ("sum", "mean", "mlp", "learned")
    }
    table |= {f"VFE-TPS {name}": Cell("", "vfe_tps", changes) for name, changes in vfe_tps.ROWS.items()}
    for plain in ("Propot baseline", "VFE-TPS none"):
        of_method = plain.partition(" ")[0]
        extends |= {n: plain for n in table if n.startswith(f"{of_method} ") and n != plain}
    for kind in ("simmim", "mae"):
        changes = {"mim": kind, "gvfc": "off"}
        table[f"VFE-TPS, {kind} for TG-MIM"] = Cell("", "vfe_tps", changes, against="VFE-TPS +TG-MIM")
    for kind in ("id", "triplet"):
        changes = {"mim": "off", "gvfc": kind}
        table[f"VFE-TPS, {kind} for IS-GVFC"] = Cell("", "vfe_tps", changes, against="VFE-TPS +IS-GVFC")
    first = "InteractReID stage 1"
    table |= {
        first: Cell("", "interactreid", stages=(1,)),
        "InteractReID stage 1, hard labels": Cell("", "interactreid", {"alpha": 0.0}, against=first, stages=(1,)),
        "InteractReID stage 1, no R-ITC": Cell("", "interactreid", {"reverse_kl": 0.0}, against=first, stages=(1,)),
        "InteractReID stages 1 and 2": Cell("", "interactreid", against=first, stages=(1, 2)),
    }
    return [
        replace(cell, row=name, against=cell.against or extends.get(name, ""), preset="recommended")
        for name, cell in table.items()
    ]


def other_world(source: str) -> int:
    """The world whose cameras the start has not seen, from what it says of its data; UsageError when it knows both."""
    seen = {int(w) for w in re.findall(r"\bworld (\d)", source)}
    if seen >= {0, 1} or re.search(rf"\bseed {POPULATION}\b", source):
        raise UsageError(f"the start has seen these people or both worlds ({source}); give another --start")
    return 0 if 1 in seen else 1


def comparison(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People of another population, under cameras and drawn in a manner that the start has not seen."""
    if scale != "smoke" and not origin:
        raise UsageError("comparison begins with the first stage of recipes/demo.sh: give --start RUN, or --smoke")
    budget, root, size = COMPARED[scale], work / scale / "comparison", SIZES[scale]
    world = other_world(str(load_any(origin)[1]["about"].get("source", ""))) if origin else 1
    tell: dict[str, Any] = {"sketches": 1, "captions": 1, "seed": POPULATION, "world": world, "size": size}
    data = read_people(write_people(root / "people", budget.people, 2, splits=_train_only(budget.people), **tell))
    sought = {"train": 0, "val": 0, "test": budget.asked}
    asked = write_people(root / "asked", budget.asked, 2, splits=sought, first=ASKED_FIRST, mixture=MIXTURE, **tell)
    data = replace(data, test=_only(read_people(asked).test))
    begin = origin or str(untrained(root / "start", [data], size[::-1]))
    return World(scale, begin, (data,), {}, work, settings, own=budget)


# ------------------------------------------------------------------ stage 2 of the demo model

SKETCHED_FIRST = 900_000
PLAIN = "one rate for all"
CONTINUED = {
    "smoke": Budget((32, 16), 6, 0, 5, 2, 6, narrow=1),
    "small": Budget((96, 48), 1500, 0, 0, 4, 64, 1e-4, narrow=1),
}
TAKEN = ("mapping_layers", "mapping_hidden", "temperature", "pixels", "prompt", "join")
"""What every row takes over from the config of the start, so that Φ and τ go on where they were."""


def _stage2_rows() -> list[Cell]:
    """Ways of not forgetting stage 1. Rates are relative to the budget's, which is the paper's for Φ."""

    def row(name: str, taught: str = "", **changes: Any) -> Cell:
        base = {"image_rate": 1.0, "mapping_rate": 1.0, "composed": 0.0}
        return Cell(
            name,
            "interactreid",
            base | changes,
            "recommended",
            against=PLAIN,
            stages=(2,),
            taught=(taught,) if taught else (),
        )

    printed = {k: getattr(interactreid.PRESETS["paper"], k) for k in TAKEN if not k.startswith("mapping_")}
    every: dict[str, Any] = {"direct": 1.0, "replay": 1.0, "composed": 1.0}
    return [
        Cell("paper's preset as it is", "interactreid", printed, "paper", "", PLAIN, (2,), own_rates=True),
        row("the paper's ratio of rates (1e-5 : 1e-4)", image_rate=0.1),
        replace(row(PLAIN), against=""),
        row("frozen image encoder", image_rate=0.0),
        row("anchored image encoder", anchor=3.0),
        row("direct sketch-photo term", direct=1.0),
        row("replay of stage 1", "replayed", replay=1.0),
        row("pseudo-words in captions of stage 1", "replayed", composed=1.0),
        row("direct, replay and pseudo-words", "replayed", **every),
        row("anchor, direct, replay and pseudo-words", "replayed", anchor=3.0, **every),
    ]


def demo_stage2(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People with sketches and without a word, and captioned people drawn like those of stage 1; asked for are people
    of the validation part of the frozen benchmark."""
    if scale != "smoke" and not origin:
        raise UsageError("demo-stage2 goes on from a stage 1: give --start RUN or --start demo, or --smoke")
    budget, root = CONTINUED[scale], work / scale / "demo-stage2"
    size = (128, 256) if scale == "small" else SIZES[scale]
    many: dict[str, Any] = {"photos": 2, "captions": 1, "splits": _train_only(budget.people), "size": size}
    captioned = read_people(write_people(root / "captioned", budget.people, sketches=3, **many))
    sketched = silent(
        read_people(write_people(root / "sketched", budget.people, sketches=3, first=SKETCHED_FIRST, **many))
    )
    asked = read_people(write_part(root, "val", budget.asked or None)).val
    begin = (
        one_encoder(origin, root / "one encoder") if origin else str(untrained(root / "start", [captioned], size[::-1]))
    )
    data = replace(sketched, test=_only(asked))
    budget = replace(budget, size=load(begin, "cpu").image_size)
    config = load_any(begin)[1]["config"]
    return World(
        scale, begin, (data,), {"replayed": united([sketched, captioned])}, work, settings, own=budget, split="val",
        taken={k: config[k] for k in TAKEN if k in config},
    )  # fmt: skip


def one_encoder(origin: str, folder: Path) -> str:
    """The start itself, or, where it reads sketches with weights of their own, a copy that reads them as photographs:
    stage 2 goes on from the image encoder that both share."""
    _, config, start = load_any(origin)
    if not sketches_of(start):
        return origin
    shutil.copytree(start, folder, ignore=shutil.ignore_patterns(SKETCHES, "metrics.json"), dirs_exist_ok=True)
    write_config(folder, config)
    return str(folder)


def silent(data: Dataset) -> Dataset:
    """The training rows without their captions, one for each photograph."""
    return replace(data, train=tuple({e.image_id: replace(e, caption="") for e in data.train}.values()))


# ------------------------------------------------------------------ how a CLIP begins

BEGUN_FIRST, LAST = 500_000, 50
BEGUN = {"smoke": Budget((32, 16), 6, 0, 5, 1, 8), "small": Budget((96, 48), 3000, 0, 0, 3, 96)}
_STAGE0 = Recipe(
    epochs=3, batch_size=96, lr=1e-3, end_lr=1e-4, eps=1e-8, weight_decay=0.05, warmup_epochs=0.3, warmup_from=5e-5,
    selection="last",
)  # fmt: skip
_CONTRASTIVE = {"loss": "info_nce", "temperature": 0.05, "identity": False, "mask_captions": False, "bias_rule": False}


def _begun_rows() -> tuple[Cell, ...]:
    """Two optimisers and two beginnings; each rate is the one its optimiser was tried best with in short runs."""
    return tuple(
        Cell(
            f"{name}, {words}", "baseline", _CONTRASTIVE | {"recipe": replace(_STAGE0, optimiser=name.lower())},
            "recommended", own_rates=True, origin=origin,
        )
        for name in ("AdamW", "Muon")
        for origin, words in (("", "random patches and positions"), ("whitened", "whitened patches and waves"))
    )  # fmt: skip


def demo_start(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """Stage 0 of the demo model on a smaller scale, from random weights; asked for are sentences of the validation part
    of the frozen benchmark."""
    if origin:
        raise UsageError("demo-start begins with random weights; leave --start out")
    budget, root = BEGUN[scale], work / scale / "demo-start"
    people = write_people(
        root / "people", identities=budget.people, photos=2, sketches=1, captions=2, first=BEGUN_FIRST,
        splits={"train": budget.people},
    )  # fmt: skip
    data = read_people(people)
    asked = read_people(write_part(root, "val", budget.asked or None)).val
    net = Network(128, 192, 6, 4, "gelu") if scale == "small" else Network()
    assert budget.size
    begins = [
        str(untrained(root / name, [data], budget.size, net._replace(whitened=w)))
        for name, w in (("random", False), ("whitened", True))
    ]
    data = replace(data, val={}, test=_only(asked, ("text",)))
    return World(
        scale, begins[0], (data,), {}, work, settings, own=budget, origins={"whitened": begins[1]}, split="val"
    )


def last_loss(model: Any, world: World, run: Path) -> Figures:
    """The training loss, mean over the last steps."""
    lines = [row for _, row in json_lines(run / "log.jsonl")]
    losses = [line["info_nce"] for line in lines if "info_nce" in line][-LAST:]
    return {"training": {"loss": round(sum(losses) / len(losses), 4)}}


OWN_STUDIES = (
    Study(
        "comparison",
        "RUN",
        "whether a part does more than the row that it extends; figures in docs/results.md",
        (FIRST, *_rows()),
        world=comparison,
        tested=("text", "sketch"),
    ),
    Study(
        "demo-stage2",
        "RUN",
        "what stage 2 forgets of stage 1, and what keeps it; figures in docs/demo-model.md",
        (FIRST, *_stage2_rows()),
        world=demo_stage2,
        tested=("text", "sketch", "sketch+text early"),
    ),
    Study(
        "demo-start",
        "",
        "Muon and whitened patches learn faster; figures in docs/demo-model.md",
        _begun_rows(),
        measure=last_loss,
        world=demo_start,
    ),
)
