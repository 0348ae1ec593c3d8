"""A person to be drawn is a record of attributes; figures, sketches and sentences are all made from it.

Skin is part of the record, so that all photographs of one person agree, and is never put into words.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DataError, nearest

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "sex": ("woman", "man"),
    "age": ("young", "middle-aged", "elderly"),
    "build": ("slim", "average", "heavy"),
    "hair_length": ("bald", "short", "medium", "long"),
    "hair_style": ("straight", "curly", "ponytail", "bun"),
    "hair_colour": ("black", "brown", "blond", "red", "grey", "none"),
    "beard": ("none", "beard"),
    "headwear": ("none", "cap", "beanie", "hat"),
    "headwear_colour": ("black", "white", "grey", "red", "blue", "green", "yellow", "beige", "none"),
    "eyewear": ("none", "glasses", "sunglasses"),
    "upper": ("t-shirt", "shirt", "sweater", "hoodie", "tank top", "dress"),
    "upper_colour": (
        *("black", "white", "grey", "red", "blue", "dark blue", "light blue", "green"),
        *("yellow", "orange", "pink", "purple", "brown", "beige"),
    ),
    "upper_pattern": ("plain", "striped", "checked", "dotted", "logo"),
    "sleeves": ("sleeveless", "short", "long"),
    "outer": ("none", "jacket", "coat", "vest", "blazer"),
    "outer_colour": ("black", "grey", "dark blue", "blue", "brown", "beige", "green", "red", "yellow", "white", "none"),
    "lower": ("trousers", "jeans", "shorts", "short skirt", "long skirt", "leggings", "bare legs"),
    "lower_colour": ("black", "grey", "blue", "dark blue", "white", "beige", "brown", "green", "red", "none"),
    "lower_pattern": ("plain", "checked", "side stripe"),
    "shoes": ("trainers", "boots", "sandals", "leather shoes"),
    "shoes_colour": ("black", "white", "brown", "grey", "red", "blue"),
    "bag": ("none", "backpack", "shoulder bag", "handbag", "suitcase", "shopping bag"),
    "bag_colour": ("black", "brown", "red", "blue", "grey", "green", "yellow", "white", "none"),
    "neckwear": ("none", "scarf", "tie", "headphones"),
    "neckwear_colour": ("black", "white", "grey", "red", "blue", "green", "yellow", "none"),
    "carried": ("none", "umbrella", "phone", "book"),
}
"""Every attribute and its values, in the fixed order of the record. "none" and "plain" say that there is nothing to
see."""

SKINS = 6


@dataclass(frozen=True, slots=True)
class Person:
    """One person: number, skin (0, lightest, to 5) and one value for each name of ATTRIBUTES."""

    pid: int
    skin: int
    sex: str
    age: str
    build: str
    hair_length: str
    hair_style: str
    hair_colour: str
    beard: str
    headwear: str
    headwear_colour: str
    eyewear: str
    upper: str
    upper_colour: str
    upper_pattern: str
    sleeves: str
    outer: str
    outer_colour: str
    lower: str
    lower_colour: str
    lower_pattern: str
    shoes: str
    shoes_colour: str
    bag: str
    bag_colour: str
    neckwear: str
    neckwear_colour: str
    carried: str

    def __post_init__(self) -> None:
        if not 0 <= self.skin < SKINS:
            raise DataError(f"a person's skin is 0 to {SKINS - 1}; got {self.skin}")
        for name, allowed in ATTRIBUTES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise DataError(f"person {self.pid}: {name} was {value!r}; {nearest(str(value), allowed)}")
