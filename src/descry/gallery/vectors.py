"""Vectors in the gallery's SQLite file, a memory-mapped copy of them, and the moments of all rows.

The tables are the truth. Rows of float16 stand in blocks of `ROWS` in one blob each, so that a deletion overwrites its
own rows in place and leaves the others alone; checksums stand apart, for SQLite writes a changed row whole.
`vectors.cache` is a copy in one piece that processes map and share. It may be deleted at any time: whoever finds it
missing, old or damaged makes it again from the tables.

A row of the cache that counts is never changed where it stands, so whoever has mapped it keeps what it had: appended
rows follow the last one, and `clean` puts a new file without the erased rows in its place.

Letters: D dimension, n rows of one call, N rows stored.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import safe_files
from ..errors import IndexCorrupt
from ..safe_files import open_own

ROWS = 64
FOLD = 4096
CACHE = "vectors.cache"
MAGIC = b"descry vectors 3"
HEADER = 4096
BLOCKS = "SELECT id, crc, data FROM blocks LEFT JOIN checks ON block = id"

SCHEMA = """
CREATE TABLE vectors (one INTEGER PRIMARY KEY CHECK (one = 1), dimension INTEGER NOT NULL, rows INTEGER NOT NULL,
  version INTEGER NOT NULL, erased INTEGER NOT NULL, seal INTEGER NOT NULL);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE checks (block INTEGER PRIMARY KEY, crc INTEGER NOT NULL);
CREATE TABLE erased (row INTEGER PRIMARY KEY);
CREATE TABLE moments (one INTEGER PRIMARY KEY CHECK (one = 1), rows INTEGER NOT NULL, count INTEGER NOT NULL,
  crc INTEGER NOT NULL, data BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Extent:
    """What is stored.

    Attributes:
        dimension: of each vector.
        rows: how many rows were ever appended; erased ones are zeros and keep their place.
        version: grows when rows get other places, so that a copy can tell whether it is of the present ones.
        erased: number of erasures so far.
    """

    dimension: int
    rows: int
    version: int
    erased: int

    @property
    def seal(self) -> int:
        """Checksum of the four values."""
        return zlib.crc32(struct.pack("<4q", self.dimension, self.rows, self.version, self.erased))


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over all rows that are not erased, in float64.

    Attributes:
        count: number of those rows.
        total: (D,) sum of v.
        products: (D, D) sum of v vᵀ.
    """

    count: int
    total: np.ndarray
    products: np.ndarray

    def of(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, D) queries → mean and standard deviation (T,) of their dot products with all rows; no row is read."""
        query = np.atleast_2d(query).astype(np.float64)
        if not self.count:
            return np.zeros(len(query)), np.zeros(len(query))
        mean = query @ self.total / self.count
        square = np.sum((query @ self.products) * query, axis=1) / self.count
        return mean, np.sqrt(np.maximum(square - mean**2, 0))


class Vectors:
    """The vectors of one gallery file. Every method takes a connection.

    Those that write take one inside a transaction, after whose end `cache.finish` or `cache.leave` is to be called.
    """

    def __init__(self, folder: Path, dimension: int):
        self.folder, self.dimension = folder, dimension
        self.cache = Cache(folder / CACHE, dimension)

    def create(self, connection: sqlite3.Connection) -> None:
        """Fill the tables of `SCHEMA` with no rows."""
        extent = Extent(self.dimension, 0, 0, 0)
        connection.execute("INSERT INTO vectors VALUES (1, ?, 0, 0, 0, ?)", (self.dimension, extent.seal))
        self._put_moments(connection, 0, self._no_moments())

    def extent(self, connection: sqlite3.Connection) -> Extent:
        """What is stored at the moment of the transaction. IndexCorrupt when its checksum does not fit."""
        row = connection.execute("SELECT dimension, rows, version, erased, seal FROM vectors").fetchone()
        if row is None:
            raise self._corrupt("the table vectors holds no extent")
        extent = Extent(*row[:4])
        if extent.seal != row[4] or extent.dimension != self.dimension:
            raise self._corrupt("the extent of its vectors does not fit its checksum")
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if extent.rows * 2 * self.dimension > pages * size:
            raise self._corrupt(f"it says that it holds {extent.rows} vectors, in {pages * size:,} bytes")
        return extent

    # ------------------------------------------------------------------ writing

    def append(self, connection: sqlite3.Connection, rows: np.ndarray) -> int:
        """Store (n, D) float16 rows behind all others; the number of the first one."""
        extent, size = self.extent(connection), 2 * self.dimension
        rows = np.ascontiguousarray(rows, np.float16)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"rows of shape {rows.shape} were given; (n, {self.dimension}) are stored")
        self.cache.write(extent, rows)
        done = 0
        while done < len(rows):
            block, start = divmod(extent.rows + done, ROWS)
            part = rows[done : done + ROWS - start].tobytes()
            if start == 0:
                data = part.ljust(ROWS * size, b"\0")
                connection.execute("INSERT INTO blocks VALUES (?, ?)", (block, data))
                connection.execute("INSERT INTO checks VALUES (?, ?)", (block, zlib.crc32(data)))
            else:
                self._patch(connection, block, [(start, part)])
            done += len(part) // size
        self._set(connection, replace(extent, rows=extent.rows + len(rows)))
        self._fold(connection, extent.rows + len(rows))
        return extent.rows

    def erase(self, connection: sqlite3.Connection, rows: Sequence[int]) -> None:
        """Overwrite rows with zeros where they stand; the cache keeps them until `clean`. Zeros stay zeros."""
        extent = self.extent(connection)
        wanted = np.unique(np.asarray(rows, np.int64))
        if not len(wanted):
            return
        if wanted[0] < 0 or wanted[-1] >= extent.rows:
            raise ValueError(f"rows from {wanted[0]} to {wanted[-1]} were given; 0 to {extent.rows - 1} are stored")
        self._unfold(connection, wanted)
        nothing = bytes(2 * self.dimension)
        for rows_of_one in np.split(wanted, np.flatnonzero(np.diff(wanted // ROWS)) + 1):
            block = int(rows_of_one[0]) // ROWS
            self._patch(connection, block, [(int(row) % ROWS, nothing) for row in rows_of_one])
        connection.executemany("INSERT OR IGNORE INTO erased VALUES (?)", [(int(row),) for row in wanted])
        self._set(connection, replace(extent, erased=extent.erased + 1))

    def clean(self, connection: sqlite3.Connection) -> None:
        """Let no erased row stand in the cache either. The erasures are of earlier transactions than this one: a cache
        must not be ahead of what is committed.
        """
        rows = np.array([row for (row,) in connection.execute("SELECT row FROM erased ORDER BY row")], np.int64)
        if len(rows):
            extent = self.extent(connection)
            if rows[-1] >= extent.rows:
                raise self._corrupt(f"row {rows[-1]} of its vectors is said to be erased, and was not written")
            self.cache.clean(extent, rows)
            connection.execute("DELETE FROM erased")

    def repack(self, connection: sqlite3.Connection, kept: np.ndarray) -> None:
        """Only rows `kept` (rising) stay, in this order, as rows 0, 1, …; the cache is made anew by the next reader."""
        extent, blocks = self.extent(connection), -(-len(kept) // ROWS)
        for number in range(blocks):  # rows only move towards the front, so none is overwritten before it was read
            part = self.read(connection, kept[number * ROWS : (number + 1) * ROWS]).tobytes()
            data = part.ljust(2 * self.dimension * ROWS, b"\0")
            connection.execute("UPDATE blocks SET data = ? WHERE id = ?", (data, number))
            connection.execute("UPDATE checks SET crc = ? WHERE block = ?", (zlib.crc32(data), number))
        connection.execute("DELETE FROM blocks WHERE id >= ?", (blocks,))
        connection.execute("DELETE FROM checks WHERE block >= ?", (blocks,))
        connection.execute("DELETE FROM erased")
        covered, moments = self._moments(connection)
        tail = self.read(connection, np.arange(np.searchsorted(kept, covered), len(kept)))
        self._put_moments(connection, len(kept), added(moments, tail, 1))
        self._set(connection, Extent(self.dimension, len(kept), extent.version + 1, extent.erased + 1))
        self.cache.drop()

    def _patch(self, connection: sqlite3.Connection, block: int, parts: Sequence[tuple[int, bytes]]) -> None:
        with connection.blobopen("blocks", "data", block) as blob:
            data = bytearray(blob.read())
            for place, part in parts:
                at = place * 2 * self.dimension
                blob.seek(at)
                blob.write(part)
                data[at : at + len(part)] = part
        connection.execute("UPDATE checks SET crc = ? WHERE block = ?", (zlib.crc32(data), block))

    def _set(self, connection: sqlite3.Connection, extent: Extent) -> None:
        row = (extent.rows, extent.version, extent.erased, extent.seal)
        connection.execute("UPDATE vectors SET rows = ?, version = ?, erased = ?, seal = ?", row)

    # ------------------------------------------------------------------ reading

    def read(self, connection: sqlite3.Connection, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, D) float16 rows out of the tables, in the order asked. IndexCorrupt when a block is not as written."""
        wanted = np.asarray(rows, np.int64)
        out = np.empty((len(wanted), self.dimension), np.float16)
        order = np.argsort(wanted, kind="stable")
        blocks = wanted[order] // ROWS
        for at in np.split(order, np.flatnonzero(np.diff(blocks)) + 1) if len(order) else ():
            number = int(wanted[at[0]]) // ROWS
            found = connection.execute(f"{BLOCKS} WHERE id = ?", (number,)).fetchone()
            out[at] = self._checked(number, found and found[1:])[wanted[at] % ROWS]
        return out

    def all(self, connection: sqlite3.Connection, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, (ROWS, D) float16) of every block, from that of row `start` on, compared with its checksum."""
        for number, *found in connection.execute(f"{BLOCKS} WHERE id >= ? ORDER BY id", (start // ROWS,)):
            yield number * ROWS, self._checked(number, found)

    def mapped(
        self, connection: sqlite3.Connection, other: Callable[[], sqlite3.Connection] | None = None
    ) -> np.ndarray:
        """(N, D) float16 of the moment of the connection's transaction, mapped from the cache, which is made or gone on
        with first where that is needed, through a second connection that `other` opens. Where that cannot write, and
        where the cache has moved on, the rows are read into memory.
        """
        extent = self.extent(connection)
        view = self.cache.view(extent)
        if view is None and other:
            with suppress(OSError, sqlite3.OperationalError), closing(other()) as second:
                self._mend(second)
                view = self.cache.view(extent)
        return self._loaded(connection, extent) if view is None else view

    def _mend(self, connection: sqlite3.Connection) -> None:
        if self.cache.view(self.extent(connection)) is not None:
            return
        connection.execute("BEGIN IMMEDIATE")  # no writer beside it: what is erased later is not in the cache then
        try:
            extent = self.extent(connection)
            if self.cache.view(extent) is None:
                self.cache.make(extent, lambda start: self.all(connection, start))
        finally:
            connection.execute("ROLLBACK")

    def _loaded(self, connection: sqlite3.Connection, extent: Extent) -> np.ndarray:
        out = np.zeros((-(-extent.rows // ROWS) * ROWS, self.dimension), np.float16)
        seen = 0
        for first, block in self.all(connection):
            if first + ROWS > len(out):
                raise self._corrupt("it holds more blocks of vectors than were written")
            out[first : first + ROWS] = block
            seen += ROWS
        if seen != len(out):
            raise self._corrupt("it holds fewer blocks of vectors than were written")
        return out[: extent.rows]

    def _checked(self, number: int, found: Sequence[object] | None) -> np.ndarray:
        size = ROWS * self.dimension * 2
        if found is None:
            raise self._corrupt(f"block {number} of its vectors is missing")
        crc, data = found
        if not isinstance(data, bytes) or len(data) != size or zlib.crc32(data) != crc:
            raise self._corrupt(f"block {number} of its vectors is not as it was written")
        return np.frombuffer(data, np.float16).reshape(ROWS, self.dimension)

    # ------------------------------------------------------------------ moments

    def moments(self, connection: sqlite3.Connection) -> Moments:
        """Sums over every row that is not erased. At most `FOLD` rows are read for it."""
        covered, moments = self._moments(connection)
        rows = self.extent(connection).rows
        return added(moments, self.read(connection, range(covered, rows)), 1) if rows > covered else moments

    def _no_moments(self) -> Moments:
        return Moments(0, np.zeros(self.dimension), np.zeros((self.dimension, self.dimension)))

    def _moments(self, connection: sqlite3.Connection) -> tuple[int, Moments]:
        """How many rows the stored sums cover, and the sums."""
        rows = self.extent(connection).rows
        found = connection.execute("SELECT rows, count, crc, data FROM moments").fetchone()
        size, data = 8 * self.dimension * (self.dimension + 1), found and found[3]
        if not isinstance(data, bytes) or len(data) != size or zlib.crc32(data) != found[2] or found[0] > rows:
            raise self._corrupt("its moments are not as they were written")
        values = np.frombuffer(data, np.float64)
        products = values[self.dimension :].reshape(self.dimension, self.dimension)
        return found[0], Moments(found[1], values[: self.dimension], products)

    def _fold(self, connection: sqlite3.Connection, rows: int) -> None:
        """Take all rows below a number into the stored sums, once `FOLD` of them are not in them."""
        covered, moments = self._moments(connection)
        if rows - covered >= FOLD:
            tail = self.read(connection, range(covered, rows))
            self._put_moments(connection, rows, added(moments, tail, 1))

    def _unfold(self, connection: sqlite3.Connection, rows: np.ndarray) -> None:
        """Take rows that are about to be erased out of the stored sums."""
        covered, moments = self._moments(connection)
        if len(inside := rows[rows < covered]):
            self._put_moments(connection, covered, added(moments, self.read(connection, inside), -1))

    def _put_moments(self, connection: sqlite3.Connection, rows: int, moments: Moments) -> None:
        data = moments.total.tobytes() + moments.products.tobytes()
        row = (rows, moments.count, zlib.crc32(data), data)
        connection.execute(
            "INSERT INTO moments VALUES (1, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET rows = excluded.rows, "
            "count = excluded.count, crc = excluded.crc, data = excluded.data",
            row,
        )

    def verify(self, connection: sqlite3.Connection) -> list[str]:
        """What is not as it was written, in words: blocks, moments, and a cache that claims to be the present one."""
        extent, faults = self.extent(connection), list[str]()
        sums, seen, held = self._no_moments(), 0, []
        cached = self.cache.view(extent)
        for number, *found in connection.execute(f"{BLOCKS} ORDER BY id"):
            seen += 1
            try:
                block = self._checked(number, found)[: extent.rows - number * ROWS]
            except IndexCorrupt as error:
                faults.append(str(error))
                continue
            held.append(block)
            if len(held) == FOLD // ROWS:  # one large product instead of many small ones
                sums, held = added(sums, np.concatenate(held), 1), []
            if cached is not None:  # erased rows may still stand there
                copy, alive = cached[number * ROWS : (number + 1) * ROWS], block.view(np.uint16).any(axis=1)
                if not np.array_equal(copy.view(np.uint16)[alive], block.view(np.uint16)[alive]):
                    faults.append(f"{CACHE} differs from block {number}; delete it, it is made again")
        if held:
            sums = added(sums, np.concatenate(held), 1)
        last = connection.execute("SELECT row FROM erased ORDER BY row DESC LIMIT 1").fetchone()
        if last and last[0] >= extent.rows:
            faults.append(f"row {last[0]} of its vectors is said to be erased, and was not written")
        if seen != -(-extent.rows // ROWS):
            faults.append(f"{seen} blocks of vectors where {-(-extent.rows // ROWS)} were written")
        return faults + self.differing(connection, None if faults else sums)

    def differing(self, connection: sqlite3.Connection, sums: Moments | None) -> list[str]:
        """What is wrong with the stored moments, in words. sums: over all rows as they were read, if they are known."""
        try:
            stored = self.moments(connection)
        except IndexCorrupt as error:
            return [str(error)]
        if sums is None:
            return []
        pairs = ((stored.products, sums.products), (stored.total, sums.total))
        near = all(np.allclose(kept, made, 1e-9, 1e-6) for kept, made in pairs)
        return [] if near and stored.count == sums.count else ["the moments are not those of the vectors"]

    def _corrupt(self, what: str) -> IndexCorrupt:
        return IndexCorrupt(f"{self.folder} is damaged: {what}; restore it from a copy, or index again")


@dataclass
class Cache:
    """A header of `HEADER` bytes (magic, dimension, version, rows that count, erasures it knows, checksum), then rows.

    A missing or unfit one costs time, never an answer.
    """

    path: Path
    dimension: int
    written: tuple[Extent, Extent] | None = None
    """What it says of itself, and what it says once the rows written since the last commit count."""

    def _held(self, fd: int, extent: Extent) -> Extent | None:
        """What it says of itself, if it is whole and holds rows of the places and the erasures of an extent or of an
        earlier one.
        """
        head = os.pread(fd, HEADER, 0) if hasattr(os, "pread") else os.read(fd, HEADER)
        try:
            held = Extent(*struct.unpack_from("<4q", head, len(MAGIC)))
        except struct.error:
            return None
        if head != _header(held) or os.fstat(fd).st_size < HEADER + held.rows * 2 * self.dimension:
            return None
        same = held.dimension == self.dimension and held.version == extent.version and held.erased <= extent.erased
        return held if same else None

    def view(self, extent: Extent) -> np.ndarray | None:
        """(rows, D) float16 over the file, private to this process: writing to it changes no file. None when it does
        not hold the rows of that moment.
        """
        if not extent.rows:
            return np.empty((0, self.dimension), np.float16)
        try:
            fd = open_own(self.path, os.O_RDONLY)
        except OSError:
            return None
        with open(fd, "rb") as file:
            held = self._held(file.fileno(), extent)
            if held is None or held.rows < extent.rows:
                return None
            return np.memmap(file, np.float16, "c", HEADER, (extent.rows, self.dimension))

    def make(self, extent: Extent, blocks: Callable[[int], Iterator[tuple[int, np.ndarray]]]) -> None:
        """Go on with the file where it lacks rows only; otherwise put a new one in its place, so that arrays over the
        old one stay as they are. blocks: gives (first row, rows) from the block of a row on.
        """
        try:
            fd = open_own(self.path, os.O_RDWR)
        except FileNotFoundError:
            fd = -1
        if fd >= 0:
            try:
                held = self._held(fd, extent)
                if held and held.rows <= extent.rows:
                    self._fill(fd, extent, held.rows, blocks)
                    return
            finally:
                os.close(fd)
        with self._anew() as fd:
            self._fill(fd, extent, 0, blocks)

    def _fill(
        self, fd: int, extent: Extent, start: int, blocks: Callable[[int], Iterator[tuple[int, np.ndarray]]]
    ) -> None:
        """Rows from `start` to the end of the extent, then the header."""
        for first, block in blocks(start):
            part = block[max(start - first, 0) : extent.rows - first]
            if len(part):
                safe_files.write_at(fd, HEADER + max(start, first) * 2 * self.dimension, part)
        self._head(fd, extent)

    def _head(self, fd: int, extent: Extent) -> None:
        """Say which rows the file holds, after they are on the disk: a header may outlive a power cut, and rows not."""
        safe_files.os_fsync(fd)
        safe_files.write_at(fd, 0, _header(extent))

    @contextmanager
    def _anew(self) -> Iterator[int]:
        partial = self.path.with_name(CACHE + ".partial")
        fd = open_own(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            yield fd
        finally:
            os.close(fd)
        os.replace(partial, self.path)

    def write(self, extent: Extent, rows: np.ndarray) -> None:
        """Rows behind the last ones of the extent, if the file holds all of those; they count after `finish`."""
        try:
            if not extent.rows:
                with self._anew() as fd:
                    safe_files.write_at(fd, 0, _header(extent))
            with open(open_own(self.path, os.O_RDWR), "r+b", 0) as file:
                held = self._held(file.fileno(), extent)
                there = self.written[1] if self.written else held
                if held and there and there.rows == extent.rows:
                    safe_files.write_at(file.fileno(), HEADER + extent.rows * 2 * self.dimension, rows)
                    self.written = held, replace(held, rows=extent.rows + len(rows))
        except OSError:
            self.written = None  # a full disk costs the copy, not the commit

    def finish(self) -> None:
        """The rows written since the last commit count."""
        written, self.written = self.written, None
        if written is not None:
            with suppress(OSError), open(open_own(self.path, os.O_RDWR), "r+b", 0) as file:
                if self._held(file.fileno(), written[0]) == written[0]:
                    self._head(file.fileno(), written[1])

    def leave(self) -> None:
        """The rows written since the last commit never count."""
        self.written = None

    def clean(self, extent: Extent, rows: np.ndarray) -> None:
        """A copy of the file without these rows in its place."""
        if not self.path.exists():
            return
        with open(open_own(self.path, os.O_RDONLY), "rb") as source:
            held = self._held(source.fileno(), extent)
            if held is None:
                self.drop()
                return
            with self._anew() as fd:
                with open(fd, "r+b", closefd=False) as target:
                    shutil.copyfileobj(source, target, 1 << 22)
                os.ftruncate(fd, HEADER + held.rows * 2 * self.dimension)
                nothing = bytes(2 * self.dimension)
                for row in rows[rows < held.rows]:
                    safe_files.write_at(fd, HEADER + int(row) * 2 * self.dimension, nothing)
                self._head(fd, replace(held, erased=extent.erased))

    def drop(self) -> None:
        """Remove the file."""
        self.written = None
        self.path.unlink(missing_ok=True)


def _header(extent: Extent) -> bytes:
    body = MAGIC + struct.pack("<4q", extent.dimension, extent.rows, extent.version, extent.erased)
    return (body + struct.pack("<I", zlib.crc32(body))).ljust(HEADER, b"\0")


def added(moments: Moments, rows: np.ndarray, sign: int) -> Moments:
    """Moments with rows added (sign 1) or taken away (sign -1); erased rows are zeros and do not count."""
    wide = rows.astype(np.float64)
    count = int(np.count_nonzero(wide.any(axis=1)))
    products = moments.products + sign * (wide.T @ wide)
    return Moments(moments.count + sign * count, moments.total + sign * wide.sum(axis=0), products)
