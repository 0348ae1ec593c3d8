"""Getting rid of bytes: segments with dead rows are written anew, then named by the database, then the old ones
removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import IndexCorrupt
from . import files, segments

if TYPE_CHECKING:
    from .local import LocalStore

STEP = 8192


def compact(store: LocalStore) -> int:
    """Rewrite segments with dead rows, and the database file; bytes won. The store's lock is held by the caller.

    Killed at any point, the store reads as before or as after: new segments are invisible until the one commit that
    moves the items over, and old ones are swept by the next writer.
    """
    before = store.size()
    with store.database.reading() as connection:
        known = dict(connection.execute("SELECT id, rows FROM segments ORDER BY id").fetchall())
        counted = "SELECT segment, count(*) FROM items GROUP BY segment"
        alive = dict(connection.execute(counted).fetchall())
    stale = [n for n, rows in known.items() if alive.get(n, 0) < rows]
    if stale:
        moved, sizes = _rewrite(store, stale, known)
        with store.database.writing() as change:
            for number, place in moved:
                change.relocate(number, place)
            for number in stale:
                change.segment(number, None)
            for number, rows in sizes.items():
                change.segment(number, rows)
        for number in stale:
            _unlink(store, number)
        files.sync_folder(store.folder)
    _fold(store)
    return before - store.size()


def _rewrite(
    store: LocalStore, stale: list[int], known: dict[int, int]
) -> tuple[list[tuple[int, tuple[int, int]]], dict[int, int]]:
    dimension = store.binding.dimension
    number, used, limit = max(known) + 1, 0, segments.capacity(dimension)
    moved: list[tuple[int, tuple[int, int]]] = []
    sizes: dict[int, int] = {}
    for old in stale:
        block = segments.view(store.folder, old, known[old], dimension)
        with store.database.reading() as connection:
            rows = connection.execute("SELECT row, id FROM items WHERE segment = ? ORDER BY row", (old,)).fetchall()
        if rows and rows[-1][0] >= len(block):
            raise IndexCorrupt(f"{store.folder}: items point outside {segments.name_of(old)}; run descry verify")
        for i in range(0, len(rows), STEP):
            part = rows[i : i + STEP]
            vectors = block[np.array([r for r, _ in part])]
            while part:
                if used >= limit:
                    number, used = number + 1, 0
                fits = min(len(part), limit - used)
                segments.append(store.folder, number, used, vectors[:fits])
                moved += [(item, (number, used + j)) for j, (_, item) in enumerate(part[:fits])]
                part, vectors, used = part[fits:], vectors[fits:], used + fits
                sizes[number] = used
    return moved, sizes


def _unlink(store: LocalStore, number: int) -> None:
    path = store.folder / segments.name_of(number)
    try:
        path.unlink(missing_ok=True)
    except PermissionError:  # Windows keeps a file that a reader has mapped; the next writer sweeps it up
        return


def _fold(store: LocalStore) -> None:
    """Give free pages of the database back and empty its log, so that removed paths are on no page any more."""
    with store.database._translated():
        connection = store.database.connection()
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
