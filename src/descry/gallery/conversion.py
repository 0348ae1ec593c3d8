"""A gallery of format 1 as one of format 2: numbers, vectors, inquiries and findings stay, nothing is encoded again.

Format 1 kept items in `items.db`, float16 vectors in segments `vectors-NNNNNN.f16`, inquiries in `inquiries.db` and the
account in `audit.jsonl`. The old folder is read and never written: SQLite opens copies of its databases. The new one is
built beside its place, verified, and renamed.

Letters: D dimension, n rows.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import safe_files
from ..errors import IndexCorrupt, UsageError
from ..safe_files import FOLDER, damaged, open_own, read_own, refuse_links
from .account import KEY, Audit, add_line, content
from .database import SKIP, entry_of, foreign_schema, seal_of, translated
from .local import CONFIG, OWN, LocalStore, checked_binding

JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""A rollback journal begins so, and ends so when it names a further file (https://sqlite.org/fileformat2.html §3)."""
FORMAT = 1
ITEMS, INQUIRIES, ACCOUNT, PURGE = "items.db", "inquiries.db", "audit.jsonl", "purge.json"
ABSENCE = "absence.json"
KEPT = "audit.format1.jsonl"
"""The old account, inside the new folder; `descry audit verify` reads it."""
OLD = (*OWN, f"{ITEMS}*", "vectors-*")
STEP = 2048
MAGIC, HEADER = b"descry vectors 1", 64
ITEM = "id, path, sha, size, mtime, checked, camera, track, time, look, segment, row, crc"
STATE = "generation, layout, next_id, count, digest"

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
INQUIRY_SCHEMA = ";".join((
    "CREATE TABLE inquiries (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL, "
    "last INTEGER NOT NULL, visited TEXT NOT NULL)",
    "CREATE TABLE rounds (inquiry INTEGER NOT NULL REFERENCES inquiries(id) ON DELETE CASCADE, "
    "number INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (inquiry, number))",
    "CREATE TABLE pictures (sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL)",
    "ALTER TABLE inquiries ADD COLUMN key BLOB",
    "ALTER TABLE inquiries ADD COLUMN begun TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE inquiries ADD COLUMN touched TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE inquiries ADD COLUMN keep_until TEXT NOT NULL DEFAULT ''",
    "CREATE TABLE findings (inquiry INTEGER NOT NULL REFERENCES inquiries(id) ON DELETE CASCADE, "
    "item INTEGER NOT NULL, verdict TEXT NOT NULL, note TEXT NOT NULL, round INTEGER NOT NULL, "
    "sha256 TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (inquiry, item))",
    "CREATE TABLE days (day TEXT PRIMARY KEY, key BLOB NOT NULL)",
))  # fmt: skip
FIRST_SCHEMA = ";".join(INQUIRY_SCHEMA.split(";")[:3])
"""Of inquiries before there were findings and an account."""
TABLES = {
    "inquiries": "id, name, head, last, visited, key, begun, touched, keep_until",
    "rounds": "inquiry, number, data",
    "pictures": "sha256, kind, data",
    "findings": "inquiry, item, verdict, note, round, sha256, at",
    "days": "day, key",
}


@dataclass(frozen=True, slots=True)
class Converted:
    """What was carried over.

    Attributes:
        items: number of items.
        skipped: number of files that could not be read.
        inquiries: number of inquiries.
        lines: of the old account, which is kept as a file.
        account_ok: whether every one of those lines is as it was written.
    """

    items: int
    skipped: int
    inquiries: int
    lines: int
    account_ok: bool


def convert(old: str | Path, new: str | Path, progress: Callable[[int, int], None] | None = None) -> Converted:
    """Make a gallery of format 2 from one of format 1. Nothing is left behind when it fails.

    Raises UsageError when `old` has another format, waits for a purge, or changes meanwhile, or when `new` is not
    empty; IndexCorrupt when a byte of `old` is not as it was written.
    """
    old, new = Path(old), Path(new)
    refuse_links(old, OLD, "gallery")
    config = _config(old)
    if new.exists() and (not new.is_dir() or any(new.iterdir())):
        raise UsageError(f"{new} exists and is not empty; name a new folder for the gallery")
    partial = Path(f"{new}.partial")
    if old.resolve() in (new.resolve(), partial.resolve(), *new.resolve().parents):
        raise UsageError(f"{new} lies in {old}, which is not written; name a folder beside it")
    shutil.rmtree(partial, ignore_errors=True)  # of a conversion that was interrupted
    try:
        before = _stamp(old)
        (partial / "old").mkdir(FOLDER, parents=True)
        for name in (ITEMS, f"{ITEMS}-wal", INQUIRIES, f"{INQUIRIES}-journal", f"{INQUIRIES}-wal"):
            if (old / name).exists():
                _copy(old / name, partial / "old" / name)
        _refuse_journal(partial / "old" / f"{INQUIRIES}-journal", old)
        report = _made(old, config, partial, progress)
        if _stamp(old) != before:
            raise UsageError(f"{old} was changed while it was read; end what uses it, then repeat")
        os.replace(partial / "new", new)  # a gallery appears whole, or not at all
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    safe_files.sync_folder(new.resolve().parent)
    return report


def _config(old: Path) -> dict[str, Any]:
    try:
        config = safe_files.read_sealed(old / CONFIG)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{old} is not a gallery: it holds no {CONFIG}; name the folder of a gallery") from None
    if config.get("format") != FORMAT:
        raise UsageError(f"{old} has format {config.get('format')!r}; galleries of format {FORMAT} are converted")
    if (old / PURGE).exists():
        raise UsageError(
            f"{old} waits for a purge that was interrupted; finish it with the descry that made the gallery, or remove "
            f"{old / PURGE} if what it names may stay"
        )
    return config


def _stamp(folder: Path) -> dict[str, tuple[int, int]]:
    with os.scandir(folder) as entries:
        return {e.name: (e.stat().st_size, e.stat().st_mtime_ns) for e in entries if not e.name.endswith("-shm")}


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as file, open(open_own(target), "wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        safe_files.os_fsync(copy.fileno())


def _refuse_journal(journal: Path, old: Path) -> None:
    """Raises IndexCorrupt for the copy of a rollback journal that names a further file, as one of several databases
    does: SQLite would delete that file, whatever it is."""
    if not journal.exists():
        return
    with open(journal, "rb") as file:
        file.seek(-min(len(JOURNAL), journal.stat().st_size), os.SEEK_END)
        if file.read() == JOURNAL:
            raise IndexCorrupt(f"{old / journal.name} names another file, to be deleted; do not trust this gallery")


@contextmanager
def _opened(path: Path, of: Path, *schemas: str) -> Iterator[sqlite3.Connection]:
    """A copy of an old database that holds only the tables of one of the schemas. of: what it is a copy of, for
    messages."""
    with translated(of, lambda what: damaged(of, what)), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA trusted_schema=OFF")
        foreign = [next(foreign_schema(connection, schema), "") for schema in schemas]
        if all(foreign):
            raise IndexCorrupt(f"{of} holds what descry did not make: {foreign[0]}; do not trust this gallery")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise damaged(of, "SQLite finds faults in it")
        yield connection


def _made(old: Path, config: dict[str, Any], partial: Path, progress: Callable[[int, int], None] | None) -> Converted:
    made = LocalStore.create(partial / "new", checked_binding(old, config))
    try:
        made.hold()
        with _opened(partial / "old" / ITEMS, old / ITEMS, SCHEMA) as database:
            skipped = _items(old, database, made, progress)
        inquiries = 0
        if (partial / "old" / INQUIRIES).exists():
            with _opened(partial / "old" / INQUIRIES, old / INQUIRIES, INQUIRY_SCHEMA, FIRST_SCHEMA) as database:
                inquiries = _inquiries(database, old / INQUIRIES, made)
        if (old / ABSENCE).exists():  # measured on these vectors, which stay; of another format it is told when read
            _copy(old / ABSENCE, made.folder / ABSENCE)
        lines, head, ok = 0, "", True
        if (old / ACCOUNT).exists():
            _copy(old / ACCOUNT, made.folder / KEPT)
            verdict = Audit(made.folder / KEPT).verify()
            lines, head, ok = verdict.lines, verdict.head, verdict.ok
        kept = {"lines": lines, "head": head, "ok": ok}
        add_line(made.database, "index", of="convert", account=kept, gallery=content(made))
        faults = made.verify()
        if faults:
            raise IndexCorrupt(f"{old} did not arrive as it was ({faults[0].what}); is the disk of {partial} sound?")
        return Converted(made.count(), skipped, inquiries, lines, ok)
    finally:
        made.close()


def _items(
    old: Path, database: sqlite3.Connection, made: LocalStore, progress: Callable[[int, int], None] | None
) -> int:
    """Items under their numbers with their vectors, and skipped files; how many of the latter."""
    path = old / ITEMS
    row = database.execute(f"SELECT {STATE}, seal FROM state").fetchone()
    if row is None or seal_of(*row[:-1]) != row[-1]:
        raise damaged(path, "its state does not fit its checksum")
    generation, _, next_id, total, digest = row[:-1]
    try:
        head = safe_files.read_sealed(old / "head")
    except FileNotFoundError:
        raise damaged(path, "the file 'head' beside it is missing") from None
    if type(head.get("generation")) is not int or generation < head["generation"]:
        raise damaged(path, f"it stands at commit {generation}, though {head.get('generation')} were made")
    segments = {}
    for number, rows, seal in database.execute("SELECT id, rows, seal FROM segments").fetchall():
        if seal_of("segment", number, rows) != seal:
            raise damaged(path, f"segment {number} does not fit its checksum")
        segments[number] = _segment(old, number, rows, made.binding.dimension)
        digest ^= seal
    last = 0
    step = f"SELECT {ITEM}, seal FROM items WHERE id > ? ORDER BY id LIMIT {STEP}"
    while found := database.execute(step, (last,)).fetchall():
        vectors = []
        for *values, seal in found:
            segment, place, crc = values[10:]
            rows = segments.get(segment, ())
            if seal_of(*values) != seal or not 0 <= place < len(rows):
                raise damaged(path, f"item {values[0]} does not fit its checksum, or points outside the vectors")
            if zlib.crc32(rows[place]) != crc:
                raise damaged(old / _name(segment), f"the vector of item {values[0]} has changed")
            vectors.append(rows[place])
            digest ^= seal
        with made.database.writing() as change:
            first = made.rows.append(change.connection, np.stack(vectors))
            for i, values in enumerate(found):
                number, entry = entry_of(values[:10])
                change.state.next_id = number
                change.insert(entry, first + i, values[12])
        last = found[-1][0]
        if progress:
            progress(made.count(), total)
    skips = database.execute(f"SELECT {SKIP}, seal FROM skipped").fetchall()
    with made.database.writing() as change:
        for *values, seal in skips:
            if seal_of(*values) != seal:
                raise damaged(path, "the record of a skipped file does not fit its checksum")
            digest ^= seal
            change.skip(os.fsdecode(values[0]), *values[1:])
        change.state.next_id = max(next_id, change.state.next_id)
    if digest or made.count() != total:
        raise damaged(path, f"holds {made.count()} items where {total} were written, or others")
    return len(skips)


def _name(number: int) -> str:
    return f"vectors-{number:06d}.f16"


def _segment(old: Path, number: int, rows: int, dimension: int) -> np.ndarray:
    """The rows of a segment that count, (n, D) float16, mapped for reading."""
    path = old / _name(number)
    body = struct.pack("<16sQQ", MAGIC, dimension, number)
    try:
        if read_own(path, HEADER) != (body + struct.pack("<I", zlib.crc32(body))).ljust(HEADER, b"\0"):
            raise damaged(path, f"it does not begin like segment {number} of dimension {dimension}")
        if path.stat().st_size < HEADER + rows * 2 * dimension:
            raise damaged(path, f"it has been cut: {rows:,} rows were written")
        if not rows:
            return np.empty((0, dimension), np.float16)
        return np.memmap(path, np.float16, "r", HEADER, (rows, dimension))
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None


def _inquiries(database: sqlite3.Connection, path: Path, made: LocalStore) -> int:
    """Every row of the inquiries' tables as it is; how many inquiries."""
    with made.database.writing() as change:
        for table, columns in TABLES.items():
            there = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            names = [name for name in columns.split(", ") if name in there]
            if not names:
                continue
            # inquiries of the first version had no key and no dates, for there was no account yet
            added = ("key", "begun", "touched") if table == "inquiries" and "key" not in there else ()
            marks = ",".join("?" * (len(names) + len(added)))
            insert = f"INSERT INTO {table} ({', '.join([*names, *added])}) VALUES ({marks})"
            for row in database.execute(f"SELECT {', '.join(names)} FROM {table}"):
                try:
                    change.connection.execute(insert, [*row, *((secrets.token_bytes(KEY), "", "") if added else ())])
                except sqlite3.IntegrityError as error:
                    raise damaged(path, f"a row of {table}: {error}") from None
        if change.connection.execute("SELECT name FROM inquiries WHERE typeof(key) <> 'blob'").fetchone():
            raise damaged(path, "an inquiry has no key")
        return int(change.connection.execute("SELECT count(*) FROM inquiries").fetchone()[0])
