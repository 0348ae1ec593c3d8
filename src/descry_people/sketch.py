"""A drawing of a synthetic person as a witness might make it: dark strokes on white, no colour, and sometimes a wrong
memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from PIL import Image, ImageFilter

from descry.drawing.figure import Hand, Layer, Point
from descry.drawing.layers import figure
from descry.drawing.person import ATTRIBUTES, Person
from descry.errors import UsageError, nearest

from .person import TONED, held, make_pose

_SHAPES = (
    *("sex", "build", "hair_length", "hair_style", "beard", "headwear", "eyewear", "upper", "upper_pattern", "sleeves"),
    *("outer", "lower", "lower_pattern", "shoes", "bag", "neckwear", "carried"),
)
STYLES: dict[str, tuple[str, ...]] = {
    "line": _SHAPES,
    "pencil": (*_SHAPES, *TONED),
    "sparse": ("sex", "hair_length", "headwear", "upper", "sleeves", "outer", "lower", "bag"),
    "lay": ("sex", "hair_length", "headwear", "upper", "sleeves", "outer", "lower", "bag"),
}
"""Style → the attributes it can show. "line": clean outlines; "pencil": rough doubled strokes, garments shaded by tone;
"sparse": few short strokes and no small things; "lay": by somebody who cannot draw: wrong proportions, open and wobbly
outlines, missing parts, any width of line, any size and place on the paper."""

WIDTHS = {"line": 0.0085, "pencil": 0.0058, "sparse": 0.0095}
"""Style → mean width of a line, as a share of the person's height."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """image: RGB, dark on white. expressed: attribute → what the drawing shows, right or wrong."""

    image: Image.Image
    expressed: dict[str, str]


def _kept(person: Person) -> dict[str, tuple[str, ...]]:
    """For each attribute a memory may get wrong, the values it may wrongly take on this person."""
    options = {name: ATTRIBUTES[name] for name in _SHAPES}
    if person.sex == "woman":
        options["hair_length"] = ("short", "medium", "long")
        options["beard"] = ("none",)
    if person.hair_length != "long":
        options["hair_style"] = ("straight",) if person.hair_length == "bald" else ("straight", "curly")
    else:
        options["hair_length"] = ("long",) if person.hair_style in ("ponytail", "bun") else options["hair_length"]
    if person.upper == "dress":
        options["upper"], options["lower"] = ("dress",), ("bare legs", "leggings")
    else:
        options["upper"] = ATTRIBUTES["upper"][:-1]
        options["lower"] = ATTRIBUTES["lower"][: -1 if person.sex == "woman" else 3]
    if person.lower == "leggings":
        options["lower_pattern"] = ("plain", "side stripe")
    elif person.lower in ("jeans", "bare legs"):
        options["lower_pattern"] = ("plain",)
    elif person.lower in ("short skirt", "long skirt"):
        options["lower_pattern"] = ("plain", "checked")
    options["neckwear"] = ATTRIBUTES["neckwear"] if person.upper == "shirt" else ("none", "scarf", "headphones")
    return options


def misremember(person: Person, names: Iterable[str], rng: Random, error_rate: float) -> Person:
    """The person as remembered: each named attribute is wrong with probability error_rate, if it can be wrong at
    all."""
    for name in names:
        wrong = rng.random() < error_rate
        if name in TONED:
            continue
        options = [v for v in _kept(person)[name] if v != getattr(person, name)]
        if wrong and options:
            person = dataclasses.replace(person, **{name: rng.choice(options)})  # type: ignore[arg-type]
    return person


def _sparse(person: Person) -> Person:
    gone = {"eyewear": "none", "beard": "none", "neckwear": "none", "carried": "none", "build": "average"}
    return dataclasses.replace(person, **gone, upper_pattern="plain", lower_pattern="plain", shoes="trainers")  # type: ignore[arg-type]


def draw_sketch(
    person: Person, seed: int, style: str = "line", error_rate: float = 0.0, size: tuple[int, int] = (128, 256)
) -> Sketch:
    """A drawing from the front of what is remembered of a person; size = (width, height) in pixels.

    style: a key of STYLES. error_rate: probability that an attribute the style can show is drawn with another value.
    `expressed` of the result holds those attributes, tones included, as drawn. Raises UsageError for another style,
    and for a rate outside 0 to 1.
    """
    if style not in STYLES:
        raise UsageError(f"a sketch style of {style!r} was given; {nearest(style, [*STYLES])}")
    if not 0.0 <= error_rate <= 1.0:
        raise UsageError(f"an error rate of {error_rate} was given; allowed is 0 to 1")
    rng = Random(f"sketch {style} {seed} {person.pid}")
    drawn = misremember(person, STYLES[style], rng, error_rate)
    expressed = {name: value for name, value in held(drawn).items() if name in STYLES[style]}
    for name in TONED:
        if name in expressed and expressed[name] != "none" and rng.random() < error_rate:
            expressed[name] = rng.choice([t for t in ("dark", "middle", "light") if t != expressed[name]])
    shown = _sparse(drawn) if style in ("sparse", "lay") else drawn
    pose = make_pose(rng, shown, "front", 0.10)
    pose = dataclasses.replace(pose, yaw=pose.yaw * 0.6, stride=pose.stride * 0.4)
    hand = (LayHand if style == "lay" else FreeHand)(rng, style, size, expressed)
    for layer in figure(shown, pose):
        hand.draw(layer, shown)
    return Sketch(hand.finish(), expressed)


class FreeHand(Hand):
    """A hand of a style, that stands the person somewhere on the paper. expressed: the tones that pencil shades."""

    def __init__(self, rng: Random, style: str, size: tuple[int, int], expressed: dict[str, str]):
        self.rng, self.style, self.expressed = rng, style, expressed
        self.thin = 60 if style == "pencil" else 40
        super().__init__(size)

    def place(self) -> None:
        rng = self.rng
        self.scale = rng.uniform(0.86, 0.95) * self.scale_of_paper
        self.x = self.image.width * (0.5 + rng.uniform(-0.03, 0.03))
        self.y = (self.image.height - self.scale) * rng.uniform(0.4, 0.7)
        self.width = self.scale * WIDTHS[self.style] * rng.uniform(0.85, 1.15)

    def wobble(self, points: list[Point], by: float) -> list[Point]:
        size = by * self.scale
        return [
            (round(x + self.rng.uniform(-size, size), 2), round(y + self.rng.uniform(-size, size), 2))
            for x, y in points
        ]

    def draw(self, layer: Layer, person: Person) -> None:
        if not (layer.role.endswith("_fold") and self.style == "sparse"):
            super().draw(layer, person)

    def outline(self, points: list[Point]) -> None:
        ring = [*points, points[0]]
        if self.style == "line":
            super().outline(points)
        elif self.style == "pencil":
            for ink in (70, 110):
                self.stroke(self.wobble(ring, 0.0035), self.width, ink)
        else:
            count = len(ring) - 1
            start, step = self.rng.randrange(max(1, count)), max(2, math.ceil(count * 0.42))
            for k in range(2):
                first = start + k * (count // 2)
                piece = [ring[(first + i) % count] for i in range(step + 1)]
                self.stroke(self.wobble(piece, 0.002), self.width, 35)

    def fill(self, layer: Layer, points: list[Point], person: Person) -> None:
        """The tone of a garment in pencil, and what every hand draws; those who draw little leave the hair out."""
        tone = self.expressed.get(f"{layer.role}_tone")
        if tone == "dark":
            self.hatch(points, 0.011, 45.0, 120, self.width)
            self.hatch(points, 0.016, -45.0, 130, self.width * 0.8)
        elif tone == "middle":
            self.hatch(points, 0.020, 45.0, 150, self.width * 0.8)
        left_out = {"sparse": ("hair", "beard", "lower"), "lay": ("hair", "beard")}.get(self.style, ())
        if layer.role not in left_out:
            super().fill(layer, points, person)

    def spaced(self, reach: float, step: float, origin: float) -> list[float]:
        if self.style == "line":
            return super().spaced(reach, step, origin)
        offset, count, shake = self.rng.uniform(0, step), int(reach / step), step * 0.15
        return [k * step + offset + self.rng.uniform(-shake, shake) for k in range(-count - 1, count + 2)]

    def finish(self) -> Image.Image:
        image = super().finish()
        return image.filter(ImageFilter.GaussianBlur(0.4)) if self.style == "pencil" else image


class LayHand(FreeHand):
    """The hand of somebody who cannot draw."""

    def place(self) -> None:
        rng = self.rng
        share = rng.uniform(0.85, 0.97) if rng.random() < 0.5 else rng.uniform(0.35, 0.85)
        self.scale = share * self.scale_of_paper * 0.95
        room = (self.image.width - 0.42 * self.scale, self.image.height - 1.02 * self.scale)
        self.x = 0.21 * self.scale + rng.random() * max(0.0, room[0])
        self.y = 0.02 * self.scale + rng.random() * max(0.0, room[1])
        pen = 2.0 * 10.0 ** rng.random() / 500 * self.image.height  # 2 to 20 pixels on paper 500 pixels tall
        self.width = min(pen, 0.03 * self.scale)
        head, trunk, legs = rng.uniform(1.0, 1.7), rng.uniform(0.75, 1.2), rng.uniform(0.65, 1.1)
        parts = (0.15 * head, 0.37 * trunk, 0.48 * legs)
        self.tall = [part / sum(parts) for part in parts]
        self.head = self.tall[0] / 0.15 * rng.uniform(0.85, 1.15)
        self.wide = rng.uniform(0.85, 1.25)
        self.shake, self.open = rng.uniform(0.003, 0.011), rng.uniform(0.0, 0.16)
        self.missing = {
            role
            for role, share in {
                "eye": 0.4,
                "brow": 0.7,
                "mouth": 0.4,
                "sole": 0.8,
                "shoes": 0.25,
                "bag_line": 0.4,
            }.items()
            if rng.random() < share
        }
        self.handless = rng.random() < 0.4

    def at(self, points: Iterable[Point]) -> list[Point]:
        return super().at([self.warp(x, y) for x, y in points])

    def warp(self, x: float, y: float) -> Point:
        """A place of the body in the wrong proportions: the head, the trunk and the legs each have their own."""
        head, trunk, legs = self.tall
        if y < 0.15:
            return x * (self.head + (self.wide - self.head) * max(0.0, y - 0.11) / 0.04), y * head / 0.15
        if y < 0.52:
            return x * self.wide, head + (y - 0.15) * trunk / 0.37
        return x * self.wide, head + trunk + (y - 0.52) * legs / 0.48

    def draw(self, layer: Layer, person: Person) -> None:
        small = layer.role == "skin" and len(layer.points) == 12
        if layer.role in self.missing or layer.role.endswith("_fold") or (small and self.handless):
            return
        super().draw(layer, person)

    def outline(self, points: list[Point]) -> None:
        count = len(points)
        start = self.rng.randrange(count)
        ring = [points[(start + i) % count] for i in range(count + 1)]
        line = self.wander(ring)
        gap = round(len(line) * self.open * self.rng.random())
        self.stroke(line[: len(line) - gap], self.width, 30)

    def wander(self, points: list[Point]) -> list[Point]:
        """The line through points as a slow and unsure hand draws it: short steps that drift."""
        out: list[Point] = []
        dx = dy = 0.0
        step, size = 0.03 * self.scale, self.shake * self.scale
        for (x0, y0), (x1, y1) in pairwise(points):
            count = max(1, round(math.hypot(x1 - x0, y1 - y0) / step))
            for i in range(count):
                dx, dy = (0.7 * d + self.rng.gauss(0.0, size) * 0.7 for d in (dx, dy))
                out.append((round(x0 + (x1 - x0) * i / count + dx, 2), round(y0 + (y1 - y0) * i / count + dy, 2)))
        return [*out, points[-1]]
