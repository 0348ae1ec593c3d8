"""The words for every attribute and value, as data: what sentences are made of, and the phrases a searcher can pick
from.

Nothing here is a negation: what is absent is left unsaid, because the models of this package train on these words and
keep "not this" apart as a vector of its own.
"""

from __future__ import annotations

from .person import ATTRIBUTES

COLOURS: dict[str, tuple[str, ...]] = {
    "black": ("black",),
    "white": ("white",),
    "grey": ("grey", "gray"),
    "red": ("red",),
    "blue": ("blue",),
    "dark blue": ("dark blue", "navy", "navy blue"),
    "light blue": ("light blue", "pale blue"),
    "green": ("green",),
    "yellow": ("yellow",),
    "orange": ("orange",),
    "pink": ("pink",),
    "purple": ("purple", "violet"),
    "brown": ("brown",),
    "beige": ("beige", "tan", "cream"),
    "blond": ("blond", "blonde", "fair"),
}

NOUNS: dict[str, dict[str, tuple[str, ...]]] = {
    "upper": {
        "t-shirt": ("t-shirt", "tee", "t-shirt"),
        "shirt": ("shirt", "button-up shirt", "collared shirt"),
        "sweater": ("sweater", "jumper", "pullover"),
        "hoodie": ("hoodie", "hooded sweatshirt"),
        "tank top": ("tank top", "vest top"),
        "dress": ("dress", "frock"),
        "": ("top",),
    },
    "outer": {
        "jacket": ("jacket", "open jacket"),
        "coat": ("coat", "long coat", "overcoat"),
        "vest": ("vest", "padded vest", "body warmer"),
        "blazer": ("blazer", "suit jacket"),
        "": ("outer layer",),
    },
    "lower": {
        "trousers": ("trousers", "pants", "slacks"),
        "jeans": ("jeans", "denim jeans"),
        "shorts": ("shorts", "short pants"),
        "short skirt": ("short skirt", "mini skirt"),
        "long skirt": ("long skirt", "maxi skirt"),
        "leggings": ("leggings", "tights"),
        "bare legs": ("bare legs",),
        "": ("bottoms",),
    },
    "shoes": {
        "trainers": ("trainers", "sneakers", "sports shoes"),
        "boots": ("boots", "high boots"),
        "sandals": ("sandals", "open sandals"),
        "leather shoes": ("leather shoes", "dress shoes"),
        "": ("shoes", "footwear"),
    },
    "bag": {
        "backpack": ("backpack", "rucksack", "backpack"),
        "shoulder bag": ("shoulder bag", "crossbody bag", "messenger bag"),
        "handbag": ("handbag", "purse"),
        "suitcase": ("suitcase", "trolley case"),
        "shopping bag": ("shopping bag", "carrier bag", "paper bag"),
        "": ("bag",),
    },
    "headwear": {
        "cap": ("cap", "baseball cap"),
        "beanie": ("beanie", "woolly hat", "knitted hat"),
        "hat": ("brimmed hat", "fedora", "hat with a brim"),
        "": ("headwear",),
    },
    "neckwear": {
        "scarf": ("scarf",),
        "tie": ("tie", "necktie"),
        "headphones": ("headphones", "headphones around the neck"),
        "": ("neckwear",),
    },
    "carried": {
        "umbrella": ("umbrella", "folded umbrella"),
        "phone": ("phone", "mobile phone"),
        "book": ("book", "folder"),
    },
    "eyewear": {
        "glasses": ("glasses", "spectacles", "eyeglasses"),
        "sunglasses": ("sunglasses", "dark glasses", "shades"),
    },
    "beard": {"beard": ("beard", "full beard")},
}
"""Garment or thing → value → its names; "" is what it is called when only its colour is known."""

_ALL_NOUNS = (noun for values in NOUNS.values() for names in values.values() for noun in names)
PLURAL = frozenset(n for n in _ALL_NOUNS if n.endswith(("s", "wear", "around the neck")) and not n.endswith("ss"))
"""Names that take no article."""

PATTERNS: dict[str, tuple[str, ...]] = {
    "plain": ("plain",),
    "striped": ("striped", "stripy"),
    "checked": ("checked", "plaid", "checkered"),
    "dotted": ("dotted", "polka dot", "spotted"),
}
AFTER: dict[str, tuple[str, ...]] = {
    "logo": ("with a logo on the chest", "with a round print", "with a big logo"),
    "side stripe": ("with a stripe down the side", "with side stripes"),
}
SLEEVES: dict[str, tuple[str, ...]] = {
    "sleeveless": ("sleeveless",),
    "short": ("short-sleeved", "short sleeve"),
    "long": ("long-sleeved", "long sleeve"),
}
SUBJECTS: dict[str, tuple[str, ...]] = {
    "woman": ("woman", "woman", "lady", "female"),
    "man": ("man", "man", "guy", "male"),
    "": ("person", "someone", "pedestrian"),
}
AGES: dict[str, tuple[str, ...]] = {
    "young": ("young",),
    "middle-aged": ("middle-aged",),
    "elderly": ("elderly", "old", "older"),
}
BUILDS: dict[str, tuple[str, ...]] = {
    "slim": ("slim", "thin", "slender"),
    "average": ("average build", "medium build"),
    "heavy": ("heavy", "stout", "heavyset"),
}
HAIR_LENGTHS: dict[str, tuple[str, ...]] = {
    "bald": ("a bald head", "a shaved head"),
    "short": ("short",),
    "medium": ("shoulder-length", "medium-length"),
    "long": ("long",),
}
HAIR_STYLES: dict[str, tuple[str, ...]] = {
    "straight": ("straight",),
    "curly": ("curly", "wavy"),
    "ponytail": ("tied in a ponytail", "in a ponytail"),
    "bun": ("tied in a bun", "in a bun"),
}


def article(noun: str) -> str:
    """The noun with "a" or "an", or as it is when it is a plural."""
    tail = noun.split(" with ")[0]
    if any(tail == name or tail.endswith(" " + name) for name in PLURAL):
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _kinds(garment: str) -> dict[str, tuple[str, ...]]:
    return {v: tuple(dict.fromkeys(article(n) for n in names)) for v, names in NOUNS[garment].items() if v}


def _coloured(attribute: str, noun: str) -> dict[str, tuple[str, ...]]:
    names = (v for v in ATTRIBUTES[attribute] if v != "none")
    return {v: tuple(dict.fromkeys(article(f"{c} {noun}") for c in COLOURS[v])) for v in names}


PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "sex": {v: tuple(dict.fromkeys(f"a {n}" for n in SUBJECTS[v])) for v in ("woman", "man")},
    "age": {v: tuple(article(f"{n} person") for n in names) for v, names in AGES.items()},
    "build": {
        v: tuple(article(n) if n.endswith("build") else f"a {n} build" for n in names) for v, names in BUILDS.items()
    },
    "hair_length": {
        v: names if v == "bald" else tuple(f"{n} hair" for n in names) for v, names in HAIR_LENGTHS.items()
    },
    "hair_style": {
        "straight": ("straight hair",),
        "curly": ("curly hair", "wavy hair"),
        "ponytail": ("a ponytail", "hair tied in a ponytail"),
        "bun": ("hair in a bun", "a hair bun"),
    },
    "hair_colour": {v: tuple(dict.fromkeys(f"{c} hair" for c in COLOURS[v])) for v in ATTRIBUTES["hair_colour"][:-1]},
    "beard": _kinds("beard"),
    "headwear": _kinds("headwear"),
    "headwear_colour": _coloured("headwear_colour", "headwear"),
    "eyewear": _kinds("eyewear"),
    "upper": _kinds("upper"),
    "upper_colour": _coloured("upper_colour", "top"),
    "upper_pattern": {
        **{v: tuple(f"a {n} top" for n in names) for v, names in PATTERNS.items()},
        "logo": tuple(f"a top {n}" for n in AFTER["logo"]),
    },
    "sleeves": {
        "sleeveless": ("a sleeveless top", "bare arms"),
        "short": ("short sleeves",),
        "long": ("long sleeves",),
    },
    "outer": _kinds("outer"),
    "outer_colour": _coloured("outer_colour", "outer layer"),
    "lower": _kinds("lower"),
    "lower_colour": _coloured("lower_colour", "bottoms"),
    "lower_pattern": {
        "plain": ("plain bottoms",),
        "checked": tuple(f"{n} bottoms" for n in PATTERNS["checked"]),
        "side stripe": tuple(f"bottoms {n}" for n in AFTER["side stripe"]),
    },
    "shoes": _kinds("shoes"),
    "shoes_colour": _coloured("shoes_colour", "shoes"),
    "bag": _kinds("bag"),
    "bag_colour": _coloured("bag_colour", "bag"),
    "neckwear": _kinds("neckwear"),
    "neckwear_colour": {
        v: tuple(dict.fromkeys(f"something {c} around the neck" for c in COLOURS[v]))
        for v in ATTRIBUTES["neckwear_colour"][:-1]
    },
    "carried": _kinds("carried"),
}
"""Attribute → value → the phrases that say it, each a whole on its own. Values that say nothing ("none") have none."""
