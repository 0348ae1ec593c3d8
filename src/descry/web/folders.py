"""The folders that the page may choose from: those the server was started with, and what lies below them.

The browser never names a path. It gets ids of what was listed, and gives one back; an id is looked up, and what it
stands for is looked at again before it is used, since a folder may have been replaced by a link meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..gallery.walk import inside
from ..images import SUFFIXES
from ..listing import OWN_FILES, Missed, entries_of, files_under
from .problems import Refusal

SHOWN = 1000
HELD = 50_000
LINKS = 200


@dataclass(frozen=True, slots=True)
class Place:
    """A folder or table that was listed. path: real and absolute. root: the allowed folder it lies in. name: as shown,
    beginning with the name of the root and never with what lies above it.
    """

    path: str
    root: str
    name: str

    @property
    def id(self) -> str:
        """What the browser knows it by."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a folder. above: the way to it from its root. pictures: files that are pictures by their name.
    left_out: folders and tables beyond the most that are shown.
    """

    here: Place | None
    above: list[Place]
    folders: list[Place]
    tables: list[Place]
    pictures: int
    left_out: int


class Folders:
    """roots: folders that may be indexed from the page, with all below them. Raises DataError for one that is not
    there."""

    def __init__(self, roots: Iterable[str | Path] = ()):
        self.roots: list[Place] = []
        self._known: OrderedDict[str, Place] = OrderedDict()
        self._guard = threading.Lock()
        for root in roots:
            if not os.path.isdir(root):
                raise DataError(f"there is no folder {root}; name folders that may be indexed from the page")
            path = os.path.realpath(root)
            if all(path != known.path for known in self.roots):
                self.roots.append(Place(path, path, self._named(path)))

    def _named(self, path: str) -> str:
        name, taken, n = shown(os.path.basename(path) or path.strip("\\/:") or "root"), {r.name for r in self.roots}, 1
        while (name if n == 1 else f"{name} {n}") in taken:
            n += 1
        return name if n == 1 else f"{name} {n}"

    def listed(self, number: str = "") -> Listing:
        """The roots, or what lies in a folder that was listed before. Raises Refusal 404, and 422 for one
        that cannot be listed."""
        if not number:
            return Listing(None, [], self._remember(self.roots), [], 0, 0)
        here = self.folder(number)
        folders, tables, pictures = [], [], 0
        for entry in self._entries(here):
            lower = entry.name.lower()
            if entry.is_dir(follow_symlinks=False):
                folders.append(self._below(here, entry))
            elif lower.endswith(SUFFIXES):
                pictures += 1
            elif lower.endswith(".csv") and entry.is_file(follow_symlinks=False):
                tables.append(self._below(here, entry))
        left_out = max(0, len(folders) - SHOWN) + max(0, len(tables) - SHOWN)
        first = [self._remember(sorted(found, key=lambda p: p.name)[:SHOWN]) for found in (folders, tables)]
        return Listing(here, self._remember(self._above(here)), first[0], first[1], pictures, left_out)

    def folder(self, number: str) -> Place:
        """The folder of an id. Raises Refusal 404 when it was not listed, is gone, or leads out of its root now."""
        return self._checked(number, os.path.isdir)

    def table(self, number: str) -> Place:
        """The CSV file of an id. Raises Refusal 404."""
        return self._checked(number, os.path.isfile)

    def _checked(self, number: str, there: Callable[[str], bool]) -> Place:
        with self._guard:
            place = self._known.get(number)
        real = os.path.realpath(place.path) if place else ""
        if place is None or real != place.path or not inside(real, place.root) or not there(real):
            raise Refusal(404, "not_found", "that folder or table is not there; choose it again from the list")
        return place

    def _remember(self, places: list[Place]) -> list[Place]:
        with self._guard:
            for place in places:
                self._known[place.id] = place
                self._known.move_to_end(place.id)
            while len(self._known) > HELD:
                self._known.popitem(last=False)
        return places

    def _entries(self, here: Place) -> Iterator[os.DirEntry[str]]:
        """Neither hidden entries nor galleries. Raises Refusal 422 for a folder that cannot be listed."""
        missed: list[Missed] = []
        listed = entries_of(here.path, missed)
        if missed:
            raise Refusal(422, "unreadable", f"{here.name}: {missed[0].detail}; check its permissions")
        for entry in listed:
            if not all(os.path.exists(os.path.join(entry.path, own)) for own in OWN_FILES):
                yield entry

    def _below(self, here: Place, entry: os.DirEntry[str]) -> Place:
        return Place(os.path.join(here.path, entry.name), here.root, f"{here.name}/{shown(entry.name)}")

    def _above(self, here: Place) -> list[Place]:
        way, name, path = [], here.name, here.path
        while path != here.root:
            path, name = os.path.dirname(path), name.rpartition("/")[0]
            way.append(Place(path, here.root, name))
        return way[::-1]

    def within(self, path: str) -> str:
        """A path as it may be shown: from its root on, or its last part alone."""
        for root in self.roots:
            if path != root.path and inside(path, root.path):
                return f"{root.name}/{shown(os.path.relpath(path, root.path))}"
        return shown(os.path.basename(path))


def leading_out(place: Place) -> list[str]:
    """Files below a folder that are links to somewhere outside of its root. Raises Refusal 422 when there are many."""
    out = []
    for entry in files_under(place.path):
        if entry.is_symlink() and not inside(os.path.realpath(entry.path), place.root):
            out.append(entry.path)
            if len(out) > LINKS:
                said = f"the folder holds more than {LINKS} links to files outside of it"
                raise Refusal(422, "links", f"{said}; copy those files here, or index it with descry index")
    return out


def shown(name: str) -> str:
    """A name of the file system as text, whatever bytes it holds."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
