"""A person as layers over the body of `figure.Body`, from the farthest to the nearest: clothes, head, legs, bags."""

from __future__ import annotations

import math

from .figure import Body, Joint, Layer, Point, Pose, disc, ribbon, stroke
from .person import Person


def figure(person: Person, pose: Pose) -> list[Layer]:
    """All layers of a person in a pose."""
    body = Body(person, pose)
    far, near = _arms(body)
    behind, before = bag_layers(body)
    return [
        *behind,
        *far,
        *leg_layers(body),
        *skirt_layers(body),
        *_upper(body),
        *_outer(body),
        *_neckwear(body),
        *head_layers(body),
        *near,
        *before,
        *carried_layers(body),
    ]


def _upper(body: Body) -> list[Layer]:
    person, layers = body.person, []
    layers.append(Layer("skin", body.trunk(0.128, 0.182, -0.002)))
    if person.upper == "dress":
        layers.append(Layer("upper", body.trunk(0.176, 0.70, 0.006, 0.26, 0.012), pattern=True))
        layers += folds(body, "upper_fold", 0.47, 0.70, 0.26)
        waist = body.half(0.42, 0.007)
        layers.append(stroke("upper_trim", ((-waist, 0.42), (waist, 0.42)), 0.016))
    else:
        hem = {"tank top": 0.49, "sweater": 0.525, "hoodie": 0.535}.get(person.upper, 0.51)
        ease = {"sweater": 0.009, "hoodie": 0.012, "tank top": 0.0}.get(person.upper, 0.005)
        top = 0.162 if person.upper in ("sweater", "hoodie", "shirt") else 0.174
        layers.append(Layer("upper", body.trunk(top, hem, ease, 0.0, 0.008), pattern=True))
        if person.upper in ("sweater", "hoodie"):
            layers.append(Layer("upper_trim", body.trunk(hem - 0.026, hem, ease - 0.004, 0.0, 0.008)))
    return layers + _upper_details(body)


def _upper_details(body: Body) -> list[Layer]:
    person, layers = body.person, []
    middle = body.on_trunk(0.0, 0.19)
    if person.upper == "hoodie":
        x = body.line([(0, 0.168, -0.045)])[0][0]
        layers.append(
            Layer("upper", disc((x, 0.166), 0.062 if abs(body.cos) > 0.5 else 0.05, 0.034 if body.front else 0.052))
        )
        pocket = [body.on_trunk(t, y) for t, y in ((-0.55, 0.49), (-0.35, 0.42), (0.35, 0.42), (0.55, 0.49))]
        if all(pocket) and body.cos > 0.5:
            layers.append(stroke("upper_line", tuple(p for p in pocket if p), 0.009))
        for t in (-0.16, 0.16):
            ends = body.on_trunk(t, 0.20), body.on_trunk(t, 0.27)
            if ends[0] and ends[1]:
                layers.append(stroke("upper_line", (ends[0], ends[1]), 0.008))
    elif middle and person.upper in ("t-shirt", "tank top", "dress"):
        deep = 0.05 if person.upper != "t-shirt" else 0.028
        layers.append(Layer("skin", disc((middle[0], 0.168), 0.042 * max(0.5, body.cos), deep), soft=False))
    if person.upper == "shirt":
        layers += _shirt(body)
    logo = body.on_trunk(0.0, 0.29)
    if person.upper_pattern == "logo" and logo and body.cos > 0.35:
        layers.append(Layer("upper_mark", disc(logo, 0.056 * body.cos, 0.048), soft=False))
        layers.append(Layer("upper", disc(logo, 0.026 * body.cos, 0.022), soft=False))
    return layers


def _shirt(body: Body) -> list[Layer]:
    layers: list[Layer] = []
    buttons = [body.on_trunk(0.0, y) for y in (0.20, 0.28, 0.36, 0.44, 0.505)]
    shown = tuple(p for p in buttons if p)
    if len(shown) == 5:
        layers.append(stroke("upper_line", shown, 0.009))
    x = body.shift(0.17)
    half = 0.052
    if not body.front:
        return [
            *layers,
            Layer("upper_collar", ribbon([(x - half * 0.8, 0.160), (x + half * 0.8, 0.160)], [0.015, 0.015])),
        ]
    tip = body.on_trunk(0.0, 0.20) or (x, 0.20)
    for side in (-1, 1):
        wing = ((x + side * 0.030, 0.142), (x + side * half, 0.168), (tip[0] + side * 0.026, 0.206), (tip[0], 0.180))
        layers.append(Layer("upper_collar", wing))
    return layers


def _outer(body: Body) -> list[Layer]:
    kind = body.person.outer
    if kind == "none":
        return []
    hem = {"jacket": 0.52, "coat": 0.735, "vest": 0.50, "blazer": 0.555}[kind]
    ease = {"jacket": 0.018, "coat": 0.018, "vest": 0.020, "blazer": 0.011}[kind]
    flare = 0.07 if kind == "coat" else 0.0
    outline = body.trunk(0.160, hem, ease, flare, 0.006)
    layers = [Layer("outer", outline)]
    if body.cos > -0.25:
        layers += _opening(body, kind, hem, ease, flare)
    if kind == "vest":
        for y in (0.25, 0.31, 0.37, 0.43):
            half = body.half(y, ease)
            layers.append(stroke("outer_line", ((body.shift(y) - half, y), (body.shift(y) + half, y)), 0.007))
    if kind in ("jacket", "coat") and not body.front:
        x = body.shift(0.16)
        layers.append(Layer("outer", ribbon([(x - 0.045, 0.160), (x + 0.045, 0.160)], [0.022, 0.022])))
    return layers


def _opening(body: Body, kind: str, hem: float, ease: float, flare: float) -> list[Layer]:
    wide = {"jacket": 0.36, "coat": 0.30, "vest": 0.42, "blazer": 0.30}[kind]
    ys = [0.166, 0.24, 0.32, 0.40, min(hem, 0.50)]
    edges: list[list[Point]] = [[], []]
    for y in ys:
        lo, hi = (body.on_trunk(t, y, ease) for t in (-wide, wide))
        half = body.half(y, ease) * 0.96
        if lo is None and hi is None:
            return []
        edges[0].append(lo or ((-half if body.sin < 0 else half) + body.shift(y), y))
        edges[1].append(hi or ((half if body.sin > 0 else -half) + body.shift(y), y))
    if hem > 0.52:
        for edge, t in ((edges[0], -wide), (edges[1], wide)):
            edge.append((edge[-1][0] + flare * t * (hem - 0.42), hem))
    cut = 0.52
    seen = [[p for p in edge if p[1] <= cut] for edge in edges]
    layers = [Layer("upper", (*seen[0], *reversed(seen[1])), pattern=True)]
    if hem > 0.52:
        below = [[e[-2], (e[-1][0], hem + 0.004)] for e in edges]
        layers.append(Layer("gap", (*below[0], *reversed(below[1])), soft=False))
    layers += [stroke("outer_line", tuple(edge), 0.009) for edge in edges]
    for edge, side in ((edges[0], -1), (edges[1], 1)):
        (x0, _), (x1, y1), (x2, y2) = edge[:3]
        lapel: tuple[Point, ...]
        if kind == "blazer":
            lapel = (edge[0], (x1 + side * 0.036, y1 - 0.015), (x2 + side * 0.012, y2), edge[2])
        elif kind == "coat":
            lapel = (edge[0], (x0 + side * 0.03, 0.158), (x1 + side * 0.038, 0.225), edge[1])
        else:
            lapel = ribbon([(x0, 0.156), (x0 + side * 0.026, 0.172)], [0.016, 0.016])
        layers.append(Layer("outer_light", lapel))
    return layers


def _arms(body: Body) -> tuple[list[Layer], list[Layer]]:
    person = body.person
    sleeved = "outer" if person.outer in ("jacket", "coat", "blazer") else "upper"
    length = "long" if sleeved == "outer" else person.sleeves
    extra = {"jacket": 1.22, "coat": 1.25, "blazer": 1.08}.get(
        person.outer, 1.12 if person.upper in ("sweater", "hoodie") else 1.0
    )
    far: list[Layer] = []
    near: list[Layer] = []
    for joints in body.arms:
        start, elbow, hand = body.line(joints)
        r = [0.038 * body.limb, 0.033 * body.limb, 0.023 * body.limb]
        layers = [Layer("skin", ribbon([start, elbow, hand], r))]
        tip = (hand[0] + (hand[0] - elbow[0]) * 0.16, hand[1] + (hand[1] - elbow[1]) * 0.16)
        layers.append(Layer("skin", disc(tip, 0.021, 0.026, steps=12)))
        thick = [v * extra + 0.004 for v in r]
        if length == "long":
            end = (hand[0] * 0.94 + elbow[0] * 0.06, hand[1] * 0.94 + elbow[1] * 0.06)
            layers.append(Layer(sleeved, ribbon([start, elbow, end], thick), pattern=True))
        elif length == "short":
            end = (start[0] * 0.30 + elbow[0] * 0.70, start[1] * 0.30 + elbow[1] * 0.70)
            outline = ribbon([start, end], [thick[0], thick[1] * 1.16])
            layers.append(Layer(sleeved, (*outline[:2], *outline[7:]), pattern=True))
        (near if body.depth(joints[1]) > -0.02 else far).extend(layers)
    return far, near


def _neckwear(body: Body) -> list[Layer]:
    kind, x = body.person.neckwear, body.line([(0, 0.155, 0.01)])[0][0]
    if kind == "scarf":
        wrap = Layer("neckwear", ribbon([(x - 0.050, 0.152), (x, 0.163), (x + 0.050, 0.152)], [0.024, 0.028, 0.024]))
        knot = body.on_trunk(0.22, 0.18, 0.02)
        end = body.on_trunk(0.30, 0.36, 0.02)
        if knot and end:
            return [Layer("neckwear", ribbon([knot, end], [0.022, 0.029])), wrap]
        return [wrap]
    if kind == "headphones":
        return [stroke("neckwear", disc((x, 0.158), 0.056, 0.030, 0.0, 3.1416), 0.020)] + [
            Layer("neckwear", disc((x + side * 0.054, 0.158), 0.020, 0.026)) for side in (-1, 1)
        ]
    top, end = body.on_trunk(0.0, 0.19, 0.004), body.on_trunk(0.0, 0.42, 0.004)
    if kind != "tie" or not top or not end:
        return []
    w = max(0.5, body.cos)
    blade = (
        (top[0] - 0.012 * w, top[1]),
        (end[0] - 0.026 * w, end[1] - 0.03),
        end,
        (end[0] + 0.026 * w, end[1] - 0.03),
    )
    return [Layer("neckwear", (*blade, (top[0] + 0.012 * w, top[1])))]


# Head, hair and what is worn on the head

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
        return [neck, head, *_cap_of_hair(body, centre, wide), *fall, *_knot(body), *_worn(body, centre, wide)]
    nose = body.on_head(0, 0.012, RX + 0.014)
    profile = [Layer("skin", disc(nose, 0.013, 0.014, steps=10), soft=False)] if abs(body.sin) > 0.5 else []
    over = [*_cap_of_hair(body, centre, wide), *_face(body), *_beard(body, centre, wide), *_eyewear(body)]
    return [*fall, *_knot(body), neck, head, *profile, *over, *_worn(body, centre, wide)]


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
    half = [
        (w * 0.6, y - RY * 0.75),
        (w, y - RY * 0.1),
        (w * 1.08, y + 0.06),
        (w * 1.02, down - 0.03),
        (w * 0.85, down),
    ]
    half.append((w * 0.3, down + 0.012))
    shape = (*((x - across, at) for across, at in half), *((x + across, at) for across, at in reversed(half)))
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
    if abs(look) > 0.5:
        side = 1 if look > 0 else -1
        rows = ((0.55, y - RY * 0.45), (-0.05, y - RY * 0.25), (-0.12, y + 0.03), (-0.6, y + 0.052))
        edge = (edge[0], *((x + side * wide * across, at) for across, at in rows[::side]), edge[6])
    return [Layer("hair", (*(_wave(top, (x, y), 0.012) if curly else top), *edge))]


def _knot(body: Body) -> list[Layer]:
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
            layers.append(stroke("brow", ((at[0] - 0.010, at[1] - 0.016), (at[0] + 0.010, at[1] - 0.016)), 0.006))
    mouth = [body.on_head(x, 0.038, math.sqrt(RX**2 - x * x)) for x in (-0.018, 0.0, 0.018)]
    layers.append(stroke("mouth", tuple(mouth), 0.007))
    return layers


def _beard(body: Body, centre: Point, wide: float) -> list[Layer]:
    if body.person.beard != "beard":
        return []
    x, y = centre[0] + 0.016 * body.sin, centre[1]
    outline = disc((x, y + 0.010), wide * 0.98, RY * 0.98, math.pi * 0.02, math.pi * 0.98, steps=12)
    inner = ((x - wide * 0.55, y + 0.026), (x, y + 0.020), (x + wide * 0.55, y + 0.026))
    mouth = [body.on_head(t, 0.040, math.sqrt(RX**2 - t * t)) for t in (-0.016, 0.016)]
    return [Layer("beard", (*outline, *inner)), stroke("mouth", tuple(mouth), 0.008)]


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
            layers.append(Layer("lens", rim, soft=False) if role == "lens" else stroke("frame", (*rim, rim[0]), 0.007))
            lenses.append(at)
    if lenses:
        back = body.on_head(math.copysign(0.05, -body.sin), 0.0, 0.0)
        ends = (lenses[0], lenses[-1]) if len(lenses) == 2 else (lenses[0], back)
        layers.append(stroke("frame", ends, 0.007))
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
        return [Layer("headwear", brim), Layer("headwear", crown), stroke("headwear_line", band, 0.016)]
    brim_at = body.on_head(0.0, -0.020, 0.066)
    layers = [Layer("headwear", dome)]
    if body.cos > -0.3:
        brim = disc((brim_at[0], low + 0.004), wide * (1.0 - 0.25 * abs(body.sin)), 0.015, steps=16)
        layers.append(Layer("headwear_light", brim))
    else:
        layers.append(stroke("headwear_line", disc((x, low), 0.022, 0.020, math.pi, 2 * math.pi), 0.006))
    return layers


# Legs, shoes, trousers and skirts

_LEG_RADII = {"trousers": (0.064, 0.053, 0.046), "jeans": (0.060, 0.045, 0.036), "leggings": (0.056, 0.037, 0.025)}


def leg_layers(body: Body) -> list[Layer]:
    """Legs, shoes and what covers each leg, the far leg first."""
    person, layers = body.person, []
    for leg in sorted(body.legs, key=lambda joints: body.depth(joints[2])):
        hip, knee, ankle = body.line(leg)
        thick = body.limb
        layers += _shoe(body, leg[2])
        bare = ribbon([hip, knee, ankle], [0.056 * thick, 0.040 * thick, 0.026 * thick])
        if person.lower in _LEG_RADII:
            radii = [r * thick for r in _LEG_RADII[person.lower]]
            short = (0.03 if person.shoes == "boots" else 0.0) if person.lower != "leggings" else 0.012
            end = (ankle[0], ankle[1] - short)
            outline = ribbon([hip, knee, end], radii)
            layers.append(Layer("lower", (*outline[:3], *outline[8:]), pattern=True))
            layers += _stripe(body, leg, radii)
        else:
            layers.append(Layer("skin", bare))
        if person.shoes == "boots":
            high = (knee[0] * 0.45 + ankle[0] * 0.55, knee[1] * 0.45 + ankle[1] * 0.55)
            layers.append(Layer("shoes", ribbon([high, ankle], [0.044 * thick, 0.036 * thick])))
        if person.lower == "shorts":
            hem = (hip[0] * 0.12 + knee[0] * 0.88, hip[1] * 0.12 + knee[1] * 0.88)
            radii = [0.066 * thick, 0.066 * thick]
            square = ribbon([hip, hem], radii)
            layers.append(Layer("lower", (*square[:2], *square[7:]), pattern=True))
            layers += _stripe(body, (leg[0], leg[1], leg[1]), [*radii, radii[1]], short=True)
    if person.lower in _LEG_RADII or person.lower == "shorts":
        layers.append(Layer("lower", body.trunk(0.45, 0.545, 0.004), pattern=True))
    return layers


def _stripe(body: Body, leg: tuple[Joint, Joint, Joint], radii: list[float], short: bool = False) -> list[Layer]:
    if body.person.lower_pattern != "side stripe":
        return []
    side = 1 if leg[0][0] > 0 else -1
    rows: list[Joint] = [(x + side * r * 0.72, y, z) for (x, y, z), r in zip(leg, radii, strict=True)]
    if short:
        (x0, y0, z0), (x1, y1, z1) = rows[0], rows[1]
        rows = [rows[0], (x0 * 0.2 + x1 * 0.8, y0 * 0.2 + y1 * 0.8, z0 * 0.2 + z1 * 0.8)]
    if body.depth((side * 0.1, 0, 0)) < -0.07:
        return []
    return [stroke("lower_trim", tuple(body.line(rows)), 0.020)]


def _shoe(body: Body, ankle: Joint) -> list[Layer]:
    x, y, z = ankle
    kind, out = body.person.shoes, (0.014 if x > 0 else -0.014)
    heel, toe = body.line([(x, y + 0.018, z - 0.012), (x + out, y + 0.036, z + 0.082)])
    if kind == "sandals":
        strap = body.line([(x + out * 0.5, y + 0.020, z + 0.045)])[0]
        return [
            Layer("shoes", ribbon([(heel[0], heel[1] + 0.012), (toe[0], toe[1] + 0.012)], [0.026, 0.028])),
            Layer("skin", ribbon([heel, toe], [0.020, 0.020])),
            stroke("shoes", ((strap[0] - 0.024, strap[1]), (strap[0] + 0.024, strap[1])), 0.012),
        ]
    radii = {"trainers": [0.027, 0.031], "boots": [0.032, 0.034], "leather shoes": [0.024, 0.019]}[kind]
    layers = [Layer("shoes", ribbon([(heel[0], heel[1] - 0.01), heel, toe], [radii[0] * 0.9, *radii]))]
    if kind == "trainers":
        sole = [(heel[0], heel[1] + 0.022), (toe[0], toe[1] + 0.022)]
        layers.append(Layer("sole", ribbon(sole, [0.011, 0.012]), soft=False))
    return layers


def skirt_layers(body: Body) -> list[Layer]:
    """A skirt over both legs."""
    lower = body.person.lower
    if lower not in ("short skirt", "long skirt"):
        return []
    bottom, flare = (0.66, 0.20) if lower == "short skirt" else (0.885, 0.14)
    layers = [Layer("lower", body.trunk(0.44, bottom, 0.010, flare, 0.012), pattern=True)]
    return layers + folds(body, "lower_fold", 0.50, bottom, flare)


def folds(body: Body, role: str, top: float, bottom: float, flare: float) -> list[Layer]:
    """The folds of a wide garment that hangs from top to bottom."""
    rows = []
    for across in (-0.5, 0.05, 0.55):
        a, b = body.half(top, 0, flare) * across, body.half(bottom, 0, flare) * across * 1.1
        rows.append(stroke(role, ((a, top), (b, bottom)), 0.006))
    return rows


# Bags and what is held in the hand


def bag_layers(body: Body) -> tuple[list[Layer], list[Layer]]:
    """The layers of the bag behind the person and those before."""
    kind = body.person.bag
    if kind == "backpack":
        return _backpack(body)
    if kind == "shoulder bag":
        return _shoulder_bag(body)
    if kind == "none":
        return [], []
    hand = body.line([body.arms[0][2]])[0]
    layers = (
        {"handbag": _handbag, "shopping bag": _shopping_bag}[kind](hand)
        if kind != "suitcase"
        else _suitcase(body, hand)
    )
    return (layers, []) if body.depth(body.arms[0][1]) < -0.05 else ([], layers)


def _handbag(hand: Point) -> list[Layer]:
    x, y = hand[0], hand[1] + 0.02
    sides = (x - 0.050, y + 0.035), (x + 0.050, y + 0.035), (x + 0.064, y + 0.125), (x - 0.064, y + 0.125)
    return [
        stroke("bag_line", disc((x, y + 0.035), 0.030, 0.040, 3.1416, 6.2832), 0.011),
        Layer("bag", sides),
        stroke("bag_line", ((x - 0.052, y + 0.06), (x + 0.052, y + 0.06)), 0.009),
    ]


def _shopping_bag(hand: Point) -> list[Layer]:
    x, y = hand[0], hand[1] + 0.02
    sides = (x - 0.062, y + 0.055), (x + 0.062, y + 0.055), (x + 0.056, y + 0.225), (x - 0.056, y + 0.225)
    return [
        stroke("bag_line", ((x - 0.03, y + 0.06), (x, y), (x + 0.03, y + 0.06)), 0.009),
        Layer("bag", sides),
        Layer("bag_mark", disc((x, y + 0.13), 0.026, 0.030), soft=False),
    ]


def _suitcase(body: Body, hand: Point) -> list[Layer]:
    x, top, bottom = hand[0] + (-0.03 if body.cos > 0 else 0.03), 0.66, 0.955
    lid = (x - 0.068, top), (x + 0.068, top), (x + 0.074, top + 0.02)
    ribs, wheels = (-0.035, 0.0, 0.035), (-0.055, 0.055)
    return [
        stroke("bag_line", (hand, (x, top)), 0.011),
        Layer("bag", (*lid, (x + 0.074, bottom), (x - 0.074, bottom), (x - 0.074, top + 0.02))),
        *(stroke("bag_line", ((x + t, top + 0.03), (x + t, bottom - 0.02)), 0.008) for t in ribs),
        *(Layer("sole_dark", disc((x + t, 0.965), 0.013, 0.013), soft=False) for t in wheels),
    ]


def _backpack(body: Body) -> tuple[list[Layer], list[Layer]]:
    deep = body.section(0.3)[1]
    x = body.line([(0, 0.3, -deep - 0.05)])[0][0]
    half = (0.104 * abs(body.cos) ** 2 + 0.066 * body.sin**2) * 1.0
    top, bottom = 0.185, 0.455
    shape = (
        *((x - half, bottom - 0.02), (x - half, top + 0.05), (x - half * 0.75, top + 0.012), (x, top - 0.006)),
        *((x + half * 0.75, top + 0.012), (x + half, top + 0.05), (x + half, bottom - 0.02), (x + half * 0.8, bottom)),
        (x - half * 0.8, bottom),
    )
    pack = [Layer("bag", shape)]
    if body.cos < 0.3:
        pocket = (
            (x - half * 0.7, 0.34),
            (x + half * 0.7, 0.34),
            (x + half * 0.7, 0.435),
            (x - half * 0.7, 0.435),
            (x - half * 0.7, 0.34),
        )
        pack.append(stroke("bag_line", pocket, 0.009))
    straps = []
    for side in (-1, 1):
        rows = [body.on_trunk(side * t, y, 0.02) for t, y in ((0.50, 0.172), (0.60, 0.24), (0.72, 0.36))]
        ends = [p for p in rows if p]
        if len(ends) >= 2:
            straps.append(Layer("bag", ribbon(ends, [0.017] * len(ends))))
    return (pack, straps) if body.cos > -0.15 else ([], pack)


def _shoulder_bag(body: Body) -> tuple[list[Layer], list[Layer]]:
    y, side = 0.47, -1
    hip = body.line([(side * (body.section(0.5)[0] + 0.045), y, 0.01)])[0]
    depth = body.depth((side * 0.15, y, 0.01))
    box = (
        *((hip[0] - 0.062, y), (hip[0] + 0.062, y), (hip[0] + 0.066, y + 0.11)),
        *((hip[0] + 0.05, y + 0.125), (hip[0] - 0.05, y + 0.125), (hip[0] - 0.066, y + 0.11)),
    )
    sack = [
        Layer("bag", box),
        stroke("bag_line", ((hip[0] - 0.06, y + 0.045), (hip[0], y + 0.062), (hip[0] + 0.06, y + 0.045)), 0.009),
    ]
    away = body.line([(0.075, 0.168, 0.0)])[0]
    strap = [Layer("bag", ribbon([away, (hip[0], y + 0.004)], [0.012, 0.012]))]
    return (sack, strap) if depth < -0.07 else ([], strap + sack)


def carried_layers(body: Body) -> list[Layer]:
    """What the left hand holds; nothing where the body hides it."""
    kind, hand = body.person.carried, body.arms[1][2]
    if kind == "none" or body.depth(hand) < -0.06:
        return []
    x, y = body.line([hand])[0]
    if kind == "phone":
        return [
            Layer(
                "item_dark",
                ((x - 0.024, y - 0.060), (x + 0.020, y - 0.066), (x + 0.026, y + 0.012), (x - 0.018, y + 0.018)),
                soft=False,
            )
        ]
    if kind == "book":
        cover = ((x - 0.058, y - 0.058), (x + 0.052, y - 0.066), (x + 0.062, y + 0.052), (x - 0.050, y + 0.060))
        return [
            Layer("item", cover),
            stroke("item_line", ((x - 0.045, y - 0.058), (x - 0.036, y + 0.058)), 0.008),
        ]
    canopy = (
        (x - 0.014, y - 0.01),
        (x + 0.014, y - 0.01),
        (x + 0.030, y + 0.07),
        (x + 0.006, y + 0.30),
        (x - 0.006, y + 0.30),
        (x - 0.026, y + 0.07),
    )
    handle = disc((x + 0.016, y - 0.035), 0.016, 0.016, 3.1416, 6.2832)
    return [Layer("item", canopy), stroke("item_dark", ((x, y + 0.01), (x, y - 0.035), *handle), 0.012)]
