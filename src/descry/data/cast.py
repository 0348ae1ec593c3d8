"""Who appears in a miniature: synthetic people by number, drawn and described on demand, always the same for a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..people.person import make_person
from ..people.photo import draw_photo
from ..people.sketch import draw_sketch
from ..people.words import describe
from .market_attributes import FIELDS

SIZE = (64, 128)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who appears: synthetic people by number, drawn on demand, always the same for the same seed."""

    seed: int

    def photo(self, pid: int, camera: int) -> Image.Image:
        """A photograph, 64 × 128."""
        return draw_photo(make_person(pid, self.seed), seed=self.seed + 31 * pid + camera, camera=camera % 6, size=SIZE)

    def sketch(self, pid: int, style: int) -> Image.Image:
        """A sketch, 64 × 128, white paper."""
        style_name = ("line", "pencil", "sparse")[style % 3]
        return draw_sketch(
            make_person(pid, self.seed), seed=self.seed + 17 * pid + style, style=style_name, size=SIZE
        ).image

    def caption(self, pid: int, nth: int) -> str:
        """A sentence about the person."""
        return describe(make_person(pid, self.seed), seed=self.seed + 13 * pid + nth).text

    def codes(self, pid: int) -> dict[str, int]:
        """Attribute codes of Market-1501 that agree with the person as far as the two vocabularies meet."""
        p = make_person(pid, self.seed)
        codes = dict.fromkeys(FIELDS, 1)
        codes |= {"gender": 2 if p.sex == "woman" else 1, "hair": 2 if p.hair_length == "long" else 1}
        codes |= {"up": 1 if p.sleeves == "long" else 2, "down": 2 if p.lower in ("shorts", "short skirt") else 1}
        codes |= {"clothes": 1 if p.upper == "dress" or "skirt" in p.lower else 2}
        codes["age"] = {"young": 2, "middle-aged": 3, "elderly": 4}[p.age]
        codes |= {
            "hat": 1 + (p.headwear != "none"),
            "backpack": 1 + (p.bag == "backpack"),
            "handbag": 1 + (p.bag == "handbag"),
        }
        for part, colour in (("up", p.upper_colour), ("down", p.lower_colour)):
            field = part + colour.split()[-1].replace("grey", "gray")
            if field in codes:
                codes[field] = 2
        return codes


def save(image: Image.Image, path: Path) -> None:
    """Write a picture with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":
        image.convert("RGB").save(path, quality=90)
    else:
        image.convert("RGB").save(path)
