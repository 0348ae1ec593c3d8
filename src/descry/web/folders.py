"""The folders that the page may choose from: those the server was started with, and what lies below them.

The browser never names a path. It gets ids of what was listed, and gives one back; an id is looked up, and what it
stands for is looked at again before it is used, since a folder may have been replaced by a link meanwhile.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..escape import numbered
from ..gallery.walk import inside
from ..images import SUFFIXES
from ..listing import OWN_FILES, Missed, entries_of, files_under
from .limits import Least
from .problems import Refusal
from .shapes import FoldersOut, PlaceOut

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


class Folders:
    """roots: folders that may be indexed from the page, with all below them. Raises DataError for one that is not
    there."""

    def __init__(self, roots: Iterable[str | Path] = ()):
        self.roots: list[Place] = []
        self._known = Least(HELD)  # id → place
        for root in roots:
            if not os.path.isdir(root):
                raise DataError(f"there is no folder {root}; name folders that may be indexed from the page")
            path = os.path.realpath(root)
            if all(path != known.path for known in self.roots):
                name = shown(os.path.basename(path) or path.strip("\\/:") or "root")
                self.roots.append(Place(path, path, numbered(name, {known.name for known in self.roots})))

    def listed(self, number: str = "") -> FoldersOut:
        """The roots, or what lies in a folder that was listed before, without hidden entries and galleries. Raises
        Refusal 404, and 422 for one that cannot be listed."""
        if not number:
            return FoldersOut(here=None, above=[], folders=self._told(self.roots), tables=[], pictures=0, left_out=0)
        here, missed = self.place(number), list[Missed]()
        entries = entries_of(here.path, missed)
        if missed:
            raise Refusal(422, "unreadable", f"{here.name}: {missed[0].detail}; check its permissions")
        folders, tables, pictures = list[Place](), list[Place](), 0
        for entry in entries:
            if all(os.path.exists(os.path.join(entry.path, own)) for own in OWN_FILES):
                continue
            lower = entry.name.lower()
            below = Place(os.path.join(here.path, entry.name), here.root, f"{here.name}/{shown(entry.name)}")
            if entry.is_dir(follow_symlinks=False):
                folders.append(below)
            elif lower.endswith(SUFFIXES):
                pictures += 1
            elif lower.endswith(".csv") and entry.is_file(follow_symlinks=False):
                tables.append(below)
        way = [here]
        while way[0].path != here.root:
            way.insert(0, Place(os.path.dirname(way[0].path), here.root, way[0].name.rpartition("/")[0]))
        *above, last = self._told(way)
        first = [sorted(found, key=lambda place: place.name)[:SHOWN] for found in (folders, tables)]
        return FoldersOut(
            here=last,
            above=above,
            folders=self._told(first[0]),
            tables=self._told(first[1]),
            pictures=pictures,
            left_out=len(folders) - len(first[0]) + len(tables) - len(first[1]),
        )

    def place(self, number: str, there: Callable[[str], bool] = os.path.isdir) -> Place:
        """The folder of an id; the table, if `there` is os.path.isfile. Raises Refusal 404 when it was not listed, is
        gone, or leads out of its root now."""
        place: Place | None = self._known.get(number)
        real = os.path.realpath(place.path) if place else ""
        if place is None or real != place.path or not inside(real, place.root) or not there(real):
            raise Refusal(404, "not_found", "that folder or table is not there; choose it again from the list")
        return place

    def _told(self, places: list[Place]) -> list[PlaceOut]:
        """Places as the browser sees them; it may give them back from now on."""
        return [PlaceOut(id=place.id, name=self._known.put(place.id, place).name) for place in places]

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
