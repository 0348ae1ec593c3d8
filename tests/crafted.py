"""Folders as somebody would craft them: a sound copy, one thing changed, and every seal and checksum right again."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from descry.gallery.database import HEAD, ITEM, NAME, SKIP, SLOT, seal_of

STATE = "commits, generation, layout, next_id, count, digest, lines, last, purging"
DEEP = "[" * 100_000 + "]" * 100_000


def seal_gallery(folder: Path) -> None:
    """Compute every seal, checksum and head anew, as whoever gives a folder can."""
    with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as db:
        db.execute("BEGIN")
        digest = 0
        db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        for *values, seal in db.execute(f"SELECT {ITEM}, rowid FROM items").fetchall():
            made = seal_of(*values)
            digest ^= made
            db.execute("UPDATE items SET seal = ? WHERE rowid = ?", (made, seal))
        for *values, key in db.execute(f"SELECT {SKIP}, path FROM skipped").fetchall():
            made = seal_of(*values)
            digest ^= made
            db.execute("UPDATE skipped SET seal = ? WHERE path = ?", (made, key))
        state = list(db.execute(f"SELECT {STATE} FROM state").fetchone())
        if isinstance(state[5], int):
            state[5] = digest
        names = STATE.split(", ")
        db.execute(f"UPDATE state SET {', '.join(f'{n} = ?' for n in names)}, seal = ?", (*state, seal_of(*state)))
        extent = db.execute("SELECT dimension, rows, version, erased FROM vectors").fetchone()
        if all(isinstance(value, int) for value in extent):
            db.execute("UPDATE vectors SET seal = ?", (zlib.crc32(struct.pack("<4q", *extent)),))
        for table, key in (("blocks", "id"), ("moments", "one")):
            for number, data in db.execute(f"SELECT {key}, data FROM {table}").fetchall():
                crc = zlib.crc32(data if isinstance(data, bytes) else str(data).encode())
                sql = "UPDATE checks SET crc = ? WHERE block = ?" if table == "blocks" else "UPDATE moments SET crc = ?"
                db.execute(sql, (crc, number) if table == "blocks" else (crc,))
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    seal_head(folder, {"commits": state[0], "digest": state[5], "lines": state[6], "last": state[7]})


def seal_head(folder: Path, note: Any) -> None:
    """A head that says this."""
    body = note if isinstance(note, str) else json.dumps(note)
    data = f"{body} {zlib.crc32(body.encode()):08x}\n".encode().ljust(SLOT, b" ")
    (folder / HEAD).write_bytes(data * 2)


def seal_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """gallery.json with other values, or another text, under its right checksum."""
    path = folder / "gallery.json"
    body = json.loads(path.read_text().rsplit("\ncrc32 ", 1)[0])
    text = change(body)
    text = text if isinstance(text, str) else json.dumps(body, indent=1, sort_keys=True)
    path.write_text(f"{text}\ncrc32 {zlib.crc32(text.encode()):08x}\n")


def sparse(path: Path, size: int = 1 << 40) -> None:
    """A file that says it has that many bytes."""
    with open(path, "ab") as file:
        file.truncate(size)


def sql(statement: str, *values: Any, sealed: bool = True) -> Callable[[Path], None]:
    """A change of the database by a statement; without checks of SQLite's own."""

    def change(folder: Path) -> None:
        with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as db:
            db.execute("PRAGMA foreign_keys=OFF")
            db.execute("PRAGMA ignore_check_constraints=ON")
            db.execute(statement, values)
        if sealed:
            seal_gallery(folder)

    return change


def schema(*statements: str) -> Callable[[Path], None]:
    """The definitions in the database changed behind SQLite's back."""

    def change(folder: Path) -> None:
        with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as db:
            db.execute("PRAGMA writable_schema=ON")
            db.execute("PRAGMA synchronous=OFF")
            for statement in statements:
                db.execute(statement)

    return change


def instead(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Something else in the place of a file."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def socket_at(path: Path) -> None:
    """A socket of that name."""
    import socket

    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with closing(socket.socket(socket.AF_UNIX)) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def journal(database: str, victim: Path) -> Callable[[Path], None]:
    """A rollback journal beside a database that names a further file, which SQLite would delete."""

    def change(folder: Path) -> None:
        path, magic = folder / database, bytes.fromhex("d9d505f920a163d7")
        page = struct.unpack(">H", path.read_bytes()[16:18])[0]
        head = magic + struct.pack(">5I", 0, 0, path.stat().st_size // page, 512, page)
        name = os.fsencode(victim)
        tail = struct.pack(">I", (1 << 30) // page + 1) + name + struct.pack(">2I", len(name), sum(name)) + magic
        path.with_name(f"{database}-journal").write_bytes(head.ljust(512, b"\0") + tail)

    return change


def in_round(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """The first round of the first inquiry with other values, or another text."""

    def changed(folder: Path) -> None:
        with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as db:
            data = json.loads(db.execute("SELECT data FROM rounds ORDER BY number LIMIT 1").fetchone()[0])
            text = change(data)
            text = text if isinstance(text, str) else json.dumps(data)
            db.execute("UPDATE rounds SET data = ? WHERE number = 1", (text,))

    return changed
