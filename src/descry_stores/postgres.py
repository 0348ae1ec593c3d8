"""The PostgreSQL store: a gallery in a schema of a database, with pgvector. Needs the extra `postgres`.

It is the local store with another database below it. Items, inquiries, findings and the account are the same tables,
written by the same statements in the same transactions, so that rounds, the page and the account work for a team.
Vectors are `halfvec` rows. The server scores every item (or those that filters let through) and sends one number a term
and item; the formula is computed here, from the same similarities as locally, and the leads are scored again in double
precision. Answers are those of a local gallery, with the same ids.

Every act is one transaction. A reader sees one moment (REPEATABLE READ) for the length of a search. A snapshot that is
kept longer stays good while nothing of it is deleted: deleted rows are gone at once, and whoever asks for them is told
to search again.

Letters: D dimension, N items, R query vectors.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from threading import Lock, RLock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zlib import crc32

import numpy as np

try:
    import psycopg
    from psycopg.pq import TransactionStatus
except ModuleNotFoundError:
    from descry.errors import DescryError, install_hint

    raise DescryError(f"psycopg is not installed: {install_hint('postgres')}") from None

from descry import __version__
from descry.errors import (
    DescryError,
    IndexCorrupt,
    IndexMismatch,
    Locked,
    ReadOnly,
    StoreUnavailable,
    UsageError,
)
from descry.gallery.account import add_line, content
from descry.gallery.contract import Binding, Entry, Fault, Snapshot
from descry.gallery.database import (
    ITEM,
    SCHEMA,
    SKIP,
    Change,
    Database,
    Here,
    State,
    columns,
    refuse_odd,
    seal_of,
)
from descry.gallery.local import FORMAT, SEARCHES, LocalStore, as_half, checked_binding
from descry.gallery.merge import send
from descry.gallery.upkeep import LIMIT
from descry.gallery.vectors import Extent, Vectors, added

if TYPE_CHECKING:
    from psycopg.abc import PQGen

PATIENCE, CONNECTING, WAITING = 60.0, 10, 30
"""Seconds without an answer to a statement, to a connection, and behind another writer, until a person is told."""
WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
WHOLE = 3600.0
"""Seconds without an answer to a statement over whole tables."""
LOCAL = ("blocks", "checks", "erased")
"""Tables that only the local store has."""
OWN = (*(n for n in re.findall(r"CREATE TABLE (\w+)", SCHEMA) if n not in LOCAL), "gallery", "embeddings")
STEP = 4096


# ------------------------------------------------------------------------------------------------------------- address


def parse(address: str) -> tuple[str, str]:
    """ "postgresql://[USER@]HOST[:PORT]/DATABASE#NAME" → what the client library connects with, and the gallery's name.

    A socket's folder stands for HOST with %2F for each /. Raises UsageError for another form, and for a password.
    """
    place, _, name = address.partition("#")
    form = "write postgresql://USER@HOST:PORT/DATABASE#NAME, the name of letters, digits and _"
    try:
        parts = urlsplit(place)
        password = parts.password is not None or re.search(r"[?&]password=", place)
    except ValueError:
        raise UsageError(f"this is no address of a PostgreSQL store; {form}") from None
    if password:
        raise UsageError(
            "the address holds a password, which others could read in the list of processes; put it into ~/.pgpass or "
            "PGPASSWORD and leave it out"
        )
    if not re.fullmatch(r"[A-Za-z_]\w{0,50}", name or "gallery", re.ASCII) or not parts.path.strip("/"):
        raise UsageError(f"{address} is not an address of a PostgreSQL store; {form}")
    return place, name or "gallery"


# ---------------------------------------------------------------------------------------------------------- statements


@lru_cache(512)
def _statement(sql: str) -> tuple[str, tuple[int, ...]]:
    """A statement of ours in PostgreSQL's words, and which of its values are path patterns."""
    if sql == "BEGIN":
        return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ()
    patterns = tuple(sql[: found.end()].count("?") - 1 for found in re.finditer(r"GLOB \?", sql))
    sql = re.sub(r"CAST\((\w+) AS TEXT\) GLOB", r"convert_from(\1, 'LATIN1') ~", sql)
    sql = re.sub(r" INDEXED BY \w+", "", sql)
    return sql.replace("%", "%%").replace("?", "%s"), patterns


def regex_of(pattern: str) -> str:
    """A pattern of * ? [a-z] [^a-z] as a regular expression over a path's bytes read as Latin-1, as paths are compared
    (a path may hold any bytes). A character that takes several bytes is one for ? and in brackets.
    """
    one = "(?:[\x01-\x7f]|[\xc0-\xff][\x80-\xbf]*|[\x80-\xbf])"
    out, at = "", 0
    while at < len(pattern):
        letter, end = pattern[at], -1
        if letter == "[":
            if "]" not in pattern[at + 2 :]:
                return "^(?!.).$"
            end = pattern.find("]", at + 3 if pattern[at + 1 : at + 2] == "^" else at + 2)
        if end > 0:
            inside, negated = pattern[at + 1 : end], pattern[at + 1] == "^"
            members = re.findall(r"(?s)(?!^\])(.)-(.)|(.)", inside[negated:])
            held = "|".join(_between(first or single, last) for first, last, single in members)
            out += f"(?:(?!(?:{held})){one})" if negated else f"(?:{held})"
            at = end
        else:
            out += {"*": ".*", "?": one}.get(letter) or _plain(letter.encode("utf-8", "surrogateescape"))
        at += 1
    return f"^{out}$"


def _plain(data: bytes) -> str:
    return "".join(re.escape(chr(byte)) if byte < 0x80 else chr(byte) for byte in data)


def _between(first: str, last: str) -> str:
    """The first character, and every one from it to the last, if there is one. In UTF-8 their bytes rise as they do."""
    parts, start, end = [_plain(first.encode("utf-8", "surrogateescape"))], ord(first), ord(last or "\0")
    for least, most in ((0, 0x7F), (0x80, 0x7FF), (0x800, 0xFFFF), (0x10000, 0x10FFFF)):
        low, high = (chr(c).encode("utf-8", "surrogatepass") for c in (max(start, least), min(end, most)))
        parts += [_rising(low, high)] if low <= high and len(low) == len(high) else []
    return "|".join(parts)


def _rising(low: bytes, high: bytes) -> str:
    """Every row of as many bytes from one to another, those after the first being 80 to bf."""
    one, other = _plain(low[:1]), _plain(high[:1])
    rest = len(low) - 1
    if not rest or (not low[1:].strip(b"\x80") and not high[1:].strip(b"\xbf")):
        return f"[{one}-{other}]" + "[\x80-\xbf]" * rest
    if low[0] == high[0]:
        return f"{one}(?:{_rising(low[1:], high[1:])})"
    ends = [low[:1] + b"\xbf" * rest, high[:1] + b"\x80" * rest]
    parts = [_rising(low, ends[0]), _rising(ends[1], high)]
    if low[0] + 1 < high[0]:
        parts.append(_rising(bytes([low[0] + 1]) + b"\x80" * rest, bytes([high[0] - 1]) + b"\xbf" * rest))
    return "|".join(parts)


def _checked(cursor: Any) -> Any:
    """Rows whose values are of the form of their columns (`database.FORMS`): others may write to the server too."""
    columns = SimpleNamespace(description=cursor.description or ())
    return lambda values: refuse_odd(columns, values, cursor.connection.corrupt)


class Connection(psycopg.Connection[Any]):
    """A connection that takes the statements of the local store, and does not wait for ever."""

    corrupt: Any = None
    patience: float = PATIENCE

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """See psycopg; without an answer for `patience` seconds the connection is given up."""
        return super().wait(gen, interval, self.patience if timeout is None else timeout)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, also one that failed."""
        return self.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)

    def __exit__(self, kind: Any, *_: object) -> None:
        """The transaction ends, and the connection goes on."""
        if self.in_transaction:
            self.execute("ROLLBACK" if kind else "COMMIT")

    def ended(self) -> bool:
        """Whether the server ended this connection while nothing was asked, as when it was started again."""
        if self.info.transaction_status != TransactionStatus.IDLE:
            return False
        with DefaultSelector() as selector:
            selector.register(self.fileno(), EVENT_READ)
            try:
                while selector.select(0):  # the end of a connection, or a notice
                    self.pgconn.consume_input()
            except psycopg.OperationalError:
                return True
        return False

    def execute(self, query: Any, params: Any = (), **_: Any) -> Any:
        """One statement; its cursor."""
        if query == "BEGIN IMMEDIATE":  # writers stand in line at the one row of the state
            super().execute(WRITE)
            try:
                return super().execute("SELECT 1 FROM state FOR UPDATE")
            except psycopg.Error:
                if self.in_transaction:
                    super().execute("ROLLBACK")
                raise
        sql, patterns = _statement(query)
        values = [regex_of(v) if i in patterns else v for i, v in enumerate(params or ())]
        return super().execute(sql, values, binary=True)

    def executemany(self, query: str, rows: Any) -> None:
        """One statement with many values."""
        self.cursor().executemany(_statement(query)[0], list(rows))

    def copied(self, query: str, values: Sequence[Any], kinds: str) -> np.ndarray:
        """The rows of a query whose columns are all numbers: kinds "q" (bigint) and "f" (real). → a structured array
        with the fields c0, c1, …"""
        size = {"q": ">i8", "f": ">f4"}
        fields = [(f"{part}{i}", ">i4" if part == "l" else size[kind]) for i, kind in enumerate(kinds) for part in "lc"]
        with self.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)", values) as copy:
            data = b"".join(bytes(part) for part in copy)
        return np.frombuffer(data[19:-2], np.dtype([("n", ">i2"), *fields]))


# ------------------------------------------------------------------------------------------------------------ database


class PostgresDatabase(Database):
    """The tables of a gallery in a schema of a PostgreSQL database. Every thread has a connection of its own.

    A role that may not write opens it to be read: it can search, and neither a round nor a line of the account is kept.
    """

    def __init__(self, address: str, there: bool = True):
        """there: whether a gallery must be at the address; UsageError when none is."""
        self.address = address
        self.folder = self.path = address  # type: ignore[assignment]
        self.uri, self.name = parse(address)
        self.schema = f"descry_{self.name}"
        self.here, self._guard, self._writer = Here(), Lock(), RLock()
        self._open: list[Any] = []
        self.vectors, self.read_only = None, False
        if not there:
            return
        asked = "SELECT has_table_privilege(CAST(to_regclass(?) AS oid), 'UPDATE')"
        with self._translated(), ExitStack() as failing:
            failing.callback(self.close)
            may = self.connection().execute(asked, (f'"{self.schema}".state',)).fetchone()[0]
            if may is None:
                raise self._missing()
            failing.pop_all()
        self.read_only = not may

    def connection(self) -> Any:
        """This thread's connection; a new one where the server ended the last."""
        found = self.here.connection
        if found is not None and found.ended():
            found.close()
        if found is None or found.closed:
            found = self.here.connection = self.connect()
            with self._guard:
                self._open[:] = [*(made for made in self._open if not made.closed), found]
        return found

    def connect(self, patience: float = WAITING) -> Any:
        """A new connection, to be closed by the caller. patience: seconds to wait for another writer."""
        with self._translated(), ExitStack() as failing:
            made: Any = Connection.connect(
                self.uri, autocommit=True, connect_timeout=CONNECTING, application_name="descry", row_factory=_checked
            )
            failing.callback(made.close)
            made.corrupt = self.corrupt
            made.prepare_threshold = None
            found = made.execute(
                "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
                "WHERE e.extname = 'vector'"
            ).fetchone()
            kind = f'"{found[0]}"' if found else "public"
            made.execute(f'SET search_path = "{self.schema}", {kind}, pg_catalog')
            made.execute(f"SET lock_timeout = '{patience:g}s'")
            failing.pop_all()
        return made

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Inside, this thread's statements may take `WHOLE` seconds: they go over whole tables."""
        connection = self.connection()
        before, connection.patience = connection.patience, WHOLE
        try:
            yield
        finally:
            connection.patience = before

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """One line that says what happened, for everything a server may do."""
        try:
            yield
        except psycopg.Error as error:
            raise self._told(error) from None

    def _told(self, error: psycopg.Error) -> DescryError:
        place, said = self.address, (str(error).strip() or type(error).__name__).splitlines()[0]
        said = re.sub(r"^.*?FATAL:\s*|^connection failed: ", "", said)
        kinds = psycopg.errors
        if isinstance(error, (kinds.UndefinedTable, kinds.InvalidSchemaName, kinds.UndefinedObject)):
            return self._missing()
        if isinstance(error, kinds.InsufficientPrivilege):
            return ReadOnly(f"{place}: {said}; ask the owner of the database for the right, or only search")
        if isinstance(error, (kinds.LockNotAvailable, kinds.DeadlockDetected, kinds.SerializationFailure)):
            return Locked(f"{place} is busy with another writer; nothing was changed: try again")
        if isinstance(error, (kinds._WaitTimeout, kinds.QueryCanceled, kinds.ConnectionTimeout)):
            seconds = CONNECTING if isinstance(error, kinds.ConnectionTimeout) else self._give_up()
            return StoreUnavailable(
                f"{place} has not answered for {seconds:g} s; nothing that was acknowledged is lost: see whether the "
                "server is well, then repeat"
            )
        if "password" in said or "authentication" in said or "no pg_hba.conf entry" in said:
            return StoreUnavailable(f"{place} refused: {said}; put the password into ~/.pgpass or PGPASSWORD")
        if isinstance(error, (kinds.DiskFull, kinds.OutOfMemory)):
            return DescryError(f"{place}: {said}; what was committed before is kept. Free space, then repeat")
        if isinstance(error, psycopg.OperationalError):
            self._give_up()
            return StoreUnavailable(
                f"{place} cannot be reached or went away ({said}); nothing that was acknowledged is lost: start the "
                "server, then repeat"
            )
        return DescryError(f"{place}: {said}")

    def _missing(self) -> UsageError:
        return UsageError(
            f"{self.address} holds no gallery of that name; make one with descry migrate GALLERY --to {self.address}, "
            f"or descry index DIR --out {self.address}"
        )

    def _give_up(self) -> float:
        """Close this thread's connection; how long its statements were waited for."""
        found = self.here.connection
        if found is None:
            return PATIENCE
        found.close()
        return float(found.patience)

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """One unchanging view of all tables. May be nested, also in `writing`."""
        with self._translated(), super().reading() as connection:
            yield connection

    @contextmanager
    def writing(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[Change]:
        """All changes inside become durable together when the outermost block ends, or none of them. Writers come one
        after the other. begin: `WRITE` lets others write until `take_turn`, all but items: for long work.
        """
        with self._translated(), super().writing(begin) as change:
            yield change

    def take_turn(self, change: Change) -> None:
        """Let nobody else write until a change ends that let others write, with what they wrote meanwhile in its state.
        Items stay as they are, for only one process writes them (`PostgresStore.hold`).
        """
        change.connection.execute("SELECT 1 FROM state FOR UPDATE")
        others = change.connection.execute("SELECT commits, lines, last, purging FROM state").fetchone()
        names = ("commits", "lines", "last", "purging")
        change.state = replace(change.state, **dict(zip(names, others, strict=True)))

    def unwritable(self) -> ReadOnly:
        """The error where the role may not write."""
        return ReadOnly(
            f"{self.address} is read-only for this role: it can be searched, listed and verified, and nothing can be "
            "added to it. Ask the owner of the database for the right"
        )

    def corrupt(self, what: str) -> IndexCorrupt:
        """The error for tables that are not as they were written."""
        return IndexCorrupt(f"{self.address} is damaged ({what}); restore it from a backup, or migrate to another name")

    def write_head(self, state: State) -> None:
        """Nothing: the server's own log says how far commits have come."""

    def check_head(self) -> State:
        """The state."""
        return self.state()

    def scrub(self) -> None:
        """Write every table anew without what was removed. Raises ReadOnly where this role may not."""
        said: list[str] = []

        def note(told: psycopg.errors.Diagnostic) -> None:
            if told.severity_nonlocalized == "WARNING":  # a table that this role may not rewrite is passed over
                said.append(told.message_primary or "")

        with self._translated(), self.patient():
            connection = self.connection()
            connection.add_notice_handler(note)
            try:
                connection.execute(f"VACUUM (FULL) {', '.join(OWN)}")
            except psycopg.errors.LockNotAvailable:
                raise Locked(
                    f"what was removed from {self.address} is in no answer any more, but its bytes are still in the "
                    f"tables, which a migration or a long search is reading; when it has ended, run descry compact "
                    f"{self.address}"
                ) from None
            finally:
                connection.remove_notice_handler(note)
        if said:
            raise ReadOnly(
                f"what was removed from {self.address} is in no answer any more, but its bytes are still in the "
                f"tables ({said[0]}); let the role that owns the tables run descry compact {self.address}"
            )

    def fold(self) -> None:
        """Nothing: the server keeps its log."""

    @property
    def folded(self) -> bool:
        """True: there is no log of the gallery's own."""
        return True


# ------------------------------------------------------------------------------------------------------------- vectors


class PostgresVectors(Vectors):
    """`vectors.Vectors` in a table of pgvector: one row each, removed when its item is. Moments as in the local store:
    summed at commit for every `FOLD` rows, the rest when they are asked for.
    """

    def __init__(self, address: str, dimension: int):
        self.folder, self.dimension = address, dimension  # type: ignore[assignment]
        self.cache: Any = SimpleNamespace(leave=lambda: None, finish=lambda: None)

    def extent(self, connection: Any) -> Extent:
        """What is stored at the moment of the transaction."""
        row = connection.execute("SELECT dimension, rows, version, erased, seal FROM vectors").fetchone()
        extent = Extent(*row[:4]) if row else None
        if extent is None or extent.seal != row[4] or extent.dimension != self.dimension:
            raise self._corrupt("the extent of its vectors does not fit its checksum")
        return extent

    def append(self, connection: Any, rows: np.ndarray) -> int:
        """Store (n, D) float16 rows behind all others; the number of the first one."""
        extent = self.extent(connection)
        head = [("n", ">i2"), ("l0", ">i4"), ("row", ">i8"), ("l1", ">i4"), ("d", ">i2"), ("z", ">i2")]
        table = np.zeros(len(rows), np.dtype([*head, ("v", ">f2", (self.dimension,))]))
        table["n"], table["l0"], table["l1"], table["d"] = 2, 8, 4 + 2 * self.dimension, self.dimension
        table["row"], table["v"] = extent.rows + np.arange(len(rows)), rows
        with connection.cursor().copy("COPY embeddings FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + table.tobytes() + b"\xff\xff")
        self._set(connection, replace(extent, rows=extent.rows + len(rows)))
        self._fold(connection, extent.rows + len(rows))
        return extent.rows

    def erase(self, connection: Any, rows: Sequence[int]) -> None:
        """Remove rows."""
        wanted = np.unique(np.asarray(rows, np.int64))
        self._unfold(connection, wanted)
        connection.execute("DELETE FROM embeddings WHERE row = ANY(?)", (wanted.tolist(),))
        extent = self.extent(connection)
        self._set(connection, replace(extent, erased=extent.erased + 1))

    def read(self, connection: Any, rows: Any) -> np.ndarray:
        """(n, D) float16 rows in the order asked; those that were removed are zeros."""
        wanted = np.asarray(rows, np.int64)
        out = np.zeros((len(wanted), self.dimension), np.float16)
        for i in range(0, len(wanted), STEP):
            at = np.arange(i, min(i + STEP, len(wanted)))
            asked = wanted[at]
            found = connection.execute("SELECT row, v FROM embeddings WHERE row = ANY(?)", (asked.tolist(),)).fetchall()
            if not found:
                continue
            held = np.array([row for row, _ in found], np.int64)
            values = np.stack([np.frombuffer(v, ">f2", offset=4) for _, v in found])
            ranked = np.argsort(held)
            place = np.minimum(np.searchsorted(held[ranked], asked), len(held) - 1)
            there = held[ranked][place] == asked
            out[at[there]] = values[ranked][place[there]]
        return out

    def _corrupt(self, what: str) -> IndexCorrupt:
        return IndexCorrupt(f"{self.folder}: {what}; restore it from a backup, or migrate to another name")


def left(count: int) -> Locked:
    """The error for items of a snapshot that somebody deleted since."""
    return Locked(f"{count} of the items searched were deleted by somebody else meanwhile; search again")


@dataclass(frozen=True, eq=False)
class PostgresSnapshot(Snapshot):
    """A `Snapshot` whose vectors stay on the server. store: which one."""

    store: Any = None

    def vectors(self, columns: np.ndarray) -> np.ndarray:
        """(n, D) float16 vectors of columns. Raises Locked when one was deleted since."""
        assert self.rows is not None
        with self.store.database.reading() as connection:
            found: np.ndarray = self.store.rows.read(connection, self.rows[columns])
        if gone := len(found) - int(found.any(axis=1).sum()):
            raise left(gone)
        return found

    def similarities(self, queries: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """(R, D) → (R, N) float32 cosines, or (R, n) of chosen columns; Locked when one was deleted since. Queries are
        rounded as `scan.similarities` rounds them, so that the formula is fitted to the same numbers.
        """
        assert self.rows is not None
        rows = self.rows if columns is None else self.rows[columns]
        norms = np.maximum(np.linalg.norm(queries, axis=1), 1e-30)
        values: list[Any] = [_text(q) for q in (queries / norms[:, None]).astype(np.float16)]
        terms = ", ".join(["(-(v <#> %s::halfvec))::real"] * len(values))
        where = ""
        if columns is not None:
            where, values = " WHERE row = ANY(%s)", [*values, rows.tolist()]
        with self.store.database.reading() as connection:
            query = f"SELECT row, {terms} FROM embeddings{where}"
            table = connection.copied(query, values, "q" + "f" * len(norms))
        order = np.argsort(rows)
        ranked = rows[order]
        place = np.minimum(np.searchsorted(ranked, table["c0"]), max(len(ranked) - 1, 0))
        there = ranked[place] == table["c0"] if len(ranked) else np.zeros(len(table), bool)
        if int(there.sum()) != len(rows):
            raise left(len(rows) - int(there.sum()))
        out = np.empty((len(norms), len(rows)), np.float32)
        for i, norm in enumerate(norms):
            out[i, order[place[there]]] = table[f"c{i + 1}"][there] * norm
        return out


def _text(vector: np.ndarray) -> str:
    return "[" + ",".join(f"{x:.6g}" for x in vector.tolist()) + "]"


# --------------------------------------------------------------------------------------------------------------- store


class PostgresStore(LocalStore):
    """See the module's text."""

    database: PostgresDatabase

    def __init__(self, address: str):
        self.address = address
        self.folder = address  # type: ignore[assignment]
        self.database = PostgresDatabase(address)
        self._lock, self._last, self._moments, self._known = None, None, None, {}
        try:
            self.config = self.read_config()
            if self.config["format"] != FORMAT:
                raise IndexMismatch(f"{address} has another format than this descry reads; migrate to another name")
            self.binding = checked_binding(self.folder, self.config)
            self.read_only = self.database.read_only
            self.rows = self.database.vectors = PostgresVectors(address, self.binding.dimension)
        except BaseException:
            self.database.close()
            raise

    @classmethod
    def create(cls, address: str | Path, binding: Binding) -> PostgresStore:
        """A new, empty store, in one transaction. UsageError when there is one of that name."""
        address = str(address)
        database = PostgresDatabase(address, there=False)
        with database._translated():
            connection = database.connect()
            try:
                if connection.execute("SELECT to_regnamespace(?)::text", (f'"{database.schema}"',)).fetchone()[0]:
                    raise UsageError(f"{address} exists; take another name, or remove it with descry gallery delete")
                if not connection.execute("SELECT to_regtype('halfvec')::text").fetchone()[0]:
                    raise UsageError(
                        f"the database of {address} has no pgvector 0.7 or later; an administrator of it adds it with "
                        "CREATE EXTENSION vector, or renews it with ALTER EXTENSION vector UPDATE"
                    )
                connection.execute(WRITE)
                connection.execute(f'CREATE SCHEMA "{database.schema}"')
                for statement in _schema(binding.dimension):
                    connection.execute(statement)
                state = astuple(State(commits=1))
                marks = ",".join("?" * (len(state) + 2))
                connection.execute(f"INSERT INTO state VALUES ({marks})", (1, *state, seal_of(*state)))
                PostgresVectors(address, binding.dimension).create(connection)
                made = datetime.now(UTC).isoformat(timespec="seconds")
                config = {"format": FORMAT, "descry": __version__, "created": made, "binding": asdict(binding)}
                connection.execute("INSERT INTO gallery VALUES (1, ?)", (json.dumps(config),))
                connection.execute("COMMIT")
            finally:
                connection.close()
        return cls(address)

    def read_config(self) -> dict[str, Any]:
        with self.database.reading() as connection:
            row = connection.execute("SELECT config FROM gallery").fetchone()
        try:
            config: dict[str, Any] = json.loads(row[0])
            return config | {"format": config["format"]}
        except (TypeError, ValueError, KeyError):
            raise self.database.corrupt("it does not say what it is bound to") from None

    def _write_config(self) -> None:
        with self.database.writing() as change:
            change.connection.execute("UPDATE gallery SET config = ?", (json.dumps(self.config),))

    # ------------------------------------------------------------------ reading

    def snapshot(self) -> Snapshot:
        """The rows as they are now. Cheap when nothing changed, and when rows were only appended."""
        with self.database.reading() as connection:
            state, old = self.database.state(), self._last
            if old and old.generation == state.generation:
                return old
            grown = old if old and old.layout == state.layout and old.generation < state.generation else None
            after = int(grown.ids[-1]) if grown and len(grown) else -1
            table = connection.copied("SELECT id, row FROM items WHERE id > %s ORDER BY id", [after], "qq")
        ids, rows = table["c0"].astype(np.int64), table["c1"].astype(np.int64)
        if grown is not None and grown.rows is not None:
            ids, rows = np.concatenate([grown.ids, ids]), np.concatenate([grown.rows, rows])
        if len(ids) != state.count or not (np.diff(ids) > 0).all():
            raise self.database.corrupt(f"it says that it has {state.count} items and holds {len(ids)}")
        made = PostgresSnapshot(state.generation, state.layout, ids, (), rows, self)
        if self.database.here.change is None:
            self._last = made
        return made

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        """(n, D) float16 stored vectors by id; KeyError for an id that is not there."""
        wanted = [int(i) for i in ids]
        with self.database.reading() as connection:
            rows = dict(connection.execute("SELECT id, row FROM items WHERE id = ANY(?)", (wanted,)).fetchall())
            if gone := [i for i in wanted if i not in rows]:
                raise KeyError(f"no items with the ids {gone[:5]} in this gallery")
            return self.rows.read(connection, [rows[i] for i in wanted])

    def size(self) -> int:
        """Bytes of the tables with their indexes."""
        sql = "SELECT CAST(sum(pg_total_relation_size(c.oid)) AS bigint) FROM pg_class c JOIN pg_namespace n "
        with self.database.reading() as connection:
            asked = f"{sql} ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname = ?"
            return int(connection.execute(asked, (self.database.schema,)).fetchone()[0] or 0)

    def verify(self) -> list[Fault]:
        """Every fault in any row that an answer depends on."""
        faults: list[Fault] = []
        sums, digest, count, last = self.rows._no_moments(), 0, 0, -1
        with self.database.patient(), self.database.reading() as connection:
            state, asked = self.database.state(), f"SELECT {ITEM}, seal FROM items WHERE row > ? ORDER BY row LIMIT ?"
            while len(faults) < LIMIT and (part := connection.execute(asked, (last, STEP)).fetchall()):
                vectors, last = self.rows.read(connection, [item[10] for item in part]), part[-1][10]
                count, sums = count + len(part), added(sums, vectors, 1)
                for (*values, seal), vector in zip(part, vectors, strict=True):
                    digest ^= seal_of(*values)
                    if seal_of(*values) != seal:
                        faults.append(Fault("items", f"item {values[0]} does not fit its checksum"))
                    if crc32(vector) != values[11]:
                        faults.append(Fault("embeddings", f"the vector of item {values[0]} has changed"))
            for *values, _ in connection.execute(f"SELECT {SKIP}, seal FROM skipped"):
                digest ^= seal_of(*values)
            if (digest, count) != (state.digest, state.count):
                faults.append(Fault("items", f"holds {count} items where {state.count} were written, or others"))
            wrong = self.rows.differing(connection, None if faults else sums)
            faults += [Fault("moments", said) for said in wrong]
        return faults[:LIMIT]

    # ------------------------------------------------------------------ writing

    def hold(self) -> None:
        """Take the writer's lock, which the server gives back by itself when this process ends. Raises Locked."""
        if self._lock is not None:
            return
        if self.read_only:
            raise self.database.unwritable()
        connection = self.database.connect()
        key = int.from_bytes(blake2b(self.database.schema.encode(), digest_size=8).digest(), "big", signed=True)
        with self.database._translated(), ExitStack() as failing:
            failing.callback(connection.close)
            if not connection.execute("SELECT pg_try_advisory_lock(?)", (key,)).fetchone()[0]:
                raise Locked(f"{self.address} is being written by another process; try again when it has ended")
            failing.pop_all()
        self._lock = SimpleNamespace(release=connection.close)  # type: ignore[assignment]

    def put(self, ids: Sequence[int], entries: Sequence[Entry], vectors: np.ndarray) -> None:
        """Store crops under given ids, in the place of what has these ids or paths, in one transaction."""
        self.hold()
        half = as_half(list(np.asarray(vectors)), self.binding.dimension)
        with self.database.writing() as change:
            connection = change.connection
            paths = [columns(entry)[0] for entry in entries]
            asked = "SELECT id FROM items WHERE id = ANY(?) OR path = ANY(?)"
            for (number,) in connection.execute(asked, (list(ids), paths)).fetchall():
                change.remove(number)
            first = self.rows.append(connection, half)
            rows = []
            for i, (number, entry) in enumerate(zip(ids, entries, strict=True)):
                row = (int(number), *columns(entry), first + i, crc32(half[i]))
                rows.append((*row, seal_of(*row)))
                change._digest(rows[-1][-1], count=1)
            with connection.cursor().copy("COPY items FROM STDIN") as copy:  # type: ignore[attr-defined]
                for made in rows:
                    copy.write_row(made)
            change.state.layout += min(ids) < change.state.next_id  # a snapshot is only gone on with behind its last id
            change.state.next_id = max(change.state.next_id, *(int(i) + 1 for i in ids))

    def missing(self, ids: Sequence[int], entries: Sequence[Entry], vectors: np.ndarray) -> list[int]:
        """Places in a list of crops of those that are not stored under these ids as they are. When a file was last read
        does not count.
        """
        with self.database.reading() as connection:
            rows = connection.execute(f"SELECT {ITEM} FROM items WHERE id = ANY(?)", (list(ids),)).fetchall()
        there = {row[0]: (*row[1:5], *row[6:10], row[11]) for row in rows}
        facts = [columns(entry) for entry in entries]
        wanted = [(*row[:4], *row[5:], crc32(vector)) for row, vector in zip(facts, vectors, strict=True)]
        return [i for i, number in enumerate(ids) if there.get(number) != wanted[i]]

    def compact(self) -> int:
        """Take removed rows out of the tables' files (VACUUM FULL); bytes won. Nobody can search meanwhile. The
        server's log and its backups keep them for as long as the server was told to keep these."""
        self.hold()
        before = self.size()
        self.database.scrub()
        return before - self.size()

    def erase(self) -> None:
        """Remove the schema with all its tables. Raises Locked."""
        self.hold()
        with self.database._translated():
            self.database.connection().execute(f'DROP SCHEMA "{self.database.schema}" CASCADE')
        self.close()


def _schema(dimension: int) -> Iterator[str]:
    """The local store's tables in PostgreSQL's words, and the two that are its own."""
    words = {
        "INTEGER PRIMARY KEY AUTOINCREMENT": "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
        "INTEGER": "bigint",
        "BLOB": "bytea",
        "TEXT": 'text COLLATE "C"',
        " WITHOUT ROWID": "",
    }
    for statement in SCHEMA.split(";"):
        if statement.strip() and not re.search(rf"CREATE TABLE ({'|'.join(LOCAL)}) ", statement):
            for ours, theirs in words.items():
                statement = statement.replace(ours, theirs)
            yield statement
    yield "CREATE TABLE gallery (one bigint PRIMARY KEY CHECK (one = 1), config text NOT NULL)"
    yield f"CREATE TABLE embeddings (row bigint PRIMARY KEY, v halfvec({dimension}) NOT NULL)"
    yield f"ALTER TABLE embeddings ALTER COLUMN v SET STORAGE {'PLAIN' if dimension <= 3900 else 'EXTERNAL'}"
    yield "CREATE INDEX items_camera ON items (camera)"
    yield "CREATE INDEX items_time ON items (time)"


def migrate(
    local: LocalStore, address: str, progress: Callable[[int, int], None] | None = None
) -> tuple[int, int, int]:
    """Make the store at an address hold exactly the items of a local gallery, under the same ids, in one transaction:
    whoever searches it meanwhile sees what was there before, and rounds, findings and the account are written as ever.
    What is there already is not sent again; every vector is read back and compared. → how many there are, were sent,
    and were removed.

    Inquiries and the account stay where they are; the store begins its own. Raises IndexMismatch when it belongs to
    another model, StoreUnavailable when a vector comes back otherwise than it was sent; then nothing has changed.
    """
    try:
        store = PostgresStore(address)
    except UsageError:
        store = PostgresStore.create(address, local.binding)
    try:
        store.binding.check(local.binding, address)
        store.hold()
        with store.database.patient(), store.database.writing(WRITE) as change:
            total, copied, removed = send(local, store, progress)
            _skips(local, change)
            store.note_search(str(local.config.get(SEARCHES, "")))
            now = content(store)  # reads every item: before the turn, which others wait for
            store.database.take_turn(change)
            add_line(store.database, "index", of="migrate", copied=copied, removed=removed, gallery=now)
        return total, copied, removed
    finally:
        store.close()


def _skips(local: LocalStore, change: Change) -> None:
    """The same files are known as skipped as in the local gallery."""
    with local.database.reading() as connection:
        here = {row[0]: tuple(row) for row in connection.execute(f"SELECT {SKIP} FROM skipped")}
    there = {row[0]: tuple(row) for row in change.connection.execute(f"SELECT {SKIP} FROM skipped").fetchall()}
    for path in there:
        if path not in here:
            change.unskip(os.fsdecode(path))
    for path, row in here.items():
        if there.get(path) != row:
            change.skip(os.fsdecode(path), *row[1:])
