"""Removing for good: inquiries, items, and everything before a date; so that no byte of them is left in the folder.

What goes: sketches, words, marks, results, notes and keys; vectors, paths and content hashes. One transaction removes
them, overwrites their vectors and adds the account's line, so that a purge is done or was not begun. Then every page
that held them is written anew and the log is emptied; a purge that was killed or disturbed there goes on with `finish`.
Crop files that descry crop cut go first, with their rows in its table: killed after that, the items are still there to
be purged. What stays: the account's lines, which say that something was searched and purged, and after that nothing
more. Copies, backups, footage and your own pictures are not removed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import audit
from ..audit import Audit
from ..errors import DescryError, Locked
from ..footage import cropping
from ..gallery import Gallery
from ..gallery.database import NAME, database_at
from ..interact import absence, erasing
from ..interact.store import InquiryStore
from ..safe_files import address_of, json_of
from .planning import Plan, crops_of, plan

__all__ = ["Done", "Plan", "everything", "finish", "items", "pending", "plan", "run"]

BESIDE = (absence.FILE, "page.key")


@dataclass(frozen=True, slots=True)
class Done:
    """What went. head: of the account, after the line that says so. still_on_disk: pictures of purged items whose
    files still lie where they were indexed; the next `descry index` there would bring them back. crops: files deleted
    that descry crop cut."""

    inquiries: int
    items: int
    rounds: int
    findings: int
    days: int
    still_on_disk: int
    head: str = ""
    crops: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run(gallery: Gallery, store: InquiryStore, chosen: Plan, crops: bool = True) -> Done:
    """Remove what `plan` named. crops: delete the crop files that descry crop cut, too.

    Raises Locked when another process writes the gallery (nothing was removed) or still reads it (all is removed, and
    `finish` goes on with the bytes).
    """
    refs = {name: store.about(name).ref for name, _ in chosen.rounds}
    whole = gallery.items(chosen.items)
    counts = {
        "items": len(whole),
        "rounds": len(chosen.rounds),
        "findings": chosen.findings,
        "days": chosen.days,
    }
    held, database = gallery.store.held, gallery.store.database
    if chosen.items:
        gallery.store.hold()
    try:
        cut = crops_of(whole) if crops else {}
        deleted = sum(cropping.remove(folder, paths) for folder, paths in cut.items())
        with database.writing() as change:
            rounds = [(refs[name], n) for name, n in chosen.rounds]
            erasing.erase(InquiryStore(database), chosen.refs, chosen.items, rounds, chosen.before)
            if chosen.items:
                gallery.store.delete(chosen.items)
            now = {"gallery": audit.content(gallery.store)} if chosen.items else {}
            line = Audit(database).append(
                "purge", id=secrets.token_hex(8), inquiries=list(chosen.refs), **counts, **now
            )
            change.note(purging=1)
        _scrub(gallery, bool(chosen.items))
    finally:
        if not held:
            gallery.store.release()
    still = sum(os.path.isfile(item.path) for item in whole)
    return Done(len(chosen.refs), **counts, still_on_disk=still, head=line.head, crops=deleted)


def items(gallery: Gallery, ids: Collection[int]) -> int:
    """Remove items for good, as `run` does; how many there were. A Milvus store removes them by itself."""
    if "compact" not in gallery.store.capabilities:
        return gallery.purge(ids, record=False)
    store = InquiryStore(gallery.path)
    try:
        there = [item.id for item in gallery.items(sorted(ids))]
        return run(gallery, store, plan(gallery, store, items=there), crops=False).items if there else 0
    finally:
        store.close()


def everything(gallery: Gallery) -> None:
    """Remove a whole gallery: its own files, its inquiries and its account. The pictures are not touched. Raises
    Locked, with nothing removed, while another process writes it."""
    if "compact" in gallery.store.capabilities:
        gallery.store.hold()
        # first what was searched for: killed after it, there is still a gallery to be removed
        InquiryStore(gallery.store.database).clear()
        for name in BESIDE:
            (gallery.path / name).unlink(missing_ok=True)
    gallery.erase()


def pending(folder: str | Path) -> bool:
    """Whether bytes of what a purge removed may still be in the files of this gallery."""
    if not address_of(folder) and not (Path(folder) / NAME).exists():
        return False
    try:
        database = database_at(folder)
    except DescryError:  # whoever opens the gallery is told
        return False
    try:
        return bool(database.state().purging)
    finally:
        database.close()


def finish(gallery: Gallery, store: InquiryStore) -> Done | None:
    """Go on with a purge whose bytes are not gone yet; None when there is none. Raises Locked."""
    if not gallery.store.database.state().purging:
        return None
    held = gallery.store.held
    gallery.store.hold()
    try:
        _scrub(gallery)
    finally:
        if not held:
            gallery.store.release()
    account = Audit(gallery.store.database)
    said: dict[str, Any] = next(filter(None, map(_purged, reversed(account.read().splitlines()))), {})
    counts = {name: int(said.get(name, 0)) for name in ("items", "rounds", "findings", "days")}
    head = f"{said['n']}:{said['hash']}" if said else account.head()
    return Done(len(said.get("inquiries", ())), **counts, still_on_disk=0, head=head)


def _purged(line: bytes) -> dict[str, Any]:
    """The facts of an account's line about a purge; {} for any other, and for one that descry did not write."""
    try:
        row = json_of(line)
    except ValueError:
        return {}
    if not isinstance(row, dict) or row.get("what") != "purge" or not isinstance(row.get("inquiries"), list):
        return {}
    numbers = ("n", "items", "rounds", "findings", "days")
    whole = all(type(row.get(name)) is int for name in numbers) and isinstance(row.get("hash"), str)
    return row if whole else {}


def _scrub(gallery: Gallery, items: bool = True) -> None:
    """Leave no byte of what was removed in any file of the gallery."""
    database = gallery.store.database
    if items:
        gallery.store.compact()
    else:
        database.scrub()
    if not database.folded:
        raise Locked(
            f"{gallery.path} is being read by another process, so that removed bytes are still in its log; stop it "
            f"(the page, a search), then run descry purge {gallery.path} to finish"
        )
    with database.writing() as change:
        change.note(purging=0)
