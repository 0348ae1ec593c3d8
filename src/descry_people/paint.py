"""The colours of a synthetic person: what each named colour looks like, and which role of the figure has which."""

from __future__ import annotations

from random import Random

from descry.drawing.person import Person

from .person import TONES
from .places import Colour

RGB: dict[str, Colour] = {
    "black": (34, 34, 38),
    "white": (238, 238, 236),
    "grey": (138, 140, 144),
    "red": (198, 38, 42),
    "blue": (44, 92, 198),
    "dark blue": (32, 44, 92),
    "light blue": (142, 192, 234),
    "green": (46, 132, 66),
    "yellow": (238, 204, 52),
    "orange": (236, 126, 38),
    "pink": (240, 150, 182),
    "purple": (124, 62, 150),
    "brown": (112, 70, 42),
    "beige": (214, 190, 152),
}
HAIR: dict[str, Colour] = {
    "black": (30, 26, 26),
    "brown": (88, 54, 32),
    "blond": (218, 178, 100),
    "red": (172, 74, 32),
    "grey": (176, 176, 178),
    "none": (70, 56, 48),
}
SKIN: tuple[Colour, ...] = (
    (242, 208, 184),
    (230, 186, 152),
    (208, 158, 120),
    (172, 118, 82),
    (126, 82, 56),
    (88, 58, 42),
)


def shade(colour: Colour, by: float) -> Colour:
    """The colour made darker (below 1) or lighter."""
    return tuple(max(0, min(255, round(c * by))) for c in colour)  # type: ignore[return-value]


def _jitter(rng: Random, colour: Colour, by: int) -> Colour:
    return tuple(max(0, min(255, c + rng.randint(-by, by))) for c in colour)  # type: ignore[return-value]


def _accent(name: str) -> str:
    """The second colour of a pattern or a trim: light on dark, dark on light."""
    return "dark blue" if TONES.get(name) == "light" else "white"


def paint(person: Person, world: int = 0) -> dict[str, Colour]:
    """The colour of every role of a layer; a person's own shade of each named colour is the same in every
    photograph."""
    rng = Random(f"shade {world} {person.pid}")

    def own(name: str, table: dict[str, Colour] = RGB, by: int = 14) -> Colour:
        base = table.get(name, (60, 60, 64))
        return _jitter(rng, shade(base, 0.88 if world else 1.0), by)

    colours = {"skin": _jitter(rng, SKIN[person.skin], 6), "hair": own(person.hair_colour, HAIR, 8)}
    colours["beard"] = shade(colours["hair"], 0.9)
    for role in ("upper", "outer", "lower", "shoes", "bag", "headwear", "neckwear"):
        colours[role] = own(getattr(person, f"{role}_colour"))
    upper, lower = RGB[_accent(person.upper_colour)], RGB[_accent(person.lower_colour)]
    colours |= {"upper_mark": upper, "upper_trim": shade(colours["upper"], 0.78), "lower_trim": lower}
    colours |= {"upper_collar": shade(colours["upper"], 1.12), "bag_mark": RGB[_accent(person.bag_colour)]}
    for role in ("upper", "outer", "lower", "bag", "headwear"):
        dark = sum(colours[role]) < 190
        colours[f"{role}_line"] = tuple(c + 46 for c in colours[role]) if dark else shade(colours[role], 0.58)  # type: ignore[assignment]
        colours[f"{role}_fold"] = shade(colours[role], 0.8)
    for role in ("outer", "headwear"):
        colours[f"{role}_light"] = tuple(min(255, c + 24) for c in colours[role])  # type: ignore[assignment]
    item = rng.choice(((170, 40, 60), (40, 110, 120), (70, 70, 130), (200, 160, 60), (60, 60, 66)))
    colours |= {"item": item, "item_line": shade(item, 0.6), "item_dark": (24, 24, 28), "gap": (40, 38, 40)}
    colours |= {"eye": (36, 28, 26), "brow": shade(colours["hair"], 0.8), "mouth": shade(colours["skin"], 0.62)}
    return colours | {"lens": (16, 16, 20), "frame": (28, 26, 28), "sole": (226, 226, 222), "sole_dark": (26, 26, 28)}
