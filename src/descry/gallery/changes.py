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
    """Where the gallery stands.

    Attributes:
        commits: number of transactions so far, of any kind.
        generation: number of those that changed items.
        layout: grows when a stored row dies or moves.
        next_id: of the next item; no id is used twice.
        count: number of items.
        digest: XOR of the seals of all items and skipped files.
        lines: number of lines in the account.
        last: hash of the last one, "" before the first.
        purging: 1 while removed bytes may still be in the files although a purge was asked for.
    """

    commits: int = 0
    generation: int = 0
    layout: int = 0
    next_id: int = 1
    count: int = 0
    digest: int = 0
    lines: int = 0
    last: str = ""
    purging: int = 0

    def values(self) -> tuple[int | str, ...]:
        """The columns of the table, without the seal."""
        return tuple(getattr(self, name) for name in self.__slots__)


class Change:
    """The writes of one transaction; keeps count and digest in step with the rows."""

    def __init__(self, connection: sqlite3.Connection, state: State):
        self.connection, self.state, self._before = connection, state, state.generation
        self.dead: list[int] = []
        """Rows whose item went in this transaction; the store erases them before it ends."""

    def _digest(self, seal: int, count: int = 0, layout: int = 0) -> None:
        s = self.state
        self.state = replace(
            s,
            generation=self._before + 1,
            digest=s.digest ^ seal,
            count=s.count + count,
            layout=s.layout + layout,
        )

    def note(self, **fields: int | str) -> None:
        """Set fields of the state that are not about items."""
        self.state = replace(self.state, **fields)  # type: ignore[arg-type]

    def insert(self, entry: Entry, row: int, crc: int) -> int:
        """A new item whose vector is a row, or the item of that path with the new vector; its id."""
        path = os.fsencode(entry.path)
        old = self.connection.execute("SELECT id, seal, row FROM items WHERE path = ?", (path,)).fetchone()
        if old:
            self.connection.execute("DELETE FROM items WHERE id = ?", (old[0],))
            self._digest(old[1], count=-1, layout=1)
            self.dead.append(old[2])
            number = old[0]
        else:
            number = self.state.next_id
            self.state = replace(self.state, next_id=number + 1)
        self._put((number, *columns(entry), row, crc))
        self.unskip(entry.path)
        return int(number)

    def _put(self, row: tuple[Any, ...]) -> None:
        seal = seal_of(*row)
        self.connection.execute(f"INSERT INTO items VALUES ({','.join('?' * 13)})", (*row, seal))
        self._digest(seal, count=1)

    def update(self, number: int, entry: Entry) -> None:
        """Other path or metadata for the same vector."""
        place = self._take(number)
        self._put((number, *columns(entry), *place))
        self.unskip(entry.path)

    def move(self, row: int, to: int) -> None:
        """The vector of the item at a row stands at another row now."""
        values = self.connection.execute(f"SELECT {ITEM}, seal FROM items WHERE row = ?", (row,)).fetchone()
        seal = seal_of(*values[:10], to, values[11])
        self.connection.execute("UPDATE items SET row=?, seal=? WHERE id=?", (to, seal, values[0]))
        self._digest(values[-1] ^ seal, layout=1)

    def remove(self, number: int) -> bool:
        """Forget an item; whether it was there."""
        found = self._take(number, layout=1)
        if found is not None:
            self.dead.append(found[0])
        return found is not None

    def _take(self, number: int, layout: int = 0) -> Any:
        row = self.connection.execute("SELECT row, crc, seal FROM items WHERE id = ?", (number,)).fetchone()
        if row is None:
            return None
        self.connection.execute("DELETE FROM items WHERE id = ?", (number,))
        self._digest(row[2], count=-1, layout=layout)
        return row[:2]

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
