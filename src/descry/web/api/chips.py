"""Text read as chips, before anything is searched."""

from __future__ import annotations

from fastapi import APIRouter

from ... import language as chipping
from ..desk import Desk
from ..shapes import Chip, Chips, Conflict, Words
from .depends import REFUSALS, TheDesk

router = APIRouter(prefix="/api/v1/chips", tags=["chips"], responses=REFUSALS)


def _read(desk: Desk, said: Words) -> Chips:
    words = getattr(desk.gallery.model, "words", None) if desk.loaded else None

    def out(chip: chipping.Chip) -> Chip:
        unknown = words.unknown(chip.text) if words is not None else []
        return Chip(text=chip.text, wanted=chip.wanted, weight=chip.weight, on=chip.on, cut=chip.cut, unknown=unknown)

    new = chipping.parse(said.text, words)
    held = [chipping.Chip(p.text, p.wanted, p.weight, p.on) for p in said.held]
    clashes = [Conflict(old=out(c.old), new=out(c.new), why=c.why) for c in chipping.conflicts(held, new)]
    return Chips(chips=[out(c) for c in new], conflicts=clashes, unclear=list(chipping.read(said.text).unclear))


@router.post("")
async def read(desk: TheDesk, said: Words) -> Chips:
    """Chips of a text, what the model does not read of them, and what contradicts the chips held. Searches nothing."""
    return await desk.do(_read, desk, said)
