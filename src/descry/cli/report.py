"""descry report, finding, keep, purge, audit: what is said of an inquiry, how long it is kept, and what tells of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import IndexCorrupt, UsageError, nearest
from ..escape import counted
from ..safe_files import address_of, write_whole
from ..times import day
from .machine import Flag, GalleryStore, Item, Json, OutFile, emit, refuse_unread


def report(
    gallery: GalleryStore,
    inquiry: tyro.conf.Positional[str],
    /,
    out: Annotated[OutFile, tyro.conf.arg(aliases=["-o"])],
    blur_others: Flag = False,
    redact_paths: Flag = False,
    json_: Json = False,
) -> int:
    """Write a report of an inquiry: every round with its query, first ten leads and changes; findings and runners-up.

    Args:
        inquiry: name of the inquiry.
        out: the file to write: .html (pictures inside, opens without a network), .json or .csv.
        blur_others: blur everyone in the pictures who is in no finding.
        redact_paths: name items by number instead of by path.
    """
    from .. import report as writing
    from ..gallery.gallery import outside

    kind = out.suffix.lstrip(".").lower()
    if kind not in writing.FORMATS:
        raise UsageError(f"-o {out} was given; {nearest(kind, writing.FORMATS)} (the end of the name says which)")
    outside(out, gallery)
    with kept(gallery) as (opened, store):
        made = writing.export(opened, store, inquiry, kind, blur_others, redact_paths)
    write(out, made.data)
    value = {"out": str(out), "format": kind, "bytes": len(made.data), "audit_head": made.head}
    emit(json_, value, f"{out}: {writing.NOTICE}", f"head of the account: {made.head}")
    if not json_:
        print("write the head down elsewhere: with it, descry audit verify finds a cut account", file=sys.stderr)
    return 0


def finding(
    gallery: GalleryStore,
    inquiry: tyro.conf.Positional[str],
    /,
    item: Item | None = None,
    verdict: str = "worth following",
    note: str = "",
    remove: Flag = False,
    json_: Json = False,
) -> int:
    """List the findings of an inquiry, or keep one: an item with a verdict and a note.

    Args:
        inquiry: name of the inquiry.
        item: id of an item; if omitted, the findings are listed.
        verdict: "worth following" or "set aside".
        note: why.
        remove: remove the finding about this item.
    """
    from ..interact.store import Finding

    if remove:
        refuse_unread(finding, locals(), "verdict note", "--remove takes the finding away")
    if not item and (remove or note or verdict != "worth following"):
        raise UsageError("no item was named; give --item with an id, as search and inquiry show them")
    with kept(gallery) as (opened, store):
        if item and remove:
            if not store.unfind(inquiry, item):
                raise UsageError(f"the inquiry has no finding about item {item}; list them with descry finding")
        elif item:
            found = opened.items([item])
            if not found:
                raise UsageError(f"the gallery holds no item {item}; ids are shown beside every result")
            store.find(inquiry, Finding(item, verdict, note, store.on_show(inquiry), found[0].sha256))
        rows = store.findings(inquiry)
    lines = [f"item {f.item}: {f.verdict}  {one_line(f.note)}".rstrip() for f in rows]
    return emit(json_, [f.to_json() for f in rows], *lines or ["no findings yet"])


def keep(
    gallery: GalleryStore,
    inquiry: tyro.conf.Positional[str] = "",
    /,
    until: str = "",
    json_: Json = False,
) -> int:
    """Set the last day an inquiry is kept; after it, descry purge GALLERY --expired removes the inquiry. With no
    inquiry named, list all with their dates.

    Args:
        inquiry: name of the inquiry.
        until: a day, as 2027-01-31, or never to keep it until it is purged by name.
    """
    if bool(inquiry) != bool(until):
        raise UsageError(
            "name an inquiry and a day, as descry keep GALLERY NAME --until 2027-01-31; or neither, for a list"
        )
    with kept(gallery) as (_, store):
        if inquiry:
            store.keep_until(inquiry, None if until == "never" else day(until, "--until"))
        rows = [store.about(inquiry)] if inquiry else store.abouts()
    lines = [
        f"{one_line(about.name)}: kept until {about.keep_until or 'purged'} ({counted(about.rounds, 'round')}, "
        f"{counted(about.findings, 'finding')}, last used {about.touched[:10]})"
        for about in rows
    ]
    told = [about.to_json() for about in rows]
    return emit(json_, told[0] if inquiry else told, *lines or ["no inquiry yet"])


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
            return _tell_removed(removing.finish(opened, store), gallery, json_)
        until = day(before, "--before") if before else None
        today = datetime.now(UTC).date() if expired else None
        plan = removing.plan(opened, store, inquiry, item, until, today)
        if plan.untimed:
            what = f"{counted(plan.untimed, 'item')} of unknown time may be older"
            print(f"note: {what}; --before reaches none of them, --item does", file=sys.stderr)
        if dry_run:
            return _would_remove(replace(plan, crops=0) if keep_crops else plan, json_)
        return _tell_removed(removing.run(opened, store, plan, crops=not keep_crops), gallery, json_)


def _would_remove(plan: Any, as_json: bool) -> int:
    told = plan.to_json()
    lines = [f"would remove the inquiry {name!r}" for name in told["inquiries"]]
    for row in told["rounds"]:
        lines.append(f"would remove round {row['number']} of {row['inquiry']!r}: asked with a picture of such an item")
    counts = [
        counted(told[key], noun) for key, noun in (("items", "item"), ("findings", "finding"), ("days", "day key"))
    ]
    counts += [counted(plan.crops, "crop file")] if plan.crops else []
    return emit(as_json, told, *lines, f"would remove {', '.join(counts)}")


def _tell_removed(done: Any, gallery: str, as_json: bool) -> int:
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


def audit_verify(gallery: tyro.conf.Positional[str], /, head: str = "", json_: Json = False) -> int:
    """Check whether the account of a gallery was changed. Exit status 5 if it was.

    Args:
        gallery: a folder made by descry index, the address of a PostgreSQL store, or a file that descry audit export
            wrote.
        head: the head that an earlier export showed; only with it can a rewritten account be noticed.
    """
    verdict = _account(gallery).verify(head)
    if Path(gallery).is_file() and not verdict.lines and not verdict.faults:
        raise UsageError(f"{gallery} holds no line of an account; name a gallery, or a file of descry audit export")
    emit(json_, verdict.to_json(), *(f"line {fault.line} {fault.what}" for fault in verdict.faults))
    if json_:
        return 0 if verdict.ok else IndexCorrupt.exit_status
    if verdict.torn:
        print("the file ends in the middle of a line, which was not read; export the account again", file=sys.stderr)
    if verdict.ok:
        print(
            f"{counted(verdict.lines, 'line')}, each as it was written",
            f"head of the account: {verdict.head}",
            sep="\n",
        )
        if not head:
            print("whether all of it was written anew, only the --head of an export can tell", file=sys.stderr)
    return 0 if verdict.ok else IndexCorrupt.exit_status


def audit_export(
    gallery: GalleryStore,
    /,
    out: Annotated[OutFile, tyro.conf.arg(aliases=["-o"])],
    json_: Json = False,
) -> int:
    """Copy the account of a gallery to a file and show its head. Keep the head somewhere else.

    Args:
        out: the file to write, JSON lines.
    """
    from ..gallery.gallery import outside

    account = _account(gallery)
    if account.exported:
        raise UsageError(f"{gallery} is an exported account already; name a gallery")
    outside(out, gallery)
    data, head = account.export()
    write(out, data)
    lines = data.count(b"\n")
    value = {"out": str(out), "lines": lines, "audit_head": head}
    return emit(json_, value, f"{out}: {counted(lines, 'line')}", f"head of the account: {head}")


def _account(gallery: str) -> Any:
    from ..gallery.account import Audit

    refuse_address(gallery)
    place = Path(gallery)
    if not address_of(gallery) and not place.is_file() and not (place / "gallery.json").is_file():
        raise UsageError(f"{gallery} is neither a gallery nor an exported account; name a folder made by descry index")
    return Audit(gallery)


def refuse_address(gallery: str) -> None:
    """UsageError for a Milvus store: inquiries and the account stay where it came from."""
    if (address := address_of(gallery)).startswith("milvus"):
        raise UsageError(
            f"{address} is a Milvus store, which keeps no inquiries and no account; name the folder of the "
            "local gallery that it was migrated from"
        )


def write(out: Path, data: bytes) -> None:
    """Write what was exported. UsageError for a place that cannot be written to."""
    try:
        write_whole(out, data)
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written ({error.strerror}); name a file in a folder that you can write to"
        ) from None


@contextmanager
def kept(gallery: str) -> Iterator[tuple[Any, Any]]:
    """The gallery and its inquiries, without a model. Says on stderr when a purge was interrupted."""
    from .. import purge
    from ..gallery import Gallery
    from ..interact.store import InquiryStore

    refuse_address(gallery)
    with Gallery.open(gallery) as opened:
        if purge.pending(opened.path):
            print(f"note: a purge was interrupted; finish it with descry purge {gallery}", file=sys.stderr)
        yield opened, InquiryStore(opened.store.database)


def one_line(text: str) -> str:
    """A text that a person wrote, on one line: a space where it had an end of line."""
    from ..escape import plain

    return " ".join(plain(text).split())
