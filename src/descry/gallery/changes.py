"""The writes of one transaction, with the count and the digest of all rows kept in step."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, replace
from typing import Any

from .contract import Entry
from .rows import ITEM, columns, seal_of


@dataclass(frozen=True, slots=True)
class State:
    """Where the gallery stands. generation: commits so far. layout: grows when a stored row dies or moves, or a segment
    goes."""

    generation: int = 0
    layout: int = 0
    next_id: int = 1
    count: int = 0
    digest: int = 0

    def values(self) -> tuple[int, ...]:
        """The columns of the table, without the seal."""
        return (self.generation, self.layout, self.next_id, self.count, self.digest)


class Change:
    """The writes of one transaction; keeps count and digest in step with the rows."""

    def __init__(self, connection: sqlite3.Connection, state: State):
        self.connection, self.state = connection, state

    def _digest(self, seal: int, count: int = 0, layout: int = 0) -> None:
        s = self.state
        self.state = replace(s, digest=s.digest ^ seal, count=s.count + count, layout=s.layout + layout)

    def insert(self, entry: Entry, place: tuple[int, int], crc: int) -> int:
        """A new item at a place, or the item of that path moved to the new place; its id."""
        path = os.fsencode(entry.path)
        old = self.connection.execute("SELECT id, seal FROM items WHERE path = ?", (path,)).fetchone()
        if old:
            self.connection.execute("DELETE FROM items WHERE id = ?", (old[0],))
            self._digest(old[1], count=-1, layout=1)
            number = old[0]
        else:
            number = self.state.next_id
            self.state = replace(self.state, next_id=number + 1)
        self._put((number, *columns(entry), *place, crc))
        self.unskip(entry.path)
        return int(number)

    def _put(self, row: tuple[Any, ...]) -> None:
        seal = seal_of(*row)
        self.connection.execute(f"INSERT INTO items VALUES ({','.join('?' * 14)})", (*row, seal))
        self._digest(seal, count=1)

    def update(self, number: int, entry: Entry) -> None:
        """Other path or metadata for the same vector."""
        place = self._take(number)
        self._put((number, *columns(entry), *place))
        self.unskip(entry.path)

    def relocate(self, number: int, place: tuple[int, int]) -> None:
        """The same vector at another place."""
        row = self.connection.execute(f"SELECT {ITEM}, seal FROM items WHERE id = ?", (number,)).fetchone()
        seal = seal_of(*row[:10], *place, row[12])
        self.connection.execute("UPDATE items SET segment=?, row=?, seal=? WHERE id=?", (*place, seal, number))
        self._digest(row[-1] ^ seal, layout=1)

    def remove(self, number: int) -> bool:
        """Forget an item; whether it was there."""
        return self._take(number, layout=1) is not None

    def _take(self, number: int, layout: int = 0) -> Any:
        row = self.connection.execute("SELECT segment, row, crc, seal FROM items WHERE id = ?", (number,)).fetchone()
        if row is None:
            return None
        self.connection.execute("DELETE FROM items WHERE id = ?", (number,))
        self._digest(row[3], count=-1, layout=layout)
        return row[:3]

    def segment(self, number: int, rows: int | None) -> None:
        """Set how many rows of a segment count; None forgets the segment."""
        old = self.connection.execute("SELECT seal FROM segments WHERE id = ?", (number,)).fetchone()
        if old:
            self.connection.execute("DELETE FROM segments WHERE id = ?", (number,))
            self._digest(old[0], layout=int(rows is None))
        if rows is not None:
            seal = seal_of("segment", number, rows)
            self.connection.execute("INSERT INTO segments VALUES (?, ?, ?)", (number, rows, seal))
            self._digest(seal)

    def skip(self, path: str, reason: str, detail: str, size: int, mtime: int, checked: int) -> None:
        """Remember that a file was not read, and why."""
        self.unskip(path)
        row = (os.fsencode(path), reason, detail, size, mtime, checked)
        seal = seal_of(*row)
        self.connection.execute("INSERT INTO skipped VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, seal))
        self._digest(seal)

    def unskip(self, path: str) -> None:
        """Forget that a file was skipped."""
        key = (os.fsencode(path),)
        old = self.connection.execute("SELECT seal FROM skipped WHERE path = ?", key).fetchone()
        if old:
            self.connection.execute("DELETE FROM skipped WHERE path = ?", key)
            self._digest(old[0])
