"""What the studies train and judge on, at three scales: a handful of people, synthetic people, the papers' own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from descry.checkpoint import save_model
from descry.clip import random_clip
from descry.data import read
from descry.errors import UsageError
from descry.methods import Recipe, method_class, preset
from descry.records import Dataset, validate
from descry.text import word_level
from descry.train import Settings
from descry_people.benchmark import MIXTURE
from descry_people.folder import write_people
from descry_people.read import read_people

from .tables import SYNTHETIC

TRAIN_FIRST, ADAPT_FIRST, TEST_FIRST = 500_000, 600_000, 700_000
START = "demo"
"""What --small begins with; it learnt from people numbered from 100,000, in world 0."""
PARTS = ("CUHK", "ICFG", "RSTP")


@dataclass(frozen=True)
class Budget:
    """What a scale gives to every cell. size: (H, W). people, adapting, asked: training, stage-1 and test people."""

    size: tuple[int, int] | None = None
    people: int = 0
    adapting: int = 0
    asked: int = 0
    epochs: int = 0
    batch: int = 0
    lr: float = 2e-4


BUDGETS = {
    "smoke": Budget((32, 16), 12, 6, 8, 1, 6),
    "small": Budget((96, 48), 800, 80, 500, 2, 64),
    "full": Budget(),
}


@dataclass(frozen=True)
class World:
    """What the cells are trained and judged on. data: one data set, or the splits of one whose results are averaged.

    start: the CLIP they begin with; mark: its fingerprint. settings: how a run is carried out.
    watch: also keep the test score of every epoch.
    """

    scale: str
    start: str
    data: tuple[Dataset, ...]
    adapt: Mapping[str, Dataset]
    work: Path
    settings: Settings = field(default_factory=Settings)
    mark: str = ""
    watch: bool = False

    @property
    def device(self) -> str:
        """On which models run."""
        return self.settings.device

    @property
    def budget(self) -> Budget:
        """Of this scale."""
        return BUDGETS[self.scale]


def changed(config: Any, changes: Mapping[str, Any], budget: Budget) -> Any:
    """The method's config with a cell's changes, and below full size with the budget that everybody gets."""
    if budget.size is None:
        return replace(config, **changes)
    patch = budget.size[0] // 8  # of both small CLIPs
    fitting = {"heads": 2, "mask_unit": patch, "image_size": budget.size, "pairs": 20}
    small = {k: v for k, v in fitting.items() if hasattr(config, k)}
    config = replace(config, **(dict(changes) | small))
    if hasattr(config, "mapping_hidden"):
        config = replace(config, mapping_hidden=config.mapping_hidden // 8)  # the small encoders are narrower
    return config.with_recipe(shared(config.recipe, budget, budget.epochs))


def shared(old: Recipe, budget: Budget, epochs: int) -> Recipe:
    """The same steps and rate for every method; what makes a method stays its own."""
    return replace(
        old, epochs=epochs, batch_size=budget.batch, lr=budget.lr, optimiser="adamw", eps=1e-8, weight_decay=0.02,
        schedule="iteration", warmup_epochs=0.5, warmup_from=1e-6, end_lr=1e-6, augment="flip", clean_captions=True,
        drop_last=True, selection="last",
    )  # fmt: skip


def worlds(
    scale: str,
    work: Path,
    origin: str,
    data: Sequence[str],
    adapt: Sequence[str] | None,
    settings: Settings,
    splits: int = 1,
) -> World:
    """The data and the start of one scale. Raises UsageError when the paper's size lacks its data or its CLIP."""
    if scale == "full":
        if len(data) != 2 or not origin:
            raise UsageError("the paper's size needs --data NAME ROOT and --start CLIP; or give --small or --smoke")
        sets = [read(data[0], data[1])] if splits == 1 else [read(data[0], data[1], split=k + 1) for k in range(splits)]
        return World(scale, origin, tuple(validate(d) for d in sets), _adaptations(adapt), work, settings)
    budget, root = BUDGETS[scale], work / scale
    size = (64, 128) if scale == "small" else (16, 32)
    tell: dict[str, Any] = {"photos": 2, "sketches": 1, "captions": 1, "size": size}
    here = 1 if scale == "small" else 0  # cameras and manner of drawing that the start has not seen
    people = {"train": budget.people, "val": 0, "test": 0}
    asked = {"train": 0, "val": 0, "test": budget.asked}
    taught = read_people(
        write_people(root / "people", budget.people, splits=people, first=TRAIN_FIRST, world=here, **tell)
    )
    sought = read_people(
        write_people(root / "asked", budget.asked, splits=asked, first=TEST_FIRST, world=here, mixture=MIXTURE, **tell)
    )
    taught = replace(taught, test={k: v for k, v in sought.test.items() if "photo" not in k})
    adapting = {}
    for nth, part in enumerate(PARTS):
        everyone = {"train": budget.adapting, "val": 0, "test": 0}
        first = ADAPT_FIRST + nth * 10_000
        made = write_people(
            root / f"adapt-{part}", budget.adapting, splits=everyone, first=first, world=(nth + 1) % 2, **tell
        )
        adapting[part] = replace(read_people(made), name=f"people {part}")
    adapting["PEDES"] = united([adapting[p] for p in PARTS])
    begin = origin or START
    if scale == "smoke" and not origin:
        begin = str(untrained(root / "start", [taught, *adapting.values()], size[::-1]))
    return World(scale, begin, (taught,), adapting, work, settings)


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


def untrained(folder: Path, known: Sequence[Dataset], size: tuple[int, int]) -> Path:
    """The CLIP of a smoke run: tiny, random, with a vocabulary for these captions. Made once."""
    if (folder / "config.json").is_file():
        return folder
    words = word_level([*(e.caption for d in known for e in d.train), "a photo of * , and"])
    clip = random_clip(size, size[0] // 8, 32, 32, 2, 32, 2, len(words), 77, words.end, words.placeholder, seed=0)
    plain = method_class("zero_shot")(clip, words, preset("zero_shot", "recommended"), 0)
    about = {"weights": "random", "pretrained": False, "note": SYNTHETIC}
    save_model(folder, plain, "zero_shot", "recommended", about)
    return folder
