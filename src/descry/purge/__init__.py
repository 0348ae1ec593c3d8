"""Removing for good: inquiries, items, and everything before a date; so that no byte of them is left in the folder.

What goes: sketches, words, marks, results, notes and keys (inquiries.db); vectors, paths and content hashes (gallery.db
and vectors.cache). Freed pages are overwritten and both databases written anew. What stays:
the account's lines, which say that something was searched and purged, and after that nothing more.

A journal names what goes, by refs and numbers that tell nothing, before the first byte is touched, and is removed after
the last one: a purge that was killed goes on with `finish`. Copies, backups and the pictures themselves are not here.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import audit
from ..audit import Audit
from ..errors import Locked
from ..gallery import Gallery, files
from ..interact import absence, erasing
from ..interact import store as inquiries
from ..interact.store import InquiryStore
from ..lock import WriterLock
from .planning import Plan, plan

__all__ = ["Done", "Plan", "everything", "finish", "items", "pending", "plan", "run"]

JOURNAL, LOCK = "purge.json", "purge.lock"
BESIDE = (inquiries.FILE, f"{inquiries.FILE}-journal", audit.FILE, audit.LOCK, JOURNAL, LOCK, absence.FILE, "page.key")


@dataclass(frozen=True, slots=True)
class Done:
    """What went. head: of the account, after the line that says so. still_on_disk: pictures of purged items whose
    files still lie where they were indexed; the next `descry index` there would bring them back."""

    inquiries: int
    items: int
    rounds: int
    findings: int
    days: int
    still_on_disk: int
    head: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run(gallery: Gallery, store: InquiryStore, chosen: Plan) -> Done:
    """Remove what `plan` named. An interrupted purge is finished first.

    Raises Locked when another process writes the gallery (nothing was removed) or still reads it (`finish` goes on).
    """
    with _one_at_a_time(gallery):
        _finish(gallery, store)
        journal = _journal(gallery, store, chosen)
        with _writing(gallery, chosen.items):
            files.write_sealed(gallery.path / JOURNAL, journal)
            return _carry_out(gallery, store, journal)


def items(gallery: Gallery, ids: Collection[int]) -> int:
    """Remove items for good, as `run` does; how many there were. A distributed store removes them by itself."""
    if "compact" not in gallery.store.capabilities:
        return gallery.purge(ids, record=False)
    store = InquiryStore(gallery.path)
    try:
        there = [item.id for item in gallery.items(sorted(ids))]
        return run(gallery, store, plan(gallery, store, items=there)).items if there else 0
    finally:
        store.close()


def everything(gallery: Gallery) -> None:
    """Remove a whole gallery: its own files, its inquiries and its account. The pictures are not touched. Raises
    Locked, with nothing removed, while another process writes it."""
    if "compact" in gallery.store.capabilities:
        gallery.store.hold()
        for name in BESIDE:  # first what was searched for: killed after it, there is still a gallery to be removed
            (gallery.path / name).unlink(missing_ok=True)
    gallery.erase()


def pending(folder: str | Path) -> bool:
    """Whether a purge of this gallery was interrupted."""
    return (Path(folder) / JOURNAL).is_file()


def finish(gallery: Gallery, store: InquiryStore) -> Done | None:
    """Go on with an interrupted purge; None when there is none. Raises Locked."""
    if not pending(gallery.path):
        return None
    with _one_at_a_time(gallery):
        return _finish(gallery, store)


def _finish(gallery: Gallery, store: InquiryStore) -> Done | None:
    if not pending(gallery.path):
        return None
    journal = files.read_sealed(gallery.path / JOURNAL)
    with _writing(gallery, journal["items"]):
        return _carry_out(gallery, store, journal)


def _journal(gallery: Gallery, store: InquiryStore, chosen: Plan) -> dict[str, Any]:
    """What is to be done, in refs and numbers, and what will be said of it."""
    refs = {name: store.about(name).ref for name, _ in chosen.rounds}
    whole = gallery.items(chosen.items)
    return {
        "id": secrets.token_hex(8),
        "inquiries": list(chosen.refs),
        "items": list(chosen.items),
        "rounds": [[refs[name], n] for name, n in chosen.rounds],
        "before": chosen.before,
        "counts": {
            "inquiries": len(chosen.refs),
            "items": len(whole),
            "rounds": len(chosen.rounds),
            "findings": chosen.findings,
            "days": chosen.days,
            "still_on_disk": sum(os.path.isfile(item.path) for item in whole),
        },
    }


def _carry_out(gallery: Gallery, store: InquiryStore, journal: dict[str, Any]) -> Done:
    """Every step may be done again; so each killed attempt leaves less to do, and the journal goes last."""
    rounds = [(ref, n) for ref, n in journal["rounds"]]
    erasing.erase(store, journal["inquiries"], journal["items"], rounds, journal["before"])
    if journal["items"]:
        gallery.purge(journal["items"], record=False)
        _no_reader(gallery)
    erasing.scrub(store)
    counts, account = journal["counts"], Audit(gallery.path)
    said = {k: v for k, v in counts.items() if k not in ("inquiries", "still_on_disk")}
    if not account.holds(journal["id"]):
        now = {"gallery": audit.content(gallery.store)} if journal["items"] else {}
        account.append("purge", id=journal["id"], inquiries=journal["inquiries"], **said, **now)
    (gallery.path / JOURNAL).unlink()
    files.sync_folder(gallery.path)
    return Done(**counts, head=account.head())


@contextmanager
def _one_at_a_time(gallery: Gallery) -> Iterator[None]:
    """Two purges at once would take each other's journal away. Raises Locked."""
    lock = WriterLock(gallery.path, LOCK)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(gallery: Gallery, items: Sequence[int]) -> Iterator[None]:
    """The gallery's writer lock while items go, given back unless it was held before."""
    if not items:
        yield
        return
    held = gallery.store.held
    gallery.store.hold()
    try:
        yield
    finally:
        if not held:
            gallery.store.release()


def _no_reader(gallery: Gallery) -> None:
    """Raises Locked when a reader kept the database's log, which may hold old pages, from being emptied."""
    log = gallery.store.database.path.with_name(gallery.store.database.path.name + "-wal")
    if log.is_file() and log.stat().st_size:
        raise Locked(
            f"{gallery.path} is being read by another process, so that removed bytes are still in its log; stop it "
            f"(the page, a search), then run descry purge {gallery.path} to finish"
        )
