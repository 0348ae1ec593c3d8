"""What a gallery knows about its items, in SQLite: write-ahead log, every commit synced, every row sealed.

SQLite's own check finds few flipped bytes. So each row carries a seal (a 64-bit hash of its values), and the one row
of `state` carries count and XOR of all seals: a changed, vanished or doubled row shows. A damaged log could quietly
take the database back to an older commit; the file `head`, written after each commit, makes that show too.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..errors import DescryError, IndexCorrupt, Locked
from .contract import Entry, Item, from_microseconds, microseconds
from .files import read_sealed, write_sealed

NAME, HEAD = "items.db", "head"
CHUNK = 500

SCHEMA = """
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL, layout INTEGER NOT NULL,
  next_id INTEGER NOT NULL, count INTEGER NOT NULL, digest INTEGER NOT NULL, seal INTEGER NOT NULL);
CREATE TABLE segments (id INTEGER PRIMARY KEY, rows INTEGER NOT NULL, seal INTEGER NOT NULL);
CREATE TABLE items (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, sha BLOB NOT NULL, size INTEGER NOT NULL,
  mtime INTEGER NOT NULL, checked INTEGER NOT NULL, camera TEXT NOT NULL, track TEXT NOT NULL, time INTEGER,
  look INTEGER NOT NULL, segment INTEGER NOT NULL, row INTEGER NOT NULL, crc INTEGER NOT NULL, seal INTEGER NOT NULL);
CREATE UNIQUE INDEX items_place ON items (segment, row);
CREATE INDEX items_sha ON items (sha);
CREATE TABLE skipped (path BLOB PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL, size INTEGER NOT NULL,
  mtime INTEGER NOT NULL, checked INTEGER NOT NULL, seal INTEGER NOT NULL) WITHOUT ROWID;
"""
ITEM = "id, path, sha, size, mtime, checked, camera, track, time, look, segment, row, crc"
SKIP = "path, reason, detail, size, mtime, checked"
PUBLIC = "id, path, sha, size, mtime, camera, track, time, look"


def seal_of(*values: Any) -> int:
    """A signed 64-bit hash of a row's values."""
    return int.from_bytes(blake2b(repr(values).encode(), digest_size=8).digest(), "little", signed=True)


@dataclass(frozen=True, slots=True)
class State:
    """Where the gallery stands. generation: commits so far. layout: grows when a stored row dies or moves."""

    generation: int = 0
    layout: int = 0
    next_id: int = 1
    count: int = 0
    digest: int = 0

    def values(self) -> tuple[int, ...]:
        """The columns of the table, without the seal."""
        return (self.generation, self.layout, self.next_id, self.count, self.digest)


class Database:
    """One file, many reading threads (a connection each), one writing thread at a time."""

    def __init__(self, folder: Path, create: bool = False):
        self.folder, self.path = folder, folder / NAME
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        if create:
            self._create()
        elif not self.path.is_file():
            raise IndexCorrupt(f"{self.path} is missing; restore it from a copy, or index again into a new folder")
        self.check_head()

    def _create(self) -> None:
        with self._translated(), self.connection() as connection:
            connection.executescript("BEGIN;" + SCHEMA + "COMMIT;")
            connection.execute(
                "INSERT INTO state VALUES (1, ?, ?, ?, ?, ?, ?)", (*State().values(), seal_of(*State().values()))
            )
        self.write_head(State())

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "cell_size_check=ON"):
                found.execute(f"PRAGMA {pragma}")
            self._local.connection = found
            with self._guard:
                self._open.append(found)
        return found

    def close(self) -> None:
        """Close every connection; the last one of all processes folds the log into the database."""
        with self._guard:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._local = threading.local()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "malformed" in str(error):
                raise self._corrupt(str(error)) from None
            if "locked" in str(error):
                raise Locked(f"{self.path} is busy in another process; try again when it has ended") from None
            raise DescryError(
                f"{self.path}: {error}; what was committed before is kept. Free space or mend the disk, then repeat"
            ) from None
        except sqlite3.DatabaseError as error:
            raise self._corrupt(str(error)) from None

    def _corrupt(self, what: str) -> IndexCorrupt:
        return IndexCorrupt(
            f"{self.path} is damaged ({what}); restore it from a copy, or index again into a new folder"
        )

    # ------------------------------------------------------------------ transactions

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One unchanging view of all tables. May be nested."""
        with self._translated():
            connection = self.connection()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[Change]:
        """All changes inside become durable together when the block ends, or none of them."""
        with self._translated():
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                change = Change(connection, self.state())
                yield change
                after = replace(change.state, generation=change.state.generation + 1)
                connection.execute(
                    "UPDATE state SET generation=?, layout=?, next_id=?, count=?, digest=?, seal=?",
                    (*after.values(), seal_of(*after.values())),
                )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        self.write_head(after)

    def state(self) -> State:
        """The current state; IndexCorrupt when its seal does not hold."""
        with self.reading() as connection:
            row = connection.execute("SELECT generation, layout, next_id, count, digest, seal FROM state").fetchone()
        if row is None or seal_of(*row[:-1]) != row[-1]:
            raise self._corrupt("its state does not bear its seal")
        return State(*row[:-1])

    def write_head(self, state: State) -> None:
        """Note outside the database how far it has come."""
        write_sealed(self.folder / HEAD, {"generation": state.generation, "digest": state.digest})

    def check_head(self) -> State:
        """The state; IndexCorrupt when commits that once were acknowledged are gone."""
        try:
            head = read_sealed(self.folder / HEAD)
        except FileNotFoundError:
            raise self._corrupt(f"the file {HEAD!r} beside it is missing") from None
        state = self.state()
        behind = state.generation < head["generation"]
        if behind or (state.generation == head["generation"] and state.digest != head["digest"]):
            raise self._corrupt(f"it stands at commit {state.generation}, though {head['generation']} were made")
        return state

    # ------------------------------------------------------------------ reading

    def items(self, ids: Sequence[int]) -> list[Item]:
        """Items in the order of ids; unknown ones left out."""
        found: dict[int, Item] = {}
        with self.reading() as connection:
            for part in chunks(ids):
                marks = ",".join("?" * len(part))
                for row in connection.execute(f"SELECT {PUBLIC} FROM items WHERE id IN ({marks})", part):
                    found[row[0]] = item_of(row)
        return [found[i] for i in map(int, ids) if i in found]

    def places(self, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """id → (segment, row)."""
        out: dict[int, tuple[int, int]] = {}
        with self.reading() as connection:
            for part in chunks(ids):
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT id, segment, row FROM items WHERE id IN ({marks})", part)
                out |= {i: (segment, row) for i, segment, row in rows}
        return out


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
            self._digest(old[0])
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


def columns(entry: Entry) -> tuple[Any, ...]:
    """An entry's columns, path to look."""
    look = entry.look - (1 << 64) if entry.look >= 1 << 63 else entry.look
    when = microseconds(entry.time)
    return (
        os.fsencode(entry.path), entry.sha, entry.size, entry.mtime, entry.checked, entry.camera, entry.track, when,
        look
    )  # fmt: skip


def item_of(row: tuple[Any, ...]) -> Item:
    """A row of the public columns as an Item."""
    number, path, sha, size, mtime, camera, track, time, look = row
    return Item(
        number, os.fsdecode(path), sha.hex(), size, mtime, camera, track, from_microseconds(time), look % (1 << 64)
    )


def chunks(ids: Sequence[int]) -> Iterator[list[int]]:
    """Ids in parts that SQLite takes as parameters."""
    plain = [int(i) for i in ids]
    for i in range(0, len(plain), CHUNK):
        yield plain[i : i + CHUNK]
