"""Teach the demo model to read drawings of people who cannot draw, without moving a vector of a photograph or a word.

    python -m descry_lab demo-sketches MODEL

MODEL is the packed demo model; sketches.safetensors is written into it. A copy of its image encoder learns from
drawings of synthetic people whom no other part saw: half by lay people, of which a third are small, the rest as in
version 1 of the benchmark and dressed figures, 15 per cent of what they show wrong. Each drawing is answered by the
photographs of all these people, and the target is how likely each person is, given what the drawing shows (`likely`).
Drawings of the known styles also keep the features that they had. The mean of several runs is kept, twice.

Hardware and time: one thread; about four minutes for the drawings and three for each run of 100 steps.
Expected figures: docs/demo-model.md. Synthetic people are no evidence of accuracy on real people.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from descry import compose_sketch, images
from descry.checkpoint import write_sketches
from descry.drawing.person import Person
from descry.embed import load
from descry.errors import UsageError
from descry.methods.interactreid import InteractReID
from descry.sketching import fit_to_ink
from descry_people.benchmark import check_training
from descry_people.folder import make_photo, make_sentence
from descry_people.person import held, to_json, values_of
from descry_people.plan import Mixture, Plan
from descry_people.sketch import STYLES, draw_sketch, misremember

from .tables import parser_of

FIRST, PEOPLE, DRAWINGS, SENTENCES = 300_000, 1800, 3, 2
SHARES = {"lay": 0.5, "line": 0.13, "pencil": 0.13, "sparse": 0.14, "dressed": 0.1}
"""Style → share of the drawings."""
WRONG = 0.15
RUNS = ((2, 100, 600), (3, 200, 200))
"""(runs, steps of each, steps after which the learning rate would end); each begins with the mean of those before."""
BATCH, RATE, RANK = 48, 4e-4, 64


def drawing(person: Person, k: int) -> tuple[str, Image.Image, dict[str, str]]:
    """A person's k-th drawing, fitted to its ink: style, picture, and attribute → what it shows."""
    rng = Random(f"lay training {person.pid} {k}")
    style = rng.choices(tuple(SHARES), tuple(SHARES.values()))[0]
    seed = rng.getrandbits(40)
    if style == "dressed":
        wrong = misremember(person, STYLES["line"], rng, WRONG)
        picture = compose_sketch({n: v for n, v in to_json(wrong).items() if not n.endswith("_colour")}).sketch
        shows = {name: value for name, value in held(wrong).items() if name in STYLES["line"]}
    else:
        small = style == "lay" and rng.random() < 0.35
        drawn = draw_sketch(person, seed, style, WRONG, (256, 512) if small else (128, 256))
        picture, shows = drawn.image, drawn.expressed
        if small:
            by = rng.uniform(0.35, 0.8)
            less = picture.resize((round(256 * by), round(512 * by)), Image.Resampling.LANCZOS)
            picture = Image.new("RGB", (256, 512), "white")
            picture.paste(less, (rng.randrange(1, 256 - less.width), rng.randrange(1, 512 - less.height)))
    return style, fit_to_ink(picture).picture, shows


def likely(shown: Sequence[dict[str, str]], people: Sequence[Person]) -> Tensor:
    """(drawings, people) probability of each person given what a drawing shows, each attribute wrong at the rate WRONG
    and all wrong values equally likely, as the oracle of the benchmark has it."""
    total = np.zeros((len(shown), len(people)), np.float32)
    records = [held(person) for person in people]
    for name in sorted({name for shows in shown for name in shows}):  # sums of floats depend on their order
        values = values_of(name)
        has = np.array([values.index(record[name]) for record in records])
        says = np.array([values.index(shows[name]) if name in shows else -1 for shows in shown])
        odds = np.where(says[:, None] == has, math.log(1 - WRONG), math.log(WRONG / (len(values) - 1)))
        total += odds * (says >= 0)[:, None]
    return torch.from_numpy(total).softmax(1)


class Lessons:
    """What is learned from, made once.

    Attributes:
        ink: (N, 1, H, W) drawings in [0, 1].
        lay: (N,) bool, those of lay people.
        known: (N, D) features of the others as they are now.
        own: (N,) whose drawing each is.
        odds: (N, P) from `likely`.
        photos: (P, D) unit rows.
        sentences: (P, SENTENCES, L) token ids.
    """

    def __init__(self, model: Any, people: int):
        plan = Plan(people, 1, DRAWINGS, SENTENCES, 0, 0, (128, 256), {"train": people}, FIRST, Mixture())
        check_training(FIRST, people)
        persons = [plan.person(i) for i in range(people)]
        made = [drawing(person, k) for person in persons for k in range(DRAWINGS)]
        pixels = np.stack([images.load(picture, model.image_size)[:1] for _, picture, _ in made])
        self.ink = torch.from_numpy(pixels).float() / 255
        self.lay = torch.tensor([style == "lay" for style, _, _ in made])
        self.own = torch.arange(people).repeat_interleave(DRAWINGS)
        self.odds = likely([shows for _, _, shows in made], persons)
        self.photos = torch.from_numpy(model.embed_images([make_photo(plan, person, 0) for person in persons]))
        texts = [make_sentence(plan, person, k)[0].text for person in persons for k in range(SENTENCES)]
        self.sentences = model.words.ids(texts).view(people, SENTENCES, -1)
        self.known = torch.zeros(len(made), model.dimension)
        with torch.no_grad():
            for some in torch.nonzero(~self.lay)[:, 0].split(64):
                self.known[some] = model.method.clip.image_features(coloured(self.ink[some]))

    def batches(self, seed: int, steps: int) -> Iterator[Tensor]:
        """Rows of each step, every drawing once before any comes again."""
        order, g = torch.zeros(0, dtype=torch.long), torch.Generator().manual_seed(seed)
        for _ in range(steps):
            if len(order) < BATCH:
                order = torch.cat([order, torch.randperm(len(self.ink), generator=g)])
            yield order[:BATCH]
            order = order[BATCH:]


def coloured(ink: Tensor) -> Tensor:
    """(N, 1, H, W) → (N, 3, H, W)."""
    return ink.expand(-1, 3, -1, -1)


def bent(ink: Tensor, amount: Tensor, g: torch.Generator) -> Tensor:
    """Drawings in other proportions: head, trunk and legs longer, wider or aside by smooth random fields.

    ink: (N, 1, H, W). amount: (N,), a share of half the height."""
    n, height, width = len(ink), ink.shape[2], ink.shape[3]
    down, wave = torch.linspace(0, 1, height)[None], torch.pi
    a = amount[:, None]

    def draw() -> Tensor:
        return torch.randn(n, 1, generator=g)

    y = (
        2 * down
        - 1
        + a * sum(share * draw() * torch.sin(k * wave * down) for k, share in ((1, 1.0), (2, 0.6), (3, 0.4)))
    )
    wide = 1 + 1.6 * a * draw() + a * (draw() * torch.sin(2 * wave * down) + draw() * torch.cos(3 * wave * down))
    aside = a / 2 * (draw() * torch.sin(wave * down) + draw() * torch.sin(3 * wave * down)) + 0.03 * draw()
    x = torch.linspace(-1, 1, width) * wide[:, :, None] + aside[:, :, None]
    grid = torch.stack([x, y[:, :, None].expand_as(x)], dim=-1)
    return 1 - F.grid_sample(1 - ink, grid, align_corners=True)


def varied(ink: Tensor, lay: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Drawings turned left to right, bent, or with a thicker pen, each by chance; and which stayed as they are."""
    chance = torch.rand(3, len(ink), generator=g)
    turn, bend, thick = chance[0] < 0.4, chance[1] < torch.where(lay, 0.7, 0.4), chance[2] < 0.12
    ink = torch.where(turn[:, None, None, None], ink.flip(-1), ink)
    ink = torch.where(bend[:, None, None, None], bent(ink, torch.where(lay, 0.025, 0.06), g), ink)
    wide = (ink + 1 - F.max_pool2d(1 - ink, 3, 1, 1)) / 2
    return torch.where(thick[:, None, None, None], wide, ink), ~(turn | bend | thick)


def run(method: Any, start: Any, lessons: Lessons, seed: int, steps: int, end: int) -> Any:
    """A copy of the CLIP `start`, trained; method: whose T and Φ read its features in prompts, frozen."""
    clip, g = deepcopy(start), torch.Generator().manual_seed(seed)
    weights = [weight for _, weight in clip.image_parameters()]
    for weight in weights:
        weight.requires_grad_(True)
    decay = [{"params": [w for w in weights if (w.ndim > 1) == deep], "weight_decay": 0.02 * deep} for deep in (1, 0)]
    optimiser = torch.optim.AdamW(decay, lr=RATE, betas=(0.9, 0.98))
    for step, rows in enumerate(lessons.batches(seed, steps)):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 8) * (0.51 + 0.49 * math.cos(math.pi * step / end))
        lay = lessons.lay[rows]
        ink, as_is = varied(lessons.ink[rows], lay, g)
        with torch.autocast("cpu", torch.bfloat16):
            features = clip.image_features(coloured(ink))
        features = features.float()
        found = (25 * F.normalize(features, dim=-1) @ lessons.photos.T).log_softmax(1)
        loss = -(lessons.odds[rows] * found).sum(1).mean()
        same = as_is & ~lay
        if same.any():
            known = lessons.known[rows][same]
            loss = loss + ((features[same] - known).square().sum(1) / known.square().sum(1)).mean()
        if step % 3 == 0:  # drawing and words as one prompt, as a search asks
            half, pick = len(rows) // 2, torch.randint(SENTENCES, (len(rows),), generator=g)
            batch = {"text": lessons.sentences[lessons.own[rows], pick][:half]}
            with torch.autocast("cpu", torch.bfloat16):
                both = method._complete(features[:half], batch, g)
            scores = 25 * F.normalize(both.float(), dim=-1) @ lessons.photos.T
            loss = loss + 0.6 * F.cross_entropy(scores, lessons.own[rows][:half])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
    return clip


def taught(model: Any, people: int = PEOPLE, runs: Sequence[tuple[int, int, int]] = RUNS) -> Any:
    """A copy of the model's method whose image encoder reads drawings. runs: see RUNS."""
    if not isinstance(model.method, InteractReID) or "sketch+text" not in model.answers:
        raise UsageError(
            f"{model.name} makes no pseudo-words of pictures; give a packed InteractReID that was trained with "
            "composed prompts or through stage 2"
        )
    method, reader = model.method.requires_grad_(False), deepcopy(model.method)
    lessons = Lessons(model, people)
    print(f"{len(lessons.ink):,} drawings of {people:,} people made", flush=True)
    for stage, (count, steps, end) in enumerate(runs):
        done = []
        for i in range(count):
            done.append(run(method, reader.clip, lessons, 10 * stage + i, steps, end))
            print(f"stage {stage + 1} of {len(runs)}, run {i + 1} of {count} done: {steps} steps", flush=True)
        each = [dict(clip.image_parameters()) for clip in done]
        with torch.no_grad():
            for name, weight in reader.clip.image_parameters():
                weight.copy_(torch.stack([weights[name] for weights in each]).mean(0))
    return reader


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("demo-sketches", __doc__)
    parser.add_argument("model", type=Path, help="a packed model of InteractReID, stage 1 with composed prompts")
    options = parser.parse_args(argv)
    if not (options.model / "config.json").is_file():
        raise UsageError(f"{options.model} is no packed model; make one with descry model pack")
    torch.set_num_threads(1)
    model = load(options.model, device="cpu")
    write_sketches(options.model, model.method, taught(model), RANK)
    print(f"{options.model} reads sketches apart now")
    return 0
