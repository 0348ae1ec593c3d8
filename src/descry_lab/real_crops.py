"""What a model carries over to real photographs: six people walking, described by us, ranked among all their crops.

    python -m descry_lab real-crops FOLDER [--model demo] [--write]

FOLDER holds the 202 crops of the video one-by-one-person-detection.mp4 (Intel Corporation, CC BY 4.0), named by frame.
One person walks after the other, so frames tell people apart; the descriptions are ours, in the words of the synthetic
people, and the sketches are drawn by their generator from the same descriptions. Six people are an example, not a
measure: no interval could mean anything. --write puts the table into docs/demo-model.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from descry.embed import Model, load
from descry.errors import DataError
from descry.evaluate import Embedded, scores_of
from descry.metrics import rank
from descry.query import Query
from descry.records import Benchmark, Photo, Probe
from descry_people.person import make_person
from descry_people.sketch import draw_sketch

from .tables import ROOT, laid_out, parser_of, put

PAGE = ROOT / "docs" / "demo-model.md"
MARKS = ("<!-- real crops: python -m descry_lab real-crops -->", "<!-- end of real crops -->")
FRAME = re.compile(r"f(\d+)_")


@dataclass(frozen=True)
class Walker:
    """Somebody in the video: the frames, what a witness might say, and the same as attributes for a drawing."""

    first: int
    last: int
    words: str
    looks: dict[str, Any] = field(default_factory=dict)


NOTHING = {
    "bag": "none", "headwear": "none", "neckwear": "none", "carried": "none", "eyewear": "none", "beard": "none",
    "outer": "none", "upper_pattern": "plain", "lower_pattern": "plain", "sleeves": "long", "build": "average",
}  # fmt: skip
WALKERS = (
    Walker(
        65, 185, "a woman with long straight blond hair wearing a long grey coat, grey leggings and black boots.",
        {"sex": "woman", "hair_length": "long", "hair_style": "straight", "hair_colour": "blond", "outer": "coat",
         "outer_colour": "grey", "upper": "sweater", "upper_colour": "grey", "lower": "leggings",
         "lower_colour": "grey", "shoes": "boots", "shoes_colour": "black"},
    ),
    Walker(
        230, 440, "a man with short black hair wearing a black jacket, black trousers and black boots.",
        {"sex": "man", "hair_length": "short", "hair_style": "straight", "hair_colour": "black", "outer": "jacket",
         "outer_colour": "black", "upper": "shirt", "upper_colour": "blue", "lower": "trousers",
         "lower_colour": "black", "shoes": "boots", "shoes_colour": "black"},
    ),
    Walker(
        510, 690, "a woman with long wavy blond hair wearing a black sweater, black leggings and grey trainers.",
        {"sex": "woman", "hair_length": "long", "hair_style": "curly", "hair_colour": "blond", "upper": "sweater",
         "upper_colour": "black", "lower": "leggings", "lower_colour": "black", "shoes": "trainers",
         "shoes_colour": "grey"},
    ),
    Walker(
        750, 860, "a man with short black hair and glasses wearing a black t-shirt, black trousers and black shoes.",
        {"sex": "man", "hair_length": "short", "hair_style": "straight", "hair_colour": "black",
         "eyewear": "glasses", "upper": "t-shirt", "upper_colour": "black", "sleeves": "short", "lower": "trousers",
         "lower_colour": "black", "shoes": "leather shoes", "shoes_colour": "black"},
    ),
    Walker(
        930, 1185, "a woman with long straight black hair wearing a grey sweater, dark blue leggings and black boots.",
        {"sex": "woman", "hair_length": "long", "hair_style": "straight", "hair_colour": "black", "upper": "sweater",
         "upper_colour": "grey", "lower": "leggings", "lower_colour": "dark blue", "shoes": "boots",
         "shoes_colour": "black"},
    ),
    Walker(
        1245, 1350, "a heavy man with short brown hair wearing a grey short sleeve shirt, blue jeans and trainers.",
        {"sex": "man", "build": "heavy", "hair_length": "short", "hair_style": "curly", "hair_colour": "brown",
         "upper": "shirt", "upper_colour": "grey", "sleeves": "short", "lower": "jeans", "lower_colour": "blue",
         "shoes": "trainers", "shoes_colour": "blue"},
    ),
)  # fmt: skip


def crops(folder: Path) -> tuple[list[Path], np.ndarray]:
    """The crops, and for each the number of its person. Raises DataError where the folder is another one."""
    files, people = list[Path](), list[int]()
    for file in sorted(folder.glob("*.jpg")):
        frame = FRAME.match(file.name)
        who = [n for n, w in enumerate(WALKERS) if frame and w.first <= int(frame[1]) <= w.last]
        if not who:
            raise DataError(f"{file.name} in {folder} is not of the video; its crops are named f00065_0.jpg and so on")
        files.append(file)
        people.append(who[0])
    if set(people) != set(range(len(WALKERS))):
        raise DataError(f"{folder} shows {len(set(people))} of the {len(WALKERS)} people; give the folder of all crops")
    return files, np.array(people)


def drawings() -> list[Any]:
    """A sketch of each, drawn without a wrong memory."""
    return [
        draw_sketch(replace(make_person(n), **NOTHING | walker.looks), seed=0).image for n, walker in enumerate(WALKERS)
    ]


def measure(model: Model, folder: Path) -> dict[str, dict[str, float]]:
    """For each way of asking: R@1 and mAP of the six queries over all crops, as a search ranks them, and how often a
    crop's own description gives it the highest score of the six.
    """
    files, people = crops(folder)
    shown = tuple(Photo(str(file), int(who)) for file, who in zip(files, people, strict=True))
    photos = Embedded.of(model, Benchmark("real crops", (), shown))
    words, sketches = [w.words for w in WALKERS], drawings()
    asked = {"text": [Query(wanted=text) for text in words], "sketch": [Query(sketches=drawn) for drawn in sketches]}
    if "sketch+text" in model.answers:
        pairs = zip(sketches, words, strict=True)
        asked["sketch+text"] = [Query(sketches=drawn, wanted=text) for drawn, text in pairs]
    own = people[None, :] == np.arange(len(WALKERS))[:, None]
    generator = np.random.default_rng(0)
    out = {"chance": _judge(generator.random((200 * len(WALKERS), len(files))), np.tile(own, (200, 1)), people)}
    for name, queries in asked.items():
        probes = [Probe(query, who) for who, query in enumerate(queries)]
        out[name] = _judge(scores_of(model, probes, photos), own, people)
    return out


def _judge(scores: np.ndarray, own: np.ndarray, people: np.ndarray) -> dict[str, float]:
    found = rank(scores, own)
    blocks = scores.reshape(-1, len(WALKERS), len(people))
    nearest = [(block.argmax(axis=0) == people).mean() for block in blocks]
    return {"R@1": float(found.r1), "mAP": float(found.map), "own": 100 * float(np.mean(nearest))}


def table(found: dict[str, dict[str, float]]) -> str:
    """The rows for the page."""
    heads = ("asked with", "R@1 of 6 queries", "mAP", "crops nearest to their own description")
    return laid_out(heads, [[n, f"{v['R@1']:.0f}", f"{v['mAP']:.1f}", f"{v['own']:.1f}"] for n, v in found.items()])


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = parser_of("real-crops", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    found = measure(load(given.model), given.folder)
    print(json.dumps(found) if given.json else table(found))
    if given.write:
        put(PAGE, MARKS, table(found))
    return 0
