"""What single tables measure or draw beyond rank metrics: parameters, pseudo-words, reconstructions, rank
grids, maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._subclasses import FakeTensorMode

from descry.clip import Clip
from descry.cost import parts, report
from descry.embed import load
from descry.evaluate import Embedded, scores_of
from descry.methods import method_class
from descry.methods.vfe_tps import average_distance, silhouette
from descry.metrics import rank_people

from . import figures
from .engine import Figures, judge
from .grids import answered, shown
from .internals import hidden, pixels, redrawn
from .maps import tsne
from .scales import World
from .tracing import image_macs, masked_word_macs, prototype_macs, text_macs, traced

TABLE_4_ROWS = 8
BATCH = 64  # sketches that are encoded at a time
PEOPLE_SHOWN, QUERIES_SHOWN, PHOTOS_SHOWN = 10, 3, 10


def costs(model: Any, world: World, run: Path) -> Figures:
    """Parameters in millions and multiply-adds in G, as the papers count.

    "M parameters": all that training needs (Propot, Table 4). "M inference": what a search needs (VFE-TPS, Table 4).
    "M trained": the image encoder with its patch convolution, frozen or not, the temperature, and Φ (InteractReID,
    Table IV). "training GFLOPs": all tokens of a photograph and of a text of full length, Propot's prototypes of all
    identities, and its masked words. "inference GFLOPs": photograph and text alone. "GB in training": a step of 8 rows
    (VFE-TPS, Table 4), as `tracing` counts it.
    """
    identities = world.data[0].identities if model.method.trained else 0
    told, config = report(model, identities=identities), model.method.config
    every = parts(model.method)[0]
    inference = sum(told.inference.values())
    once = image_macs(model.method.clip, tokens=True) + text_macs(model.method.clip)
    out = {
        "M parameters": (inference + sum(told.training.values())) / 1e6,
        "M inference": inference / 1e6,
        "M trained": sum(v for k, v in every.items() if k in ("image encoder", "temperature", "mapping")) / 1e6,
        "inference GFLOPs": once / 1e9,
    }
    if model.config["method"] == "propot":
        names = ("prototypes", "dpp", "ipp_intra", "ipp_inter", "prompts", "sae_blocks", "cad_blocks", "heads")
        changes = {name: getattr(config, name) for name in names}
        added = prototype_macs(identities, config.recipe.batch_size, model.method.clip.dim, **changes)
        added += masked_word_macs(model.method.clip, config.heads) if config.mlm else 0
        out["training GFLOPs"] = (once + added) / 1e9
    if model.config["method"] == "vfe_tps":
        with FakeTensorMode():
            whole = method_class("vfe_tps")(Clip(model.clip.spec), model.words, config, identities)
            out["GB in training"] = traced(whole, TABLE_4_ROWS).bytes / 1e9
    return {"cost": out}


def pseudo_words(model: Any, world: World, run: Path) -> Figures:
    """How often a pseudo-word finds the sketch that it was made of among all sketches (InteractReID §IV)."""
    paths = list(dict.fromkeys(str(p.query.sketches[0].value) for p in world.data[0].test["sketch"].probes))
    with torch.inference_mode():
        batches = []
        for first in range(0, len(paths), BATCH):
            few = pixels(paths[first : first + BATCH], model.image_size)
            batches.append(model.method.clip.image_features(few.to(model.device)))
        sketches = torch.cat(batches)
        words = torch.cat([model.method.pseudo_text(few) for few in sketches.split(BATCH)])
        unit = [torch.nn.functional.normalize(x, dim=-1).cpu().numpy() for x in (words, sketches)]
    ranks = rank_people((unit[0], unit[1]), np.arange(len(paths)), np.arange(len(paths)))
    return {"pseudo-word to sketch": {"R@1": ranks.r1, "R@5": ranks.r5}}


def features(model: Any, world: World, run: Path) -> Figures:
    """Silhouette of the gallery's photographs under their identities (VFE-TPS §4.5.4)."""
    vectors, pids = _gallery(model, world)
    return {"features": {"silhouette": silhouette(vectors, pids)}}


def masks(model: Any, world: World, run: Path) -> Figures:
    """avgDist of the last step's masked image modelling on test photographs (VFE-TPS §4.5.3)."""
    found = hidden(model, run, world.data[0].test["text"])
    photos = model.clip.normalise(found.photos)
    return {"masks": {"avgDist": average_distance(found.predicted, photos, found.mask, found.patch)}}


def queries_shown(world: World) -> int:
    """Rows of a rank grid for each model."""
    return 1 if world.scale == "smoke" else QUERIES_SHOWN


def grids(asked: str, rows: Sequence[str], name: str) -> Callable[[Mapping[str, Path], World, Path], list[Path]]:
    """A drawing of the same queries answered by these rows' models, one below the other. asked: a benchmark."""

    def draw(runs: Mapping[str, Path], world: World, out: Path) -> list[Path]:
        bench = world.data[0].test[asked]
        models = {row: load(runs[row], world.device) for row in rows if row in runs}
        scores = {row: scores_of(m, bench.probes, Embedded.of(m, bench)) for row, m in models.items()}
        lines = []
        for q in range(min(queries_shown(world), len(bench.probes))):
            lines += [answered(bench, bench.probes[q], s[q], row, PHOTOS_SHOWN) for row, s in scores.items()]
        return [figures.rank_grid(lines, out / f"{name}{s}") for s in (".png", ".pdf")] if lines else []

    return draw


def before_and_after(runs: Mapping[str, Path], world: World, out: Path) -> list[Path]:
    """The sketch alone, then the sketch with its sentence, for a few people (InteractReID Figure 3)."""
    model, data, rows = load(next(iter(runs.values())), world.device), world.data[0].test, []
    name = "sketch+text" if "sketch+text" in data else "sketch+text/1"
    for q in range(min(queries_shown(world), len(data[name].probes))):
        rows += shown(model, data[name], q, "", PHOTOS_SHOWN, data["sketch"])
    return [figures.rank_grid(rows, out / f"interactreid-figure3{s}") for s in (".png", ".pdf")]


def maps(runs: Mapping[str, Path], world: World, out: Path) -> list[Path]:
    """Photographs of ten people by t-SNE, one map for each row (VFE-TPS Figure 8)."""
    made = []
    for nth, (row, run) in enumerate(runs.items()):
        vectors, pids = _gallery(load(run, world.device), world)
        chosen = [i for i, p in enumerate(pids) if p in list(dict.fromkeys(pids))[:PEOPLE_SHOWN]]
        made.append(
            figures.scatter(tsne(vectors[chosen]), [pids[i] for i in chosen], out / f"vfe-tps-figure8-{nth}.png", row)
        )
    return made


def reconstructed(runs: Mapping[str, Path], world: World, out: Path) -> list[Path]:
    """What each row's model draws where a photograph was hidden (VFE-TPS Figure 6)."""
    lines = redrawn(((load(run, world.device), run) for run in runs.values()), world.data[0].test["text"], 4)
    return [figures.reconstructions(lines, ["photograph", "hidden", *runs], out / "vfe-tps-masks.png")]


def curve(asked: str, measure: str, name: str, label: str) -> Callable[[Mapping[str, Path], World, Path], list[Path]]:
    """A drawing of one figure against the number that ends each row's name ("K = 4"), one line for each beginning."""

    def draw(runs: Mapping[str, Path], world: World, out: Path) -> list[Path]:
        lines: dict[str, dict[float, float]] = {}
        for row, run in runs.items():
            head, equals, value = row.rpartition(" = ")
            rows = judge(run, world.data[0], world)["results"] if equals else []
            for held in rows:
                if held["benchmark"] == asked:
                    lines.setdefault(head, {})[float(value)] = held[measure]
        made = []
        for nth, (head, points) in enumerate(lines.items()):
            at = sorted(points)
            path = out / f"{name}-{nth}.png"
            made.append(figures.curves({head: [points[x] for x in at]}, path, at, (head, label)))
        return made

    return draw


def _gallery(model: Any, world: World) -> tuple[np.ndarray, list[int]]:
    photos = [p for p in next(iter(world.data[0].test.values())).photos if p.pid >= 0]
    few = photos[:2000]
    return model.embed_images([p.path for p in few]), [p.pid for p in few]
