"""Reading every byte that an answer depends on, and comparing it with what was written."""

from __future__ import annotations

import sqlite3
import zlib
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DescryError
from . import segments
from .contract import Fault
from .rows import ITEM, SKIP, seal_of

if TYPE_CHECKING:
    from .local import LocalStore

LIMIT = 100


def verify(store: LocalStore) -> list[Fault]:
    """Up to a hundred faults; an empty list says that every item and vector is the one that was written."""
    faults: list[Fault] = []
    try:
        state = store.database.check_head()
        with store.database.reading() as connection:
            broken = [r[0] for r in connection.execute(f"PRAGMA integrity_check({LIMIT})") if r[0] != "ok"]
            faults += [Fault("items.db", text) for text in broken]
            if not faults:
                faults += _segments(store, connection)
                digest, count = _rows(store, connection, faults)
                if (digest, count) != (state.digest, state.count):
                    faults.append(Fault("items.db", f"holds {count} items where {state.count} were written, or others"))
    except (DescryError, sqlite3.DatabaseError, UnicodeDecodeError) as error:
        faults.append(Fault("items.db", str(error)))
    return faults[:LIMIT]


def _segments(store: LocalStore, connection: sqlite3.Connection) -> list[Fault]:
    faults = []
    for number, rows in connection.execute("SELECT id, rows FROM segments"):
        try:
            segments.view(store.folder, number, rows, store.binding.dimension)
        except FileNotFoundError:
            faults.append(Fault(segments.name_of(number), "is missing"))
        except DescryError as error:
            faults.append(Fault(segments.name_of(number), str(error)))
    return faults


def _rows(store: LocalStore, connection: sqlite3.Connection, faults: list[Fault]) -> tuple[int, int]:
    """XOR of all seals and the number of items, noting rows and vectors that are not what they were."""
    digest = count = 0
    blocks: dict[int, np.ndarray] = {}
    bad = {f.where for f in faults}
    for number, rows, seal in connection.execute("SELECT id, rows, seal FROM segments"):
        digest ^= seal_of("segment", number, rows)
        if seal_of("segment", number, rows) != seal:
            faults.append(Fault("items.db", f"the entry of {segments.name_of(number)} does not bear its seal"))
        if segments.name_of(number) not in bad:
            blocks[number] = segments.view(store.folder, number, rows, store.binding.dimension)
    for *row, seal in connection.execute(f"SELECT {ITEM}, seal FROM items ORDER BY segment, row"):
        count += 1
        digest ^= seal_of(*row)
        if seal_of(*row) != seal:
            faults.append(Fault("items.db", f"item {row[0]} does not bear its seal"))
            continue
        segment, place, crc = row[10:]
        if segments.name_of(segment) in bad:
            continue
        if segment not in blocks or place >= len(blocks[segment]):
            faults.append(Fault("items.db", f"item {row[0]} points outside the vectors"))
        elif zlib.crc32(blocks[segment][place]) != crc:
            faults.append(Fault(segments.name_of(segment), f"the vector of item {row[0]} has changed"))
        if len(faults) > LIMIT:
            break
    for *row, seal in connection.execute(f"SELECT {SKIP}, seal FROM skipped"):
        digest ^= seal_of(*row)
        if seal_of(*row) != seal:
            faults.append(Fault("items.db", "the record of a skipped file does not bear its seal"))
    return digest, count
