"""The one SQLite file of a gallery: items, vectors, inquiries and the account; every commit synced, every item sealed.

SQLite's own check finds few flipped bytes. So each row of items carries a seal (a 64-bit hash of its values), and the
one row of `state` carries count and XOR of all seals: a changed, vanished or doubled row shows. A damaged log could
quietly take the database back to an older commit; the file `head`, written after each commit, makes that show too.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import IndexCorrupt, ReadOnly
from ..safe_files import open_own, read_own, writable
from . import files, vectors
from .changes import Change, State
from .contract import Item
from .rows import PUBLIC, Connection, chunks, item_of, seal_of
from .transactions import refuse_foreign_schema, transaction, translated

NAME, HEAD = "gallery.db", "head"
SLOT = 512

SCHEMA = (
    """
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), commits INTEGER NOT NULL, generation INTEGER NOT NULL,
  layout INTEGER NOT NULL, next_id INTEGER NOT NULL, count INTEGER NOT NULL, digest INTEGER NOT NULL,
  lines INTEGER NOT NULL, last TEXT NOT NULL, purging INTEGER NOT NULL, seal INTEGER NOT NULL);
CREATE TABLE items (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, sha BLOB NOT NULL, size INTEGER NOT NULL,
  mtime INTEGER NOT NULL, checked INTEGER NOT NULL, camera TEXT NOT NULL, track TEXT NOT NULL, time INTEGER,
  look INTEGER NOT NULL, row INTEGER NOT NULL, crc INTEGER NOT NULL, seal INTEGER NOT NULL);
CREATE UNIQUE INDEX items_row ON items (row);
CREATE INDEX items_sha ON items (sha);
CREATE TABLE skipped (path BLOB PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL, size INTEGER NOT NULL,
  mtime INTEGER NOT NULL, checked INTEGER NOT NULL, seal INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE account (number INTEGER PRIMARY KEY, line BLOB NOT NULL);
CREATE TABLE inquiries (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL,
  last INTEGER NOT NULL, visited TEXT NOT NULL, key BLOB NOT NULL, begun TEXT NOT NULL, touched TEXT NOT NULL,
  keep_until TEXT NOT NULL DEFAULT '');
CREATE TABLE rounds (inquiry INTEGER NOT NULL REFERENCES inquiries(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  data TEXT NOT NULL, PRIMARY KEY (inquiry, number));
CREATE TABLE pictures (sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE findings (inquiry INTEGER NOT NULL REFERENCES inquiries(id) ON DELETE CASCADE, item INTEGER NOT NULL,
  verdict TEXT NOT NULL, note TEXT NOT NULL, round INTEGER NOT NULL, sha256 TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (inquiry, item));
CREATE TABLE days (day TEXT PRIMARY KEY, key BLOB NOT NULL);
"""
    + vectors.SCHEMA
)

PRAGMAS = (
    *("trusted_schema=OFF", "journal_mode=WAL", "synchronous=EXTRA", "secure_delete=ON", "cell_size_check=ON"),
    *("foreign_keys=ON", "temp_store=MEMORY"),
)
"""Nothing of it goes to a file elsewhere, and an acknowledged commit survives a power cut."""

READING = ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "temp_store=MEMORY")
"""The same where nothing may be written."""


LEAST = 64
"""Bytes that an item or a line of the account takes at least."""
STEPS = 200_000
"""After so many of its instructions SQLite lets Python look whether Ctrl-C was pressed."""


def _go_on() -> None:
    """Called by SQLite: an interruption that waits is raised here."""


class Database:
    """One file, many reading threads (a connection each), one writing thread at a time.

    create: make its tables, unless another process was quicker. A file or folder that this process may not write is
    opened to be read, and `read_only` says so: nothing is written beside it either, and `writing` raises ReadOnly.
    """

    kept = True
    """Whether a commit outlives the process."""

    def __init__(self, folder: Path, create: bool = False):
        self.folder, self.path = folder, folder / NAME
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard, self._writer = threading.Lock(), threading.RLock()
        self.read_only = not create and self.path.is_file() and not writable(self.path)
        self.vectors: vectors.Vectors | None = None
        """Those of a gallery that holds items."""
        if create:
            self._create()
        elif not self.path.is_file():
            raise IndexCorrupt(f"{self.path} is missing; restore it from a copy, or index again into a new folder")
        self.check_head()

    def _create(self) -> None:
        os.close(open_own(self.path))
        with self._translated():
            connection = self.connection()
            with transaction(connection, "BEGIN IMMEDIATE"):
                if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    for statement in SCHEMA.split(";"):
                        connection.execute(statement)
                    row = State().values()
                    marks = ",".join("?" * (len(row) + 1))
                    connection.execute(f"INSERT INTO state VALUES (1, {marks})", (*row, seal_of(*row)))
            with transaction(connection, "BEGIN IMMEDIATE"):
                if self._stored() == State():  # whoever goes on finds the head
                    self.write_head(State())

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        moment = self._moment() if self.read_only else None
        if found is not None and not found.in_transaction and moment != self._local.moment:
            with self._guard:  # somebody else writes to what we may only read: see it as it is now
                self._open.remove(found)
            found.close()
            found = None
        if found is None:
            found = self.connect()
            self._local.connection, self._local.moment = found, moment
            with self._guard:
                self._open.append(found)
        return found

    def _moment(self) -> tuple[bool, int, int, int]:
        """What tells that a file that SQLite takes as unchangeable was changed after all."""
        now = self.path.stat()
        return self.folded, now.st_ino, now.st_size, now.st_mtime_ns

    def connect(self, patience: float = 30) -> sqlite3.Connection:
        """A new connection, to be closed by the caller. patience: seconds to wait for another writer."""
        place, pragmas = (self._address(), READING) if self.read_only else (str(self.path), PRAGMAS)
        made = sqlite3.connect(
            place,
            timeout=patience,
            isolation_level=None,
            check_same_thread=False,
            uri=self.read_only,
            factory=Connection,
        )
        made.corrupt = self.corrupt
        try:
            made.set_progress_handler(_go_on, STEPS)
            for pragma in pragmas:
                made.execute(f"PRAGMA {pragma}")
            refuse_foreign_schema(made, self.path, SCHEMA)
        except sqlite3.OperationalError:
            made.close()
            if self.read_only and not self.folded:
                raise ReadOnly(
                    f"the last commits of {self.path} stand in {self.path.name}-wal, which can only be read where it "
                    f"can be written; copy the whole folder to where you may write, and open the copy"
                ) from None
            raise
        except BaseException:
            made.close()
            raise
        return made

    def _address(self) -> str:
        """The file as SQLite opens it without writing a byte; with its log where there is one."""
        fixed = "&immutable=1" if self.folded else ""
        return f"file:{quote(os.fsencode(os.path.abspath(self.path)))}?mode=ro{fixed}"

    def refuse_read_only(self) -> None:
        """Raises ReadOnly where nothing may be written."""
        if self.read_only:
            raise ReadOnly(
                f"{self.folder} is read-only: it can be searched, listed and verified, and nothing can be added to it. "
                f"Copy it to where you may write, and work with the copy"
            )

    def close(self) -> None:
        """Close every connection; the last one of all processes folds the log into the database."""
        with self._guard:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._local = threading.local()

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.path, self.corrupt)

    def corrupt(self, what: str) -> IndexCorrupt:
        """The error for a file that is not as it was written."""
        return IndexCorrupt(
            f"{self.path} is damaged ({what}); restore it from a copy, or index again into a new folder"
        )

    # ------------------------------------------------------------------ transactions

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One unchanging view of all tables. May be nested, also in `writing`."""
        with self._translated():
            connection = self.connection()
            if connection.in_transaction:
                yield connection
                return
            with transaction(connection):
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Change]:
        """All changes inside become durable together when the outermost block ends, or none of them."""
        outer: Change | None = getattr(self._local, "change", None)
        if outer is not None:
            yield outer
            return
        self.refuse_read_only()
        with self._translated(), self._writer:
            connection = self.connection()
            try:
                with transaction(connection, "BEGIN IMMEDIATE"):
                    before = self._stored()
                    change = self._local.change = Change(connection, before)
                    yield change
                    if self.vectors and change.dead:
                        self.vectors.erase(connection, change.dead)
                    after = replace(change.state, commits=before.commits + 1)
                    names = ", ".join(f"{name}=?" for name in State.__slots__)
                    connection.execute(f"UPDATE state SET {names}, seal=?", (*after.values(), seal_of(*after.values())))
            except BaseException:
                if self.vectors:
                    self.vectors.taken_back()
                raise
            finally:
                self._local.change = None
            if self.vectors:
                self.vectors.committed()
            with suppress(OSError):  # the commit stands; the head says so with the next one
                self.write_head(after)

    @property
    def in_change(self) -> bool:
        """Whether this thread is inside `writing`."""
        return getattr(self._local, "change", None) is not None

    def state(self) -> State:
        """The current state, with this thread's own changes; IndexCorrupt when its seal does not hold."""
        change: Change | None = getattr(self._local, "change", None)
        return self._stored() if change is None else change.state

    def _stored(self) -> State:
        with self.reading() as connection:
            row = connection.execute(f"SELECT {', '.join(State.__slots__)}, seal FROM state").fetchone()
        if row is None or seal_of(*row[:-1]) != row[-1]:
            raise self.corrupt("its state does not bear its seal")
        return State(*row[:-1])

    def write_head(self, state: State) -> None:
        """Note outside the database how far it has come: in one of two places in turn, so that one is always whole."""
        body = json.dumps({"commits": state.commits, "digest": state.digest, "lines": state.lines, "last": state.last})
        data = f"{body} {zlib.crc32(body.encode()):08x}\n".encode().ljust(SLOT, b" ")
        fd = open_own(self.folder / HEAD)
        try:
            files.write_at(fd, SLOT * (state.commits % 2), data)
            files.sync(fd)
        finally:
            os.close(fd)

    def _head(self) -> dict[str, object]:
        """The newest of the two notes that are whole."""
        try:
            raw = read_own(self.folder / HEAD, 2 * SLOT)
        except FileNotFoundError:
            raise self.corrupt(f"the file {HEAD!r} beside it is missing") from None
        found = []
        for at in (0, SLOT):
            body, _, seal = raw[at : at + SLOT].rstrip().rpartition(b" ")
            if f"{zlib.crc32(body):08x}".encode() == seal and body and (note := _note(body)):
                found.append(note)
        if not found:
            raise self.corrupt(f"the file {HEAD!r} beside it is damaged")
        return dict(max(found, key=lambda note: note["commits"]))

    def check_head(self) -> State:
        """The state; IndexCorrupt when commits that once were acknowledged are gone."""
        head = self._head()
        state = self._stored()
        now = {"commits": state.commits, "digest": state.digest, "lines": state.lines, "last": state.last}
        if state.commits < int(str(head["commits"])) or (state.commits == head["commits"] and now != head):
            raise self.corrupt(f"it stands at commit {state.commits}, though {head['commits']} were made")
        log = self.path.with_name(f"{NAME}-wal")
        held = self.path.stat().st_size + (log.stat().st_size if log.is_file() else 0)
        if (state.count + state.lines) * LEAST > held:
            raise self.corrupt(f"it says that it holds {state.count} items and {state.lines} lines, in {held:,} bytes")
        return state

    def scrub(self) -> None:
        """Write every page anew that may hold what was removed, and empty the log, unless somebody reads it."""
        with self._translated():
            connection = self.connection()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def fold(self) -> None:
        """Empty the log, unless somebody reads it or writes: then it is left to the next commit."""
        connection = self.connection()
        patience = connection.execute("PRAGMA busy_timeout").fetchone()[0]
        connection.execute("PRAGMA busy_timeout = 0")
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute(f"PRAGMA busy_timeout = {patience}")

    @property
    def folded(self) -> bool:
        """Whether the log is empty."""
        log = self.path.with_name(self.path.name + "-wal")
        return not log.is_file() or not log.stat().st_size

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


def _note(body: bytes) -> dict[str, Any]:
    """A note of `write_head`; {} for anything else that bears a checksum."""
    try:
        note = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    kinds = {"commits": int, "digest": int, "lines": int, "last": str}
    whole = isinstance(note, dict) and {name: type(value) for name, value in note.items()} == kinds
    return dict(note) if whole else {}


class MemoryDatabase(Database):
    """The inquiries of a read-only gallery, and what is added to them: in memory, gone with the process.

    Items, vectors and the account are not in it. source: the gallery's own database.
    """

    kept = False

    def __init__(self, source: Database):
        self.folder, self.path = source.folder, source.path
        self._local, self._writer = threading.local(), threading.RLock()
        self.read_only, self.vectors = False, None
        self._memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._memory.executescript(SCHEMA)
        self._memory.execute("PRAGMA foreign_keys=ON")
        with source.reading() as connection:
            for table in ("state", "inquiries", "rounds", "pictures", "findings", "days"):
                for row in connection.execute(f"SELECT * FROM {table}"):
                    self._memory.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)

    def connection(self) -> sqlite3.Connection:
        """The one connection, which threads use in turns."""
        return self._memory

    def write_head(self, state: State) -> None:
        """Nothing: there is no file whose commits it could tell of."""

    def fold(self) -> None:
        """Nothing: there is no log."""

    def close(self) -> None:
        """Forget everything."""
        self._memory.close()
