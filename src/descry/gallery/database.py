"""The one SQLite file of a gallery: items, vectors, inquiries and the account; every commit synced, every item sealed.

SQLite's own check finds few flipped bytes. So each row of items carries a seal (a 64-bit hash of its values), and the
one row of `state` carries count and XOR of all checksums: a changed, vanished or doubled row shows. A damaged log could
quietly take the database back to an older commit; the file `head`, written after each commit, makes that show too.

SQLite stores any type in any column, and whoever made a gallery can also have computed its seals. So every row that is
read through a connection of ours is compared with `FORMS`, by the names of its columns.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple
from urllib.parse import quote

from .. import safe_files
from ..errors import DescryError, IndexCorrupt, Locked, ReadOnly, UsageError
from ..safe_files import address_of, open_own, read_own, writable, write_at
from . import vectors
from .contract import EPOCH, Entry, from_microseconds, microseconds

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

PRAGMAS: tuple[str, ...] = (
    *("trusted_schema=OFF", "journal_mode=WAL", "synchronous=EXTRA", "secure_delete=ON", "cell_size_check=ON"),
    *("foreign_keys=ON", "temp_store=MEMORY"),
)
"""Nothing of it goes to a file elsewhere, and an acknowledged commit survives a power cut."""

READING = ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "temp_store=MEMORY")
"""The same where nothing may be written."""


FIRST_PAGE = 4096
LEAST = 64
"""Bytes that an item or a line of the account takes at least."""
STEPS = 200_000
"""After so many of its instructions SQLite lets Python look whether Ctrl-C was pressed."""


def _go_on() -> None:
    """Called by SQLite: an interruption that waits is raised here."""


CHUNK = 500
ITEM = "id, path, sha, size, mtime, checked, camera, track, time, look, row, crc"
SKIP = "path, reason, detail, size, mtime, checked"
PUBLIC = "id, path, sha, size, mtime, camera, track, time, look"
ENTRY = "id, path, sha, size, mtime, checked, camera, track, time, look"


# --------------------------------------------------------------------------------------------- what may stand in a row


class Form(NamedTuple):
    """What may stand in a column: types, from least to most (of text and bytes their length), and a pattern of text."""

    kinds: tuple[type, ...]
    least: int = 0
    most: int = (1 << 62) - 1
    pattern: re.Pattern[Any] | None = None


_FIRST, _LAST = ((moment - EPOCH) // timedelta(microseconds=1) for moment in (datetime.min, datetime.max))
_DATE = re.compile(r"[0-9T:.+Z-]{0,40}")
_HEX = re.compile(r"([0-9a-f]{64})?")
_PATH = re.compile(rb"[^\0]*")
_WHOLE = (-(1 << 63), (1 << 63) - 1)
_COUNTS = (
    *("id", "row", "rows", "number", "inquiry", "item", "round", "head", "size", "checked", "commits", "generation"),
    *("layout", "next_id", "count", "lines", "purging", "dimension", "version", "erased", "count(*)", "parts"),
)
FORMS: dict[str, Form] = dict.fromkeys(_COUNTS, Form((int,))) | {
    **dict.fromkeys(("mtime", "look", "digest", "seal"), Form((int,), *_WHOLE)),
    **dict.fromkeys(("time", "min(time)", "max(time)"), Form((int, NoneType), _FIRST, _LAST)),
    **dict.fromkeys(("begun", "touched", "keep_until", "day", "at"), Form((str,), pattern=_DATE)),
    **dict.fromkeys(("camera", "track", "reason", "kind", "verdict"), Form((str,), most=1 << 16)),
    **dict.fromkeys(("name", "detail", "note"), Form((str,), most=1 << 20)),
    **dict.fromkeys(("min(path)", "max(path)"), Form((bytes, NoneType), 1, 1 << 16, _PATH)),
    **dict.fromkeys(("sha", "key"), Form((bytes,), 32, 32)),
    "path": Form((bytes,), 1, 1 << 16, _PATH),
    "sha256": Form((str,), pattern=_HEX),
    "line": Form((bytes,), most=1 << 24),
    "visited": Form((str,), most=1 << 24),
    "data": Form((str, bytes)),
    "crc": Form((int, NoneType), *_WHOLE),  # None: of a block without one, which is then refused
    "last": Form((int, str), pattern=_HEX),
}
"""Name of a column → what may stand there."""


def refuse_odd(cursor: Any, row: Sequence[Any], corrupt: Callable[[str], IndexCorrupt]) -> tuple[Any, ...]:
    """The row, whose values are of the form of their columns; else it raises what `corrupt` makes.

    cursor: says in its `description` what the columns are called.
    """
    for column, value in zip(cursor.description, row, strict=True):
        if (form := FORMS.get(column[0])) is None:
            continue
        kind = type(value)
        text = kind is str or kind is bytes
        fits = kind in form.kinds and (value is None or form.least <= (len(value) if text else value) <= form.most)
        if not fits or (text and form.pattern and form.pattern.fullmatch(value) is None):
            raise corrupt(f"the column {column[0]!r} holds {repr(value)[:60]}")
    return tuple(row)


# ----------------------------------------------------------------------------------------------------- rows and values


def seal_of(*values: Any) -> int:
    """A signed 64-bit hash of a row's values."""
    return int.from_bytes(blake2b(repr(values).encode(), digest_size=8).digest(), "little", signed=True)


def columns(entry: Entry) -> tuple[Any, ...]:
    """An entry's columns, path to look. UsageError for a camera or track that no gallery would be read with."""
    for name, text in (("camera", entry.camera), ("track", entry.track)):
        if len(text) > 1 << 16:
            raise UsageError(
                f"the {name} of {entry.path:.200} has {len(text):,} characters; at most {1 << 16:,} is kept"
            )
    look = entry.look - (1 << 64) if entry.look >= 1 << 63 else entry.look
    when = microseconds(entry.time)
    return (
        os.fsencode(entry.path), entry.sha, entry.size, entry.mtime, entry.checked, entry.camera, entry.track, when,
        look
    )  # fmt: skip


def entry_of(row: tuple[Any, ...]) -> tuple[int, Entry]:
    """A row of the columns of ENTRY: its id, and what was stored."""
    number, path, sha, size, mtime, checked, camera, track, time, look = row
    when = from_microseconds(time)
    return number, Entry(os.fsdecode(path), sha, size, mtime, camera, track, when, look % (1 << 64), checked)


def below(folder: str) -> tuple[bytes, bytes]:
    """Paths below a folder are from the first to before the second, as they are kept."""
    prefix = os.fsencode(folder.rstrip(os.sep) + os.sep)
    return prefix, prefix[:-1] + bytes([prefix[-1] + 1])


# --------------------------------------------------------------------------------------- the writes of one transaction


@dataclass(slots=True)
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


@dataclass
class Change:
    """The writes of one transaction; keeps count and digest in step with the rows.

    Attributes:
        connection: inside the transaction.
        state: as it is with these writes; changed where it stands.
        generation: of the gallery, once an item was changed.
        dead: rows whose item went; the store erases them before the transaction ends.
        skips: whether any file is known as skipped; None until that was asked.
    """

    connection: sqlite3.Connection
    state: State
    generation: int
    dead: list[int] = field(default_factory=list)
    skips: bool | None = None

    def _digest(self, seal: int, count: int = 0, layout: int = 0) -> None:
        state = self.state
        state.generation = self.generation
        state.digest ^= seal
        state.count += count
        state.layout += layout

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
            self.state.next_id += 1
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
        self.skips = True
        self._digest(seal)

    def unskip(self, path: str) -> None:
        """Forget that a file was skipped."""
        if self.skips is None:
            self.skips = self.connection.execute("SELECT 1 FROM skipped LIMIT 1").fetchone() is not None
        if not self.skips:
            return
        key = (os.fsencode(path),)
        old = self.connection.execute("SELECT seal FROM skipped WHERE path = ?", key).fetchone()
        if old:
            self.connection.execute("DELETE FROM skipped WHERE path = ?", key)
            self._digest(old[0])


# ------------------------------------------------------------------------------------------------------------ the file


@contextmanager
def translated(path: Path, damaged: Callable[[str], DescryError]) -> Iterator[None]:
    """Raises Locked while another process holds the file, what `damaged` makes of SQLite's words when its bytes are not
    what they should be, and DescryError for a full or unwilling disk."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":  # by Ctrl-C: nothing else interrupts a gallery's database
            raise KeyboardInterrupt from None
        if "locked" in str(error):
            raise Locked(f"{path} is busy in another process; try again when it has ended") from None
        said = str(error)  # of tables that are missing, or a text that is no text
        odd = "malformed" in said or said.startswith("Could not decode")
        if odd or getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR":
            raise damaged(str(error)) from None
        raise DescryError(
            f"{path}: {error}; what was committed before is kept. Free space, allow writing or mend the disk, then "
            "repeat"
        ) from None
    except sqlite3.ProgrammingError:
        raise  # closed, or another thread's: a mistake in the program, not in the file
    except sqlite3.DatabaseError as error:
        raise damaged(str(error)) from None


def foreign_schema(connection: sqlite3.Connection, schema: str) -> Iterator[str]:
    """What a database holds beside the tables of a schema, which must be word for word ours: triggers, views, others.

    SQLite's own tables and indexes are compared as well: names that begin with `sqlite` can be given to anything.
    """
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master")
    with closing(sqlite3.connect(":memory:")) as own:
        own.executescript(schema)
        known = set(own.execute("SELECT type, name, sql FROM sqlite_master"))
    return (f"{kind} {name!r}" for kind, name, sql in rows if (kind, name, sql) not in known)


class Here(threading.local):
    """What a thread has of its own: a connection, what told that its file is as it was, and the changes that it is
    writing."""

    connection: Any = None
    moment: tuple[bool, int, int, int] | None = None
    change: Change | None = None


class Database:
    """One file, many reading threads (a connection each), one writing thread at a time.

    create: make its tables, unless another process was quicker. A file or folder that this process may not write is
    opened to be read, and `read_only` says so: nothing is written beside it either, and `writing` raises ReadOnly.
    """

    kept = True
    """Whether a commit outlives the process."""

    def __init__(self, folder: Path, create: bool = False):
        self.folder, self.path = folder, folder / NAME
        self.here = Here()
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
        with translated(self.path, self.corrupt):
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    for statement in SCHEMA.split(";"):
                        connection.execute(statement)
                    row = astuple(State())
                    marks = ",".join("?" * (len(row) + 1))
                    connection.execute(f"INSERT INTO state VALUES (1, {marks})", (*row, seal_of(*row)))
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                if self.state() == State():  # whoever goes on finds the head
                    self.write_head(State())

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = self.here.connection
        moment = self._moment() if self.read_only else None
        if found is not None and not found.in_transaction and moment != self.here.moment:
            with self._guard:  # somebody else writes to what we may only read: see it as it is now
                self._open.remove(found)
            found.close()
            found = None
        if found is None:
            found = self.connect()
            self.here.connection, self.here.moment = found, moment
            with self._guard:
                self._open.append(found)
        return found

    def _moment(self) -> tuple[bool, int, int, int]:
        """What tells that a file that SQLite takes as unchangeable was changed after all."""
        now = self.path.stat()
        return self.folded, now.st_ino, now.st_size, now.st_mtime_ns

    def connect(self, patience: float = 30) -> sqlite3.Connection:
        """A new connection, to be closed by the caller. patience: seconds to wait for another writer.

        IndexCorrupt for a rollback journal, by which SQLite would change the database and delete a file.
        """
        journal = self.path.with_name(f"{NAME}-journal")
        for _ in range(100):  # another process that makes the database has one until its first page is written
            if not os.path.lexists(journal) or self.path.stat().st_size > FIRST_PAGE:
                break
            time.sleep(0.02)
        if os.path.lexists(journal):
            raise IndexCorrupt(
                f"{journal} lies beside the database, and descry makes none; if somebody gave you this gallery, do not "
                f"trust it. If it is your own, move that file away, then run descry verify {self.folder}"
            )
        place, pragmas = str(self.path), PRAGMAS
        if self.read_only:  # as SQLite opens it without writing a byte, with its log where there is one
            fixed = "&immutable=1" if self.folded else ""
            place, pragmas = f"file:{quote(os.fsencode(os.path.abspath(self.path)))}?mode=ro{fixed}", READING
        made = sqlite3.connect(
            place, timeout=patience, isolation_level=None, check_same_thread=False, uri=self.read_only
        )
        made.row_factory = partial(refuse_odd, corrupt=self.corrupt)
        try:
            made.set_progress_handler(_go_on, STEPS)
            for pragma in pragmas:
                made.execute(f"PRAGMA {pragma}")
            if foreign := next(foreign_schema(made, SCHEMA), ""):
                raise IndexCorrupt(f"{self.path} holds what descry did not make: {foreign}; do not trust this gallery")
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

    def unwritable(self) -> ReadOnly:
        """The error where nothing may be written."""
        return ReadOnly(
            f"{self.folder} is read-only: it can be searched, listed and verified, and nothing can be added to it. "
            f"Copy it to where you may write, and work with the copy"
        )

    def close(self) -> None:
        """Close every connection; the last one of all processes folds the log into the database."""
        with self._guard:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self.here = Here()

    def corrupt(self, what: str) -> IndexCorrupt:
        """The error for a file that is not as it was written."""
        return safe_files.damaged(self.path, what)

    # ------------------------------------------------------------------ transactions

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One unchanging view of all tables. May be nested, also in `writing`."""
        with translated(self.path, self.corrupt):
            connection = self.connection()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            with connection:
                yield connection

    @contextmanager
    def writing(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[Change]:
        """All changes inside become durable together when the outermost block ends, or none of them. begin: how the
        outermost one begins.
        """
        if self.here.change is not None:
            yield self.here.change
            return
        if self.read_only:
            raise self.unwritable()
        with translated(self.path, self.corrupt), self._writer:
            connection = self.connection()
            connection.execute(begin)
            try:
                with connection:
                    before = self.state()
                    change = self.here.change = Change(connection, replace(before), before.generation + 1)
                    yield change
                    if self.vectors and change.dead:
                        self.vectors.erase(connection, change.dead)
                    after = replace(change.state, commits=change.state.commits + 1)
                    names = ", ".join(f"{name}=?" for name in State.__slots__)
                    connection.execute(f"UPDATE state SET {names}, seal=?", (*astuple(after), seal_of(*astuple(after))))
            except BaseException:
                if self.vectors:
                    self.vectors.cache.leave()
                raise
            finally:
                self.here.change = None
            if self.vectors:
                self.vectors.cache.finish()
            with suppress(OSError):  # the commit stands; the head says so with the next one
                self.write_head(after)

    def state(self) -> State:
        """The current state, with this thread's own changes; IndexCorrupt when its checksum does not fit."""
        if self.here.change is not None:
            return replace(self.here.change.state)
        with self.reading() as connection:
            row = connection.execute(f"SELECT {', '.join(State.__slots__)}, seal FROM state").fetchone()
        if row is None or seal_of(*row[:-1]) != row[-1]:
            raise self.corrupt("its state does not fit its checksum")
        return State(*row[:-1])

    def write_head(self, state: State) -> None:
        """Note outside the database how far it has come: in one of two places in turn, so that one is always whole."""
        body = json.dumps({"commits": state.commits, "digest": state.digest, "lines": state.lines, "last": state.last})
        data = f"{body} {zlib.crc32(body.encode()):08x}\n".encode().ljust(SLOT, b" ")
        fd = open_own(self.folder / HEAD)
        try:
            write_at(fd, SLOT * (state.commits % 2), data)
            safe_files.os_fsync(fd)
        finally:
            os.close(fd)

    def check_head(self) -> State:
        """The state; IndexCorrupt when commits that once were acknowledged are gone, by the newest whole note."""
        try:
            raw = read_own(self.folder / HEAD, 2 * SLOT)
        except FileNotFoundError:
            raise self.corrupt(f"the file {HEAD!r} beside it is missing") from None
        found: list[dict[str, Any]] = []
        kinds = {"commits": int, "digest": int, "lines": int, "last": str}
        for at in (0, SLOT):
            body, _, seal = raw[at : at + SLOT].rstrip().rpartition(b" ")
            if not body or f"{zlib.crc32(body):08x}".encode() != seal:
                continue
            with suppress(ValueError, RecursionError):  # a checksum alone makes no note of `write_head`
                note = json.loads(body)
                if isinstance(note, dict) and {name: type(value) for name, value in note.items()} == kinds:
                    found.append(note)
        if not found:
            raise self.corrupt(f"the file {HEAD!r} beside it is damaged")
        head, state = max(found, key=itemgetter("commits")), self.state()
        now = {name: getattr(state, name) for name in kinds}
        if state.commits < head["commits"] or (state.commits == head["commits"] and now != head):
            raise self.corrupt(f"it stands at commit {state.commits}, though {head['commits']} were made")
        log = self.path.with_name(f"{NAME}-wal")
        held = self.path.stat().st_size + (log.stat().st_size if log.is_file() else 0)
        if (state.count + state.lines) * LEAST > held:
            raise self.corrupt(f"it says that it holds {state.count} items and {state.lines} lines, in {held:,} bytes")
        return state

    def scrub(self) -> None:
        """Write every page anew that may hold what was removed, and empty the log, unless somebody reads it."""
        with translated(self.path, self.corrupt):
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


def database_at(place: str | Path, create: bool = False) -> Database:
    """The database of a gallery, of its folder or of an address. create: see `Database`."""
    if address := address_of(place):
        if not address.startswith("postgresql"):
            raise UsageError(
                f"{address} is a Milvus store, which keeps no inquiries and no account; name the local gallery that it "
                "was migrated from, or migrate that to PostgreSQL"
            )
        made: Database = import_module("descry_stores.postgres").PostgresDatabase(address)
        return made
    return Database(Path(place), create)


class MemoryDatabase(Database):
    """The inquiries of a read-only gallery, and what is added to them: in memory, gone with the process.

    Items, vectors and the account are not in it. source: the gallery's own database.
    """

    kept = False

    def __init__(self, source: Database):
        self.folder, self.path = source.folder, source.path
        self.here, self._writer = Here(), threading.RLock()
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
