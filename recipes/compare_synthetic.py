"""Every method and its ablations on synthetic people, from one stage-0 CLIP, with the same budget and the same seeds.

    python recipes/compare_synthetic.py --work compare --out results          (the table, on a processor)
    python recipes/compare_synthetic.py --work compare --out results --small  (minutes; to see that it runs)

Stage 0: a small CLIP trained from nothing (InfoNCE) on people of a world with other cameras and drawings, disjoint from
all that follow. Then every row trains on the same people of world 0 for the same number of steps, for each seed, with
its own recommended losses, and answers the text queries of the frozen benchmark's people. No validation: the last epoch
counts. Each row is compared with zero-shot and with the row that it extends, by a paired sign-flip test over people
(one query for each); p-values are not corrected for the number of rows. Expected numbers: those in
results/compare_synthetic.json, once run; none are quoted here. Finished rows are kept in the work folder, so an
interrupted run goes on.

Synthetic people are no evidence of accuracy on real people. What the table can show is whether the code learns what the
papers say it should, and how large differences between seeds are.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descry.clip import random_clip
from descry.embed import load
from descry.evaluate import evaluate
from descry.methods import Recipe, baselines, method_class, preset, propot, vfe_tps
from descry.people.benchmark import benchmark
from descry.people.folder import write_people
from descry.people.read import read_people
from descry.records import Dataset
from descry.text import Words, word_level
from descry.train import Settings, train

FLIPS = 10_000
STAGE0_FIRST, TRAIN_FIRST = 400_000, 500_000


@dataclass(frozen=True)
class Budget:
    """How much everything gets. size: (H, W) of the pictures; people, epochs: of stage 0 and of each row.

    width: of all encoders and of the shared space; image_layers, text_layers: their depths.
    """

    size: tuple[int, int] = (96, 48)
    width: int = 128
    image_layers: int = 4
    text_layers: int = 3
    stage0_people: int = 1500
    stage0_epochs: int = 12
    people: int = 600
    epochs: int = 6
    batch: int = 64
    lr: float = 2e-4
    queries: int = 1000
    seeds: tuple[int, ...] = (0, 1, 2)


SMALL = Budget((48, 24), 32, 1, 1, 24, 1, 16, 1, 16, 2e-4, 20, (0, 1))


@dataclass(frozen=True)
class Row:
    """One row of the table. against: the row whose ablation or extension it is."""

    method: str
    changes: dict[str, Any]
    against: str = ""


def rows(rivals: bool = True) -> dict[str, Row]:
    """Name → row, in the order of the table. rivals: also what the papers put in the place of their own parts."""
    base = {f"baseline: {name}": Row("baseline", changes) for name, changes in baselines.ROWS.items()}
    base["baseline: IRRA (SDM + ID + MLM)"] = replace(
        base["baseline: IRRA (SDM + ID + MLM)"], against="baseline: CLIP + SDM + ID"
    )
    pro = {f"Propot {name}": Row("propot", changes, "Propot baseline") for name, changes in propot.ROWS.items()}
    pro["Propot baseline"] = replace(pro["Propot baseline"], against="")
    full = "Propot +DPP+IPP+MLM"
    pro |= {f"Propot, {k} for APA": Row("propot", {"aggregation": k}, full) for k in ("sum", "mean", "mlp", "learned")}
    vfe = {f"VFE-TPS {name}": Row("vfe_tps", changes, "VFE-TPS none") for name, changes in vfe_tps.ROWS.items()}
    vfe["VFE-TPS none"] = replace(vfe["VFE-TPS none"], against="")
    vfe |= {
        f"VFE-TPS, {k} for TG-MIM": Row("vfe_tps", {"mim": k, "gvfc": "off"}, "VFE-TPS +TG-MIM")
        for k in ("simmim", "mae")
    }
    vfe |= {
        f"VFE-TPS, {k} for IS-GVFC": Row("vfe_tps", {"mim": "off", "gvfc": k}, "VFE-TPS +IS-GVFC")
        for k in ("id", "triplet")
    }
    table = base | pro | vfe | {"InteractReID, stage 1": Row("interactreid", {})}
    return {name: row for name, row in table.items() if rivals or " for " not in name}


def data(work: Path, budget: Budget) -> tuple[Dataset, Dataset, Dataset]:
    """Stage-0 people (world 1), training people and the benchmark's people; nobody is in two of them."""
    everyone = {"train": budget.stage0_people, "val": 0, "test": 0}
    stage0 = write_people(
        work / f"people-stage0-{budget.stage0_people}",
        budget.stage0_people,
        3,
        1,
        1,
        0,
        1,
        everyone,
        first=STAGE0_FIRST,
    )
    everyone = everyone | {"train": budget.people}
    training = write_people(
        work / f"people-train-{budget.people}", budget.people, 3, 1, 1, 0, 0, everyone, first=TRAIN_FIRST
    )
    return read_people(stage0), read_people(training), benchmark(work, budget.queries, pixels=False)


def recipe(old: Recipe, budget: Budget, epochs: int) -> Recipe:
    """The same budget for everybody; what makes a method (masked captions, temperature, losses) stays its own."""
    return replace(
        old, epochs=epochs, batch_size=budget.batch, lr=budget.lr, optimiser="adamw", eps=1e-8, weight_decay=0.02,
        schedule="iteration", warmup_epochs=0.5, warmup_from=1e-6, end_lr=1e-6, augment="flip", clean_captions=True,
        drop_last=True, selection="last",
    )  # fmt: skip


def stage0(folder: Path, people: Dataset, training: Dataset, budget: Budget) -> Path:
    """The run folder of the CLIP that every row starts from; made once. Its vocabulary covers both sets' captions."""
    if (folder / "metrics.json").is_file():
        return folder
    words = word_level([e.caption for e in (*people.train, *training.train)] + ["a photo of * , and"])
    torch.manual_seed(0)
    width, patch = budget.width, budget.size[0] // 8
    layers = {"image_layers": budget.image_layers, "text_layers": budget.text_layers}
    clip = random_clip(
        budget.size, patch, width, width, text_width=width, vocabulary=len(words), end=words.end,
        placeholder=words.placeholder, head=32, **layers,
    )  # fmt: skip
    config = replace(preset("baseline", "recommended"), **baselines.ROWS["CLIP + InfoNCE"], mask_captions=False)
    config = config.with_recipe(recipe(config.recipe, budget, budget.stage0_epochs))
    model = method_class("baseline")(clip, words, config, people.identities)
    train(model, "baseline", "recommended", people, folder, Settings(seed=0), {"note": "synthetic people only"})
    return folder


def fit(row: Row, seed: int, start: Path, folder: Path, people: Dataset, budget: Budget) -> None:
    """Train one row with one seed from the stage-0 CLIP."""
    torch.manual_seed(seed)
    clip, words = load(start, "cpu").clip, Words.load(start)
    config = preset(row.method, "recommended")
    small = {"heads": 4, "mask_unit": 2 * clip.patch, "pairs": 20, "image_size": budget.size}
    changes = {k: v for k, v in small.items() if hasattr(config, k)} | row.changes
    if changes.get("mim") == "mae" or clip.grid[0] % 2 or clip.grid[1] % 2:
        changes["mask_unit"] = clip.patch
    config = replace(config, **changes)
    config = config.with_recipe(recipe(config.recipe, budget, budget.epochs))
    model = method_class(row.method)(clip.train(), words, config, people.identities)
    train(model, row.method, "recommended", people, folder, Settings(seed=seed), {"note": "synthetic people only"})


def judge(run: Path, bench: Any) -> dict[str, Any]:
    """Metrics and the values per query of one run folder, kept beside it."""
    kept = run / "text.json"
    if not kept.is_file():
        ranks = evaluate(load(run, "cpu"), bench).ranks
        values = {"first": ranks.first.tolist(), "ap": np.nan_to_num(ranks.ap).tolist()}
        kept.write_text(json.dumps(ranks.as_dict() | values))
    return json.loads(kept.read_text())


def compared(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Paired comparison of two (seeds, queries) arrays: mean difference, 95 % interval over people, sign-flip
    p-value."""
    difference = ours.mean(axis=0) - theirs.mean(axis=0)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(difference), (2000, len(difference)))
    low, high = np.quantile(difference[chosen].mean(axis=1), [0.025, 0.975])
    flips = rng.choice([-1.0, 1.0], (FLIPS, len(difference))) @ difference / len(difference)
    p = (1 + int((np.abs(flips) >= abs(difference.mean()) - 1e-12).sum())) / (1 + FLIPS)
    return {"difference": float(difference.mean()), "low": float(low), "high": float(high), "p": p}


def summary(name: str, found: dict[str, list[dict[str, Any]]], against: str) -> dict[str, Any]:
    """One row of the table from its seeds' results. Differences are of R@1, in points."""

    def hits(row: str) -> np.ndarray:
        return 100.0 * np.array([[f == 1 for f in run["first"]] for run in found[row]])

    out: dict[str, Any] = {"row": name, "seeds": len(found[name])}
    for key in ("R@1", "R@5", "R@10", "mAP", "mINP"):
        values = [run[key] for run in found[name]]
        out[key] = round(float(np.mean(values)), 2)
        out[f"{key} std"] = round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None
    if name != "zero-shot":
        out["against zero-shot"] = compared(hits(name), hits("zero-shot"))
    if against:
        out["against"] = against
        out["against it"] = compared(hits(name), hits(against))
    return out


def markdown(table: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """The table for people to read, labelled."""
    lines = [
        "**Synthetic people: no evidence of accuracy on real people.** Text queries; mean ± standard deviation over "
        f"{len(about['budget']['seeds'])} seeds; differences of R@1 in points with 95 % intervals over people, paired.",
        "",
        "| row | R@1 | R@5 | R@10 | mAP | mINP | − zero-shot | − the row it extends |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in table:
        cells = [
            f"{row[k]:.2f}" + (f" ± {row[f'{k} std']:.2f}" if row[f"{k} std"] is not None else "")
            for k in ("R@1", "R@5", "R@10", "mAP", "mINP")
        ]
        for key in ("against zero-shot", "against it"):
            c = row.get(key)
            cells.append(f"{c['difference']:+.2f} [{c['low']:+.2f}, {c['high']:+.2f}], p {c['p']:.4f}" if c else "")
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"{about['hardware']}, {about['seconds']:.0f} s, torch {about['torch']}.", ""])


def run(
    work: Path, out: Path, budget: Budget, only: str = "", threads: int = 0, rivals: bool = False
) -> list[dict[str, Any]]:
    """Train and judge every row whose name contains `only`, and those it is compared with; write JSON and Markdown."""
    if threads:
        torch.set_num_threads(threads)
    begun = time.monotonic()
    first, people, test = data(work, budget)
    bench = test.test["text"]
    start = stage0(work / "stage0", first, people, budget)
    table = rows(rivals)
    wanted = [n for n in table if only in n]
    wanted = [n for n in table if n in {*wanted, *(table[w].against for w in wanted)}]
    found = {"zero-shot": [judge(start, bench)] * len(budget.seeds)}
    for name in wanted:
        found[name] = []
        for seed in budget.seeds:
            folder = work / name.replace(" ", "_").replace("/", "-") / str(seed)
            if not (folder / "metrics.json").is_file():
                fit(table[name], seed, start, folder, people, budget)
            found[name].append(judge(folder, bench))
            print(f"{name}, seed {seed}: R@1 {found[name][-1]['R@1']:.2f}", flush=True)
    lines = [summary("zero-shot", found, "")] + [summary(n, found, table[n].against) for n in wanted]
    lines[0] |= {k: None for k in lines[0] if k.endswith(" std")}  # one model: no spread over seeds
    about = {
        "budget": asdict(budget),
        "benchmark": bench.fingerprint(),
        "synthetic": True,
        "split": "test",
        "selection": "last epoch",
        "seconds": round(time.monotonic() - begun, 1),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare_synthetic.json").write_text(json.dumps({"about": about, "rows": lines}, indent=1) + "\n")
    (out / "compare_synthetic.md").write_text(markdown(lines, about))
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for people and runs; kept for going on")
    parser.add_argument("--out", type=Path, required=True, help="folder for compare_synthetic.json and .md")
    parser.add_argument("--small", action="store_true", help="a few people and steps, to see that it runs")
    parser.add_argument("--rivals", action="store_true", help="also the papers' rivals (twice the time)")
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    parser.add_argument("--threads", type=int, default=0, help="of the processor; 0 takes all")
    for name in ("people", "epochs", "queries"):
        parser.add_argument(f"--{name}", type=int, default=0, help="another number than the recipe's")
    args = parser.parse_args()
    budget = SMALL if args.small else Budget()
    changes = {k: v for k in ("people", "epochs", "queries") if (v := getattr(args, k))}
    run(args.work, args.out, replace(budget, **changes), args.only, args.threads, args.rivals)


if __name__ == "__main__":
    main()
