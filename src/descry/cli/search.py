"""descry search."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from . import results
from .audit import account_search
from .machine import Machine, OnMachine
from .report import outside
from .times import moment

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Json = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]
Not = Annotated[tuple[str, ...], tyro.conf.arg(name="not")]


def search(
    gallery: tyro.conf.Positional[str],
    /,
    sketch: tuple[str, ...] = (),
    image: tuple[str, ...] = (),
    text: tuple[str, ...] = (),
    not_: Not = (),
    like: tuple[int, ...] = (),
    unlike: tuple[int, ...] = (),
    closest: tuple[int, ...] = (),
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 20,
    camera: tuple[str, ...] = (),
    since: str = "",
    until: str = "",
    path: str = "",
    verbatim: Flag = False,
    composition: str = "",
    model: str = "",
    json_: Json = False,
    csv_: Annotated[Path | None, tyro.conf.arg(name="csv")] = None,
    sheet: Path | None = None,
    copy_to: Path | None = None,
    machine: OnMachine = Machine(),
) -> int:
    """Search a gallery with any of sketches, photographs, words and marks. Results are leads, never identifications.

    Args:
        gallery: a folder made by descry index, or the address of a migrated one (milvus://HOST:PORT#NAME).
        sketch: a drawing of the person; may be repeated, like all of the next.
        image: a photograph of the person.
        text: what holds, such as "a red jacket"; "a red jacket, no backpack" is understood.
        not_: a phrase that must not hold, without a negation: --not backpack.
        like: id of an item that is close; it stands first.
        unlike: id of an item that is not the person.
        closest: id chosen as the closest of those shown.
        k: how many to show.
        camera: only this camera; may be repeated.
        since: only from this time on, as 2026-01-31 or 2026-01-31T14:05.
        until: only up to this time; a day alone means all of it.
        path: only paths of this glob.
        verbatim: give the texts to the encoder as they are; left out, "no backpack" means --not backpack.
        composition: early, late, sum, slerp, ranks, early+late or pseudo; left out, what the model's validation chose.
        model: where the gallery's model now lies, if it was moved.
        json_: print JSON.
        csv_: also write a table to this file.
        sheet: also write a contact sheet to this picture.
        copy_to: also copy the pictures shown to this folder.
    """
    from ..embed import load
    from ..gallery import Gallery
    from ..query import Filters, Query

    for out in (csv_, sheet, copy_to):
        if out:
            outside(out, Path(gallery))
    machine.settle()
    filters = Filters(camera, moment(since, "--since"), moment(until, "--until", end=True), path)
    query = Query(sketch, image, text, not_, like, unlike, closest, filters, verbatim)
    with Gallery.open(gallery, load(model, machine.device, machine.precision) if model else None) as opened:
        found = opened.search(query, k, composition=composition or None)
        account_search(opened, found.query, found)
        _tell_words(opened.model, query, found.query)
    if found.note:
        print(f"note: {found.note}", file=sys.stderr)
    results.tell(found, json_)
    if csv_:
        results.write_csv(csv_, found)
    if sheet:
        results.contact_sheet(sheet, found)
    if copy_to:
        results.copy_pictures(copy_to, found)
    return 0


def _tell_words(model: Any, asked: Any, query: Any) -> None:
    """Say how the words were understood, which of them the model never saw, and what its limit cuts off."""
    if query != asked:
        phrases = [p.value for p in query.wanted] + [f"NOT {p.value}" for p in query.unwanted]
        print(f"note: understood as {', '.join(phrases)} (--verbatim keeps the words)", file=sys.stderr)
    for part in (*query.wanted, *query.unwanted):
        unknown = model.words.unknown(part.value)
        if unknown:
            print(f"note: this model does not know {', '.join(map(repr, unknown))}", file=sys.stderr)
        cut = model.words.cut(part.value)
        if cut:
            print(f"note: the text is too long; not read: {cut!r}", file=sys.stderr)
