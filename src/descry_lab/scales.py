"""What the studies train and judge on, at three scales: a handful of people, synthetic people, the papers' own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from descry.checkpoint import save_model
from descry.clip import random_clip
from descry.data import read
from descry.errors import UsageError
from descry.methods import Recipe, method_class, preset
from descry.records import Dataset, validate
from descry.text import word_level
from descry.training.loop import Settings
from descry.training.start import initialise_image_encoder
from descry_people.benchmark import MIXTURE
from descry_people.folder import write_people
from descry_people.read import read_people

from .tables import SYNTHETIC

TRAIN_FIRST, ADAPT_FIRST, TEST_FIRST = 500_000, 600_000, 700_000
START = "demo"
"""What --small begins with; it learnt from people numbered from 100,000, in world 0."""
PARTS = ("CUHK", "ICFG", "RSTP")
SIZES = {"smoke": (16, 32), "small": (64, 128)}
"""(width, height) of the pictures drawn."""


class Network(NamedTuple):
    """The size of a CLIP from random weights; the default is that of a smoke run.

    Attributes:
        dim: of the shared space, and width of the text encoder.
        width: of the image encoder.
        layers: of the image encoder.
        text_layers: of the text encoder.
        activation: between the two matrices of a layer.
        whitened: patches and positions begin from photographs (`descry.training.start.initialise_image_encoder`).
    """

    dim: int = 32
    width: int = 32
    layers: int = 2
    text_layers: int = 2
    activation: str = "quick_gelu"
    whitened: bool = False


TINY = Network()


@dataclass(frozen=True)
class Budget:
    """What a scale gives to every cell.

    Attributes:
        size: (H, W) of pictures; None is the paper's own size, where nothing below counts.
        people: of training.
        adapting: people of each set that InteractReID's stage 1 is adapted on.
        asked: people who are searched for.
        epochs: over the study's own people; rows that learn from more or in several stages take as many steps.
        batch: rows of a step.
        lr: base rate; warm-up begins, and the cosine ends, at a hundredth of it.
        warmup: epochs of warm-up.
        narrow: what the hidden width of InteractReID's Φ is divided by, as the encoders are narrower.
    """

    size: tuple[int, int] | None = None
    people: int = 0
    adapting: int = 0
    asked: int = 0
    epochs: int = 0
    batch: int = 0
    lr: float = 2e-4
    warmup: float = 0.5
    narrow: int = 8


BUDGETS = {
    "smoke": Budget((32, 16), 6, 6, 5, 1, 6),
    "small": Budget((96, 48), 800, 80, 500, 2, 64),
    "full": Budget(),
}


@dataclass(frozen=True)
class World:
    """What the cells are trained and judged on.

    Attributes:
        scale: smoke, small or full.
        start: the CLIP they begin with.
        data: one data set, or the splits of one whose results are averaged.
        adapt: other people to learn from, by name.
        work: folder that everything is kept in.
        settings: how a run is carried out.
        mark: fingerprint of the start.
        watch: also keep the test score of every epoch.
        own: the budget of a study that has its own; None takes the scale's.
        origins: other beginnings than the start, by name.
        split: the part of the data that is asked for.
        taken: fields of the config that rows take over from the start, where they do not say otherwise.
    """

    scale: str
    start: str
    data: tuple[Dataset, ...]
    adapt: Mapping[str, Dataset]
    work: Path
    settings: Settings = field(default_factory=Settings)
    mark: str = ""
    watch: bool = False
    own: Budget | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    split: str = "test"
    taken: Mapping[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """On which models run."""
        return self.settings.device

    @property
    def budget(self) -> Budget:
        """Of the study, or of this scale."""
        return self.own or BUDGETS[self.scale]


def changed(config: Any, changes: Mapping[str, Any], budget: Budget, epochs: int = 0, own_rates: bool = False) -> Any:
    """The method's config with a cell's changes, and below full size with the budget that everybody gets.

    epochs: other than the budget's. own_rates: rates and schedule stay the recipe's own.
    """
    if budget.size is None:
        return replace(config, **changes)
    patch = budget.size[0] // 8  # of all small CLIPs
    fitting = {"heads": 2, "mask_unit": patch, "image_size": budget.size, "pairs": 20}
    small = {k: v for k, v in fitting.items() if hasattr(config, k)}
    config = replace(config, **(dict(changes) | small))
    if hasattr(config, "image_encoder") and not config.image_encoder + config.text_encoder:
        config = replace(config, width=0, layers=0)  # encoders of random weights: as large as the CLIP's
    if hasattr(config, "mapping_hidden"):
        config = replace(config, mapping_hidden=config.mapping_hidden // budget.narrow)
    return config.with_recipe(shared(config.recipe, budget, epochs or budget.epochs, own_rates))


def shared(old: Recipe, budget: Budget, epochs: int, own_rates: bool = False) -> Recipe:
    """The same steps and rate for every method; what makes a method stays its own."""
    if own_rates:
        warm = min(old.warmup_epochs, epochs / 4)
        return replace(
            old, epochs=epochs, batch_size=budget.batch, warmup_epochs=warm, augment="flip", selection="last"
        )
    return replace(
        old, epochs=epochs, batch_size=budget.batch, lr=budget.lr, optimiser="adamw", eps=1e-8, weight_decay=0.02,
        schedule="iteration", warmup_epochs=budget.warmup, warmup_share=0.0, warmup_from=budget.lr / 100,
        end_lr=budget.lr / 100, augment="flip", clean_captions=True, drop_last=True, selection="last",
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
    here = 1 if scale == "small" else 0  # cameras and manner of drawing that the start has not seen
    taught = population(root, scale, budget, here, first=TRAIN_FIRST, asked=TEST_FIRST)
    taught = replace(taught, test={k: v for k, v in taught.test.items() if "photo" not in k})
    adapting = {}
    for nth, part in enumerate(PARTS):
        made = write_people(
            root / f"adapt-{part}", budget.adapting, 2, 1, 1, splits=train_only(budget.adapting), size=SIZES[scale],
            first=ADAPT_FIRST + nth * 10_000, world=(nth + 1) % 2,
        )  # fmt: skip
        adapting[part] = replace(read_people(made), name=f"people {part}")
    adapting["PEDES"] = united([adapting[p] for p in PARTS])
    begin = beginning(root, scale, origin, [taught, *adapting.values()])
    return World(scale, begin, (taught,), adapting, work, settings)


def train_only(people: int) -> dict[str, int]:
    """Splits of people who are all trained on."""
    return {"train": people, "val": 0, "test": 0}


def population(
    root: Path, scale: str, budget: Budget, world: int, seed: int = 0, first: int = 0, asked: int = 500_000
) -> Dataset:
    """Training people with two photographs, a sketch and a caption each, and other people who are asked for.

    world: of cameras and drawing. seed: of the population. first, asked: numbers of the first people of both kinds.
    """
    tell: dict[str, Any] = {"photos": 2, "sketches": 1, "captions": 1, "seed": seed, "world": world}
    tell["size"] = SIZES[scale]
    taught = write_people(root / "people", budget.people, splits=train_only(budget.people), first=first, **tell)
    sought = {"train": 0, "val": 0, "test": budget.asked}
    tested = write_people(root / "asked", budget.asked, splits=sought, first=asked, mixture=MIXTURE, **tell)
    return replace(read_people(taught), test=read_people(tested).test)


def beginning(root: Path, scale: str, origin: str, known: Sequence[Dataset]) -> str:
    """What every row begins with: the run that was given, the model that ships, or a tiny CLIP for a smoke run."""
    if origin or scale == "small":
        return origin or START
    return str(untrained(root / "start", known, SIZES[scale][::-1]))


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


def untrained(folder: Path, known: Sequence[Dataset], size: tuple[int, int], net: Network = TINY) -> Path:
    """A CLIP of random weights with a vocabulary for these captions; made once."""
    if (folder / "config.json").is_file():
        return folder
    words = word_level([*(e.caption for d in known for e in d.train), "a photo of * , and"])
    clip = random_clip(
        size, size[0] // 8, net.dim, net.width, net.layers, net.dim, net.text_layers, len(words), 77, words.end,
        words.placeholder, seed=0, activation=net.activation,
    )  # fmt: skip
    if net.whitened:
        initialise_image_encoder(clip, known[0].train, 0)
    plain = method_class("zero_shot")(clip, words, preset("zero_shot", "recommended"), 0)
    about = {"weights": "random", "pretrained": False, "note": SYNTHETIC}
    save_model(folder, plain, "zero_shot", "recommended", about)
    return folder
