"""What is remembered of a person, before anything is searched: drawn as a line sketch, and read from text as chips."""

from __future__ import annotations

import base64
import io

from fastapi import APIRouter

from ... import language
from ...drawing.composing import PARTS, compose_sketch
from ..shapes import (
    Chip,
    Chips,
    Conflict,
    Figure,
    FigureAttribute,
    FigurePart,
    FigureParts,
    FigurePhrase,
    Remembered,
    Words,
)
from . import REFUSALS, TheDesk, queued

router = APIRouter(prefix="/api/v1/figure", tags=["figure"], responses=REFUSALS)
chips_router = APIRouter(prefix="/api/v1/chips", tags=["chips"], responses=REFUSALS)
PERSON = ("sex", "age", "build", "height")
SIZE = (256, 512)
TINY = (16, 32)


def groups() -> dict[str, list[str]]:
    """Part → the names of what may be known of it, its kind first. What belongs to the whole person is one part."""
    found: dict[str, list[str]] = {"person": [*PERSON]}
    for name in PARTS:
        if name not in PERSON and name != "view":
            found.setdefault(name.split(".")[0], []).append(name)
    return found


@router.get("")
async def parts() -> FigureParts:
    """The parts of a figure, and what may be known of each."""
    values = {**PARTS, "top": [v for v in PARTS["top"] if v not in PARTS["over"]]}
    return FigureParts(
        views=list(PARTS["view"]),
        parts=[
            FigurePart(name=part, attributes=[FigureAttribute(name=name, values=list(values[name])) for name in names])
            for part, names in groups().items()
        ],
    )


@router.post("")
@queued("pictures")
def compose(desk: TheDesk, body: Remembered) -> Figure:
    """Draw what is remembered, and say it. Nothing is kept; searches nothing."""
    made = compose_sketch(body.known, SIZE)
    buffer = io.BytesIO()
    made.sketch.convert("L").save(buffer, "PNG")
    said: dict[str, str] = {}
    for part, names in groups().items():
        known = {name: made.known[name] for name in names if name in made.known}
        said |= dict.fromkeys(compose_sketch(known, TINY).phrases if known else (), part)
    return Figure(
        known=made.known,
        picture=base64.b64encode(buffer.getvalue()).decode("ascii"),
        phrases=[FigurePhrase(text=text, part=said.get(text, "person")) for text in made.phrases],
        blank=made.blank,
    )


@chips_router.post("")
@queued()
def read(desk: TheDesk, said: Words) -> Chips:
    """Chips of a text, what the model does not read of them, and what contradicts the chips held. Searches nothing."""
    words = getattr(desk.gallery.model, "words", None) if desk.loaded else None

    def out(chip: language.Chip) -> Chip:
        unknown = words.unknown(chip.text) if words is not None else []
        return Chip(text=chip.text, wanted=chip.wanted, weight=chip.weight, on=chip.on, cut=chip.cut, unknown=unknown)

    new = language.parse(said.text, words)
    held = [language.Chip(p.text, p.wanted, p.weight, p.on) for p in said.held]
    clashes = [Conflict(old=out(c.old), new=out(c.new), why=c.why) for c in language.conflicts(held, new)]
    return Chips(chips=[out(c) for c in new], conflicts=clashes, unclear=list(language.read(said.text).unclear))
