"""Bags and what is held in the hand, as layers over the body of `figure`."""

from __future__ import annotations

from .figure import Body, Layer, Point, disc, ribbon


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
    layers = {"handbag": _handbag, "shopping bag": _shopping_bag, "suitcase": _suitcase}[kind](body, hand)
    return (layers, []) if body.depth(body.arms[0][1]) < -0.05 else ([], layers)


def _handbag(body: Body, hand: Point) -> list[Layer]:
    x, y = hand[0], hand[1] + 0.02
    sides = (x - 0.050, y + 0.035), (x + 0.050, y + 0.035), (x + 0.064, y + 0.125), (x - 0.064, y + 0.125)
    return [
        Layer("bag_line", disc((x, y + 0.035), 0.030, 0.040, 3.1416, 6.2832), line=0.011, soft=False),
        Layer("bag", sides),
        Layer("bag_line", ((x - 0.052, y + 0.06), (x + 0.052, y + 0.06)), line=0.009, soft=False),
    ]


def _shopping_bag(body: Body, hand: Point) -> list[Layer]:
    x, y = hand[0], hand[1] + 0.02
    sides = (x - 0.062, y + 0.055), (x + 0.062, y + 0.055), (x + 0.056, y + 0.225), (x - 0.056, y + 0.225)
    return [
        Layer("bag_line", ((x - 0.03, y + 0.06), (x, y), (x + 0.03, y + 0.06)), line=0.009, soft=False),
        Layer("bag", sides),
        Layer("bag_mark", disc((x, y + 0.13), 0.026, 0.030), soft=False),
    ]


def _suitcase(body: Body, hand: Point) -> list[Layer]:
    x, top, bottom = hand[0] + (-0.03 if body.cos > 0 else 0.03), 0.66, 0.955
    lid = (x - 0.068, top), (x + 0.068, top), (x + 0.074, top + 0.02)
    ribs, wheels = (-0.035, 0.0, 0.035), (-0.055, 0.055)
    return [
        Layer("bag_line", (hand, (x, top)), line=0.011, soft=False),
        Layer("bag", (*lid, (x + 0.074, bottom), (x - 0.074, bottom), (x - 0.074, top + 0.02))),
        *(Layer("bag_line", ((x + t, top + 0.03), (x + t, bottom - 0.02)), line=0.008, soft=False) for t in ribs),
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
        pack.append(Layer("bag_line", pocket, line=0.009, soft=False))
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
        Layer(
            "bag_line",
            ((hip[0] - 0.06, y + 0.045), (hip[0], y + 0.062), (hip[0] + 0.06, y + 0.045)),
            line=0.009,
            soft=False,
        ),
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
            Layer("item_line", ((x - 0.045, y - 0.058), (x - 0.036, y + 0.058)), line=0.008, soft=False),
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
    return [Layer("item", canopy), Layer("item_dark", ((x, y + 0.01), (x, y - 0.035), *handle), line=0.012, soft=False)]
