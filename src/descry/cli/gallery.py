"""descry gallery inspect, info, list, frame, delete, allow, convert, relocate."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tyro

from ..errors import DescryError, UsageError
from ..escape import counted, path_text
from ..safe_files import address_of
from ..times import moment
from .machine import Flag, GalleryPlace, GalleryStore, Item, Json, OutFile, OutFolder, emit, refuse_unread


def info(gallery: GalleryPlace, /, json_: Json = False) -> int:
    """What a gallery holds: items, cameras, times, size, and the model it is bound to."""
    from ..gallery import Gallery

    with Gallery.open(gallery) as opened:
        facts = opened.info() | {"calibrated": _calibrated(opened), "read_only": opened.read_only}
    tables = {name: value for name, value in facts.items() if isinstance(value, dict)}
    said = {n: ", ".join(f"{k or 'unknown'} {v}" for k, v in held.items()) for n, held in tables.items()}
    said |= {"read_only": "yes" if opened.read_only else "no"}
    names = {"from": "times from", "to": "times to", "read_only": "read-only"}
    lines = (f"{names.get(n, n):<14} {'none' if v in (None, '') else v}" for n, v in (facts | said).items())
    return emit(json_, facts, *lines)


def _calibrated(opened: Any) -> dict[str, str]:
    """For which kinds of query the gallery can say that somebody is probably not in it, and how often wrongly."""
    from ..interact import absence

    found, _ = absence.readable(opened.path) if opened.store.complete else ({}, "")
    try:
        fits = {kind: one.fits(opened.model) for kind, one in found.items()}
    except DescryError:
        return dict.fromkeys(found, "not known: the model of this gallery cannot be opened")
    stale = "no longer: made with another model or ranking; run descry gallery calibrate again"
    return {k: f"about {100 * one.alpha:g} false alarms in 100" if fits[k] else stale for k, one in found.items()}


def inspect(folder: tyro.conf.Positional[Path], /, json_: Json = False) -> int:
    """What a gallery's folder contains, without trusting it; for one that somebody gave you.

    Nothing is written, no link is followed, no model is loaded. Look at it before you open such a gallery.

    Args:
        folder: the folder.
    """
    from ..gallery.inspecting import inspect as inspected

    facts = inspected(folder)
    if json_:
        emit(True, facts)
        return 0
    model, given = facts["model"], facts["format"]
    print(f"folder    {facts['folder']} (mode {facts['mode']}, of {facts['owner']})")
    print(f"format    {'unknown' if given is None else given}, made {facts['created'] or 'at an unknown time'}")
    if model:
        below = "below a folder that you named" if model["allowed"] else "in no folder that you named"
        where = f" ({below})" if model["path"] else ""
        print(f"model     {model['source']}{where}, {model['dimension']} numbers a vector")
    for name, count in facts["counts"].items():
        print(f"{name:<20} {'more than 1,000,000' if count is None else f'{count:,}'}")
    for file in facts["files"]:
        kind = file["refused"] and f"  {file['refused']}{file['to'] and ' to ' + file['to']}"
        print(f"file      {file['name']}  {file['bytes']:,} bytes  {file['mode']}  {file['owner']}{kind}")
    for row in facts["pictures"]:
        may = "may be shown" if row["allowed"] else "not shown: in no folder that you named"
        print(f"pictures  {row['folder']}  {counted(row['items'], 'item')}, {may}")
    for warning in facts["warnings"]:
        print(f"warning   {warning}")
    return 0


def list_(
    gallery: GalleryPlace,
    /,
    camera: tuple[str, ...] = (),
    since: str = "",
    until: str = "",
    path: str = "",
    skipped: Flag = False,
    json_: Json = False,
) -> int:
    """The items of a gallery, one a line (of JSON with --json): id, path, camera, time, track.

    Args:
        camera: only this camera.
        since: only from this time on.
        until: only up to this time.
        path: only paths of this glob.
        skipped: list the files that could not be read instead, with the reason.
    """
    from ..gallery import Gallery
    from ..query import Filters

    filters = Filters(camera, moment(since, "--since"), moment(until, "--until", end=True), path)
    with Gallery.open(gallery) as opened:
        if skipped:
            for name, reason in opened.skipped():
                print(
                    json.dumps({"path": path_text(name), "reason": reason}) if json_ else f"{path_text(name)}\t{reason}"
                )
            return 0
        empty = True
        for item in opened.listed(filters):
            empty = False
            row = {"id": item.id, "path": path_text(item.path), "camera": item.camera}
            row |= {"time": item.time.isoformat() if item.time else "", "track": item.track}
            print(json.dumps(row) if json_ else "\t".join(str(v) for v in row.values()))
        if empty:
            asked = "no item fits" if filters != Filters() else "no items"
            print(f"{asked}; {gallery} holds {counted(len(opened), 'item')}: descry gallery info", file=sys.stderr)
    return 0


def frame(
    gallery: GalleryStore,
    item: tyro.conf.Positional[Item],
    /,
    out: OutFile = Path("frame.jpg"),
    json_: Json = False,
) -> int:
    """Go from an item back to the footage that descry crop cut it from: source, time, and the frame with the box.

    Args:
        item: id of the item.
        out: the picture to write, JPEG or PNG by its name.
    """
    from .. import images
    from ..errors import DataError
    from ..footage.origin import origin_of
    from ..gallery import Gallery
    from ..gallery.gallery import outside

    outside(out, gallery)
    with Gallery.open(gallery) as opened:
        found = opened.items([item])
    if not found:
        raise UsageError(f"{gallery} holds no item {item}; descry gallery list {gallery} shows them")
    origin = origin_of(found[0].path)
    if origin is None:
        raise DataError(
            f"item {item} was not cut by descry crop: there is no crops.csv above {path_text(found[0].path)}"
        )
    try:
        images.write(origin.still(), out, quality=90)
    except (OSError, ValueError) as error:
        raise UsageError(f"{out} cannot be written ({error}); name a .jpg or .png file") from None
    about = {"item": item, "source": path_text(origin.source), "frame": origin.frame, "seconds": origin.seconds}
    about |= {"time": found[0].time.isoformat() if found[0].time else "", "clock": origin.clock}
    about |= {"camera": found[0].camera, "track": found[0].track, "box": origin.box, "still": str(out)}
    said = f"item {item}: {origin.told}, camera {found[0].camera or 'unknown'}, {about['time'] or 'time unknown'}"
    clock = f"clock: {origin.clock}. " if origin.clock else ""
    return emit(json_, about, said, f"{clock}The frame with its box: {out}")


def delete(
    gallery: GalleryPlace,
    /,
    item: tuple[Item, ...] = (),
    path: str = "",
    until: str = "",
    everything: Flag = False,
    confirm: str = "",
    json_: Json = False,
) -> int:
    """Remove items and every byte of them, or a whole gallery with its inquiries and its account (descry audit export
    keeps a copy). The pictures themselves are not touched.

    Args:
        item: id of an item.
        path: all items of this glob.
        until: all items up to this time.
        everything: the whole gallery.
        confirm: with --everything, the name of the gallery's folder or collection.
    """
    from .. import purge as removing
    from ..gallery import Gallery
    from ..query import Filters

    if not everything:
        refuse_unread(delete, locals(), "confirm", "only --everything asks for it")
    if everything:
        refuse_unread(delete, locals(), "item path until", "--everything removes the whole gallery")
        name = _name_of(gallery)
        if confirm != name:
            raise UsageError(f"to remove the whole gallery repeat its name: --confirm {name}")
        with Gallery.open(gallery) as opened:
            count = len(opened) if json_ else 0
            removing.everything(opened)
        return emit(json_, {"removed": count, "items": 0}, f"removed {gallery}")
    if not (item or path or until):
        raise UsageError("nothing was named; give --item ID, --path GLOB, --until TIME, or --everything")
    with Gallery.open(gallery) as opened:
        ids = set(item)
        if path or until:
            ids |= {i.id for i in opened.listed(Filters(until=moment(until, "--until", end=True), path=path))}
        missing = sorted(set(item) - {found.id for found in opened.items(list(item))})
        if missing:
            named = ", ".join(map(str, missing[:5]))
            raise UsageError(
                f"{gallery} holds no item {named}; nothing was removed (descry gallery list shows the ids)"
            )
        count, left = removing.items(opened, ids), len(opened)
    said = f"removed {counted(count, 'item')}; {gallery} holds {left}"
    return emit(json_, {"removed": count, "items": left}, said)


def _name_of(gallery: str) -> str:
    if address := address_of(gallery):
        return address.partition("#")[2] or "gallery"
    return Path(gallery).resolve().name


def allow(folder: tyro.conf.Positional[Path], /, json_: Json = False) -> int:
    """Let galleries show the pictures, and load the models, below a folder: for a gallery that came from elsewhere.

    Not needed for folders that you index or name yourself.

    Args:
        folder: the folder that a received gallery may name.
    """
    from .. import safe_files

    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; name the one that holds the pictures of the gallery")
    safe_files.allow(folder)
    place = path_text(str(folder.resolve()))
    return emit(json_, {"allowed": place}, f"galleries may now show what lies below {place}")


def convert(old: tyro.conf.Positional[Path], new: tyro.conf.Positional[OutFolder], /, json_: Json = False) -> int:
    """Convert a gallery of format 1 to the present format; nothing is encoded again.

    Items keep their numbers, inquiries and findings go with them, and every vector is compared. The old folder is left
    as it is. Its account is kept in the new one as audit.format1.jsonl.

    Args:
        old: a gallery folder of format 1.
        new: the new folder.
    """
    from ..gallery.conversion import KEPT
    from ..gallery.conversion import convert as carry
    from .progress import progress

    with progress("converting", quiet=json_) as tick:
        report = carry(old, new, tick)
    if json_:
        print(json.dumps({"out": str(new)} | asdict(report)))
        return 0
    inquiries = counted(report.inquiries, "inquiry", "inquiries")
    print(f"{new} holds {counted(report.items, 'item')} and {inquiries}; all was verified")
    if report.lines:
        print(f"the old account ({counted(report.lines, 'line')}) is in {new / KEPT}")
    if not report.account_ok:
        print(f"note: the old account is not as it was written; descry audit verify {new / KEPT}", file=sys.stderr)
    return 0


def relocate(
    gallery: GalleryStore,
    old: tyro.conf.Positional[Path],
    new: tyro.conf.Positional[Path],
    /,
    json_: Json = False,
) -> int:
    """Follow pictures whose folder was moved or mounted elsewhere: paths change, ids and vectors stay.

    Args:
        old: the folder as it was; it need not be there any more.
        new: the folder that holds the same files now.
    """
    from ..gallery import Gallery

    with Gallery.open(gallery) as opened:
        report = opened.relocate(old, new)
    lines = [f"{counted(report.moved, 'item')} moved; nothing was encoded again"]
    if report.joined:
        lines.append(f"{report.joined} of them had been indexed at the new place too; they are one again")
    if report.absent:
        lines.append(f"{counted(report.absent, 'item')} not followed: no file of the same size is at the new place")
    return emit(json_, asdict(report), *lines)
