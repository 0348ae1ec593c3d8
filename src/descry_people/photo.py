"""A photograph of a synthetic person: a place, a shaded figure, things in front, and what a camera does to it all.

The picture is a function of (person, seed, camera, world, size) only. Arithmetic on pixels is whole numbers, table
look-ups and Pillow's own filters, so that machines with the same Pillow draw the same bytes.
"""

from __future__ import annotations

import functools
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from descry.drawing.figure import VIEWS, Layer, Point, mask_of
from descry.drawing.layers import figure
from descry.drawing.person import Person
from descry.errors import UsageError

from .paint import paint, shade
from .person import make_pose
from .places import Colour, background
from .scene import Camera, cameras

BACKS = 0.25, 0.26
"""Share of photographs seen from behind, and from the side."""
LIGHT = (108, 88, 144), (122, 58, 132)
"""For each world, the light at the rim, on the outline and in the middle of a limb; 128 leaves colours as they are."""
WIDE = 1.0, 1.08
"""For each world, how wide people are drawn."""
_OVER = 2  # figures are drawn at twice the size and reduced, for smooth edges


@functools.lru_cache(maxsize=32)
def _tile(pattern: str, size: tuple[int, int], unit: int) -> Image.Image:
    """Where a pattern shows its second colour: an L image. unit: pixels of the width of a stripe."""
    tile = Image.new("L", size)
    draw, (w, h) = ImageDraw.Draw(tile), size
    if pattern == "striped":
        for y in range(0, h, 2 * unit):
            draw.rectangle((0, y, w, y + unit - 1), fill=235)
    elif pattern == "checked":
        step, thin = round(unit * 2.2), max(1, round(unit * 0.9))
        rows, columns = Image.new("L", size), Image.new("L", size)
        for y in range(0, h, step):
            ImageDraw.Draw(rows).rectangle((0, y, w, y + thin - 1), fill=125)
        for x in range(0, w, step):
            ImageDraw.Draw(columns).rectangle((x, 0, x + thin - 1, h), fill=125)
        tile = ImageChops.add(rows, columns)
    elif pattern == "dotted":
        step, r = round(unit * 2.1), max(1.5, unit * 0.62)
        for j, y in enumerate(range(0, h + step, step)):
            for x in range(-(step // 2) * (j % 2), w + step, step):
                draw.ellipse((x - r, y - r, x + r, y + r), fill=240)
    elif pattern == "denim":
        for k in range(-h, w, 5):
            draw.line((k, 0, k + h, h), fill=46, width=2)
    return tile


def _pattern(person: Person, role: str) -> str:
    if role == "upper":
        return person.upper_pattern if person.upper_pattern in ("striped", "checked", "dotted") else ""
    if role == "lower":
        return "checked" if person.lower_pattern == "checked" else "denim" if person.lower == "jeans" else ""
    return ""


class _Canvas:
    """The picture at twice its size and, beside it, the light that falls on the figure."""

    def __init__(self, place: Image.Image, origin: Point, scale: float, light: float, world: int):
        self.size = place.size
        self.image = place.resize((place.width * _OVER, place.height * _OVER), Image.Resampling.BILINEAR)
        self.light_image = Image.new("L", place.size, 128)
        self.draw, self.light = ImageDraw.Draw(self.image), ImageDraw.Draw(self.light_image)
        self.origin, self.scale, self.side = origin, scale, light
        self.levels, self.wide = LIGHT[world], WIDE[world]

    def at(self, points: tuple[Point, ...], over: int) -> list[Point]:
        (ox, oy), s = self.origin, self.scale
        return [(round((ox + x * s * self.wide) * over, 2), round((oy + y * s) * over, 2)) for x, y in points]

    def add(self, layer: Layer, colour: Colour, pattern: str, second: Colour) -> None:
        points = self.at(layer.points, _OVER)
        if layer.line:
            width = max(1, round(layer.line * self.scale * _OVER))
            self.draw.line(points, fill=colour, width=width, joint="curve")
            return
        self.draw.polygon(points, fill=colour)
        if pattern and layer.pattern:
            self._texture(points, pattern, second)
        if layer.soft:
            self._round(layer.points)

    def _texture(self, points: list[Point], pattern: str, second: Colour) -> None:
        found = mask_of(self.image.size, points)
        if found is None:
            return
        mask, box = found
        unit = max(2, round(self.scale * 0.024 * _OVER))
        tile = _tile(pattern, self.image.size, unit).crop(box)
        self.image.paste(second, box, ImageChops.multiply(mask, tile))

    def _round(self, outline: tuple[Point, ...]) -> None:
        """Darker at the rim, lighter inside and towards the light, so that limbs and trunk look round."""
        cx = sum(p[0] for p in outline) / len(outline)
        cy = sum(p[1] for p in outline) / len(outline)
        shift = self.side * 0.012
        rim, inner = (
            self.at(outline, 1),
            tuple((cx + (x - cx) * 0.62 + shift, cy + (y - cy) * 0.80) for x, y in outline),
        )
        core = tuple((cx + (x - cx) * 0.30 + 1.6 * shift, cy + (y - cy) * 0.62) for x, y in outline)
        at_rim, line, middle = self.levels
        self.light.polygon(rim, fill=at_rim)
        self.light.line([*rim, rim[0]], fill=line, width=1)
        self.light.polygon(self.at(inner, 1), fill=128)
        self.light.polygon(self.at(core, 1), fill=middle)

    def finish(self, rng: Random) -> Image.Image:
        """The picture at its own size with the light multiplied in; 128 leaves a pixel as it is."""
        figure_light = self.light_image.filter(ImageFilter.GaussianBlur(self.scale / 150))
        pixels = np.asarray(self.image.reduce(_OVER)).astype(np.int32)
        across = np.linspace(-1, 1, self.size[0]) * rng.uniform(4, 22) * (1 if self.side > 0 else -1)
        light = np.asarray(figure_light).astype(np.int32) + np.round(across).astype(np.int32)[None, :]
        return Image.fromarray(np.clip(pixels * light[:, :, None] >> 7, 0, 255).astype(np.uint8))


@functools.cache
def _grain() -> np.ndarray:
    """One sheet of noise for the process, in 1/16 of its deviation; photographs cut their piece from it."""
    rng = np.random.default_rng(20_240)
    value: np.ndarray = np.round(rng.random((4, 768, 640), dtype=np.float64).sum(axis=0) * 27.7128 - 55.4256).astype(
        np.int32
    )
    return value


def _develop(image: Image.Image, camera: Camera, rng: Random) -> Image.Image:
    """What the camera does: blur, noise, colour cast, contrast, gamma."""
    w, h = image.size
    blur = (camera.blur + max(0.0, rng.gauss(0, 0.45))) * h / 256
    if blur > 0.25:
        image = image.filter(ImageFilter.GaussianBlur(round(blur, 2)))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gain, gamma = rng.uniform(0.86, 1.12), camera.gamma * rng.uniform(0.88, 1.14)
    contrast = camera.contrast * rng.uniform(0.9, 1.08)
    levels: list[int] = []
    for cast in camera.cast:
        warm = gain * cast * rng.uniform(0.97, 1.03)
        for v in range(256):
            curve = (v / 255) ** gamma * 255
            levels.append(max(0, min(255, round((128 + (curve - 128) * contrast) * warm))))
    image = image.point(levels)
    sheet, noise = _grain(), round(camera.noise * rng.uniform(0.6, 1.4) * 16)
    y, x = rng.randrange(max(1, sheet.shape[0] - h)), rng.randrange(max(1, sheet.shape[1] - w))
    grain = np.resize(sheet[y : y + h, x : x + w], (h, w)) * noise
    pixels = np.asarray(image).astype(np.int32) + ((grain + 128) >> 8)[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _shadow(place: Image.Image, origin: Point, scale: float, light: float) -> None:
    mask = Image.new("L", place.size)
    x, y = origin[0] - light * scale * 0.05, origin[1] + scale * 0.99
    ImageDraw.Draw(mask).ellipse((x - scale * 0.16, y - scale * 0.03, x + scale * 0.16, y + scale * 0.03), fill=150)
    place.paste((14, 14, 18), (0, 0, *place.size), mask.filter(ImageFilter.BoxBlur(scale / 60)))


def _occlude(image: Image.Image, rng: Random) -> None:
    """Something between the camera and the person: a post, a counter, a passer-by's shoulder."""
    draw, (w, h) = ImageDraw.Draw(image), image.size
    colour = (rng.randint(30, 200), rng.randint(30, 200), rng.randint(30, 200))
    kind = rng.choice(("post", "counter", "shoulder"))
    if kind == "post":
        x = rng.choice((rng.uniform(-0.02, 0.2), rng.uniform(0.74, 0.95))) * w
        draw.rectangle((x, 0, x + w * rng.uniform(0.05, 0.11), h), fill=colour)
    elif kind == "counter":
        y, x = h * rng.uniform(0.80, 0.92), rng.choice((0.0, 0.45)) * w
        draw.rectangle((x, y, x + w * 0.6, h), fill=colour)
        draw.rectangle((x, y, x + w * 0.6, y + 3), fill=shade(colour, 1.4))
    else:
        x, y = rng.choice((-0.02, 1.02)) * w, h * rng.uniform(0.55, 0.8)
        draw.ellipse((x - w * 0.24, y, x + w * 0.24, y + h * 0.7), fill=colour)


def draw_photo(
    person: Person,
    seed: int,
    camera: int = 0,
    size: tuple[int, int] = (128, 256),
    world: int = 0,
    view: str | None = None,
) -> Image.Image:
    """A photograph of a person: RGB, size = (width, height) in pixels.

    seed: pose, place, light and accidents. camera: index into `scene.cameras(world)`. view: "front", "right", "back" or
    "left"; None draws one. Raises UsageError for an unknown camera, world or view, and for a picture under 16 pixels.
    """
    known = cameras(world)
    if not 0 <= camera < len(known):
        raise UsageError(f"world {world} has cameras 0 to {len(known) - 1}; got {camera}")
    if view is not None and view not in VIEWS:
        raise UsageError(f"a view of {view!r} was given; allowed: {', '.join(VIEWS)}")
    if min(size) < 16:
        raise UsageError(f"a picture of {size[0]}x{size[1]} was asked for; each side needs 16 pixels or more")
    rng, eye, (w, h) = Random(f"photo {world} {camera} {seed} {person.pid}"), known[camera], size
    chance = rng.random()
    side = "right" if rng.random() < 0.5 else "left"
    drawn = "back" if chance < BACKS[0] else side if chance < sum(BACKS) else "front"
    pose = make_pose(rng, person, view or drawn, eye.tilt + rng.uniform(-0.04, 0.04))
    scale = rng.uniform(*eye.tall) * min(h, w * 2.1)
    light = rng.choice((-1, 1)) * rng.uniform(0.3, 1.0)
    origin = (w * (0.5 + rng.uniform(-0.06, 0.06)), (h - scale) * rng.uniform(0.35, 0.8))
    place = background(rng, rng.choice(eye.places), size)
    _shadow(place, origin, scale, light)
    canvas, colours = _Canvas(place, origin, scale, light, world), paint(person, world)
    for layer in figure(person, pose):
        pattern = _pattern(person, layer.role)
        second = (
            shade(colours["lower"], 1.7)
            if pattern == "denim"
            else colours[f"{layer.role}_trim"]
            if layer.role == "lower"
            else colours["upper_mark"]
        )
        canvas.add(layer, colours[layer.role], pattern, second)
    image = canvas.finish(rng)
    if rng.random() < 0.16:
        _occlude(image, rng)
    return _develop(image, eye, rng)
