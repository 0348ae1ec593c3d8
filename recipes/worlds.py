"""What the recipes train and judge on, at three scales: a handful of people, synthetic people, the papers' own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from descry.checkpoint import save_model
from descry.clip import random_clip
from descry.data import read
from descry.errors import UsageError
from descry.methods import Recipe, baselines, method_class, preset
from descry.people.benchmark import benchmark
from descry.people.folder import write_people
from descry.people.read import read_people
from descry.records import Dataset, validate
from descry.studies.tables import SYNTHETIC
from descry.text import word_level
from descry.train import Settings, train

STAGE0_FIRST, TRAIN_FIRST, ADAPT_FIRST = 400_000, 500_000, 600_000
PARTS = ("CUHK", "ICFG", "RSTP")


@dataclass(frozen=True)
class Budget:
    """What a scale gives to every cell. size: (H, W). people, adapting, asked: training, stage-1 and test people."""

    size: tuple[int, int] | None = None
    stage0: tuple[int, int] = (0, 0)
    people: int = 0
    adapting: int = 0
    asked: int = 0
    epochs: int = 0
    batch: int = 0
    lr: float = 2e-4


BUDGETS = {
    "smoke": Budget((32, 16), (0, 0), 12, 6, 8, 1, 6),
    "small": Budget((96, 48), (1500, 12), 1000, 500, 1000, 8, 64),
    "full": Budget(),
}


@dataclass(frozen=True)
class World:
    """What the cells are trained and judged on. data: one data set, or the splits of one whose results are averaged."""

    scale: str
    start: str
    data: tuple[Dataset, ...]
    adapt: Mapping[str, Dataset]
    work: Path
    device: str = "auto"

    @property
    def budget(self) -> Budget:
        """Of this scale."""
        return BUDGETS[self.scale]


def shared(old: Recipe, budget: Budget, epochs: int) -> Recipe:
    """The same steps and rate for every method; what makes a method stays its own."""
    return replace(
        old, epochs=epochs, batch_size=budget.batch, lr=budget.lr, optimiser="adamw", eps=1e-8, weight_decay=0.02,
        schedule="iteration", warmup_epochs=0.5, warmup_from=1e-6, end_lr=1e-6, augment="flip", clean_captions=True,
        drop_last=True, selection="last",
    )  # fmt: skip


def worlds(
    scale: str, work: Path, origin: str, data: Sequence[str], adapt: Sequence[str] | None, device: str, splits: int = 1
) -> World:
    """The data and the start of one scale. Raises UsageError when the paper's size lacks its data or its CLIP."""
    if scale == "full":
        if len(data) != 2 or not origin:
            raise UsageError(
                "the paper's size needs --data NAME --data ROOT and --start CLIP; or give --small or --smoke"
            )
        sets = [read(data[0], data[1])] if splits == 1 else [read(data[0], data[1], split=k + 1) for k in range(splits)]
        return World(scale, origin, tuple(validate(d) for d in sets), _adaptations(adapt), work, device)
    budget, root = BUDGETS[scale], work / scale
    size = (64, 128) if scale == "small" else (16, 32)
    tell = {"photos": 3 if scale == "small" else 2, "sketches": 1, "captions": 1, "size": size}
    people = {"train": budget.people, "val": 0, "test": 0 if scale == "small" else budget.asked}
    folder = write_people(root / "people", sum(people.values()), splits=people, first=TRAIN_FIRST, **tell)
    taught = read_people(folder)
    if scale == "small":
        taught = replace(taught, test=benchmark(root, budget.asked, pixels=False).test)
    taught = replace(taught, test={k: v for k, v in taught.test.items() if "photo" not in k})
    adapting = {}
    for nth, part in enumerate(PARTS):
        everyone = {"train": budget.adapting, "val": 0, "test": 0}
        first = ADAPT_FIRST + nth * 10_000
        made = write_people(
            root / f"adapt-{part}", budget.adapting, splits=everyone, first=first, world=(nth + 1) % 2, **tell
        )
        adapting[part] = replace(read_people(made), name=f"people {part}")
    adapting["PEDES"] = united([adapting[p] for p in PARTS])
    begin = origin or str(stage0(root, [taught, *adapting.values()], budget, tell, device))
    return World(scale, begin, (taught,), adapting, work, device)


def _adaptations(adapt: Sequence[str] | None) -> dict[str, Dataset]:
    """Tri-PEDES and its parts; those that are not there are left out."""
    if not adapt:
        return {}
    out = {"PEDES": validate(read(adapt[0], adapt[1]))}
    if adapt[0] == "tri-pedes":
        out |= {part: validate(read(adapt[0], adapt[1], parts=(part,))) for part in PARTS}
    return out


def united(sets: Sequence[Dataset]) -> Dataset:
    """The training rows of several sets of different people, renumbered."""
    rows, people, photos = [], 0, 0
    for data in sets:
        rows += [replace(e, pid=e.pid + people, image_id=e.image_id + photos) for e in data.train]
        people, photos = people + data.identities, photos + len(data.train)
    return Dataset("people PEDES", tuple(rows), source="+".join(d.source for d in sets))


def stage0(root: Path, known: Sequence[Dataset], budget: Budget, tell: Mapping[str, Any], device: str) -> Path:
    """The CLIP that every cell starts from: random, then (except in a smoke run) photographs and words of other people
    in another world. Made once.
    """
    folder, (people, epochs) = root / "stage0", budget.stage0
    if (folder / "metrics.json").is_file() or (folder / "config.json").is_file():
        return folder
    size = budget.size or (96, 48)
    words = word_level([*(e.caption for d in known for e in d.train), "a photo of * , and"])
    torch.manual_seed(0)
    width = (192, 6, 128, 4) if people else (32, 2, 32, 2)
    clip = random_clip(
        size, size[0] // 8, 128 if people else 32, *width, len(words), 77, words.end, words.placeholder, seed=0
    )  # fmt: skip
    if not people:
        plain = method_class("zero_shot")(clip, words, preset("zero_shot", "recommended"), 0)
        save_model(
            folder, plain, "zero_shot", "recommended", {"weights": "random", "pretrained": False, "note": SYNTHETIC}
        )
        return folder
    everyone = {"train": people, "val": 0, "test": 0}
    taught = read_people(
        write_people(root / "people-stage0", people, splits=everyone, first=STAGE0_FIRST, world=1, **tell)
    )
    config = replace(
        preset("baseline", "recommended"), **baselines.ROWS["CLIP + InfoNCE"], mask_captions=False, image_size=size
    )
    config = config.with_recipe(shared(config.recipe, budget, epochs))
    method = method_class("baseline")(clip, words, config, taught.identities)
    train(
        method,
        "baseline",
        "recommended",
        taught,
        folder,
        Settings(device=device),
        {"note": SYNTHETIC, "pretrained": False},
    )
    return folder
