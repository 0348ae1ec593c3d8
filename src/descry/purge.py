"""Removing for good: inquiries, items, and everything before a date; so that no byte of them is left in the folder.

What goes: sketches, words, marks, results, notes and keys; vectors, paths and content hashes. One transaction removes
them, overwrites their vectors and adds the account's line, so that a purge is done or was not begun. Then every page
that held them is written anew and the log is emptied; a purge that was killed or disturbed there goes on with `finish`.
Crop files that descry crop cut go first, with their rows in its table: killed after that, the items are still there to
be purged. What stays: the account's lines, which say that something was searched and purged, and after that nothing
more. Copies, backups, footage and your own pictures are not removed.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np

from . import images
from .errors import DescryError, ImageRejected, Locked, UsageError
from .footage import cropping
from .footage.origin import origin_of
from .gallery import Gallery
from .gallery.account import Audit, add_line, content, ref_of
from .gallery.contract import Item, microseconds
from .gallery.database import NAME, Database, database_at
from .gallery.groups import near
from .gallery.reading import as_indexed
from .interact import absence
from .interact.rounds import visits, whole
from .interact.store import InquiryStore, pictures_of
from .listing import TABLE
from .safe_files import address_of, json_of, unread

BESIDE = (absence.FILE, "page.key")


# ------------------------------------------------------------------------------------ what would go


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go. inquiries: names. items: ids. rounds: (inquiry, number) of other inquiries that were asked with a
    picture of such an item, with all made from them. findings, days: how many; a day is the key of one day's searches
    outside inquiries. before: ISO day, "" for none. refs: how the account names the inquiries. crops: files of the
    items that descry crop cut. untimed: items without a time, which no `before` reaches.
    """

    inquiries: tuple[str, ...] = ()
    items: tuple[int, ...] = ()
    rounds: tuple[tuple[str, int], ...] = ()
    findings: int = 0
    days: int = 0
    before: str = ""
    refs: tuple[str, ...] = ()
    crops: int = 0
    untimed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        counted = {"items": len(self.items), "item_ids": list(self.items), "findings": self.findings, "days": self.days}
        counted |= {"crops": self.crops, "items_without_time": self.untimed}
        rounds = [{"inquiry": name, "number": n} for name, n in self.rounds]
        return {"inquiries": list(self.inquiries), **counted, "rounds": rounds}


def plan(
    gallery: Gallery,
    store: InquiryStore,
    inquiries: Sequence[str] = (),
    items: Sequence[int] = (),
    before: date | None = None,
    expired_on: date | None = None,
) -> Plan:
    """What a purge would remove; nothing is changed.

    before: inquiries last worked on before this day (UTC), items whose camera time lies before it, and keys of days
    before it. expired_on: inquiries whose last day to be kept lies before this one. Raises UsageError for an unknown
    name or item, and when nothing was named.
    """
    if not (inquiries or items or before or expired_on):
        raise UsageError(
            "nothing was named; give an inquiry, an item, a date before which all goes, or what is expired"
        )
    known = {about.name: about for about in store.abouts()}
    for name in inquiries:
        store.about(name)
    day = before.isoformat() if before else ""
    names = [
        about.name
        for about in known.values()
        if about.name in inquiries
        or (before and about.touched[:10] < day)
        or (expired_on and about.keep_until and about.keep_until < expired_on.isoformat())
    ]
    dated, untimed, days = _before(gallery.store.database, before) if before else ([], 0, 0)
    chosen = sorted({*_known_items(gallery, items), *dated})
    refs = tuple(known[name].ref for name in names)
    rounds = [(name, n) for name, n in _asked_with(gallery, store, chosen) if name not in names]
    findings = findings_on(store, refs, set(chosen))
    crops = sum(map(len, crops_of(gallery.items(chosen)).values()))
    return Plan(tuple(names), tuple(chosen), tuple(rounds), findings, days, day, refs, crops, untimed)


def crops_of(items: Iterable[Item]) -> dict[str, list[str]]:
    """The files of items that `descry crop` cut and that are as they were indexed: folder of crops → paths in it.

    Also those that are gone though the table still names them, as after a purge that was killed. Never a link, never a
    file outside the folders that this user named.
    """
    out: dict[str, list[str]] = {}
    for item in items:
        path = Path(item.path)
        place = next((above for above in list(path.parents)[:3] if os.path.isfile(above / TABLE)), None)
        if place is None or path.is_symlink() or origin_of(item.path) is None:
            continue
        states = place / cropping.STATE
        if states.is_symlink() or not os.path.isfile(states / "settings.json"):
            continue
        try:
            as_indexed(item)
        except ImageRejected as error:
            if error.reason != "missing" or not _gone(path):
                continue
        out.setdefault(str(place), []).append(path.relative_to(place).as_posix())
    return out


def _gone(path: Path) -> bool:
    try:
        path.lstat()
    except OSError as error:  # another error than "not there": a disk that is away, or a folder that may not be read
        gone: str = unread(path, error)[0]
        return gone == "missing"
    return False


def _known_items(gallery: Gallery, items: Sequence[int]) -> list[int]:
    found = {item.id for item in gallery.items(items)}
    missing = [i for i in items if i not in found]
    if missing:
        raise UsageError(f"the gallery holds no item {missing[0]}; ids are shown beside every result")
    return sorted(found)


def _before(database: Database, day: date) -> tuple[list[int], int, int]:
    """Items whose camera time lies before a day, how many items have no time, and how many days before it still hold a
    key for searches outside inquiries."""
    until = microseconds(datetime.combine(day, time()))
    with database.reading() as db:
        dated = [i for (i,) in db.execute("SELECT id FROM items WHERE time < ? ORDER BY id", (until,))]
        untimed = db.execute("SELECT count(*) FROM items WHERE time IS NULL").fetchone()[0]
        days = db.execute("SELECT count(*) FROM days WHERE day < ?", (day.isoformat(),)).fetchone()[0]
    return dated, int(untimed), int(days)


def _asked_with(gallery: Gallery, store: InquiryStore, items: Sequence[int]) -> list[tuple[str, int]]:
    """Rounds asked with a picture that is nearly the same as one of the items: an item can be used as an example."""
    looks = np.array([item.look for item in gallery.items(items)], np.uint64)
    size = tuple(gallery.binding.preprocessing.get("size", (256, 128)))
    with store._reading():
        pictures = [(sha, store.picture(sha)) for (sha,) in store._db.execute("SELECT sha256 FROM pictures").fetchall()]
    shas = set()
    for sha, picture in pictures:
        try:
            if near(looks, images.load(picture, size)):
                shas.add(sha)
        except DescryError:
            continue  # what is no picture was searched with by a model that reads other things; it is no item's
    return rounds_with(store, shas) if shas else []


# --------------------------------------------------------------------- what is removed of inquiries


def findings_on(store: InquiryStore, refs: Collection[str], items: Collection[int]) -> int:
    """How many findings go with these inquiries and items."""
    with store._reading():
        rows = store._db.execute("SELECT key, item FROM findings JOIN inquiries ON inquiries.id = findings.inquiry")
        return sum(1 for key, item in rows if item in items or ref_of(key) in refs)


def rounds_with(store: InquiryStore, shas: Collection[str]) -> list[tuple[str, int]]:
    """(inquiry, round) of every round asked with one of these pictures, and of those made from it."""
    found: list[tuple[str, int]] = []
    with store._reading():
        for number, name in store._db.execute("SELECT id, name FROM inquiries ORDER BY id").fetchall():
            gone: set[int] = set()
            rows = store._db.execute("SELECT number, data FROM rounds WHERE inquiry = ? ORDER BY number", (number,))
            for n, data in rows:
                if parent_of(n, data) in gone or pictures_of(data) & set(shas):
                    gone.add(n)
            found += [(name, n) for n in sorted(gone)]
    return found


def erase(
    store: InquiryStore, refs: Collection[str], items: Sequence[int], rounds: Sequence[tuple[str, int]], day: str
) -> None:
    """Remove inquiries by their refs, findings by item, rounds as (ref, number), and keys of days before `day` ("" for
    none); all in one transaction. What is gone already does not matter."""
    with store._writing():
        known = {ref_of(key): n for n, key in store._db.execute("SELECT id, key FROM inquiries").fetchall()}
        store._db.executemany("DELETE FROM inquiries WHERE id = ?", [(known[r],) for r in refs if r in known])
        store._db.executemany("DELETE FROM findings WHERE item = ?", [(i,) for i in items])
        store._db.execute("DELETE FROM days WHERE day < ?", (day,))
        for ref in sorted({r for r, _ in rounds} & (set(known) - set(refs))):
            _prune(store, known[ref], {n for r, n in rounds if r == ref})
        store._sweep()


def parent_of(number: int, data: str) -> int:
    """The round from which a stored round was made; 0 where the row is damaged, which then has none."""
    try:
        parent = whole(json_of(data)["parent"])
    except (KeyError, TypeError, ValueError):
        return 0
    return parent if parent < number else 0


def _prune(store: InquiryStore, number: int, gone: set[int]) -> None:
    """Remove rounds of an inquiry; the head goes to the nearest round that stays."""
    db = store._db
    rows = db.execute("SELECT number, data FROM rounds WHERE inquiry = ?", (number,))
    parents = {n: parent_of(n, data) for n, data in rows}
    head, visited = db.execute("SELECT head, visited FROM inquiries WHERE id = ?", (number,)).fetchone()
    while head in gone:
        head = parents.get(head, 0)
    try:
        kept = [(a, b) for a, b in visits(json_of(visited)).items() if a not in gone and b not in gone]
    except (TypeError, ValueError):
        kept = []
    db.executemany("DELETE FROM rounds WHERE inquiry = ? AND number = ?", [(number, n) for n in gone])
    db.execute("UPDATE inquiries SET head = ?, visited = ? WHERE id = ?", (head, json.dumps(kept), number))


# ---------------------------------------------------------------------------------------- the purge


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
            erase(InquiryStore(database), chosen.refs, chosen.items, rounds, chosen.before)
            if chosen.items:
                gallery.store.delete(chosen.items)
            now = {"gallery": content(gallery.store)} if chosen.items else {}
            line = add_line(database, "purge", id=secrets.token_hex(8), inquiries=list(chosen.refs), **counts, **now)
            change.state.purging = 1
        _scrub(gallery, bool(chosen.items))
    finally:
        if not held:
            gallery.store.release()
    still = sum(not _gone(Path(item.path)) for item in whole)
    return Done(len(chosen.refs), **counts, still_on_disk=still, head=line.head, crops=deleted)


def items(gallery: Gallery, ids: Collection[int]) -> int:
    """Remove items for good, as `run` does; how many there were. A Milvus store removes them by itself."""
    if not gallery.store.complete:
        return gallery.purge(ids, record=False)
    store, there = InquiryStore(gallery.store.database), [item.id for item in gallery.items(sorted(ids))]
    return run(gallery, store, plan(gallery, store, items=there), crops=False).items if there else 0


def everything(gallery: Gallery) -> None:
    """Remove a whole gallery: its own files, its inquiries and its account. The pictures are not touched. Raises
    Locked, with nothing removed, while another process writes it."""
    if gallery.store.complete:
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
            f"{gallery.store.folder} is being read by another process, so that removed bytes are still in its log; "
            f"stop it (the page, a search), then run descry purge {gallery.store.folder} to finish"
        )
    with database.writing() as change:
        change.state.purging = 0
