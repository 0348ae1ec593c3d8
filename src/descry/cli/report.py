"""descry report, finding, keep: what is said of an inquiry, and how long it is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import UsageError, nearest
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
        store = InquiryStore(opened.path)
        try:
            yield opened, store
        finally:
            store.close()


def one_line(text: str) -> str:
    """A text that a person wrote, on one line: a space where it had an end of line."""
    from ..escape import plain

    return " ".join(plain(text).split())
