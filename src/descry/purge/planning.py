"""What a purge would remove: looked up, counted, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np

from .. import images
from ..errors import DescryError, ImageRejected, UsageError
from ..footage import cropping
from ..footage.origin import origin_of
from ..gallery import Gallery
from ..gallery.contract import Item, microseconds
from ..gallery.groups import near
from ..gallery.reading import as_indexed
from ..interact import erasing
from ..interact.store import InquiryStore


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
    known = {about.name: about for about in erasing.abouts(store)}
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
    chosen = sorted({*_known_items(gallery, items), *(_items_before(gallery, before) if before else ())})
    refs = tuple(known[name].ref for name in names)
    rounds = [(name, n) for name, n in _asked_with(gallery, store, chosen) if name not in names]
    counts = erasing.findings_on(store, refs, set(chosen)), erasing.days_before(store, day) if day else 0
    crops = sum(map(len, crops_of(gallery.items(chosen)).values()))
    untimed = _untimed(gallery) if before else 0
    return Plan(tuple(names), tuple(chosen), tuple(rounds), *counts, day, refs, crops, untimed)


def crops_of(items: Iterable[Item]) -> dict[str, list[str]]:
    """The files of items that `descry crop` cut and that are as they were indexed: folder of crops → paths in it.

    Also those that are gone though the table still names them, as after a purge that was killed. Never a link, never a
    file outside the folders that this user named.
    """
    out: dict[str, list[str]] = {}
    for item in items:
        path = Path(item.path)
        place = next((above for above in list(path.parents)[:3] if (above / cropping.TABLE).is_file()), None)
        if place is None or path.is_symlink() or origin_of(item.path) is None:
            continue
        states = place / cropping.STATE
        if states.is_symlink() or not (states / "settings.json").is_file():
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
    except FileNotFoundError:
        return True
    except OSError:  # a disk that is away, or a folder that may not be read
        return False
    return False


def _known_items(gallery: Gallery, items: Sequence[int]) -> list[int]:
    found = {item.id for item in gallery.items(items)}
    missing = [i for i in items if i not in found]
    if missing:
        raise UsageError(f"the gallery holds no item {missing[0]}; ids are shown beside every result")
    return sorted(found)


def _items_before(gallery: Gallery, before: date) -> list[int]:
    until = microseconds(datetime.combine(before, time()))
    with gallery.store.database.reading() as connection:
        return [i for (i,) in connection.execute("SELECT id FROM items WHERE time < ? ORDER BY id", (until,))]


def _untimed(gallery: Gallery) -> int:
    with gallery.store.database.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM items WHERE time IS NULL").fetchone()[0])


def _asked_with(gallery: Gallery, store: InquiryStore, items: Sequence[int]) -> list[tuple[str, int]]:
    """Rounds asked with a picture that is nearly the same as one of the items: an item can be used as an example."""
    looks = np.array([item.look for item in gallery.items(items)], np.uint64)
    size = tuple(gallery.binding.preprocessing.get("size", (256, 128)))
    shas = set()
    for sha, picture in erasing.pictures(store):
        try:
            if near(looks, images.load(picture, size)):
                shas.add(sha)
        except DescryError:
            continue  # what is no picture was searched with by a model that reads other things; it is no item's
    return erasing.rounds_with(store, shas) if shas else []
