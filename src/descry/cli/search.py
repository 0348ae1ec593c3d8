"""descry search, and how leads are shown: lines or JSON, and copied pictures."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..errors import UsageError
from ..escape import counted, path_text, plain
from ..safe_files import write_whole
from ..times import moment
from .machine import (
    Flag,
    GalleryPlace,
    HowMany,
    Item,
    Json,
    Machine,
    MovedModel,
    OnMachine,
    OutFile,
    OutFolder,
    OutPicture,
    emit,
    refuse_unread,
)

Not = Annotated[tuple[str, ...], tyro.conf.arg(name="not")]


def search(
    gallery: GalleryPlace,
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
    model: MovedModel = "",
    json_: Json = False,
    csv_: Annotated[OutFile | None, tyro.conf.arg(name="csv")] = None,
    sheet: OutPicture | None = None,
    copy_to: OutFolder | None = None,
    machine: OnMachine = Machine(),
) -> int:
    """Search a gallery with any of sketches, photographs, words and marks. Results are leads, never identifications.

    Args:
        words: a description, such as "a red jacket, no backpack".
        sketch: a drawing of the person.
        image: a photograph of the person.
        text: the same as words.
        not_: a phrase that must not be true of the person, without a negation: --not backpack.
        like: id of an item that is close; it is shown first.
        unlike: id of an item that is not the person.
        closest: id chosen as the closest of those shown.
        k: how many to show.
        min_: show only leads that score more than this many spreads (robust standard deviations) above the
            gallery's median, such as 3; usual is where the page draws its line. A lead above it need not be the person.
        camera: only this camera.
        since: only from this time on, as 2026-01-31 or 2026-01-31T14:05.
        until: only up to this time; a day alone means all of it.
        path: only paths of this glob.
        verbatim: give the texts to the encoder as they are; if omitted, "no backpack" means --not backpack.
        as_drawn: give sketches to the encoder as they are; if omitted, each is cropped to its ink and fitted.
        composition: early, late, sum, slerp, ranks, early+late or pseudo; if omitted, the one chosen on validation.
        csv_: also write a table to this file.
        sheet: also write a contact sheet to this picture.
        copy_to: also copy the pictures shown to this folder.
    """
    from ..gallery.gallery import Gallery, outside
    from ..gallery.results import check_picture
    from ..query import Filters, Query, digest
    from ..search import checked_level, told, understood, unread

    if min_ is not None:
        checked_level(min_)
    for out in (csv_, sheet, copy_to):
        if out:
            outside(out, Path(gallery))
    if sheet:
        check_picture(sheet)
    if not sketch:
        refuse_unread(search, locals(), "as_drawn", "there is no --sketch")
    if not words and not text:
        refuse_unread(search, locals(), "verbatim", "there are no words")
    refuse_unread(search, locals(), "machine.batch_size machine.seed", "a search has no batches and no chance")
    machine.settle()
    first = moment(since, "--since") if since else None
    filters = Filters(camera, first, moment(until, "--until", end=True) if until else None, path)
    sketch, image = (tuple(str(Path(name).expanduser()) if name else name for name in n) for n in (sketch, image))
    query = Query(sketch, image, (*words, *text), not_, like, unlike, closest, filters, verbatim, as_drawn)
    with Gallery.open(gallery, model or None, machine.load) as opened:
        notes = unread(opened.model, understood(query))
        found = opened.search(query, k, composition=composition or None, least=min_)
        absence = opened.notice(query, composition or None)
    unaccounted = "" if opened.store.complete else "a Milvus store keeps no account of searches"
    for note in filter(None, (told(query, found.query), *notes, found.note, unaccounted)):
        print(f"note: {note}", file=sys.stderr)
    tell(found, json_, absence)
    given = {digest(Path(name)) for name in image}
    for lead in found if given else ():
        if lead.item.sha256 in given:
            print(f"note: rank {lead.rank} is the file that was given with --image", file=sys.stderr)
    if csv_:
        found.to_csv(csv_)
        print(f"table: {csv_}", file=sys.stderr)
    if sheet:
        found.sheet(sheet)
        print(f"contact sheet: {sheet}", file=sys.stderr)
    if copy_to:
        copy_pictures(copy_to, found, Path(gallery))
    return 0


def tell(found: Any, as_json: bool, absence: str = "") -> None:
    """Print the leads, or JSON; what is not data goes to stderr. absence: what `Gallery.notice` says."""
    if as_json:
        emit(True, found.to_json() | {"absence": absence})
        return
    for lead in found:
        print(lead)
    if not found:
        options = {"cameras": "camera"}
        by = [
            f"--{options.get(name, name)} excluded {'all' if n == found.total else n}"
            for name, n in found.removed.items()
        ]
        level = f" above the level: {found.left_out} left out" if found.left_out else ""
        why = f": {', '.join(by)} of {counted(found.total, 'item')}" if by else f" among {counted(found.total, 'item')}"
        print(f"no results{level}{why}", file=sys.stderr)
    else:
        absent = sum(not os.path.isfile(item.path) for item in found.items)
        if absent:
            print(
                f"note: {counted(absent, 'file')} of these leads cannot be found any more; if the folder was moved, "
                "descry gallery relocate GALLERY OLD NEW follows it",
                file=sys.stderr,
            )
        said = f"{absence[:1].upper()}{absence[1:]}. " * bool(absence)
        print(
            f"{counted(len(found), 'lead')} of {counted(found.considered, 'item')}. {said}"
            "Leads are not identifications.",
            file=sys.stderr,
        )


def copy_pictures(folder: Path, found: Any, gallery: Path) -> None:
    """Copy the pictures shown, named by rank and id: those that are what was ranked, and nothing but pictures."""
    from ..errors import ImageRejected
    from ..gallery.gallery import outside
    from ..gallery.reading import as_indexed
    from ..images import SUFFIXES, header

    folder.mkdir(parents=True, exist_ok=True)
    copied = 0
    for rank, item in enumerate(found.items, 1):
        suffix = Path(item.path).suffix.lower()
        try:
            data = as_indexed(item)
            header(data)
            copy = folder / f"{rank:04d}_{item.id}{suffix if suffix in SUFFIXES else '.jpg'}"
            outside(copy, gallery)
        except (ImageRejected, UsageError) as error:
            print(f"rank {rank} is not copied: {path_text(plain(error))}", file=sys.stderr)
            continue
        write_whole(copy, data)
        copied += 1
    print(f"copied {counted(copied, 'picture')} to {folder}", file=sys.stderr)
