"""A drawing and phrases from what a witness remembers, part by part.

Each part has a value or is unknown. An unknown part is not drawn: the body's outline is drawn there instead, thin and
light. The lines are those of the sketches that the models learned from (`descry_people.sketch`), and
the phrases are made of the words they learned (`vocabulary`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..errors import UsageError, nearest
from .figure import VIEWS, Body, Hand, Layer, Pose
from .layers import figure
from .person import ATTRIBUTES, Person
from .vocabulary import AFTER, COLOURS, HAIR_LENGTHS, NOUNS, PATTERNS, PHRASES, SLEEVES, article

SIZE = (128, 256)
UNKNOWN = "unknown"
"""The value of a part that is not remembered; null and an empty text say the same."""

_GARMENT = tuple(name for name in COLOURS if name != "blond")
PARTS: dict[str, tuple[str, ...]] = {
    "view": ("front", "back", "left", "right", "side"),
    "sex": ATTRIBUTES["sex"],
    "age": ATTRIBUTES["age"],
    "build": ATTRIBUTES["build"],
    "height": ("short", "average", "tall"),
    "hair": ATTRIBUTES["hair_length"],
    "hair.style": ATTRIBUTES["hair_style"],
    "hair.colour": ATTRIBUTES["hair_colour"][:-1],
    "beard": ATTRIBUTES["beard"],
    "headwear": ATTRIBUTES["headwear"],
    "headwear.colour": _GARMENT,
    "glasses": ATTRIBUTES["eyewear"],
    "top": (*ATTRIBUTES["upper"], *ATTRIBUTES["outer"][1:]),
    "top.colour": _GARMENT,
    "top.pattern": ATTRIBUTES["upper_pattern"],
    "top.sleeves": ATTRIBUTES["sleeves"],
    "over": ATTRIBUTES["outer"],
    "over.colour": _GARMENT,
    "bottom": ATTRIBUTES["lower"],
    "bottom.colour": _GARMENT,
    "bottom.pattern": ATTRIBUTES["lower_pattern"],
    "shoes": ATTRIBUTES["shoes"],
    "shoes.colour": _GARMENT,
    "bag": ATTRIBUTES["bag"],
    "bag.colour": _GARMENT,
    "neckwear": ATTRIBUTES["neckwear"],
    "neckwear.colour": _GARMENT,
    "carried": ATTRIBUTES["carried"],
}
"""Part → its values. "none" says that there is no such thing. A top that is a jacket, coat, vest or blazer is what is
worn over an unknown top. "side" is "right". Height changes proportions only: crops are cut to the person."""

_ATTRIBUTE = {
    "hair": "hair_length",
    "hair.style": "hair_style",
    "hair.colour": "hair_colour",
    "glasses": "eyewear",
    "top": "upper",
    "top.colour": "upper_colour",
    "top.pattern": "upper_pattern",
    "top.sleeves": "sleeves",
    "over": "outer",
    "over.colour": "outer_colour",
    "bottom": "lower",
    "bottom.colour": "lower_colour",
    "bottom.pattern": "lower_pattern",
    **{f"{name}.colour": f"{name}_colour" for name in ("headwear", "shoes", "bag", "neckwear")},
}
"""Part → attribute of a person's record, where the two are called differently."""
_PART = {attribute: part for part, attribute in _ATTRIBUTE.items()}
_WIDTH = {"short": 1.06, "average": 1.0, "tall": 0.95}
_ALWAYS = {"t-shirt": "short", "sweater": "long", "hoodie": "long", "tank top": "sleeveless"}


@dataclass(frozen=True, slots=True)
class Composed:
    """What `compose_sketch` makes of a record.

    Attributes:
        sketch: RGB picture, dark lines on white, ready to search with. It already has the size and margins of the
        sketches that models were trained on, so it needs no fitting.
        phrases: one for each thing that is known, such as "a red jacket", in the words of the models' vocabulary.
        known: part → value, without the parts that are unknown.
        blank: whether the drawing shows nothing but the neutral figure, so that only the phrases say something.
    """

    sketch: Image.Image
    phrases: tuple[str, ...]
    known: dict[str, str]
    blank: bool


def compose_sketch(record: Mapping[str, Any], size: tuple[int, int] = SIZE) -> Composed:
    """A line drawing and phrases of a person of whom some parts are known.

    record: part → one of its values in PARTS; "unknown", "" and None, like a part that is left out, say that it is not
    remembered. The attributes of a synthetic person's record ("upper_colour") are understood too; its number and skin
    are ignored. size: (width, height) of the picture in pixels, 16 to 2048 each.

    Raises UsageError for a part or a value that does not exist, for parts that exclude each other, and for a size out
    of range.

    >>> compose_sketch({"top": "jacket", "top.colour": "red", "hair": None}).phrases
    ('a red jacket',)
    """
    if not all(16 <= side <= 2048 for side in size):
        raise UsageError(f"a size of {size[0]}x{size[1]} pixels was given; each side may have 16 to 2048")
    known = _known(record)
    hand = Hand(size)
    view = known.get("view", "front")
    yaw = VIEWS["right" if view == "side" else view]
    wide = _WIDTH[known.get("height", "average")]
    shown = {_ATTRIBUTE.get(part, part): value for part, value in known.items()}
    person, layers = _layers(shown, yaw)
    for layer, ink in layers:
        hand.light = ink
        points = tuple((x * wide, y) for x, y in layer.points)
        hand.draw(dataclasses.replace(layer, points=points), person)
    drawn = set(known) - {"view", "height", "age", "sex", "build"} - {p for p in known if p.endswith(".colour")}
    blank = not any(known[part] not in ("none", "plain") for part in drawn)
    return Composed(hand.finish(), _phrases(shown), known, blank)


def _known(record: Mapping[str, Any]) -> dict[str, str]:
    """The parts that are known, checked, a jacket named as top put over an unknown top."""
    if not isinstance(record, Mapping):
        raise UsageError(f"a record is a mapping of parts to values; got {type(record).__name__}")
    found: dict[str, str] = {}
    for name, value in record.items():
        if name in ("pid", "number", "skin"):
            continue
        part = _PART.get(name, name)
        if part not in PARTS:
            raise UsageError(f"there is no part {name!r}; {nearest(str(name), tuple(PARTS))}")
        if value is None or value in ("", UNKNOWN, "don't remember"):
            continue
        if value == "none" and "none" not in PARTS[part] and name in ATTRIBUTES and "none" in ATTRIBUTES[name]:
            continue  # a record's colour of a thing that is not there
        if value not in PARTS[part]:
            raise UsageError(f"{part} was {value!r}; {nearest(str(value), (*PARTS[part], UNKNOWN))}")
        found[part] = str(value)
    if found.get("top") in ATTRIBUTES["outer"]:
        if found.get("over", "none") != "none":
            raise UsageError(
                f"top={found['top']} and over={found['over']} were given, both worn over a top; give one as over, and "
                f"what is beneath it as top: {', '.join(ATTRIBUTES['upper'])}"
            )
        if "over.colour" in found and "top.colour" in found:
            raise UsageError("top.colour and over.colour were given for one garment; leave one of them out")
        for name in ("top.pattern", "top.sleeves"):
            if name in found:
                raise UsageError(
                    f"{name} was given for a {found['top']}, which has none here; give the {found['top']} as over, and "
                    f"what is beneath it as top"
                )
        found["over"] = found.pop("top")
        if "top.colour" in found:
            found["over.colour"] = found.pop("top.colour")
    if found.get("top") == "dress" and found.get("bottom") not in (None, "bare legs", "leggings"):
        raise UsageError(
            f"top=dress and bottom={found['bottom']} were given; with a dress, allowed: bare legs, leggings"
        )
    for thing in ("over", "bag", "headwear", "neckwear"):
        if found.get(thing) == "none" and f"{thing}.colour" in found:
            raise UsageError(f"{thing}=none and {thing}.colour={found[f'{thing}.colour']} were given; leave one out")
    return {part: found[part] for part in PARTS if part in found}


def _layers(known: dict[str, str], yaw: float) -> tuple[Person, list[tuple[Layer, bool]]]:
    """A person who wears what is known, and the layers to draw, each with whether it is only the neutral body."""
    bodies = []
    for sex in (known["sex"],) if "sex" in known else ATTRIBUTES["sex"]:
        person = _person(known, sex)
        bodies.append((person, _drawn(person, known, _pose(known, yaw))))
    person, layers = bodies[0]
    if len(bodies) == 2 and [x.role for x, _ in layers] == [x.role for x, _ in bodies[1][1]]:
        layers = [
            (dataclasses.replace(a, points=_between(a.points, b.points)), light)
            for (a, light), (b, _) in zip(layers, bodies[1][1], strict=True)
        ]
    return person, layers


def _between(a: tuple[tuple[float, float], ...], b: tuple[tuple[float, float], ...]) -> Any:
    if len(a) != len(b):
        return a
    return tuple(((x0 + x1) / 2, (y0 + y1) / 2) for (x0, y0), (x1, y1) in zip(a, b, strict=True))


def _person(known: dict[str, str], sex: str) -> Person:
    """A whole record: what is known, and elsewhere what `_drawn` leaves out or draws as the body alone."""
    values = {name: "none" if "none" in options else options[0] for name, options in ATTRIBUTES.items()}
    values |= {"sex": sex, "age": "young", "build": "average", "hair_length": "bald", "hair_style": "straight"}
    values |= {"upper": "t-shirt", "upper_pattern": "plain", "sleeves": "sleeveless"}
    values |= {"lower": "bare legs", "lower_pattern": "plain", "shoes": "leather shoes"}
    # colours are not drawn, and garments may have colours here that synthetic people never wear
    values |= {name: v for name, v in known.items() if name in ATTRIBUTES and not name.endswith("_colour")}
    if "hair_length" not in known and known.get("hair_style") in ("ponytail", "bun"):
        values["hair_length"] = "long"  # only long hair is tied
    elif values["hair_length"] == "bald" or (
        known.get("hair_style") in ("ponytail", "bun") and values["hair_length"] != "long"
    ):
        values["hair_style"] = "straight"
    if "sleeves" not in known:
        values["sleeves"] = _ALWAYS.get(known.get("upper", ""), "sleeveless")
    return Person(pid=0, skin=0, **values)


def _pose(known: dict[str, str], yaw: float) -> Pose:
    """Standing, arms a little away from the body; hands that hold something are where a sketch has them."""
    right, left = (0.05, 0.15, 0.2), (-0.05, 0.15, 0.2)
    if known.get("carried") in ("phone", "book"):
        left = (0.3, 1.7, 0.2)
    elif known.get("carried") == "umbrella":
        left = (0.1, 0.3, 0.3)
    if known.get("bag") in ("handbag", "suitcase", "shopping bag"):
        right = (0.05, 0.1, 0.26)
    return Pose(yaw, 0.12, (right, left), 0.0, 0.10)


def _drawn(person: Person, known: dict[str, str], pose: Pose) -> list[tuple[Layer, bool]]:
    """The layers of the figure that may be drawn, light where they show only the body beneath unknown clothes."""
    body = Body(person, pose)
    bare_arms = "sleeves" in known or known.get("upper") in _ALWAYS
    bottom, top, hair = "lower" in known, "upper" in known, "hair_length" in known or person.hair_length != "bald"
    out: list[tuple[Layer, bool]] = []
    if not bottom:
        hips = Layer("skin", body.trunk(0.42, 0.545))
        out.append((hips, True))
    placed = False
    for layer in figure(person, pose):
        role = layer.role.split("_")[0]
        ys = [y for _, y in layer.points]
        if role == "upper":
            if not top:
                if not placed:
                    pattern = known.get("upper_pattern") in PATTERNS and known["upper_pattern"] != "plain"
                    out.append((Layer("upper", body.trunk(0.174, 0.53, 0.003), pattern=pattern), True))
                    placed = True
                continue
            out.append((layer, False))
        elif role in ("shoes", "sole"):
            if "shoes" in known:
                out.append((layer, False))
            elif role == "shoes":
                out.append((layer, True))
        elif role == "skin" or role in ("eye", "brow", "mouth"):
            low, high = max(ys), min(ys)
            head = high < 0.13 and low < 0.2
            if head:
                light = not hair
            elif low > 0.8:
                light = not bottom
            else:
                light = not (bare_arms if low > 0.25 else top)
            out.append((layer, light))
        else:
            out.append((layer, False))
    return out


def _phrases(known: dict[str, str]) -> tuple[str, ...]:
    """What is known in words, a phrase for each thing; what is absent is left unsaid."""
    said = [PHRASES[name][known[name]][0] for name in ("sex", "age", "build") if name in known]
    said += _hair(known)
    said += [PHRASES[name][known[name]][0] for name in ("beard", "eyewear") if known.get(name, "none") != "none"]
    for thing in ("headwear", "neckwear", "outer", "upper", "lower", "shoes", "bag"):
        phrase = _garment(thing, known)
        said += [phrase] if phrase else []
    if known.get("carried", "none") != "none":
        said.append(PHRASES["carried"][known["carried"]][0])
    return tuple(said)


def _hair(known: dict[str, str]) -> list[str]:
    length, style, colour = (known.get(f"hair_{name}", "") for name in ("length", "style", "colour"))
    if length == "bald":
        return [PHRASES["hair_length"]["bald"][0]]
    words = [HAIR_LENGTHS[length][0]] if length else []
    words += [style] if style in ("straight", "curly") else []
    words += [COLOURS[colour][0]] if colour else []
    said = [f"{' '.join(words)} hair"] if words else []
    return said + ([PHRASES["hair_style"][style][0]] if style in ("ponytail", "bun") else [])


def _garment(thing: str, known: dict[str, str]) -> str:
    """ "a red striped shirt", as the sentences that models learned from say it; "" when nothing is to be said."""
    kind, colour, pattern = known.get(thing, ""), known.get(f"{thing}_colour", ""), known.get(f"{thing}_pattern", "")
    sleeves = known.get("sleeves", "") if thing == "upper" and _ALWAYS.get(kind) != known.get("sleeves") else ""
    before = [SLEEVES[sleeves][0]] if sleeves else []
    before += [COLOURS[colour][0]] if colour else []
    before += [PATTERNS[pattern][0]] if pattern in PATTERNS and pattern != "plain" else []
    after = f" {AFTER[pattern][0]}" if pattern in AFTER else ""
    if kind == "none" or not (kind or before or after):
        return ""
    return article(" ".join([*before, NOUNS[thing][kind][0]]) + after)
