"""What a person wears, as layers over the body of `figure`, from the farthest to the nearest."""

from __future__ import annotations

from .bags import bag_layers, carried_layers
from .figure import Body, Layer, Point, Pose, disc, ribbon
from .hair import head_layers
from .legs import folds, leg_layers, skirt_layers
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
        layers.append(Layer("upper_trim", ((-waist, 0.42), (waist, 0.42)), line=0.016, soft=False))
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
            layers.append(Layer("upper_line", tuple(p for p in pocket if p), line=0.009, soft=False))
        for t in (-0.16, 0.16):
            ends = body.on_trunk(t, 0.20), body.on_trunk(t, 0.27)
            if ends[0] and ends[1]:
                layers.append(Layer("upper_line", (ends[0], ends[1]), line=0.008, soft=False))
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
        layers.append(Layer("upper_line", shown, line=0.009, soft=False))
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
            layers.append(
                Layer("outer_line", ((body.shift(y) - half, y), (body.shift(y) + half, y)), line=0.007, soft=False)
            )
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
    layers += [Layer("outer_line", tuple(edge), line=0.009, soft=False) for edge in edges]
    if kind == "blazer":
        for edge, side in ((edges[0], -1), (edges[1], 1)):
            lapel = (
                edge[0],
                (edge[1][0] + side * 0.036, edge[1][1] - 0.015),
                (edge[2][0] + side * 0.012, edge[2][1]),
                edge[2],
            )
            layers.append(Layer("outer_light", lapel))
    elif kind == "coat":
        for edge, side in ((edges[0], -1), (edges[1], 1)):
            layers.append(
                Layer(
                    "outer_light",
                    (edge[0], (edge[0][0] + side * 0.03, 0.158), (edge[1][0] + side * 0.038, 0.225), edge[1]),
                )
            )
    else:
        for edge, side in ((edges[0], -1), (edges[1], 1)):
            layers.append(
                Layer("outer_light", ribbon([(edge[0][0], 0.156), (edge[0][0] + side * 0.026, 0.172)], [0.016, 0.016]))
            )
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
        return [Layer("neckwear", disc((x, 0.158), 0.056, 0.030, 0.0, 3.1416), line=0.020, soft=False)] + [
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
