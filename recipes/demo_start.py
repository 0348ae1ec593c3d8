"""How a small CLIP should begin: whitened patches and waves for positions, Muon for the matrices, or neither.

    python recipes/demo_start.py --work work/start --jobs 4
    … the same with --write, then make tables                       (into the ledger and docs/demo-model.md)
    python recipes/demo_start.py --smoke --work work/smoke-start                       (seconds; claims nothing)

Four models from random weights see the same people in the same order, photographs and sentences, for as many steps:
stage 0 of the demo model on a smaller scale. Shown are the training loss at the end and R@1 of sentences on the
validation part of the frozen benchmark. Each rate is the one its optimiser was tried best with in short runs (AdamW
1e-3; Muon 20 times that for the matrices; 50 times diverged).

Hardware and time: one thread a run; the ledger keeps the seconds. Synthetic people are no evidence of accuracy on real
people.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from verdict import write_down

from descry.studies import ledger
from descry_people.benchmark import write_part
from descry_people.folder import write_people
from descry_people.read import read_people

ROOT = Path(__file__).resolve().parent.parent
TABLE = "demo-start"
COMMAND = "python recipes/demo_start.py"
FIRST = 500_000
ROWS = {
    "AdamW, random patches and positions": ("adamw", False),
    "AdamW, whitened patches and waves": ("adamw", True),
    "Muon, random patches and positions": ("muon", False),
    "Muon, whitened patches and waves": ("muon", True),
}
LAST = 50
"""Steps over which the training loss is averaged."""


@dataclass(frozen=True)
class Scale:
    """size: (H, W) of the model; sizes of the network; asked: validation people."""

    people: int = 3000
    epochs: int = 3
    batch: int = 96
    size: tuple[int, int] = (96, 48)
    patch: int = 12
    width: int = 192
    layers: int = 6
    asked: int | None = None
    precision: str = "fp32"


SMOKE = Scale(12, 1, 8, (32, 16), 8, 64, 1, 6)


def run(name: str, seed: int, scale: Scale, work: Path) -> dict[str, Any]:
    """One training; its figures are kept in the run folder and not made twice."""
    out = work / f"{list(ROWS).index(name)}-{seed}"
    if (out / "figures.json").is_file():
        return dict(json.loads((out / "figures.json").read_text("utf-8")))
    import torch

    from descry.clip import random_clip
    from descry.cold import begin
    from descry.methods import method_class, preset
    from descry.text import word_level
    from descry.train import Settings, train

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = read_people(work / "people")
    words = word_level([e.caption for e in data.train])
    clip = random_clip(
        scale.size, scale.patch, 128, scale.width, scale.layers, 128, max(1, scale.layers - 2), len(words), 77,
        words.end, words.placeholder, seed, activation="gelu",
    )  # fmt: skip
    optimiser, begun = ROWS[name]
    if begun:
        begin(clip, data.train, seed)
    config = preset("baseline", "recommended")
    config = replace(config, loss="info_nce", temperature=0.05, identity=False, mask_captions=False, bias_rule=False)
    config = config.with_recipe(
        replace(
            config.recipe, epochs=scale.epochs, batch_size=scale.batch, lr=1e-3, end_lr=1e-4, optimiser=optimiser,
            eps=1e-8, weight_decay=0.05, schedule="iteration", warmup_epochs=0.3, warmup_from=5e-5, mask_text=0.0,
            augment="flip", drop_last=True,
        )
    )  # fmt: skip
    method, since = method_class("baseline")(clip, words, config, data.identities), time.monotonic()
    train(method, "baseline", "recommended", data, out, Settings(seed, "cpu", scale.precision, threads=1))
    seconds = time.monotonic() - since
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    losses = [line["info_nce"] for line in lines if "info_nce" in line]
    found = judge(method, work, scale) | {"loss": sum(losses[-LAST:]) / len(losses[-LAST:]), "seconds": seconds}
    (out / "figures.json").write_text(json.dumps(found), "utf-8")
    return found


def judge(method: Any, work: Path, scale: Scale) -> dict[str, Any]:
    """R@1 by words on validation people, with its interval."""
    from descry.embed import Model
    from descry.evaluate import evaluate
    from descry.studies.intervals import intervals, measures

    bench = read_people(next((work / "bench").iterdir())).val["text"]
    found = evaluate(Model(method, {}, "start"), bench)
    span = intervals({"R@1": measures(found.ranks)["R@1"]}, found.identities)["R@1"]
    return {
        "R@1": found.ranks.r1,
        "interval": [round(span.low, 2), round(span.high, 2)],
        "data": found.as_row()["data"],
    }


def entries(found: dict[tuple[str, int], dict[str, Any]], scale: Scale) -> Iterator[ledger.Entry]:
    """The lines of the ledger."""
    for (name, seed), row in found.items():
        yield ledger.Entry(
            table=TABLE, row=name, scale="small", seed=seed, command=COMMAND, commit=ledger.commit(ROOT),
            at=ledger.now(), figures={"text": {"R@1": row["R@1"]}, "training": {"loss": round(row["loss"], 4)}},
            intervals={"text": {"R@1": row["interval"]}}, split="val", selection="last", data={"text": row["data"]},
            config={"people": scale.people, "epochs": scale.epochs, "batch": scale.batch, "size": list(scale.size)},
            hardware=ledger.hardware(1), seconds=row["seconds"],
        )  # fmt: skip


def main() -> None:
    """Draw, train, print; with --write into the ledger."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/start"))
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--ledger", type=Path, default=ROOT / "results" / "ledger.jsonl")
    given = parser.parse_args()
    scale = SMOKE if given.smoke else Scale()
    if not (given.work / "people" / "descry.json").is_file():
        write_people(
            given.work / "people", identities=scale.people, photos=2, sketches=1, captions=2, first=FIRST,
            splits={"train": scale.people}, processes=given.jobs,
        )  # fmt: skip
        write_part(given.work / "bench", "val", scale.asked)
    found = dict[tuple[str, int], dict[str, Any]]()
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        jobs = {(n, s): pool.submit(run, n, s, scale, given.work) for s in range(given.seeds) for n in ROWS}
        for (name, seed), job in jobs.items():
            found[name, seed] = row = job.result()
            print(f"{name}, seed {seed}: loss {row['loss']:.3f}, R@1 {row['R@1']:.1f}", flush=True)
    if given.smoke:
        print("this was the smoke test: no figure above means anything")
    elif given.write:
        print(f"{write_down(entries(found, scale), given.ledger)} new lines in {given.ledger}")


if __name__ == "__main__":
    main()
