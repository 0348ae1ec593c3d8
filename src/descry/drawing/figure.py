"""The body that photographs and sketches share: a skeleton in three dimensions, turned and projected to outlines.

Units: the person's height is 1; x to the viewer's right, y down from the crown of the head (0) to the soles (1), z
towards the viewer. A figure is a list of layers, the first drawn first; each is an outline with the name of what it
is made of. `Hand` draws them as clean lines.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .person import Person

Point = tuple[float, float]
Joint = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Layer:
    """One outline. role: what it is made of ("skin", "upper", "bag", …). line: its width if it is a stroke, 0 for a
    filled area.

    soft: whether light rounds it. pattern: whether the garment's pattern is drawn on it.
    """

    role: str
    points: tuple[Point, ...]
    line: float = 0.0
    soft: bool = True
    pattern: bool = False


def stroke(role: str, points: tuple[Point, ...], line: float) -> Layer:
    """A line that light does not round."""
    return Layer(role, points, line, soft=False)


@dataclass(frozen=True, slots=True)
class Pose:
    """How a person stands. yaw: radians, 0 facing the viewer, π/2 facing right, π seen from behind.

    stride: -1 to 1, which leg is in front and how far. arms: for the left and the right of the person (swing forward,
    bend of the elbow, spread sideways), radians. lean: sideways shift of the head. tilt: how much is seen from above.
    """

    yaw: float = 0.0
    stride: float = 0.0
    arms: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.0, 0.15, 0.16), (0.0, 0.15, 0.16))
    lean: float = 0.0
    tilt: float = 0.12


VIEWS: dict[str, float] = {"front": 0.0, "right": math.pi / 2, "back": math.pi, "left": -math.pi / 2}


# y, half width, half depth of the trunk of an average man, neck to seat
_TRUNK = (
    (0.140, 0.036, 0.036),
    (0.163, 0.050, 0.046),
    (0.176, 0.098, 0.056),
    (0.192, 0.122, 0.066),
    (0.245, 0.124, 0.078),
    (0.310, 0.115, 0.076),
    (0.395, 0.098, 0.070),
    (0.465, 0.104, 0.076),
    (0.530, 0.110, 0.082),
)
_WOMAN = (1.0, 0.95, 0.88, 0.88, 0.90, 0.90, 0.86, 1.02, 1.10)
_BUILD = {"slim": (0.84, 0.84), "average": (1.0, 1.0), "heavy": (1.24, 1.16)}
_BELLY = (0, 0, 0, 0.0, 0.05, 0.16, 0.32, 0.20, 0.08)


class Body:
    """A person's joints in a pose and their projection; every outline is made by `ribbon`, `trunk` or `disc`."""

    def __init__(self, person: Person, pose: Pose):
        self.person, self.pose = person, pose
        self.cos, self.sin = math.cos(pose.yaw), math.sin(pose.yaw)
        self.front = self.cos > 0
        wide, self.limb = _BUILD[person.build]
        if person.sex == "woman":
            self.limb *= 0.92
        belly = 1.0 if person.build == "heavy" else 0.0
        shape = _WOMAN if person.sex == "woman" else (1.0,) * len(_TRUNK)
        self.table = [
            (
                y,
                a * w * (1 + (wide - 1) * min(1, i / 3)) * (1 + belly * f * 0.5),
                b * (wide if i > 2 else 1) * (1 + belly * f),
            )
            for i, ((y, a, b), w, f) in enumerate(zip(_TRUNK, shape, _BELLY, strict=True))
        ]
        self.ys = [row[0] for row in self.table]
        self.shoulder = self.section(0.20)[0] * 0.91
        self.legs = [self._leg(side) for side in (-1, 1)]
        self.arms = [self._arm(side) for side in (-1, 1)]

    def project(self, joint: Joint) -> Point:
        """(x, y, z) of the person to (x, y) of the picture."""
        x, y, z = joint
        return x * self.cos + z * self.sin, y + self.depth(joint) * self.pose.tilt

    def depth(self, joint: Joint) -> float:
        """How far a joint lies towards the viewer."""
        return -joint[0] * self.sin + joint[2] * self.cos

    def section(self, y: float) -> tuple[float, float]:
        """Half width and half depth of the trunk at height y."""
        i = min(max(bisect_right(self.ys, y), 1), len(self.ys) - 1)
        (y0, a0, b0), (y1, a1, b1) = self.table[i - 1], self.table[i]
        t = min(max((y - y0) / (y1 - y0), 0.0), 1.0)
        return a0 + (a1 - a0) * t, b0 + (b1 - b0) * t

    def half(self, y: float, ease: float = 0.0, flare: float = 0.0) -> float:
        """Half width of the trunk in the picture at height y. ease: how loose. flare: how much wider per unit below
        the waist."""
        a, b = self.section(y)
        wide = math.hypot((a + ease) * self.cos, (b + ease) * self.sin)
        return wide + flare * max(0.0, y - 0.42)

    def trunk(
        self, top: float, bottom: float, ease: float = 0.0, flare: float = 0.0, lift: float = 0.0
    ) -> tuple[Point, ...]:
        """The outline of the trunk between two heights; lift bends the hem down in its middle, as seen from above."""
        ys = [top, *(y for y in self.ys if top < y < bottom), bottom]
        if flare or bottom > self.ys[-1]:
            ys = sorted({*ys, *(y for y in (0.45, 0.50, 0.56, 0.62, 0.70) if top < y < bottom)})
        halves = [self.half(y, ease, flare) for y in ys]
        right = [(h + self.shift(y), y) for h, y in zip(halves, ys, strict=True)]
        left = [(-h + self.shift(y), y) for h, y in zip(halves, ys, strict=True)]
        h = halves[-1]
        hem = [(h * t + self.shift(bottom), bottom + lift * (1 - t * t)) for t in (0.5, 0.0, -0.5)] if lift else []
        return (*right, *hem, *reversed(left))

    def shift(self, y: float) -> float:
        """Sideways shift of the upper body: the lean grows from the hips up."""
        return self.pose.lean * max(0.0, (0.5 - y) / 0.5)

    def on_trunk(self, across: float, y: float, out: float = 0.0) -> Point | None:
        """A point on the front of the trunk, across -1 to 1 of its half width; None if it is turned away from the
        viewer."""
        a, b = self.section(y)
        joint = (across * a, y, math.sqrt(max(0.0, 1 - across * across)) * (b + out))
        if self.depth(joint) < 0.012:
            return None
        x = joint[0] * self.cos + joint[2] * self.sin
        return x + self.shift(y), y

    def _leg(self, side: int) -> tuple[Joint, Joint, Joint]:
        hip, step = self.section(0.53)[0] * 0.50, side * self.pose.stride
        knee = (side * hip * 0.98, 0.735, step * 0.075 + 0.012)
        ankle = (side * hip * 0.92, 0.945 - (0.02 if step < -0.5 else 0.0), step * 0.15 - 0.01)
        return (side * hip, 0.51, 0.0), knee, ankle

    def _arm(self, side: int) -> tuple[Joint, Joint, Joint]:
        swing, bend, spread = self.pose.arms[0 if side < 0 else 1]
        start = (side * self.shoulder, 0.204, 0.0)
        across = side * math.sin(spread)
        elbow = (
            start[0] + 0.155 * across,
            start[1] + 0.155 * math.cos(swing) * math.cos(spread),
            0.155 * math.sin(swing),
        )
        turn = swing + bend
        inward = 0.6 - min(bend, 1.2) * 0.9
        hand = (elbow[0] + 0.15 * across * inward, elbow[1] + 0.15 * math.cos(turn), elbow[2] + 0.15 * math.sin(turn))
        return start, elbow, hand

    def line(self, joints: Sequence[Joint]) -> list[Point]:
        """Joints to the picture, with the lean of the upper body."""
        return [(x + self.shift(j[1]), y) for j, (x, y) in ((j, self.project(j)) for j in joints)]

    def head(self) -> Joint:
        """The middle of the head; the old carry it a little forward."""
        return 0.0, 0.072, 0.022 if self.person.age == "elderly" else 0.008

    def on_head(self, x: float, y: float, z: float) -> Point:
        """A point of the head given from its middle."""
        hx, hy, hz = self.head()
        return self.line([(hx + x, hy + y, hz + z)])[0]


def ribbon(points: Sequence[Point], radii: Sequence[float]) -> tuple[Point, ...]:
    """The outline of a limb along a line of points with a radius at each, round at both ends."""
    left: list[Point] = []
    right: list[Point] = []
    directions = []
    for i in range(len(points)):
        (x0, y0), (x1, y1) = points[max(i - 1, 0)], points[min(i + 1, len(points) - 1)]
        length = math.hypot(x1 - x0, y1 - y0) or 1e-9
        directions.append(((x1 - x0) / length, (y1 - y0) / length))
    for (x, y), r, (dx, dy) in zip(points, radii, directions, strict=True):
        left.append((x - dy * r, y + dx * r))
        right.append((x + dy * r, y - dx * r))
    return (
        *left,
        *_cap(points[-1], radii[-1], directions[-1], 1),
        *reversed(right),
        *_cap(points[0], radii[0], directions[0], -1),
    )


def _cap(at: Point, r: float, along: Point, sign: int) -> list[Point]:
    (x, y), (dx, dy) = at, along
    turns = (0.5, 0.866), (0.866, 0.5), (1.0, 0.0), (0.866, -0.5), (0.5, -0.866)
    return [(x + sign * r * (dx * c - dy * s), y + sign * r * (dy * c + dx * s)) for c, s in turns]


def disc(
    at: Point, rx: float, ry: float, start: float = 0.0, stop: float = 2 * math.pi, steps: int = 20
) -> tuple[Point, ...]:
    """An ellipse, or the part of it between two angles (0 to the right, π/2 down)."""
    angles = [start + (stop - start) * i / steps for i in range(steps + (stop - start < 6.28))]
    return tuple((at[0] + rx * math.cos(t), at[1] + ry * math.sin(t)) for t in angles)


_LIGHT = 165
_OVER = 3


def mask_of(size: tuple[int, int], points: list[Point]) -> tuple[Image.Image, tuple[int, int, int, int]] | None:
    """A filled outline as a mask, and its box in a picture of that size; None where it lies outside."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    left, top = max(0, int(min(xs))), max(0, int(min(ys)))
    right, bottom = min(size[0], int(max(xs)) + 2), min(size[1], int(max(ys)) + 2)
    if right <= left or bottom <= top:
        return None
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in points], fill=255)
    return mask, (left, top, right, bottom)


class Hand:
    """Draws layers over one another on white paper, at three times the size: clean lines in the middle of the paper.

    light: draw thin and light. thin: the ink of single strokes.
    """

    light, thin = False, 40

    def __init__(self, size: tuple[int, int]):
        self.image = Image.new("L", (size[0] * _OVER, size[1] * _OVER), 255)
        self.pen = ImageDraw.Draw(self.image)
        self.scale_of_paper = min(size[1], size[0] * 2.1) * _OVER
        self.place()

    def place(self) -> None:
        """Where the person stands on the paper, how tall (`scale`, in pixels), and the width of a line."""
        self.scale = 0.905 * self.scale_of_paper
        self.x, self.y = self.image.width / 2, (self.image.height - self.scale) * 0.5
        self.width = self.scale * 0.0085

    def at(self, points: Iterable[Point]) -> list[Point]:
        return [(round(self.x + x * self.scale, 2), round(self.y + y * self.scale, 2)) for x, y in points]

    def stroke(self, points: list[Point], width: float, ink: int) -> None:
        if self.light:
            width, ink = width * 0.6, _LIGHT
        self.pen.line(points, fill=ink, width=max(1, round(width)), joint="curve")

    def draw(self, layer: Layer, person: Person) -> None:
        points = self.at(layer.points)
        if layer.line:
            heavy = layer.role in ("frame", "bag_line", "neckwear", "lower_trim")
            self.stroke(points, self.width * (1.0 if heavy else 0.75), self.thin)
            return
        dark = layer.role in ("lens", "item_dark", "eye", "gap", "sole_dark")
        self.pen.polygon(points, fill=70 if dark else 255)
        self.fill(layer, points, person)
        self.outline(points)

    def outline(self, points: list[Point]) -> None:
        self.stroke([*points, points[0]], self.width, 25)

    def fill(self, layer: Layer, points: list[Point], person: Person) -> None:
        """Hair strokes, and the pattern of a garment."""
        if layer.role in ("hair", "beard"):
            self.hatch(points, 0.014, 90.0, 95, self.width * 0.7)
        kind = {"upper": person.upper_pattern, "lower": person.lower_pattern}.get(layer.role) if layer.pattern else ""
        if kind == "striped":
            self.hatch(points, 0.046, 0.0, 70, self.scale * 0.015)
        elif kind == "checked":
            self.hatch(points, 0.046, 0.0, 80, self.width)
            self.hatch(points, 0.046, 90.0, 80, self.width)
        elif kind == "dotted":
            self.dots(points)

    def spaced(self, reach: float, step: float, origin: float) -> list[float]:
        """Where the strokes of a hatching lie, `step` apart, to both sides of a corner at `origin`."""
        count = int(reach / step)
        return [k * step - origin % step for k in range(-count - 1, count + 2)]

    def hatch(self, points: list[Point], gap: float, degrees: float, ink: int, width: float) -> None:
        """Parallel strokes inside an outline, `gap` of the person's height apart; they keep what lies beneath them."""
        found = mask_of(self.image.size, points)
        if found is None:
            return
        mask, box = found
        sheet = self.image.crop(box)
        pen, step, reach = ImageDraw.Draw(sheet), max(3.0, gap * self.scale), sum(sheet.size)
        dx, dy = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 45.0: (0.7, -0.7), -45.0: (0.7, 0.7)}[degrees]
        for at in self.spaced(reach, step, box[0] * -dy + box[1] * dx):
            x, y = -dy * at, dx * at
            ends = (x - dx * reach, y - dy * reach, x + dx * reach, y + dy * reach)
            pen.line(ends, fill=ink, width=max(1, round(width)))
        self.image.paste(sheet, box[:2], mask)

    def dots(self, points: list[Point]) -> None:
        found = mask_of(self.image.size, points)
        if found is None:
            return
        mask, box = found
        sheet = self.image.crop(box)
        pen, step, r = ImageDraw.Draw(sheet), self.scale * 0.042, self.scale * 0.011
        for j in range(int(sheet.height / step) + 2):
            for i in range(int(sheet.width / step) + 2):
                x, y = (i + 0.5 * (j % 2)) * step, j * step
                pen.ellipse((x - r, y - r, x + r, y + r), fill=60)
        self.image.paste(sheet, box[:2], mask)

    def finish(self) -> Image.Image:
        return self.image.reduce(_OVER).convert("RGB")
