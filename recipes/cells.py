"""A cell: one row of a table, trained in one stage or two. Cells that come to the same training share it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from worlds import World, changed

from descry.cli.starting import start
from descry.methods import preset
from descry.records import Dataset
from descry.train import Settings, train
from descry_lab.epochs import Watch
from descry_lab.tables import SYNTHETIC


@dataclass(frozen=True)
class Cell:
    """One row of a table. method "": the CLIP that the others start from, as it is.

    changes: fields of the method's config. adapt: what InteractReID's stage 1 is trained on, "" for nothing.
    """

    row: str
    method: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    which: str = "recommended"
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
    if hasattr(preset(cell.method, cell.which), "stage"):
        stages = [*([(1, world.adapt[cell.adapt])] if cell.adapt else []), (2, data)]
    out, origin, before = [], world.start, world.mark
    for stage, taught in stages:
        named = [cell.method, cell.which, stage, config_of(cell, stage, world), taught.fingerprint(), before]
        before = hashlib.sha256(json.dumps(named, default=str, sort_keys=True).encode()).hexdigest()[:12]
        folder = world.work / world.scale / f"{cell.method}-{stage}-{before}" / str(seed)
        out.append(Training(folder, origin, taught, stage, stage == stages[-1][0]))
        origin = str(folder)
    return out


def config_of(cell: Cell, stage: int, world: World) -> dict[str, Any]:
    """The values that a stage is trained by. Without a composed prompt InteractReID's stage 1 does not know Φ."""
    config = preset(cell.method, cell.which)
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
            _train(cell, seed, world, data, training)
        run = training.folder
    return run


def _train(cell: Cell, seed: int, world: World, data: Dataset, at: Training) -> None:
    """One stage, from its beginning or from where it stopped."""
    resume = (at.folder / "training.safetensors").is_file()
    torch.manual_seed(seed)
    method, about = start(
        cell.method, cell.which, at.stage, at.origin, at.taught, at.folder, world.budget.size, resume, False, seed,
        lambda config: changed(config, cell.changes, world.budget),
    )  # fmt: skip
    taught = replace(at.taught, val={}) if world.scale == "smoke" else at.taught  # two steps leave nothing to choose
    watch = Watch(method, taught.val, data.test, at.folder / "epochs.jsonl", world.device)
    hear = watch if world.watch and at.last else lambda step: None
    note = {"note": SYNTHETIC} if world.scale != "full" else {}
    settings = Settings(seed=seed, device=world.device, resume=resume)
    train(method, cell.method, cell.which, taught, at.folder, settings, about | note, hear)
