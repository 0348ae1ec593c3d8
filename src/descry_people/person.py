"""Who the synthetic people are: their records, what a drawing without colour shows of them, and how they stand.

Nothing here was measured on real people: the shares only make people who differ in many ways at once.
"""

from __future__ import annotations

import dataclasses
import math
from random import Random
from typing import Any

from descry.drawing.figure import VIEWS, Pose
from descry.drawing.person import ATTRIBUTES, SKINS, Person
from descry.errors import DataError, UsageError, nearest

TONES: dict[str, str] = {
    **dict.fromkeys(("black", "dark blue", "brown", "purple"), "dark"),
    **dict.fromkeys(("grey", "red", "blue", "green", "orange"), "middle"),
    **dict.fromkeys(("white", "light blue", "yellow", "pink", "beige", "blond"), "light"),
}
"""What is left of a colour in a drawing without colour."""

TONED: dict[str, str] = {"upper_tone": "upper_colour", "outer_tone": "outer_colour", "lower_tone": "lower_colour"}


def held(person: Person) -> dict[str, str]:
    """Every attribute with its value, and the tones of the garments ("none" where there is no such garment)."""
    values = {name: getattr(person, name) for name in ATTRIBUTES}
    return values | {tone: TONES.get(values[colour], "none") for tone, colour in TONED.items()}


def values_of(attribute: str) -> tuple[str, ...]:
    """The values that `held` can give for an attribute; UsageError for an unknown one."""
    if attribute in TONED:
        return ("dark", "middle", "light", "none")
    if attribute not in ATTRIBUTES:
        raise UsageError(f"there is no attribute {attribute!r}; {nearest(attribute, [*ATTRIBUTES, *TONED])}")
    return ATTRIBUTES[attribute]


def _one(rng: Random, **shares: float) -> str:
    """One of the names by its share; an underscore stands for a space, two for a hyphen."""
    name = rng.choices(tuple(shares), tuple(shares.values()))[0]
    return name.replace("__", "-").replace("_", " ")


def _head(rng: Random, sex: str, age: str) -> dict[str, str]:
    if sex == "man":
        length = _one(rng, bald=0.15, short=0.6, medium=0.15, long=0.1)
        beard = _one(rng, none=0.6, beard=0.4)
    else:
        length = _one(rng, short=0.2, medium=0.35, long=0.45)
        beard = "none"
    style = "straight" if length == "bald" else _one(rng, straight=0.6, curly=0.4)
    if length == "long":
        style = _one(rng, straight=0.35, curly=0.25, ponytail=0.22, bun=0.18)
    grey = {"young": 0.0, "middle-aged": 0.12, "elderly": 0.75}[age]
    colour = _one(rng, black=0.3, brown=0.32, blond=0.24, red=0.14)
    if rng.random() < grey:
        colour = "grey"
    headwear = _one(rng, none=0.55, cap=0.18, beanie=0.14, hat=0.13)
    worn = rng.choice(ATTRIBUTES["headwear_colour"][:-1])
    return {
        "hair_length": length,
        "hair_style": style,
        "hair_colour": "none" if length == "bald" else colour,
        "beard": beard,
        "headwear": headwear,
        "headwear_colour": "none" if headwear == "none" else worn,
        "eyewear": _one(rng, none=0.55, glasses=0.28, sunglasses=0.17),
    }


def _top(rng: Random, sex: str) -> dict[str, str]:
    if sex == "man":
        upper = _one(rng, t__shirt=0.28, shirt=0.27, sweater=0.2, hoodie=0.18, tank_top=0.07)
    else:
        upper = _one(rng, t__shirt=0.22, shirt=0.17, sweater=0.18, hoodie=0.12, tank_top=0.12, dress=0.19)
    sleeves = {"t-shirt": "short", "sweater": "long", "hoodie": "long", "tank top": "sleeveless"}.get(upper)
    if sleeves is None:
        sleeves = (
            _one(rng, short=0.35, long=0.65) if upper == "shirt" else _one(rng, sleeveless=0.35, short=0.35, long=0.3)
        )
    plain = {"shirt": 0.4, "hoodie": 0.5}.get(upper, 0.45)
    pattern = _one(rng, plain=plain, striped=0.2, checked=0.14, dotted=0.1, logo=0.14)
    if upper == "shirt" and pattern == "logo":
        pattern = "checked"
    outer = "none" if upper == "hoodie" else _one(rng, none=0.52, jacket=0.18, coat=0.12, vest=0.09, blazer=0.09)
    outer_colour = rng.choice(ATTRIBUTES["outer_colour"][:-1])
    return {
        "upper": upper,
        "upper_colour": rng.choice(ATTRIBUTES["upper_colour"]),
        "upper_pattern": pattern,
        "sleeves": sleeves,
        "outer": outer,
        "outer_colour": "none" if outer == "none" else outer_colour,
    }


def _bottom(rng: Random, sex: str, upper: str) -> dict[str, str]:
    if upper == "dress":
        lower = _one(rng, bare_legs=0.65, leggings=0.35)
    elif sex == "man":
        lower = _one(rng, trousers=0.38, jeans=0.36, shorts=0.26)
    else:
        lower = _one(rng, trousers=0.22, jeans=0.24, shorts=0.14, short_skirt=0.14, long_skirt=0.14, leggings=0.12)
    colour = rng.choice(ATTRIBUTES["lower_colour"][:-1])
    if lower == "jeans":
        colour = _one(rng, blue=0.45, dark_blue=0.25, black=0.15, grey=0.15)
    elif lower == "bare legs":
        colour = "none"
    pattern = "plain"
    if lower in ("trousers", "shorts", "leggings"):
        pattern = (
            _one(rng, plain=0.65, side_stripe=0.35)
            if lower == "leggings"
            else _one(rng, plain=0.6, checked=0.2, side_stripe=0.2)
        )
    elif lower in ("short skirt", "long skirt"):
        pattern = _one(rng, plain=0.65, checked=0.35)
    return {"lower": lower, "lower_colour": colour, "lower_pattern": pattern}


def make_person(pid: int, seed: int = 0) -> Person:
    """Person `pid` of the population `seed`: the same wherever and whenever it is asked for, whoever else exists."""
    rng = Random(f"person {seed} {pid}")
    sex = _one(rng, woman=0.5, man=0.5)
    age = _one(rng, young=0.45, middle__aged=0.35, elderly=0.2)
    head, top = _head(rng, sex, age), _top(rng, sex)
    bottom = _bottom(rng, sex, top["upper"])
    bag = _one(rng, none=0.34, backpack=0.2, shoulder_bag=0.16, handbag=0.11, suitcase=0.08, shopping_bag=0.11)
    bag_colour = rng.choice(ATTRIBUTES["bag_colour"][:-1])
    ties = 0.4 if top["upper"] == "shirt" else 0.0
    neckwear = _one(rng, none=0.6, scarf=0.22, headphones=0.1, tie=ties)
    neckwear_colour = rng.choice(ATTRIBUTES["neckwear_colour"][:-1])
    return Person(
        pid=pid,
        skin=rng.randrange(SKINS),
        sex=sex,
        age=age,
        build=_one(rng, slim=0.32, average=0.38, heavy=0.3),
        **head,
        **top,
        **bottom,
        shoes=_one(rng, trainers=0.38, boots=0.22, sandals=0.16, leather_shoes=0.24),
        shoes_colour=rng.choice(ATTRIBUTES["shoes_colour"]),
        bag=bag,
        bag_colour="none" if bag == "none" else bag_colour,
        neckwear=neckwear,
        neckwear_colour="none" if neckwear == "none" else neckwear_colour,
        carried=_one(rng, none=0.55, umbrella=0.15, phone=0.15, book=0.15),
    )


def to_json(person: Person) -> dict[str, Any]:
    """A dict of plain values, in the order of the record."""
    return dataclasses.asdict(person)


def from_json(data: dict[str, Any]) -> Person:
    """The person of `to_json`; DataError names what is missing, extra or not a value."""
    names = {f.name for f in dataclasses.fields(Person)}
    if set(data) != names:
        raise DataError(
            f"a person's record lacks {sorted(names - set(data))} and has the unknown {sorted(set(data) - names)}; "
            "write it with people.person.to_json"
        )
    return Person(**data)


def make_pose(rng: Random, person: Person, view: str, tilt: float = 0.12) -> Pose:
    """A pose seen from "front", "right", "back" or "left", give or take 30 degrees; hands that hold something are
    bent."""
    yaw = VIEWS[view] + rng.uniform(-0.5, 0.5)
    stride = rng.choice((-1, 1)) * (rng.uniform(0.35, 1.0) if rng.random() < 0.6 else rng.uniform(0.0, 0.2))
    arms = []
    for side in (0, 1):
        swing = (stride if side else -stride) * rng.uniform(0.3, 0.6)
        arms.append([swing, rng.uniform(0.1, 0.5), rng.uniform(0.12, 0.3)])
    if person.carried in ("phone", "book"):
        arms[1] = [rng.uniform(0.2, 0.4), rng.uniform(1.5, 1.9), 0.2]
    elif person.carried == "umbrella":
        arms[1] = [rng.uniform(0.0, 0.2), rng.uniform(0.2, 0.4), 0.3]
    if person.bag in ("handbag", "suitcase", "shopping bag"):
        arms[0] = [rng.uniform(-0.2, 0.1), 0.1, rng.uniform(0.22, 0.3)]
    lean = rng.uniform(-0.012, 0.012) + (0.02 * math.sin(yaw) if person.age == "elderly" else 0.0)
    return Pose(yaw, stride, (tuple(arms[0]), tuple(arms[1])), lean, tilt)  # type: ignore[arg-type]
