"""The local store: one folder, embedded, exact.

  gallery.db      items, vectors, inquiries, account      head          how far commits have come
  gallery.json    what it is bound to                     writer.lock   which process indexes or removes
  vectors.cache   a copy of the vectors to map; may be deleted

Every act is one transaction of SQLite, then the head. Killed anywhere, the folder is as it was after the last commit.
"""

from __future__ import annotations

import os
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import __version__, lock, safe_files
from ..errors import DescryError, IndexCorrupt, IndexMismatch, UsageError
from ..lock import WriterLock
from ..query import Filters
from ..safe_files import FOLDER, refuse_links
from .contract import Binding, Entry, Fault, Item, Snapshot, folded, from_microseconds
from .database import CHUNK, HEAD, NAME, PUBLIC, Change, Database, State
from .filters import passing_ids
from .vectors import CACHE, Moments, Vectors

FORMAT = 2
CONFIG, SEARCHES, INEXACT = "gallery.json", "search_fingerprint", "inexact_encoder"
OWN = (
    *(f"{CONFIG}*", f"{NAME}*", f"{HEAD}*", f"{lock.NAME}*", f"{CACHE}*", "inquiries.db*", "audit.*", "purge.*"),
    *("absence.json*", "page.key*", "*.partial"),
)
"""Names of everything that descry keeps in a gallery's folder."""
STEP = 500
KNOWN = 16
"""How many answers about filters are kept."""
Known = TypeVar("Known")
WIDEST = 8192
"""Most numbers of a vector; the sums over all vectors take 8 D² bytes."""


@dataclass
class Batch:
    """What one commit changes: all of it or nothing. updated: (id, entry) of moved files or other metadata."""

    added: list[Entry] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    updated: list[tuple[int, Entry]] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    skipped: list[tuple[str, str, str, int, int, int]] = field(default_factory=list)
    unskipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(part) for part in (self.added, self.updated, self.removed, self.skipped, self.unskipped))


def as_half(vectors: Sequence[np.ndarray], dimension: int) -> np.ndarray:
    """(n, D) vectors rounded to float16; UsageError for another dimension or values that are not finite."""
    rows = np.stack(list(vectors)) if len(vectors) else np.zeros((0, dimension), np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise UsageError(f"vectors of shape {rows.shape} were given; this gallery holds (n, {dimension})")
    half = rows.astype(np.float16)
    if not np.isfinite(half).all():
        raise UsageError(
            "the model gave values that are not finite numbers; check its weights with descry doctor --model"
        )
    lengths = np.linalg.norm(half.astype(np.float32), axis=1)
    if len(half) and np.abs(lengths - 1).max() > 0.01:
        raise UsageError(
            f"vectors must have length 1, and one has {lengths[np.abs(lengths - 1).argmax()]:.3g}; "
            f"divide each by its length"
        )
    return half


class LocalStore:
    """See the module's text. Threads may share one; each gets its own view of the database.

    Attributes:
        complete: whether a store scores every item exactly and holds inquiries, findings and the account.
    """

    complete = True

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        refuse_links(self.folder, OWN, "gallery")
        try:
            self.config = safe_files.read_sealed(self.folder / CONFIG)
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(
                f"{self.folder} is not a gallery: it holds no {CONFIG}; make one with descry index DIR "
                f"--out {self.folder}"
            ) from None
        if self.config.get("format") != FORMAT:
            older = self.config.get("format") == 1
            raise IndexMismatch(
                f"{self.folder} has format {self.config.get('format')}; this descry reads format {FORMAT}: "
                + (f"descry gallery convert {self.folder} NEW" if older else "index again into a new folder")
            )
        self.binding = checked_binding(self.folder, self.config)
        self.database = Database(self.folder)
        self.read_only = self.database.read_only
        """Whether nothing may be written to it."""
        self.rows = self.database.vectors = Vectors(self.folder, self.binding.dimension)
        self._lock: WriterLock | None = None
        self._last: Snapshot | None = None
        self._moments: tuple[int, Moments] | None = None
        self._known: dict[Any, Any] = {}

    @classmethod
    def create(cls, folder: str | Path, binding: Binding) -> LocalStore:
        """A new, empty store. UsageError when the folder holds anything already but a creation that was interrupted."""
        folder = Path(folder)
        if folder.exists() and not (folder.is_dir() and _unfinished(folder)):
            raise UsageError(f"{folder} exists and is not empty; name a new folder for the gallery")
        with _disk(folder):
            folder.mkdir(FOLDER, parents=True, exist_ok=True)
            held = WriterLock(folder)
            try:
                for path in [p for p in folder.iterdir() if p.name != lock.NAME]:
                    path.unlink()
                database = Database(folder, create=True)
                with database.writing() as change:
                    Vectors(folder, binding.dimension).create(change.connection)
                database.close()
                made = datetime.now(UTC).isoformat(timespec="seconds")
                config = {
                    "format": FORMAT,
                    "descry": __version__,
                    "created": made,
                    "vectors": "float16",
                    "binding": asdict(binding),
                }
                safe_files.write_sealed(folder / CONFIG, config)  # last: without it the folder is no gallery
            finally:
                held.release()
        return cls(folder)

    # ------------------------------------------------------------------ reading

    def count(self) -> int:
        """Number of items."""
        return self.database.state().count

    def items(self, ids: Sequence[int]) -> list[Item]:
        """Items by id, in the order asked; unknown ids are left out."""
        found: dict[int, Item] = {}
        with self.database.reading() as connection:
            for i in range(0, len(ids), CHUNK):
                part = list(map(int, ids[i : i + CHUNK]))
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT {PUBLIC} FROM items WHERE id IN ({marks})", part)
                for number, path, sha, size, mtime, camera, track, time, look in rows:
                    when, unsigned = from_microseconds(time), look % (1 << 64)
                    found[number] = Item(
                        number, os.fsdecode(path), sha.hex(), size, mtime, camera, track, when, unsigned
                    )
        return [found[i] for i in map(int, ids) if i in found]

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """The current snapshot, with the database held at that moment for everything asked inside the block."""
        with self.database.reading():
            yield self.snapshot()

    def snapshot(self) -> Snapshot:
        """The rows as they are now. Cheap when nothing changed, and when rows were only appended."""
        with self.database.reading() as connection:
            state, old = self.database.state(), self._last
            if old and old.generation > state.generation:  # of another thread, whose view is newer than ours
                old = None
            if old and old.generation == state.generation:
                return old
            fixed = self.database.here.change is not None or self.read_only
            block = self.rows.mapped(connection, None if fixed else lambda: self.database.connect(patience=2))
            grown = old if old is not None and old.layout == state.layout else None
            made = self._table(connection, state, block, grown)
        if len(made) != state.count:
            raise IndexCorrupt(
                f"{self.folder} says it has {state.count} items and holds {len(made)}; run descry verify"
            )
        last = self._last
        if self.database.here.change is None and (last is None or last.generation <= made.generation):
            self._last = made
        return made

    def _table(self, connection: sqlite3.Connection, state: State, block: np.ndarray, old: Snapshot | None) -> Snapshot:
        """The rows of the database's current state. old: nothing of it died or moved since, so that only what was
        appended is read.
        """
        sql, above = "SELECT row, id FROM items INDEXED BY items_row WHERE row >= ? ORDER BY row LIMIT ?", -(1 << 63)
        if old:
            sql = "SELECT row, id FROM items WHERE id > ? ORDER BY id LIMIT ?"
            above = int(old.ids[-1]) if len(old) else 0
        cursor = connection.cursor()
        cursor.row_factory = None  # two numbers each, which are many: they are not looked at one by one
        try:
            found = (number for pair in cursor.execute(sql, (above, state.count + 1)) for number in pair)
            rows, ids = np.fromiter(found, np.int64).reshape(-1, 2).T.copy()
        except (TypeError, ValueError, OverflowError) as error:
            raise self.database.corrupt(f"an item has no number or no row: {error}") from None
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(block):
            raise IndexCorrupt(f"{self.folder}: items point outside the vectors; run descry verify")
        if old:
            ids = np.concatenate([old.ids, ids])
            rows = np.concatenate([np.arange(len(old)) if old.rows is None else old.rows, rows])
        elif not (np.diff(ids) > 0).all():
            order = np.argsort(ids, kind="stable")
            ids, rows = ids[order], rows[order]
            if not (np.diff(ids) > 0).all():
                raise IndexCorrupt(f"{self.folder}: two rows bear one number; run descry verify")
        straight = np.array_equal(rows, np.arange(len(block)))
        return Snapshot(state.generation, state.layout, ids, (block,), None if straight else rows)

    def moments(self, snapshot: Snapshot | None = None) -> Moments | None:
        """Sums over all vectors: the exact mean and spread of any query, without reading a vector.

        snapshot: the moment asked about, now if omitted; None where the gallery has moved on since.
        """
        kept = self._moments
        if kept and snapshot and kept[0] == snapshot.generation:
            return kept[1]
        with self.database.reading() as connection:
            state = self.database.state()
            if snapshot and snapshot.generation != state.generation:
                return None
            found = self.rows.moments(connection)
        if found.count != state.count:
            return None  # an item of zeros, or what verify tells of
        if self.database.here.change is None:
            self._moments = state.generation, found
        return found

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        """(n, D) float16 stored vectors by id; KeyError for an id that is not there."""
        with self.reading() as snapshot:
            return snapshot.vectors(snapshot.columns(ids))

    def nearest(self, vectors: np.ndarray, k: int, filters: Filters | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(T, D) → ids (T, ≤ k) and cosines, float32, best first, ties by rising id. Exact; see `scan`."""
        from . import scan

        with self.reading() as snapshot:
            allowed = self.allowed(snapshot, filters)
            return scan.nearest(snapshot, vectors, k, allowed)

    def allowed(self, snapshot: Snapshot, filters: Filters | None, marked: Iterable[int] = ()) -> np.ndarray | None:
        """(N,) bool: which columns the filters let through; None for all."""
        if filters is None or filters == Filters():
            return None
        plain, inside = replace(filters, marked=None), np.ones(len(snapshot), bool)
        if plain != Filters():
            inside = _among(snapshot.ids, self.known(passing_ids, plain))
        if filters.marked is not None:
            inside &= _among(snapshot.ids, np.fromiter(set(map(int, marked)), np.int64)) == filters.marked
        return inside

    def known(self, make: Callable[[sqlite3.Connection, Filters], Known], filters: Filters) -> Known:
        """What `make` reads of the database about filters. The last few answers are kept while no item changes, so that
        the rounds of an inquiry ask once."""
        with self.database.reading() as connection:
            key = self.database.state().generation, make, filters
            found: Known = self._known[key] if key in self._known else make(connection, filters)
            if self.database.here.change is None:
                self._known[key] = found
            while len(self._known) > KNOWN:
                self._known.pop(next(iter(self._known), key), None)
        return found

    def matching(self, filters: Filters | None = None) -> Iterator[list[int]]:
        """Every id that the filters let through, rising, in steps, of one moment."""
        with self.reading() as rows:
            allowed = self.allowed(rows, filters)
            ids = rows.ids if allowed is None else rows.ids[allowed]
            for i in range(0, len(ids), STEP):
                yield ids[i : i + STEP].tolist()

    def shows(self, path: str) -> bool:
        """Whether a file is that of an item, under whatever name: links and other spellings of it too."""
        found, names = os.stat(path), {folded(path), folded(os.path.realpath(path))}
        with self.database.reading() as connection:
            for held, size in connection.execute("SELECT path, size FROM items"):
                likely = size == found.st_size or folded(os.fsdecode(held)) in names
                if likely and os.path.exists(held) and os.path.samestat(found, os.stat(held)):
                    return True
        return False

    def overview(self) -> dict[str, Any]:
        """What it holds and what it is bound to: plain values."""
        from .upkeep import overview

        return overview(self)

    # ------------------------------------------------------------------ writing

    def note_search(self, fingerprint: str) -> None:
        """Keep how the model searches now, so that a later change of its vocabulary or ranking is told."""
        if fingerprint and self.config.get(SEARCHES) != fingerprint:
            self.config[SEARCHES] = fingerprint
            self._write_config()

    def read_config(self) -> dict[str, Any]:
        """The configuration as it is kept now; another process may have written it since this store was opened."""
        return safe_files.read_sealed(self.folder / CONFIG)

    def note_encoder(self, inexact: str) -> None:
        """Keep which encoder makes the vectors, where they are not exact. IndexMismatch where others are there."""
        before = str(self.config.get(INEXACT, ""))
        if before == inexact:
            return
        if self.count():
            asked, now = f"--encoder {before}" if before else "exact encoders", inexact or "an exact one"
            raise IndexMismatch(
                f"{self.folder} was indexed with {asked}, and {now} was asked for; their vectors do not compare: go on "
                "with what it was begun with, or index into another --out"
            )
        self.config[INEXACT] = inexact
        self._write_config()

    def _write_config(self) -> None:
        with _disk(self.folder):
            safe_files.write_sealed(self.folder / CONFIG, self.config)

    @property
    def held(self) -> bool:
        """Whether this store holds the writer's lock."""
        return self._lock is not None

    def hold(self) -> None:
        """Take the writer's lock and sweep up what an interrupted writer left. Raises Locked."""
        if self._lock is not None:
            return
        if self.read_only:
            raise self.database.unwritable()
        with _disk(self.folder):
            self._lock = WriterLock(self.folder)
            try:
                self.database.check_head()
                for path in self.folder.glob("*.partial"):
                    path.unlink(missing_ok=True)
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Give the writer's lock back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def add(self, entries: Sequence[Entry], vectors: np.ndarray) -> list[int]:
        """Store crops with their (n, D) vectors; an entry whose path is known replaces that item and keeps its id."""
        return self.commit(Batch(added=list(entries), vectors=list(np.asarray(vectors))))

    def delete(self, ids: Iterable[int]) -> int:
        """Remove items; how many there were. Their bytes go with the next `compact`."""
        before = self.count()
        self.commit(Batch(removed=[int(i) for i in ids]))
        return before - self.count()

    def commit(self, batch: Batch) -> list[int]:
        """Make a batch durable; the ids of what was added. On any error nothing of it is there."""
        self.hold()
        half = as_half(batch.vectors, self.binding.dimension)
        if len(half) != len(batch.added):
            raise UsageError(f"{len(batch.added)} crops came with {len(half)} vectors; give one vector per crop")
        with _disk(self.folder), self.database.writing() as change:
            for number in batch.removed:
                change.remove(number)
            for number, entry in batch.updated:
                change.update(number, entry)
            for skip in batch.skipped:
                change.skip(*skip)
            for path in batch.unskipped:
                change.unskip(path)
            first = self.rows.append(change.connection, half) if len(half) else 0
            return [
                change.insert(entry, first + i, zlib.crc32(row))
                for i, (entry, row) in enumerate(zip(batch.added, half, strict=True))
            ]

    def compact(self) -> int:
        """Leave no byte of what was removed in any file, and give space back; bytes won.

        Removed vectors were overwritten in the database with the removal; this takes them out of the cache, gives rows
        other places when less than half of them are in use, and writes pages anew that held paths and words.
        """
        self.hold()
        with _disk(self.folder):
            before = self.size()
            with self.database.writing() as change:
                self._tidy(change)
            self.database.scrub()
            return before - self.size()

    def _tidy(self, change: Change) -> None:
        connection = change.connection
        rows = self.rows.extent(connection).rows
        if rows and 2 * change.state.count < rows:
            kept = np.array([row for (row,) in connection.execute("SELECT row FROM items ORDER BY row")], np.int64)
            self.rows.repack(connection, kept)
            for to, row in enumerate(kept.tolist()):
                if to != row:
                    change.move(row, to)
        else:
            self.rows.clean(connection)

    def verify(self) -> list[Fault]:
        """Every fault in any byte that an answer depends on."""
        from .upkeep import verify

        return verify(self)

    def size(self) -> int:
        """Bytes of the folder's files."""
        return sum(p.stat().st_size for p in self.folder.iterdir() if p.is_file())

    def erase(self) -> None:
        """Remove the files that are the store's own, and the folder when nothing else is in it. Raises Locked."""
        self.hold()
        self.close()
        own = [CONFIG, NAME, f"{NAME}-wal", f"{NAME}-shm", HEAD, CACHE, lock.NAME]
        kept = (path for pattern in ("*.partial", "audit.format1.*") for path in self.folder.glob(pattern))
        for path in [*(self.folder / name for name in own), *kept]:
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def close(self) -> None:
        """Release lock and connections."""
        self.release()
        self.database.close()
        self._last = self._moments = None
        self._known.clear()


def _among(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(N,) bool: which of the rising ids are wanted."""
    inside = np.zeros(len(ids), bool)
    at = np.searchsorted(ids, wanted)
    at, wanted = at[at < len(ids)], wanted[at < len(ids)]
    inside[at[ids[at] == wanted]] = True
    return inside


def checked_binding(folder: Path, config: dict[str, Any]) -> Binding:
    """The binding of a gallery.json whose every value was looked at: a received one may say anything."""
    kinds = {"source": str, "fingerprint": str, "dimension": int, "preprocessing": dict}
    given: Any = config.get("binding")
    made = config.get("created")
    wrong = "binding" if not isinstance(given, dict) or set(given) != set(kinds) else ""
    if not wrong:
        wrong = next((name for name, kind in kinds.items() if type(given[name]) is not kind), "")
    if not wrong and not (0 < given["dimension"] <= WIDEST and re.fullmatch(r"[0-9a-f]{0,64}", given["fingerprint"])):
        wrong = "dimension or fingerprint"
    if not wrong and not (isinstance(made, str) and re.fullmatch(r"[0-9T:.+Z-]{10,40}", made)):
        wrong = "created"
    if not wrong and not re.fullmatch(r"[0-9a-f]{0,64}", str(config.get(SEARCHES, ""))):
        wrong = SEARCHES
    if wrong:
        raise IndexCorrupt(f"{folder / CONFIG} says something impossible about its {wrong}; do not trust this gallery")
    return Binding(**given)


def _unfinished(folder: Path) -> bool:
    """Whether a folder is empty, or holds only what an interrupted `create` left: a database without a commit."""
    names = {path.name for path in folder.iterdir()}
    refuse_links(folder, OWN, "gallery")
    made = (NAME, f"{NAME}-wal", f"{NAME}-shm", f"{NAME}-journal", HEAD, lock.NAME, f"{CONFIG}.partial")
    if names - set(made):
        return False
    if HEAD not in names or not (folder / HEAD).stat().st_size:  # it is written with the first commit
        return True
    try:
        database = Database(folder)
    except DescryError:
        return False
    try:
        return database.state().commits <= 1
    finally:
        database.close()


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else str(error)
        raise DescryError(
            f"writing to {folder} failed: {what}; what was committed before is kept. Free space or mend "
            f"the disk, then repeat"
        ) from error
