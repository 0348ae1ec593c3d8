"""Reading every byte that an answer depends on, and comparing it with what was written."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DescryError
from .contract import Fault
from .database import ITEM, NAME, SKIP, seal_of
from .vectors import ROWS

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
            faults += [Fault(NAME, text) for text in broken]
            if not faults:
                faults += [Fault(NAME, text) for text in store.rows.verify(connection)]
                digest, count = _rows(store, connection, faults)
                if (digest, count) != (state.digest, state.count):
                    faults.append(Fault(NAME, f"holds {count} items where {state.count} were written, or others"))
    except (DescryError, sqlite3.DatabaseError, UnicodeDecodeError) as error:
        faults.append(Fault(NAME, str(error)))
    return faults[:LIMIT]


def _rows(store: LocalStore, connection: sqlite3.Connection, faults: list[Fault]) -> tuple[int, int]:
    """XOR of all seals and the number of items, noting items and vectors that are not what they were."""
    digest = count = 0
    blocks: Iterator[tuple[int, np.ndarray]] = iter(()) if faults else store.rows.all(connection)
    first, block = -1, np.empty((0, 0), np.float16)
    rows = store.rows.extent(connection).rows
    for *values, seal in connection.execute(f"SELECT {ITEM}, seal FROM items ORDER BY row"):
        count += 1
        digest ^= seal_of(*values)
        row, crc = values[10:]
        if seal_of(*values) != seal:
            faults.append(Fault(NAME, f"item {values[0]} does not bear its seal"))
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
            faults.append(Fault(NAME, "the record of a skipped file does not bear its seal"))
    return digest, count
