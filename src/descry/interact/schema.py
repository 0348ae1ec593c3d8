"""The tables of inquiries.db, and the step from version 1 to 2: findings, keys, dates.

A key is 32 random bytes. All that the account (audit) says of an inquiry is committed to under its key, so that
removing the row that holds it removes the last way to read anything from the account.
"""

from __future__ import annotations

import secrets
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from ..gallery.transactions import transaction

VERSION = 2
_FIRST = (
    "CREATE TABLE inquiries (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL, "
    "last INTEGER NOT NULL, visited TEXT NOT NULL)",
    "CREATE TABLE rounds (inquiry INTEGER NOT NULL REFERENCES inquiries(id) ON DELETE CASCADE, "
    "number INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (inquiry, number))",
    "CREATE TABLE pictures (sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL)",
)
_SECOND = (
    "ALTER TABLE inquiries ADD COLUMN key BLOB",
    "ALTER TABLE inquiries ADD COLUMN begun TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE inquiries ADD COLUMN touched TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE inquiries ADD COLUMN keep_until TEXT NOT NULL DEFAULT ''",
    "CREATE TABLE findings (inquiry INTEGER NOT NULL REFERENCES inquiries(id) ON DELETE CASCADE, "
    "item INTEGER NOT NULL, verdict TEXT NOT NULL, note TEXT NOT NULL, round INTEGER NOT NULL, "
    "sha256 TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (inquiry, item))",
    "CREATE TABLE days (day TEXT PRIMARY KEY, key BLOB NOT NULL)",
)

SCHEMA = ";".join((*_FIRST, *_SECOND))
"""The tables of the newest version."""


def new_key() -> bytes:
    """A key for one inquiry, or for the searches of one day that belong to none."""
    return secrets.token_bytes(32)


def prepare(db: sqlite3.Connection, path: Path) -> int:
    """Make or update the tables; the version found (VERSION, or that of a newer descry, which is left alone)."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version >= VERSION:
        return version
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    with transaction(db, "BEGIN IMMEDIATE"):
        version = int(db.execute("PRAGMA user_version").fetchone()[0])  # another process may have been quicker
        if version < VERSION:
            for statement in (*(_FIRST if not version else ()), *_SECOND):
                db.execute(statement)
            for (number,) in db.execute("SELECT id FROM inquiries").fetchall():
                db.execute("UPDATE inquiries SET key = ?, touched = ? WHERE id = ?", (new_key(), written, number))
            db.execute(f"PRAGMA user_version = {VERSION}")
    return VERSION if version < VERSION else version
