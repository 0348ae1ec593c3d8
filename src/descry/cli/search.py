"""descry search."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..times import moment
from . import results
from .machine import Flag, HowMany, Item, Json, Machine, OnMachine
from .report import outside

Not = Annotated[tuple[str, ...], tyro.conf.arg(name="not")]


def search(
    gallery: tyro.conf.Positional[str],
    words: tyro.conf.Positional[tuple[str, ...]] = (),
    /,
    sketch: tuple[str, ...] = (),
    image: tuple[str, ...] = (),
    text: tuple[str, ...] = (),
    not_: Not = (),
    like: tuple[Item, ...] = (),
    unlike: tuple[Item, ...] = (),
    closest: tuple[Item, ...] = (),
    k: HowMany = 20,
    min_: Annotated[float | Literal["usual"] | None, tyro.conf.arg(name="min", metavar="LEVEL|usual")] = None,
    camera: tuple[str, ...] = (),
    since: str = "",
    until: str = "",
    path: str = "",
    verbatim: Flag = False,
    as_drawn: Flag = False,
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
        words: what holds, such as "a red jacket"; "a red jacket, no backpack" is understood.
        sketch: a drawing of the person; may be repeated, like all of the next.
        image: a photograph of the person.
        text: the same as words.
        not_: a phrase that must not hold, without a negation: --not backpack.
        like: id of an item that is close; it stands first.
        unlike: id of an item that is not the person.
        closest: id chosen as the closest of those shown.
        k: how many to show.
        min_: show only leads above this level: spreads over the middle of all the gallery's scores, such as 3; usual is
            where the page draws its line. Who stands above need not be the person.
        camera: only this camera; may be repeated.
        since: only from this time on, as 2026-01-31 or 2026-01-31T14:05.
        until: only up to this time; a day alone means all of it.
        path: only paths of this glob.
        verbatim: give the texts to the encoder as they are; left out, "no backpack" means --not backpack.
        as_drawn: give sketches to the encoder as they are; left out, each is cropped to its ink and fitted.
        composition: early, late, sum, slerp, ranks, early+late or pseudo; left out, what the model's validation chose.
        model: where the gallery's model now lies, if it was moved.
        json_: print JSON.
        csv_: also write a table to this file.
        sheet: also write a contact sheet to this picture.
        copy_to: also copy the pictures shown to this folder.
    """
    from ..gallery.gallery import Gallery
    from ..gallery.results import check_picture
    from ..query import Filters, Query
    from ..search import checked_level, told, understood, unread

    if min_ is not None:
        checked_level(min_)
    for out in (csv_, sheet, copy_to):
        if out:
            outside(out, Path(gallery))
    if sheet:
        check_picture(sheet)
    machine.settle()
    first = moment(since, "--since") if since else None
    filters = Filters(camera, first, moment(until, "--until", end=True) if until else None, path)
    sketch, image = (tuple(str(Path(name).expanduser()) if name else name for name in n) for n in (sketch, image))
    query = Query(sketch, image, (*words, *text), not_, like, unlike, closest, filters, verbatim, as_drawn)
    with Gallery.open(gallery, model or None, machine.load) as opened:
        notes = unread(opened.model, understood(query))
        found = opened.search(query, k, composition=composition or None, least=min_)
        absence = opened.notice(query, composition or None)
    unaccounted = "" if "compact" in opened.store.capabilities else "a distributed gallery keeps no account of searches"
    for note in filter(None, (told(query, found.query), *notes, found.note, unaccounted)):
        print(f"note: {note}", file=sys.stderr)
    results.tell(found, json_, absence)
    if csv_:
        found.to_csv(csv_)
        print(f"table: {csv_}", file=sys.stderr)
    if sheet:
        found.sheet(sheet)
        print(f"contact sheet: {sheet}", file=sys.stderr)
    if copy_to:
        results.copy_pictures(copy_to, found)
    return 0
