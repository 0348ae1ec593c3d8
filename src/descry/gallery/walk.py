"""What is in the folders, and how it differs from what the gallery knows. Reads directory entries, no picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, UsageError
from ..images import SUFFIXES, VIDEO_SUFFIXES
from .guard import videos_in

if TYPE_CHECKING:
    from .local import LocalStore

GRAIN = 2_000_000_000
OWN_FILES = ("gallery.json", "gallery.db")


@dataclass(frozen=True, slots=True)
class Found:
    """A file as the directory shows it. size: bytes. mtime: nanoseconds. number: the item of that path, 0 for none."""

    path: str
    size: int
    mtime: int
    number: int = 0


@dataclass
class Plan:
    """What indexing has to do. fresh: new or changed files, in order. touched: known files whose time alone may differ.

    still: files that were skipped before and have not changed, with the reason. gone: ids by path of files that are not
    there any more. unchanged: how many need nothing. foreign: files that are no pictures by their name.
    """

    fresh: list[Found] = field(default_factory=list)
    still: list[tuple[str, str]] = field(default_factory=list)
    gone: dict[str, int] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    unchanged: int = 0
    foreign: int = 0


def files_under(folder: str, exclude: Sequence[str] = ()) -> Iterator[os.DirEntry[str]]:
    """Files below a folder in a fixed order; folders that are galleries, hidden entries and excluded globs left out."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda e: os.fsencode(e.name))
    if all(any(e.name == own for e in listed) for own in OWN_FILES):
        return
    for entry in listed:
        if entry.name.startswith(".") or any(fnmatch(entry.path, g) or fnmatch(entry.name, g) for g in exclude):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from files_under(entry.path, exclude)
        elif entry.is_file():
            yield entry


def roots_of(folders: Iterable[str | Path]) -> list[str]:
    """Absolute folders, without those inside others; DataError for one that is not there."""
    roots: list[str] = []
    for folder in folders:
        if not os.path.isdir(folder):
            raise DataError(
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


def plan(store: LocalStore, roots: Sequence[str], exclude: Sequence[str] = (), shard: tuple[int, int] = (1, 1)) -> Plan:
    """Compare the folders with the store. DataError when a folder holds no picture file at all.

    shard: (i, n), only the i-th of n parts of the files, which may be none; items of the other parts stay as they are.

    A file counts as unchanged when size and time are the same and the time is older than the moment it was read by more
    than the clock's grain; otherwise its content decides.
    """
    if not 1 <= shard[0] <= shard[1]:
        raise UsageError(f"shard {shard[0]}/{shard[1]} was given; the first number runs from 1 to the second")
    known = _known(store, "items", "id", roots, shard)
    skipped = _known(store, "skipped", "reason", roots, shard)
    out = Plan()
    for root in roots:
        seen = 0
        for entry in files_under(root, exclude):
            if not entry.name.lower().endswith(SUFFIXES):
                out.foreign += 1
                continue
            seen += 1
            if in_shard(entry.path, shard):
                _sort(entry, known, skipped, out)
        if not seen:
            raise DataError(
                f"{root} holds no picture files ({', '.join(SUFFIXES)}); is it the right folder, and is "
                f"its disk mounted?{videos_in(root, VIDEO_SUFFIXES)} Nothing was changed"
            )
    out.gone = {path: int(row[0]) for path, row in known.items()}
    out.forgotten = list(skipped)
    return out


def _sort(entry: os.DirEntry[str], known: dict[str, tuple], skipped: dict[str, tuple], out: Plan) -> None:
    try:
        stat = entry.stat()
    except OSError:  # it went away since the folder was listed
        return
    old = known.pop(entry.path, None)
    bad = skipped.pop(entry.path, None)
    row = old or bad
    if row and row[1:3] == (stat.st_size, stat.st_mtime_ns) and stat.st_mtime_ns + GRAIN < row[3]:
        if old:
            out.unchanged += 1
        else:
            out.still.append((entry.path, str(row[0])))
        return
    out.fresh.append(Found(entry.path, stat.st_size, stat.st_mtime_ns, int(old[0]) if old else 0))


def _known(
    store: LocalStore, table: str, column: str, roots: Sequence[str], shard: tuple[int, int]
) -> dict[str, tuple]:
    out: dict[str, tuple] = {}
    with store.database.reading() as connection:
        for root in roots:
            prefix = os.fsencode(root.rstrip(os.sep) + os.sep)
            sql = f"SELECT path, {column}, size, mtime, checked FROM {table} WHERE path >= ? AND path < ?"
            rows = connection.execute(sql, (prefix, prefix[:-1] + bytes([prefix[-1] + 1])))
            named = ((os.fsdecode(path), tuple(rest)) for path, *rest in rows)
            out |= {path: rest for path, rest in named if in_shard(path, shard)}
    return out
