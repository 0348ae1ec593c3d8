"""What is in the folders, and how it differs from what the gallery knows. Reads directory entries, no picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import DataError, DataMissing, UsageError
from ..images import SUFFIXES, VIDEO_SUFFIXES
from ..listing import LINKED, Missed, files_under, unnamed
from .contract import mtime_of
from .database import below
from .guard import videos_in

if TYPE_CHECKING:
    from .local import LocalStore

GRAIN = 2_000_000_000
LASTING = ("corrupt", "too_small")
"""Reasons of a skip that last as long as the file is the same; others (rights, limits, formats) are tried again."""
NOBODY = "nobody"
"""Reason of a skip of pictures without people; it lasts as long as such pictures are to be left out."""


class Found(NamedTuple):
    """A file as the directory shows it. size: bytes. mtime: nanoseconds. number: the item of that path, 0 for none."""

    path: str
    size: int
    mtime: int
    number: int = 0


@dataclass
class Plan:
    """What indexing has to do.

    Attributes:
        fresh: new or changed files, in order, and skipped ones that are tried again.
        same: known files that have not changed, of which only camera, time and track may be read anew.
        still: files that were skipped before and have not changed, with the reason.
        missed: what is not read because of its name or kind, or could not be listed.
        newly: those of them that were not known with that reason.
        gone: ids by path of files that are not there any more.
        forgotten: paths that were skipped and are not there any more.
    """

    fresh: list[Found] = field(default_factory=list)
    same: list[Found] = field(default_factory=list)
    still: list[tuple[str, str]] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
    newly: list[Missed] = field(default_factory=list)
    gone: dict[str, int] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)

    @property
    def unchanged(self) -> int:
        """How many files need nothing."""
        return len(self.same)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of all that is known beforehand not to be read."""
        return [*self.still, *((m.path, f"{m.reason}: {m.detail}") for m in self.missed)]


def roots_of(folders: Iterable[str | Path]) -> list[str]:
    """Absolute folders, without those inside others; DataError for one that is not there."""
    roots: list[str] = []
    for folder in folders:
        if not os.path.isdir(folder):
            raise DataMissing(
                f"there is no folder {folder}; name a folder of crops (pictures cut out around one person each)"
            )
        roots.append(os.path.abspath(folder))
    kept: list[str] = []
    for root in sorted(set(roots), key=len):
        if not any(inside(root, other) for other in kept):
            kept.append(root)
    return sorted(kept)


def inside(path: str, root: str) -> bool:
    """Whether a path is a root or lies below it."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def in_shard(path: str, shard: tuple[int, int]) -> bool:
    """Whether a file belongs to the i-th of n parts: by a hash of its path, the same on every machine."""
    if shard[1] == 1:
        return True
    number = int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:8], "big")
    return number % shard[1] == shard[0] - 1


def plan(
    store: LocalStore,
    roots: Sequence[str],
    exclude: Sequence[str] = (),
    shard: tuple[int, int] = (1, 1),
    links: bool = False,
    lasting: Sequence[str] = LASTING,
) -> Plan:
    """Compare the folders with the store. DataError when a folder holds no picture file at all.

    shard: (i, n), only the i-th of n parts of the files, which may be none; items of the other parts stay as they are.
    links: enter linked folders too. lasting: reasons of skips that last as long as the file is the same.

    A file counts as unchanged when size and time are the same and the time is older than the moment it was read by more
    than the clock's grain; otherwise its content decides. Nothing below a folder that cannot be listed counts as gone.
    """
    if not all(type(n) is int for n in shard) or not 1 <= shard[0] <= shard[1]:
        raise UsageError(f"shard {shard[0]}/{shard[1]} was given; the first number runs from 1 to the second")
    known = _known(store, "items", "id", roots, shard)
    skipped = _known(store, "skipped", "reason", roots, shard)
    out = Plan()
    missed: list[Missed] = []
    for root in roots:
        seen = 0
        for entry in files_under(root, exclude, missed, links):
            if not entry.name.lower().endswith(SUFFIXES):
                if not entry.name.lower().endswith(".csv"):  # a table of cameras and times beside its pictures
                    missed.append(unnamed(entry.path))
                continue
            seen += 1
            if in_shard(entry.path, shard):
                _sort(entry, known, skipped, out, lasting)
        if missed and missed[-1].path == root:
            if not any(inside(path, root) for path in known):
                raise DataError(f"{root}: {missed[-1].detail}. Nothing was changed")
        elif not seen and not any(m.folder for m in missed if inside(m.path, root)):
            raise DataError(
                f"{root} holds no picture files ({', '.join(SUFFIXES)}); is it the right folder, and is "
                f"its disk mounted?{videos_in(root, VIDEO_SUFFIXES)} Nothing was changed"
            )
    missed = [replace(m, detail=f"{LINKED}; add --links (links=True)") if m.detail == LINKED else m for m in missed]
    # an empty folder is only told where something was read in it: a disk that is not mounted, perhaps
    held = [m for m in missed if m.reason != "empty" or any(inside(path, m.path) for path in known)]
    folders = [m.path for m in (*held, *out.missed) if m.folder]
    out.missed = [m for m in (*held, *out.missed) if in_shard(m.path, shard)]
    out.gone = {path: int(row[0]) for path, row in known.items() if not _kept(path, folders)}
    named = {m.path for m in out.missed}
    out.newly = [m for m in out.missed if m.path not in skipped or skipped[m.path][0] != m.reason]
    out.forgotten = [path for path in skipped if path not in named and not _kept(path, folders)]
    return out


def _kept(path: str, folders: Sequence[str]) -> bool:
    return any(inside(path, folder) for folder in folders)


def _sort(
    entry: os.DirEntry[str],
    known: dict[str, tuple[Any, ...]],
    skipped: dict[str, tuple[Any, ...]],
    out: Plan,
    lasting: Sequence[str],
) -> None:
    try:
        stat = entry.stat()
    except OSError as error:  # it went away since the folder was listed, or its disk did
        if entry.path in known and not isinstance(error, FileNotFoundError):
            out.missed.append(Missed(entry.path, "missing", error.strerror or str(error), True))
        return
    old = known.pop(entry.path, None)
    bad = skipped.pop(entry.path, None)
    row = old or bad
    found = Found(entry.path, stat.st_size, mtime_of(stat), int(old[0]) if old else 0)
    if row and row[1:3] == found[1:3] and found.mtime + GRAIN < row[3]:
        if old:
            out.same.append(found)
            return
        if row[0] in lasting:
            out.still.append((entry.path, str(row[0])))
            return
    out.fresh.append(found)


def _known(
    store: LocalStore, table: str, column: str, roots: Sequence[str], shard: tuple[int, int]
) -> dict[str, tuple[Any, ...]]:
    out: dict[str, tuple[Any, ...]] = {}
    with store.database.reading() as connection:
        for root in roots:
            sql = f"SELECT path, {column}, size, mtime, checked FROM {table} WHERE path >= ? AND path < ?"
            out.update((os.fsdecode(row[0]), row[1:]) for row in connection.execute(sql, below(root)))
    return out if shard[1] == 1 else {path: row for path, row in out.items() if in_shard(path, shard)}
