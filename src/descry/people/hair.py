"""Head, hair and what is worn on the head, as layers over the body of `figure`."""

from __future__ import annotations

import math

from .figure import Body, Layer, Point, disc, ribbon

RX, RY = 0.053, 0.068
"""Half width and half height of the head: a little large, so that it can be seen in a small picture."""


def head_layers(body: Body) -> list[Layer]:
    """Neck, hair behind the face, face, hair above it, beard, eyewear, head-wear; what is turned away is left out."""
    centre = body.on_head(0, 0, 0)
    wide = RX * (1.0 + 0.12 * abs(body.sin))
    neck = Layer("skin", ribbon([(centre[0], centre[1] + 0.04), body.line([(0, 0.158, 0)])[0]], [0.031, 0.034]))
    fall = _fall(body, centre, wide)
    head = Layer("skin", disc(centre, wide, RY))
    if body.cos < -0.3:
        return [neck, head, *_cap_of_hair(body, centre, wide), *fall, *_knot(body, centre), *_worn(body, centre, wide)]
    nose = body.on_head(0, 0.012, RX + 0.014)
    profile = [Layer("skin", disc(nose, 0.013, 0.014, steps=10), soft=False)] if abs(body.sin) > 0.5 else []
    over = [*_cap_of_hair(body, centre, wide), *_face(body), *_beard(body, centre, wide), *_eyewear(body)]
    return [*fall, *_knot(body, centre), neck, head, *profile, *over, *_worn(body, centre, wide)]


def _wave(points: tuple[Point, ...], centre: Point, size: float) -> tuple[Point, ...]:
    """An outline made curly: every other point is pushed outwards."""
    rows = []
    for i, (x, y) in enumerate(points):
        push = size if i % 2 else -size * 0.3
        length = math.hypot(x - centre[0], y - centre[1]) or 1.0
        rows.append((x + (x - centre[0]) / length * push, y + (y - centre[1]) / length * push))
    return tuple(rows)


def _fall(body: Body, centre: Point, wide: float) -> list[Layer]:
    """The hair that hangs down behind the face (or over the back)."""
    person = body.person
    down = {"medium": 0.155, "long": 0.285}.get(person.hair_length)
    if down is None or person.hair_style in ("ponytail", "bun"):
        return []
    x, y = centre
    x -= 0.022 * body.sin
    w = wide + (0.026 if person.hair_style == "curly" else 0.016)
    shape = (
        *(
            (x - w * 0.6, y - RY * 0.75),
            (x - w, y - RY * 0.1),
            (x - w * 1.08, y + 0.06),
            (x - w * 1.02, down - 0.03),
            (x - w * 0.85, down),
        ),
        *((x - w * 0.3, down + 0.012), (x + w * 0.3, down + 0.012)),
        *(
            (x + w * 0.85, down),
            (x + w * 1.02, down - 0.03),
            (x + w * 1.08, y + 0.06),
            (x + w, y - RY * 0.1),
            (x + w * 0.6, y - RY * 0.75),
        ),
    )
    return [Layer("hair", _wave(shape, (x, (y + down) / 2), 0.018) if person.hair_style == "curly" else shape)]


def _cap_of_hair(body: Body, centre: Point, wide: float) -> list[Layer]:
    person = body.person
    if person.hair_length == "bald":
        return []
    curly = person.hair_style == "curly"
    grow = 1.22 if curly else 1.10
    x, y = centre[0] - 0.008 * body.sin, centre[1]
    if body.cos < -0.3:
        cap = disc((x, y - 0.004), wide * grow, RY * (1.02 if person.hair_length == "short" else 1.10), steps=24)
        return [Layer("hair", _wave(cap, (x, y), 0.010) if curly else cap)]
    # the hairline: low at the back of the head, high over the forehead, which looks where the face looks
    top = disc((x, y - 0.004), wide * grow, RY * (grow + 0.04), math.pi * 0.98, math.pi * 2.02, steps=16)
    look = body.sin
    ear = 0.020 if person.hair_length == "short" else 0.034
    right = y + ear if look < 0.35 else y - 0.032
    left = y + ear if look > -0.35 else y - 0.032
    edge: tuple[Point, ...] = (
        (x + wide * grow * (1.0 if look < 0.35 else 0.92), right),
        (x + wide * 0.78, right - 0.004),
        (x + wide * 0.70, y - RY * 0.34),
        (x + wide * (0.1 + 0.4 * look), y - RY * 0.52),
        (x - wide * 0.70, y - RY * 0.34),
        (x - wide * 0.78, left - 0.004),
        (x - wide * grow * (1.0 if look > -0.35 else 0.92), left),
    )
    if look > 0.5:
        edge = (
            edge[0],
            (x + wide * 0.55, y - RY * 0.45),
            (x - wide * 0.05, y - RY * 0.25),
            (x - wide * 0.12, y + 0.03),
            (x - wide * 0.6, y + 0.052),
            edge[6],
        )
    elif look < -0.5:
        edge = (
            edge[0],
            (x + wide * 0.6, y + 0.052),
            (x + wide * 0.12, y + 0.03),
            (x + wide * 0.05, y - RY * 0.25),
            (x - wide * 0.55, y - RY * 0.45),
            edge[6],
        )
    return [Layer("hair", (*(_wave(top, (x, y), 0.012) if curly else top), *edge))]


def _knot(body: Body, centre: Point) -> list[Layer]:
    style = body.person.hair_style
    if style == "bun":
        at = body.on_head(0, -0.066, -0.030)
        return [Layer("hair", disc(at, 0.032, 0.029))]
    if style != "ponytail":
        return []
    start, middle = body.on_head(0, -0.018, -0.050), body.on_head(0.055 if abs(body.cos) > 0.7 else 0.0, 0.06, -0.085)
    end = body.on_head(0.062 if abs(body.cos) > 0.7 else 0.0, 0.165, -0.070)
    return [Layer("hair", ribbon([start, middle, end], [0.020, 0.028, 0.014]))]


def _face(body: Body) -> list[Layer]:
    layers = []
    for side in (-1, 1):
        eye = (side * 0.021, 0.0, math.sqrt(RX**2 - 0.021**2))
        if body.depth(eye) > 0.012:
            at = body.on_head(*eye)
            layers.append(Layer("eye", disc(at, 0.0065, 0.006, steps=8), soft=False))
            layers.append(
                Layer("brow", ((at[0] - 0.010, at[1] - 0.016), (at[0] + 0.010, at[1] - 0.016)), line=0.006, soft=False)
            )
    mouth = [body.on_head(x, 0.038, math.sqrt(RX**2 - x * x)) for x in (-0.018, 0.0, 0.018)]
    layers.append(Layer("mouth", tuple(mouth), line=0.007, soft=False))
    return layers


def _beard(body: Body, centre: Point, wide: float) -> list[Layer]:
    if body.person.beard != "beard":
        return []
    x, y = centre[0] + 0.016 * body.sin, centre[1]
    outline = disc((x, y + 0.010), wide * 0.98, RY * 0.98, math.pi * 0.02, math.pi * 0.98, steps=12)
    inner = ((x - wide * 0.55, y + 0.026), (x, y + 0.020), (x + wide * 0.55, y + 0.026))
    mouth = [body.on_head(t, 0.040, math.sqrt(RX**2 - t * t)) for t in (-0.016, 0.016)]
    return [Layer("beard", (*outline, *inner)), Layer("mouth", tuple(mouth), line=0.008, soft=False)]


def _eyewear(body: Body) -> list[Layer]:
    kind = body.person.eyewear
    if kind == "none":
        return []
    role, layers, lenses = ("lens" if kind == "sunglasses" else "frame"), [], []
    for side in (-1, 1):
        eye = (side * 0.024, 0.001, RX * 0.92)
        if body.depth(eye) > 0.0:
            at = body.on_head(*eye)
            rim = disc(at, 0.021 * max(0.55, abs(body.cos)), 0.017, steps=12)
            layers.append(
                Layer("lens", rim, soft=False)
                if role == "lens"
                else Layer("frame", (*rim, rim[0]), line=0.007, soft=False)
            )
            lenses.append(at)
    if lenses:
        back = body.on_head(math.copysign(0.05, -body.sin), 0.0, 0.0)
        ends = (lenses[0], lenses[-1]) if len(lenses) == 2 else (lenses[0], back)
        layers.append(Layer("frame", ends, line=0.007, soft=False))
    return layers


def _worn(body: Body, centre: Point, wide: float) -> list[Layer]:
    kind = body.person.headwear
    if kind == "none":
        return []
    x, y = centre[0], centre[1]
    low = y - 0.022
    dome = disc((x, low), wide * 1.17, RY * 0.92, math.pi, 2 * math.pi, steps=14)
    if kind == "beanie":
        dome = disc((x, low), wide * 1.20, RY * 1.12, math.pi, 2 * math.pi, steps=14)
        cuff = ribbon([(x - wide * 1.06, low - 0.006), (x + wide * 1.06, low - 0.006)], [0.017, 0.017])
        pom = disc((x, low - RY * 1.16), 0.021, 0.020, steps=12)
        return [Layer("headwear", pom), Layer("headwear", dome), Layer("headwear_light", cuff)]
    if kind == "hat":
        crown = (
            (x - wide * 1.02, low),
            (x - wide * 0.86, low - 0.076),
            (x, low - 0.064),
            (x + wide * 0.86, low - 0.076),
            (x + wide * 1.02, low),
        )
        band = ((x - wide * 1.0, low - 0.012), (x + wide * 1.0, low - 0.012))
        brim = disc((x, low), wide * 2.0, 0.019, steps=24)
        return [Layer("headwear", brim), Layer("headwear", crown), Layer("headwear_line", band, line=0.016, soft=False)]
    brim_at = body.on_head(0.0, -0.020, 0.066)
    layers = [Layer("headwear", dome)]
    if body.cos > -0.3:
        brim = disc((brim_at[0], low + 0.004), wide * (1.0 - 0.25 * abs(body.sin)), 0.015, steps=16)
        layers.append(Layer("headwear_light", brim))
    else:
        layers.append(
            Layer("headwear_line", disc((x, low), 0.022, 0.020, math.pi, 2 * math.pi), line=0.006, soft=False)
        )
    return layers
