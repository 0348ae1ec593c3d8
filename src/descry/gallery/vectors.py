"""Vectors in the gallery's SQLite file, a memory-mapped copy of them, and the moments of all rows.

The tables are the truth. Rows of float16 stand in blocks of `ROWS` in one blob each, so that a deletion overwrites its
own rows in place and leaves the others alone; checksums stand apart, for SQLite writes a changed row whole.
`vectors.cache` is a copy in one piece that processes map and share. It may be deleted at any time: whoever finds it
missing, old or damaged makes it again from the tables.

Letters: D dimension, n rows of one call, N rows stored.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import IndexCorrupt
from ..safe_files import open_own
from . import files

ROWS = 64
FOLD = 4096
CACHE = "vectors.cache"
MAGIC = b"descry vectors 2"
HEADER = 4096
BLOCKS = "SELECT id, crc, data FROM blocks LEFT JOIN checks ON block = id"

SCHEMA = """
CREATE TABLE vectors (one INTEGER PRIMARY KEY CHECK (one = 1), dimension INTEGER NOT NULL, rows INTEGER NOT NULL,
  version INTEGER NOT NULL, seal INTEGER NOT NULL);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE checks (block INTEGER PRIMARY KEY, crc INTEGER NOT NULL);
CREATE TABLE moments (one INTEGER PRIMARY KEY CHECK (one = 1), rows INTEGER NOT NULL, count INTEGER NOT NULL,
  crc INTEGER NOT NULL, data BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Extent:
    """What is stored.

    Attributes:
        dimension: of each vector.
        rows: how many rows were ever appended; erased ones are zeros and keep their place.
        version: grows with every append and erasure, so that a copy can tell whether it is the present one.
    """

    dimension: int
    rows: int
    version: int

    @property
    def seal(self) -> int:
        """Checksum of the three values."""
        return zlib.crc32(struct.pack("<3q", self.dimension, self.rows, self.version))


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
        square = np.einsum("td,de,te->t", query, self.products, query) / self.count
        return mean, np.sqrt(np.maximum(square - mean**2, 0))


class Vectors:
    """The vectors of one gallery file. Every method takes a connection that is inside a transaction of the caller's.

    Writers use `append` and `erase` inside `changing`, which keeps the cache from ever holding what was erased.
    """

    def __init__(self, folder: Path, dimension: int):
        self.folder, self.dimension = folder, dimension
        self.cache = Cache(folder / CACHE, dimension)

    def create(self, connection: sqlite3.Connection) -> None:
        """Fill the tables of `SCHEMA` with no rows."""
        extent = Extent(self.dimension, 0, 0)
        connection.execute("INSERT INTO vectors VALUES (1, ?, 0, 0, ?)", (self.dimension, extent.seal))
        self._put_moments(connection, 0, self._no_moments())

    def extent(self, connection: sqlite3.Connection) -> Extent:
        """What is stored at the moment of the transaction. IndexCorrupt when its seal does not hold."""
        row = connection.execute("SELECT dimension, rows, version, seal FROM vectors").fetchone()
        if row is None or not all(isinstance(v, int) and 0 <= v < 1 << 62 for v in row):
            raise self._corrupt("the table vectors holds no extent")
        extent = Extent(*row[:3])
        if extent.seal != row[3] or extent.dimension != self.dimension:
            raise self._corrupt("the extent of its vectors does not bear its seal")
        return extent

    # ------------------------------------------------------------------ writing

    def append(self, connection: sqlite3.Connection, rows: np.ndarray) -> int:
        """Store (n, D) float16 rows behind all others; the number of the first one."""
        extent, size = self.extent(connection), 2 * self.dimension
        rows = np.ascontiguousarray(rows, np.float16)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"rows of shape {rows.shape} were given; (n, {self.dimension}) are stored")
        self.cache.write(extent.rows, rows)
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
        self._set(connection, Extent(self.dimension, extent.rows + len(rows), extent.version + 1))
        covered, moments = self._moments(connection)
        if extent.rows + len(rows) - covered >= FOLD:
            tail = self.read(connection, range(covered, extent.rows + len(rows)))
            self._put_moments(connection, extent.rows + len(rows), _added(moments, tail, 1))
        return extent.rows

    def erase(self, connection: sqlite3.Connection, rows: Sequence[int]) -> None:
        """Overwrite rows with zeros where they stand. Rows that are zeros already stay so."""
        extent = self.extent(connection)
        wanted = np.unique(np.asarray(rows, np.int64))
        if not len(wanted):
            return
        if wanted[0] < 0 or wanted[-1] >= extent.rows:
            raise ValueError(f"rows from {wanted[0]} to {wanted[-1]} were given; 0 to {extent.rows - 1} are stored")
        covered, moments = self._moments(connection)
        if len(inside := wanted[wanted < covered]):
            self._put_moments(connection, covered, _added(moments, self.read(connection, inside), -1))
        self.cache.clear(wanted)
        nothing = bytes(2 * self.dimension)
        for block, places in _by_block(wanted):
            self._patch(connection, block, [(int(place), nothing) for place in places])
        self._set(connection, Extent(self.dimension, extent.rows, extent.version + 1))

    @contextmanager
    def changing(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Around a whole write transaction, from after BEGIN IMMEDIATE to after COMMIT, which the caller does inside.

        The cache is marked unfinished before the first change and whole again after the commit. A process that is
        killed in between leaves the mark, and the next one that can lock the file compares and mends the cache.
        """
        before = self.extent(connection)
        self.cache.begin(before)
        try:
            yield
            if not connection.in_transaction:
                self.cache.finish(self.extent(connection))
        finally:
            self.cache.leave()

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
        connection.execute(
            "UPDATE vectors SET rows = ?, version = ?, seal = ?", (extent.rows, extent.version, extent.seal)
        )

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

    def all(self, connection: sqlite3.Connection) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, (ROWS, D) float16) of every block, each compared with its checksum."""
        for number, *found in connection.execute(f"{BLOCKS} ORDER BY id"):
            yield number * ROWS, self._checked(number, found)

    def mapped(self, connection: sqlite3.Connection) -> np.ndarray:
        """(N, D) float16, mapped from the cache, which is made or mended first where that is needed.

        Needs a connection outside a transaction only when the cache is unfit; then the lock of the writer is taken for
        as long as it is mended. On a disk that cannot be written the rows are read into memory.
        """
        extent = self.extent(connection)
        if self.cache.fits(extent):
            return self.cache.view(extent.rows)
        try:
            return self._mended(connection)
        except OSError:
            return self._loaded(connection, extent)

    def _mended(self, connection: sqlite3.Connection) -> np.ndarray:
        if connection.in_transaction:
            return self._loaded(connection, self.extent(connection))
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "readonly" in str(error):
                return self._loaded(connection, self.extent(connection))
            raise
        try:
            extent = self.extent(connection)
            if not self.cache.fits(extent):
                self.cache.make(extent, (block for _, block in self.all(connection)))
            return self.cache.view(extent.rows)
        finally:
            connection.execute("ROLLBACK")

    def _loaded(self, connection: sqlite3.Connection, extent: Extent) -> np.ndarray:
        out = np.zeros((-(-extent.rows // ROWS) * ROWS, self.dimension), np.float16)
        for first, block in self.all(connection):
            out[first : first + ROWS] = block
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
        return _added(moments, self.read(connection, range(covered, rows)), 1) if rows > covered else moments

    def _no_moments(self) -> Moments:
        return Moments(0, np.zeros(self.dimension), np.zeros((self.dimension, self.dimension)))

    def _moments(self, connection: sqlite3.Connection) -> tuple[int, Moments]:
        """How many rows the stored sums cover, and the sums."""
        found = connection.execute("SELECT rows, count, crc, data FROM moments").fetchone()
        size, data = 8 * self.dimension * (self.dimension + 1), found and found[3]
        if not isinstance(data, bytes) or len(data) != size or zlib.crc32(data) != found[2]:
            raise self._corrupt("its moments are not as they were written")
        values = np.frombuffer(data, np.float64)
        products = values[self.dimension :].reshape(self.dimension, self.dimension)
        return found[0], Moments(found[1], values[: self.dimension], products)

    def _put_moments(self, connection: sqlite3.Connection, rows: int, moments: Moments) -> None:
        data = moments.total.tobytes() + moments.products.tobytes()
        row = (rows, moments.count, zlib.crc32(data), data)
        connection.execute("INSERT OR REPLACE INTO moments VALUES (1, ?, ?, ?, ?)", row)

    def verify(self, connection: sqlite3.Connection) -> list[str]:
        """What is not as it was written, in words: blocks, moments, and a cache that claims to be the present one."""
        extent, faults = self.extent(connection), list[str]()
        sums, seen, held = self._no_moments(), 0, []
        cached = self.cache.view(extent.rows) if self.cache.fits(extent) else None
        for number, *found in connection.execute(f"{BLOCKS} ORDER BY id"):
            seen += 1
            try:
                block = self._checked(number, found)[: extent.rows - number * ROWS]
            except IndexCorrupt as error:
                faults.append(str(error))
                continue
            held.append(block)
            if len(held) == FOLD // ROWS:  # one large product instead of many small ones
                sums, held = _added(sums, np.concatenate(held), 1), []
            if cached is not None and cached[number * ROWS : (number + 1) * ROWS].tobytes() != block.tobytes():
                faults.append(f"{CACHE} differs from block {number}; delete it, it is made again")
        if held:
            sums = _added(sums, np.concatenate(held), 1)
        if seen != -(-extent.rows // ROWS):
            faults.append(f"{seen} blocks of vectors where {-(-extent.rows // ROWS)} were written")
        try:
            stored = self.moments(connection)
        except IndexCorrupt as error:
            return [*faults, str(error)]
        pairs = ((stored.products, sums.products), (stored.total, sums.total))
        near = all(np.allclose(kept, made, 1e-9, 1e-6) for kept, made in pairs)
        if not faults and (stored.count != sums.count or not near):
            faults.append("the moments are not those of the vectors")
        return faults

    def _corrupt(self, what: str) -> IndexCorrupt:
        return IndexCorrupt(f"{self.folder} is damaged: {what}; restore it from a copy, or index again")


class Cache:
    """A header of `HEADER` bytes (magic, dimension, rows, version, whole or not, checksum), then all rows.

    A missing or unfit one costs time, never an answer: `fits` is asked before every use.
    """

    def __init__(self, path: Path, dimension: int):
        self.path, self.dimension = path, dimension
        self._writing: int | None = None

    def fits(self, extent: Extent) -> bool:
        """Whether the file is whole and holds the rows of this extent."""
        try:
            fd = open_own(self.path, os.O_RDONLY)
        except OSError:
            return False
        try:
            size, head = os.fstat(fd).st_size, os.pread(fd, HEADER, 0)
        finally:
            os.close(fd)
        return head == _header(extent, True) and size >= HEADER + extent.rows * 2 * self.dimension

    def view(self, rows: int) -> np.ndarray:
        """(rows, D) float16 over the file, private to this process: writing to it changes no file."""
        if not rows:
            return np.empty((0, self.dimension), np.float16)
        with open(open_own(self.path, os.O_RDONLY), "rb") as file:
            return np.memmap(file, np.float16, "c", HEADER, (rows, self.dimension))

    def make(self, extent: Extent, blocks: Iterator[np.ndarray]) -> None:
        """A new file beside the old one, then in its place; arrays over the old one stay as they are."""
        partial = self.path.with_name(CACHE + ".partial")
        fd = open_own(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            at = HEADER
            for block in blocks:
                files.write_at(fd, at, block)
                at += block.nbytes
            files.write_at(fd, 0, _header(extent, True))
        finally:
            os.close(fd)
        os.replace(partial, self.path)

    def begin(self, extent: Extent) -> None:
        """Mark the file unfinished before it is changed; a file that does not fit is left to be made anew."""
        if self.fits(extent):
            self._writing = open_own(self.path, os.O_RDWR)
            files.write_at(self._writing, 0, _header(extent, False))
            files.sync(self._writing)  # the mark is there before any row differs, also after a power cut
        else:
            self.path.unlink(missing_ok=True)

    def write(self, start: int, rows: np.ndarray) -> None:
        """Rows from row `start` on."""
        if self._writing is not None:
            files.write_at(self._writing, HEADER + start * 2 * self.dimension, rows)

    def clear(self, rows: np.ndarray) -> None:
        """Zeros in place of rows, on the disk before the transaction ends."""
        if self._writing is not None:
            nothing = bytes(2 * self.dimension)
            for row in rows:
                files.write_at(self._writing, HEADER + int(row) * 2 * self.dimension, nothing)
            files.sync(self._writing)

    def finish(self, extent: Extent) -> None:
        """Say that the file is whole."""
        if self._writing is not None:
            files.sync(self._writing)
            files.write_at(self._writing, 0, _header(extent, True))

    def leave(self) -> None:
        """Give the file back. One that `finish` did not reach stays marked unfinished and is made anew."""
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None


def _header(extent: Extent, whole: bool) -> bytes:
    body = MAGIC + struct.pack("<3qB", extent.dimension, extent.rows, extent.version, whole)
    return (body + struct.pack("<I", zlib.crc32(body))).ljust(HEADER, b"\0")


def _by_block(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for part in np.split(rows, np.flatnonzero(np.diff(rows // ROWS)) + 1):
        yield int(part[0]) // ROWS, part % ROWS


def _added(moments: Moments, rows: np.ndarray, sign: int) -> Moments:
    """Moments with rows added (sign 1) or taken away (sign -1); erased rows are zeros and do not count."""
    wide = rows.astype(np.float64)
    count = int(np.count_nonzero(wide.any(axis=1)))
    products = moments.products + sign * (wide.T @ wide)
    return Moments(moments.count + sign * count, moments.total + sign * wide.sum(axis=0), products)
