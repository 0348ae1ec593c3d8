"""Legs, shoes, trousers and skirts, as layers over the body of `figure`."""

from __future__ import annotations

from .figure import Body, Joint, Layer, ribbon

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
    return [Layer("lower_trim", tuple(body.line(rows)), line=0.020, soft=False)]


def _shoe(body: Body, ankle: Joint) -> list[Layer]:
    x, y, z = ankle
    kind, out = body.person.shoes, (0.014 if x > 0 else -0.014)
    heel, toe = body.line([(x, y + 0.018, z - 0.012), (x + out, y + 0.036, z + 0.082)])
    if kind == "sandals":
        strap = body.line([(x + out * 0.5, y + 0.020, z + 0.045)])[0]
        return [
            Layer("shoes", ribbon([(heel[0], heel[1] + 0.012), (toe[0], toe[1] + 0.012)], [0.026, 0.028])),
            Layer("skin", ribbon([heel, toe], [0.020, 0.020])),
            Layer("shoes", ((strap[0] - 0.024, strap[1]), (strap[0] + 0.024, strap[1])), line=0.012, soft=False),
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
        rows.append(Layer(role, ((a, top), (b, bottom)), line=0.006, soft=False))
    return rows
