"""What keeps a gallery in order: what it holds in numbers, whether every byte is as written, and moved pictures."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DescryError, UsageError
from .contract import Entry, Fault, from_microseconds
from .database import ENTRY, ITEM, NAME, SKIP, below, entry_of, seal_of
from .vectors import ROWS

if TYPE_CHECKING:
    from .local import LocalStore

LIMIT = 100
"""Most faults that `verify` names."""


def overview(store: LocalStore) -> dict[str, Any]:
    """Items, cameras with counts (the fifty largest), times, skipped files by reason, size, model: plain values."""
    with store.database.reading() as connection:
        state = store.database.state()
        cameras = connection.execute("SELECT camera, count(*) FROM items GROUP BY camera ORDER BY 2 DESC, 1 LIMIT 50")
        first, last = connection.execute("SELECT min(time), max(time) FROM items").fetchone()
        tracks = connection.execute(  # a track belongs to its camera
            "SELECT count(*) FROM (SELECT DISTINCT camera, track FROM items WHERE track != '') AS tracks"
        ).fetchone()[0]
        reasons = connection.execute("SELECT reason, count(*) FROM skipped GROUP BY reason ORDER BY 2 DESC, 1")
        span = [t.isoformat() if t else "" for t in (from_microseconds(first), from_microseconds(last))]
        facts: dict[str, Any] = {
            "items": state.count,
            "cameras": {name: n for name, n in cameras.fetchall() if name or n < state.count},
            "tracks": tracks,
            "from": span[0],
            "to": span[1],
            "skipped": dict(reasons.fetchall()),
        }
    binding = store.binding
    return facts | {
        "bytes": store.size(),
        "commits": state.generation,
        "created": store.config["created"],
        "model": binding.source,
        "fingerprint": binding.fingerprint,
        "dimension": binding.dimension,
        "preprocessing": binding.preprocessing,
    }


def content_digest(store: LocalStore) -> str:
    """SHA-256 (hex) over number, content, camera, track and time of every item: what a search was made among.

    Where the pictures lie does not count, and nothing of an item can be read from it.
    """
    made = hashlib.sha256()
    with store.database.reading() as connection:
        for row in connection.execute("SELECT id, sha, camera, track, time FROM items ORDER BY id"):
            made.update(repr(row).encode())
    return made.hexdigest()


# ---------------------------------------------------------------------------------- every byte


def verify(store: LocalStore) -> list[Fault]:
    """Up to a hundred faults; an empty list says that every item and vector is the one that was written."""
    faults: list[Fault] = []
    try:
        state = store.database.check_head()
        with store.database.reading() as connection:
            broken = [r[0] for r in connection.execute(f"PRAGMA integrity_check({LIMIT})") if r[0] != "ok"]
            faults += [Fault(NAME, text) for text in broken]
            if not faults:
                faults += [Fault(NAME, text) for text in store.rows.verify(connection)]
                digest, count = _checked_rows(store, connection, faults)
                if (digest, count) != (state.digest, state.count):
                    faults.append(Fault(NAME, f"holds {count} items where {state.count} were written, or others"))
    except (DescryError, sqlite3.DatabaseError, UnicodeDecodeError) as error:
        faults.append(Fault(NAME, str(error)))
    return faults[:LIMIT]


def _checked_rows(store: LocalStore, connection: sqlite3.Connection, faults: list[Fault]) -> tuple[int, int]:
    """XOR of all checksums and the number of items, noting items and vectors that are not what they were."""
    digest = count = 0
    blocks: Iterator[tuple[int, np.ndarray]] = iter(()) if faults else store.rows.all(connection)
    first, block = -1, np.empty((0, 0), np.float16)
    rows = store.rows.extent(connection).rows
    for *values, seal in connection.execute(f"SELECT {ITEM}, seal FROM items ORDER BY row"):
        count += 1
        digest ^= seal_of(*values)
        row, crc = values[10:]
        if seal_of(*values) != seal:
            faults.append(Fault(NAME, f"item {values[0]} does not fit its checksum"))
        elif not 0 <= row < rows:
            faults.append(Fault(NAME, f"item {values[0]} points outside the vectors"))
        else:
            while first + ROWS <= row or first < 0:
                found = next(blocks, None)
                if found is None:
                    break
                first, block = found
            if first <= row < first + len(block) and zlib.crc32(block[row - first]) != crc:
                faults.append(Fault(NAME, f"the vector of item {values[0]} has changed"))
        if len(faults) > LIMIT:
            break
    for *values, seal in connection.execute(f"SELECT {SKIP}, seal FROM skipped"):
        digest ^= seal_of(*values)
        if seal_of(*values) != seal:
            faults.append(Fault(NAME, "the record of a skipped file does not fit its checksum"))
    return digest, count


# -------------------------------------------------------------------------- pictures that moved


@dataclass(frozen=True)
class RelocationReport:
    """moved: items whose file is at the new place. absent: items left as they were, their file is not there or has
    another size. joined: items that had been indexed at the new place meanwhile, now one with the old.
    """

    moved: int
    absent: int
    joined: int


def relocate(store: LocalStore, old: str | Path, new: str | Path) -> RelocationReport:
    """Give every item below the folder `old` its path below `new`, in one commit; ids and vectors stay.

    Raises UsageError when nothing lies below `old`, when none of the files is at the new place, or when another
    picture was indexed under a path that an item would get; then nothing is changed.
    """
    before, after = os.path.abspath(old), os.path.abspath(new)
    if before == after:
        raise UsageError(f"{before} was given twice; name the folder as it was and as it is now")
    # the root of a disk ends in the separator that paths below it begin with
    before, after = before.rstrip(os.sep), after.rstrip(os.sep)
    store.hold()
    there, joined = list[tuple[int, Entry]](), list[int]()
    with store.database.reading() as connection:
        asked = f"SELECT {ENTRY} FROM items WHERE path >= ? AND path < ? ORDER BY id"
        found = [entry_of(row) for row in connection.execute(asked, below(before)).fetchall()]
        if not found:
            raise UsageError(f"no item of {store.folder} lies below {before or os.sep}; {_where(store)}")
        for number, entry in found:
            path = after + entry.path[len(before) :]
            try:
                size = os.stat(path).st_size
            except OSError:
                continue
            if size != entry.size:
                continue
            twin = connection.execute("SELECT id, sha FROM items WHERE path = ?", (os.fsencode(path),)).fetchone()
            if twin and twin[1] != entry.sha:
                raise UsageError(
                    f"{path} is in {store.folder} already, with another content than {entry.path} had; "
                    f"remove one of them: descry gallery delete {store.folder} --item {twin[0]}"
                )
            joined += [twin[0]] if twin else []
            there.append((number, replace(entry, path=path)))
    there = [(number, entry) for number, entry in there if number not in joined]
    if not there:
        raise UsageError(
            f"none of the {len(found)} files is below {after or os.sep}; give the folder that holds them now"
        )
    with store.database.writing() as change:
        for number in joined:
            change.remove(number)
        for number, entry in there:
            change.update(number, entry)
        asked = f"SELECT {SKIP} FROM skipped WHERE path >= ? AND path < ?"
        for name, *rest in change.connection.execute(asked, below(before)).fetchall():
            change.unskip(os.fsdecode(name))
            change.skip(after + os.fsdecode(name)[len(before) :], *rest)
    return RelocationReport(len(there), len(found) - len(there), len(joined))


def _where(store: LocalStore) -> str:
    """Where the pictures lie, to go on from: the folder that the first and the last path share, all share."""
    with store.database.reading() as connection:
        first, last = connection.execute("SELECT min(path), max(path) FROM items").fetchone()
    if first is None:
        return "it holds no items"
    shared = os.path.commonpath([os.path.dirname(os.fsdecode(p)) for p in (first, last)])
    return f"its pictures lie below {shared}"
