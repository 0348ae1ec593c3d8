"""The places that cameras look at: backgrounds of a few shapes, blurred as a lens does."""

from __future__ import annotations

from random import Random

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]


def background(rng: Random, kind: str, size: tuple[int, int]) -> Image.Image:
    """A place of one of the kinds named in WORLDS, without people in the foreground: RGB, (width, height)."""
    image = Image.new("RGB", size)
    _PLACES[kind](rng, ImageDraw.Draw(image), size)
    return image.filter(ImageFilter.BoxBlur(rng.uniform(0.4, 1.6) * size[1] / 256))


def _shade(colour: Colour, by: float) -> Colour:
    return tuple(max(0, min(255, round(c * by))) for c in colour)  # type: ignore[return-value]


def _grey(rng: Random, low: int, high: int, tint: int = 12) -> Colour:
    level = rng.randint(low, high)
    return tuple(max(0, min(255, level + rng.randint(-tint, tint))) for _ in range(3))  # type: ignore[return-value]


def _ramp(
    draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], top: Colour, bottom: Colour, steps: int = 12
) -> None:
    x0, y0, x1, y1 = box
    for i in range(steps):
        t = i / max(1, steps - 1)
        colour = tuple(round(a + (b - a) * t) for a, b in zip(top, bottom, strict=True))
        draw.rectangle((x0, y0 + (y1 - y0) * i / steps, x1, y0 + (y1 - y0) * (i + 1) / steps), fill=colour)


def _floor(
    rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: float, colour: Colour, joints: bool = True
) -> None:
    w, h = size
    _ramp(draw, (0, h * horizon, w, h), _shade(colour, 0.82), _shade(colour, 1.06))
    if not joints:
        return
    line, centre = _shade(colour, 0.78), w * rng.uniform(0.2, 0.8)
    for t in (0.06, 0.16, 0.32, 0.56, 0.85):
        y = h * (horizon + (1 - horizon) * t)
        draw.line((0, y, w, y), fill=line)
    for k in range(-6, 7):
        draw.line((centre + k * w * 0.09, h * horizon, centre + k * w * 0.34, h), fill=line)


def _room(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    horizon = rng.uniform(0.50, 0.74)
    wall = rng.choice((_grey(rng, 150, 235), (196, 184, 160), (168, 188, 200), (206, 196, 186), (150, 168, 150)))
    _ramp(draw, (0, 0, w, h * horizon), _shade(wall, 1.05), _shade(wall, 0.90))
    _floor(
        rng,
        draw,
        size,
        horizon,
        rng.choice((_grey(rng, 90, 170), (150, 98, 60), (176, 132, 88), (104, 84, 70))),
        rng.random() < 0.7,
    )
    draw.rectangle((0, h * horizon - h * 0.02, w, h * horizon), fill=_shade(wall, 0.7))
    for _ in range(rng.randint(0, 3)):
        x, y, a, b = (
            rng.uniform(-0.1, 0.9) * w,
            rng.uniform(0.02, 0.3) * h,
            rng.uniform(0.15, 0.4) * w,
            rng.uniform(0.1, 0.25) * h,
        )
        frame = _grey(rng, 40, 230, 30)
        draw.rectangle((x, y, x + a, y + b), fill=frame)
        rim = min(3.0, a / 4, b / 4)
        draw.rectangle((x + rim, y + rim, x + a - rim, y + b - rim), fill=_shade(frame, rng.uniform(0.6, 1.5)))
    if rng.random() < 0.45:
        x, door = rng.uniform(-0.1, 0.8) * w, _grey(rng, 60, 190, 30)
        draw.rectangle((x, h * 0.12, x + w * 0.32, h * horizon), fill=door, outline=_shade(door, 0.7))
    if rng.random() < 0.4:
        x = rng.choice((-0.15, 0.72)) * w
        draw.rectangle((x, h * (horizon - 0.10), x + w * 0.45, h * (horizon + 0.12)), fill=_grey(rng, 40, 150, 35))


def _corridor(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    wall, vx, vy = _grey(rng, 130, 215), w * rng.uniform(0.3, 0.7), h * rng.uniform(0.28, 0.45)
    draw.rectangle((0, 0, w, h), fill=wall)
    box = (vx - w * 0.16, vy - h * 0.10, vx + w * 0.16, vy + h * 0.14)
    draw.polygon([(0, 0), (w, 0), (box[2], box[1]), (box[0], box[1])], fill=_shade(wall, 1.1))
    draw.polygon([(0, h), (w, h), (box[2], box[3]), (box[0], box[3])], fill=_grey(rng, 70, 150))
    draw.polygon([(0, 0), (box[0], box[1]), (box[0], box[3]), (0, h)], fill=_shade(wall, 0.86))
    draw.polygon([(w, 0), (box[2], box[1]), (box[2], box[3]), (w, h)], fill=_shade(wall, 0.94))
    draw.rectangle(box, fill=_shade(wall, rng.uniform(0.5, 1.15)))
    for t in (0.25, 0.55):
        x = box[0] * t
        draw.polygon(
            [(x, h * 0.2), (x + w * 0.10, h * 0.24), (x + w * 0.10, h * 0.70), (x, h * 0.80)], fill=_shade(wall, 0.6)
        )
    draw.polygon([(vx - 4, box[1]), (vx + 4, box[1]), (vx + w * 0.12, 0), (vx - w * 0.12, 0)], fill=(250, 250, 244))


def _street(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    horizon = rng.uniform(0.45, 0.62)
    x = -rng.uniform(0, 0.3) * w
    while x < w:
        wide = rng.uniform(0.3, 0.6) * w
        house = rng.choice((_grey(rng, 90, 190), (168, 128, 104), (186, 170, 140), (140, 110, 100), (120, 130, 140)))
        draw.rectangle((x, 0, x + wide, h * horizon), fill=house)
        for row in range(4):
            for column in range(3):
                left, top = x + wide * (0.12 + 0.3 * column), h * (0.02 + 0.12 * row)
                draw.rectangle(
                    (left, top, left + wide * 0.17, top + h * 0.07), fill=_shade(house, rng.choice((0.5, 0.6, 1.3)))
                )
        x += wide
    _floor(rng, draw, size, horizon, _grey(rng, 95, 160), rng.random() < 0.5)
    if rng.random() < 0.6:
        left, car = (
            rng.uniform(-0.5, 0.6) * w,
            rng.choice(((150, 30, 30), (40, 60, 120), (210, 210, 214), (40, 40, 44), (90, 100, 96))),
        )
        y = h * (horizon - 0.04)
        draw.rounded_rectangle((left, y, left + w * 0.8, y + h * 0.10), 6, fill=car)
        draw.polygon(
            [
                (left + w * 0.12, y),
                (left + w * 0.24, y - h * 0.06),
                (left + w * 0.58, y - h * 0.06),
                (left + w * 0.7, y),
            ],
            fill=_shade(car, 0.6),
        )
        for t in (0.16, 0.62):
            draw.ellipse((left + w * t, y + h * 0.06, left + w * (t + 0.13), y + h * 0.125), fill=(24, 24, 26))
    if rng.random() < 0.4:
        draw.rectangle((w * 0.1, 0, w * 0.14, h * (horizon + 0.1)), fill=(70, 72, 76))


def _plaza(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    _floor(rng, draw, size, 0.0, _grey(rng, 120, 205), rng.random() < 0.85)
    w, h = size
    for _ in range(rng.randint(0, 2)):
        x, coat = rng.uniform(0, 1) * w, _grey(rng, 30, 200, 50)
        draw.rounded_rectangle((x, h * 0.02, x + w * 0.10, h * 0.14), 4, fill=coat)
        draw.rectangle((x + w * 0.02, h * 0.13, x + w * 0.08, h * 0.25), fill=_shade(coat, 0.5))
    if rng.random() < 0.4:
        draw.line((0, h * rng.uniform(0.3, 1), w, h * rng.uniform(0.3, 1)), fill=(228, 226, 214), width=5)


def _park(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    horizon = rng.uniform(0.35, 0.55)
    leaf = rng.choice(((72, 104, 58), (96, 118, 66), (128, 120, 62), (56, 88, 60)))
    _ramp(draw, (0, 0, w, h * horizon), (196, 212, 226), _shade(leaf, 1.2))
    for _ in range(7):
        x, y, r = rng.uniform(0, 1) * w, rng.uniform(0.0, horizon) * h, rng.uniform(0.1, 0.3) * w
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_shade(leaf, rng.uniform(0.6, 1.15)))
    _floor(rng, draw, size, horizon, _shade(leaf, 1.15), False)
    if rng.random() < 0.7:
        x = w * rng.uniform(0.2, 0.8)
        path = [(x - w * 0.1, h * horizon), (x + w * 0.1, h * horizon), (x + w * 0.7, h), (x - w * 0.7, h)]
        draw.polygon(path, fill=rng.choice(((176, 164, 140), (150, 150, 148))))
    x = w * rng.uniform(0.0, 1.0)
    draw.rectangle((x, h * 0.1, x + w * 0.08, h * (horizon + 0.05)), fill=(78, 62, 48))


def _platform(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    train = rng.choice(((150, 156, 164), (176, 40, 44), (44, 82, 132), (206, 206, 200)))
    draw.rectangle((0, 0, w, h), fill=train)
    for x in range(-10, w, max(8, w // 3)):
        draw.rectangle((x + min(6.0, w * 0.05), h * 0.08, x + w * 0.26, h * 0.28), fill=(42, 48, 58))
    draw.rectangle((0, h * 0.36, w, h * 0.40), fill=_shade(train, 0.5))
    draw.rectangle((0, h * 0.50, w, h * 0.56), fill=(30, 30, 34))
    _floor(rng, draw, size, 0.56, _grey(rng, 95, 150), True)
    draw.rectangle((0, h * 0.60, w, h * 0.64), fill=(206, 178, 54))


def _shop(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    draw.rectangle((0, 0, w, h), fill=_grey(rng, 160, 225))
    horizon = rng.uniform(0.55, 0.68)
    for row in range(5):
        y = h * horizon * (row + 0.15) / 5
        x = 0.0
        while x < w:
            wide = rng.uniform(0.04, 0.12) * w
            draw.rectangle(
                (x, y, x + max(0.0, wide - 1), y + h * horizon * 0.15),
                fill=tuple(rng.randint(60, 225) for _ in range(3)),
            )
            x += wide
        draw.rectangle((0, y + h * horizon * 0.15, w, y + h * horizon * 0.18), fill=(226, 224, 218))
    _floor(rng, draw, size, horizon, _grey(rng, 150, 215), True)


def _brick(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    stone = rng.choice(((150, 84, 66), (128, 104, 92), (172, 150, 128)))
    draw.rectangle((0, 0, w, h), fill=_shade(stone, 0.7))
    tall = h * 0.035
    for row in range(int(h * 0.66 / tall) + 1):
        for k in range(-1, 6):
            x = (k + 0.5 * (row % 2)) * w * 0.2
            draw.rectangle(
                (x, row * tall, x + w * 0.19, (row + 0.85) * tall), fill=_shade(stone, rng.uniform(0.85, 1.12))
            )
    _floor(rng, draw, size, 0.66, _grey(rng, 80, 140), False)


def _tiles(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    base, step = _grey(rng, 120, 220), w * rng.uniform(0.10, 0.2)
    draw.rectangle((0, 0, w, h), fill=base)
    for j in range(int(h / step) + 1):
        for i in range(int(w / step) + 1):
            if (i + j) % 2:
                draw.rectangle((i * step, j * step, (i + 1) * step, (j + 1) * step), fill=_shade(base, 0.8))


def _snow(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    _ramp(draw, (0, 0, w, h), (176, 190, 206), (240, 242, 246))
    for _ in range(rng.randint(2, 5)):
        x = rng.uniform(0, 1) * w
        draw.polygon([(x, h * 0.05), (x - w * 0.16, h * 0.42), (x + w * 0.16, h * 0.42)], fill=(58, 78, 72))


def _hall(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    _ramp(draw, (0, 0, w, h * 0.55), _grey(rng, 190, 240), _grey(rng, 130, 190))
    for k in range(5):
        x = w * (k * 0.25 + rng.uniform(-0.05, 0.05))
        draw.rectangle((x, 0, x + w * 0.07, h * 0.55), fill=_grey(rng, 100, 220, 20))
    _floor(rng, draw, size, 0.55, _grey(rng, 140, 220), False)


def _sand(rng: Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    w, h = size
    horizon = rng.uniform(0.25, 0.4)
    _ramp(draw, (0, 0, w, h * horizon * 0.7), (150, 196, 232), (206, 226, 238))
    draw.rectangle((0, h * horizon * 0.7, w, h * horizon), fill=(58, 120, 150))
    _floor(rng, draw, size, horizon, (214, 190, 146), False)


_PLACES = {
    "room": _room,
    "corridor": _corridor,
    "street": _street,
    "plaza": _plaza,
    "park": _park,
    "platform": _platform,
    "shop": _shop,
    "brick": _brick,
    "tiles": _tiles,
    "snow": _snow,
    "hall": _hall,
    "sand": _sand,
}
