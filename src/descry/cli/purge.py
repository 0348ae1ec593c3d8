"""descry purge: remove for good."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import tyro

from ..escape import counted
from ..times import day
from .machine import Flag, GalleryStore, Item, Json, emit, refuse_unread
from .report import kept


def purge(
    gallery: GalleryStore,
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    /,
    inquiry: tuple[str, ...] = (),
    item: tuple[Item, ...] = (),
    before: str = "",
    expired: Flag = False,
    keep_crops: Flag = False,
    dry_run: Flag = False,
    json_: Json = False,
) -> int:
    """Remove inquiries and items so that no byte of them is left in the gallery's folder. With nothing named, finish a
    purge that was interrupted.

    Crop files that descry crop cut are deleted with their items. Footage, pictures of your own, reports and frames that
    were exported, copies and backups stay. So do the lines of the account, from which nothing about what was removed
    can be read any more.

    Args:
        names: names of inquiries.
        inquiry: the same as an option.
        item: id of an item; rounds of other inquiries that were asked with its picture go with it.
        before: a day, as 2027-01-31: inquiries last worked on before it, items whose camera time lies before it.
        expired: inquiries whose last day to be kept (descry keep) is over.
        keep_crops: leave the crop files of items; the next descry index brings them back.
        dry_run: list what would be removed, and remove nothing.
    """
    from datetime import UTC, datetime

    from .. import purge as removing

    inquiry = names + inquiry
    with kept(gallery) as (opened, store):
        if not (inquiry or item or before or expired) and removing.pending(opened.path):
            refuse_unread(purge, locals(), "dry_run keep_crops", "a purge that was interrupted can only be finished")
            return _tell(removing.finish(opened, store), gallery, json_)
        until = day(before, "--before") if before else None
        today = datetime.now(UTC).date() if expired else None
        plan = removing.plan(opened, store, inquiry, item, until, today)
        if plan.untimed:
            what = f"{counted(plan.untimed, 'item')} of unknown time may be older"
            print(f"note: {what}; --before reaches none of them, --item does", file=sys.stderr)
        if dry_run:
            return _would(replace(plan, crops=0) if keep_crops else plan, json_)
        return _tell(removing.run(opened, store, plan, crops=not keep_crops), gallery, json_)


def _would(plan: Any, as_json: bool) -> int:
    told = plan.to_json()
    lines = [f"would remove the inquiry {name!r}" for name in told["inquiries"]]
    for row in told["rounds"]:
        lines.append(f"would remove round {row['number']} of {row['inquiry']!r}: asked with a picture of such an item")
    counts = [
        counted(told[key], noun) for key, noun in (("items", "item"), ("findings", "finding"), ("days", "day key"))
    ]
    counts += [counted(plan.crops, "crop file")] if plan.crops else []
    return emit(as_json, told, *lines, f"would remove {', '.join(counts)}")


def _tell(done: Any, gallery: str, as_json: bool) -> int:
    said = (
        f"removed {counted(done.inquiries, 'inquiry', 'inquiries')}, {counted(done.rounds, 'round')} of others, "
        f"{counted(done.findings, 'finding')}, {counted(done.items, 'item')}, {counted(done.days, 'key')} of days"
        + (f", {counted(done.crops, 'crop file')}" if done.crops else "")
    )
    emit(as_json, done.to_json(), said, f"head of the account: {done.head}")
    if done.still_on_disk:
        print(
            f"{done.still_on_disk} of their picture files still lie where they were indexed: remove them, or the next "
            f"descry index --out {gallery} brings them back",
            file=sys.stderr,
        )
    return 0
