"""What a gallery knows about its items, in SQLite: write-ahead log, every commit synced, every row sealed.

SQLite's own check finds few flipped bytes. So each row carries a seal (a 64-bit hash of its values), and the one row
of `state` carries count and XOR of all seals: a changed, vanished or doubled row shows. A damaged log could quietly
take the database back to an older commit; the file `head`, written after each commit, makes that show too.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from ..errors import IndexCorrupt
from .changes import Change, State
from .contract import Item
from .files import read_sealed, write_sealed
from .rows import PUBLIC, chunks, item_of, seal_of
from .transactions import refuse_foreign_schema, transaction, translated

NAME, HEAD = "items.db", "head"

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
            for pragma in (
                *("trusted_schema=OFF", "journal_mode=WAL", "synchronous=EXTRA"),
                *("secure_delete=ON", "cell_size_check=ON"),
            ):
                found.execute(f"PRAGMA {pragma}")
            refuse_foreign_schema(found, self.path, SCHEMA)
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

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.path, self._corrupt)

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
            with transaction(connection):
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Change]:
        """All changes inside become durable together when the block ends, or none of them."""
        with self._translated():
            connection = self.connection()
            with transaction(connection, "BEGIN IMMEDIATE"):
                change = Change(connection, self.state())
                yield change
                after = replace(change.state, generation=change.state.generation + 1)
                connection.execute(
                    "UPDATE state SET generation=?, layout=?, next_id=?, count=?, digest=?, seal=?",
                    (*after.values(), seal_of(*after.values())),
                )
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
