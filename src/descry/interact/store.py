"""Inquiries on disk: one SQLite file beside the gallery, written in whole rounds.

A round is one row of JSON and never changes; the head is a column. The searcher's pictures are kept once each under
their digest, because a replay needs them; deleting an inquiry deletes those that no other inquiry uses, and the freed
pages are overwritten (secure_delete).
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DataError, Locked, UsageError, nearest
from ..query import Query, digest
from . import rounds
from .rounds import Inquiry, Round

FILE = "inquiries.db"
VERSION = 1
_SCHEMA = """
CREATE TABLE inquiries (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    head INTEGER NOT NULL, last INTEGER NOT NULL, visited TEXT NOT NULL
);
CREATE TABLE rounds (
    inquiry INTEGER NOT NULL REFERENCES inquiries(id) ON DELETE CASCADE, number INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (inquiry, number)
);
CREATE TABLE pictures (sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL);
"""


class InquiryStore:
    """The inquiries of one gallery. Open it where it is used, by one thread; several processes may."""

    def __init__(self, path: str | Path):
        """path: the file, or a folder that holds (or will hold) inquiries.db. Raises DataError for another kind of
        file."""
        path = Path(path)
        self.path = path / FILE if path.is_dir() else path
        try:
            self._db = sqlite3.connect(self.path, timeout=10, isolation_level=None)
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA secure_delete = ON")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if not version:
                self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path} is not a file of inquiries ({error}); move it away and begin anew") from None
        if version not in (0, VERSION):
            raise DataError(f"{self.path} has version {version}; this descry reads version {VERSION}; update descry")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def names(self) -> list[str]:
        """All inquiries, oldest first."""
        return [name for (name,) in self._db.execute("SELECT name FROM inquiries ORDER BY id")]

    def save(self, inquiry: Inquiry) -> None:
        """Write what is new, drop what was deleted, move the head: in one transaction."""
        with self._writing():
            self._db.execute(
                "INSERT INTO inquiries (name, head, last, visited) VALUES (?, ?, ?, ?) ON CONFLICT (name) "
                "DO UPDATE SET head = excluded.head, last = excluded.last, visited = excluded.visited",
                (inquiry.name, inquiry.head, inquiry.last, json.dumps(list(inquiry.visited.items()))),
            )
            number = self._number(inquiry.name)
            known = {n for (n,) in self._db.execute("SELECT number FROM rounds WHERE inquiry = ?", (number,))}
            for n in sorted(set(inquiry.rounds) - known):
                self._insert(number, inquiry.rounds[n])
            gone = [(number, n) for n in known - set(inquiry.rounds)]
            self._db.executemany("DELETE FROM rounds WHERE inquiry = ? AND number = ?", gone)
            if gone:
                self._sweep()

    def load(self, name: str) -> Inquiry:
        """An inquiry as it was saved. Raises UsageError for an unknown name, DataError for a damaged one."""
        number = self._number(name)
        row = self._db.execute("SELECT head, last, visited FROM inquiries WHERE id = ?", (number,)).fetchone()
        rows = self._db.execute("SELECT data FROM rounds WHERE inquiry = ? ORDER BY number", (number,))
        try:
            made = [rounds.from_json(json.loads(data), self.picture) for (data,) in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"inquiry {name!r} in {self.path} is damaged ({error}); delete it or restore a copy"
            ) from None
        return Inquiry(name, made, row[0], row[1], dict(json.loads(row[2])))

    def delete(self, name: str) -> None:
        """Remove an inquiry with its rounds and the pictures only it used."""
        number = self._number(name)
        with self._writing():
            self._db.execute("DELETE FROM inquiries WHERE id = ?", (number,))
            self._sweep()

    def picture(self, sha256: str) -> Any:
        """The picture of a digest: the bytes of a file, or a PIL image."""
        row = self._db.execute("SELECT kind, data FROM pictures WHERE sha256 = ?", (sha256,)).fetchone()
        if row is None:
            raise DataError(f"{self.path} lacks the picture {sha256[:12]}…; its inquiry cannot be opened")
        if row[0] == "file":
            return bytes(row[1])
        from PIL import Image

        image = Image.open(io.BytesIO(row[1]))
        image.load()
        return image if row[0] == "image" else _array(image)

    def _insert(self, inquiry: int, made: Round) -> None:
        self._keep(made.query)
        data = json.dumps(rounds.to_json(made), ensure_ascii=False, separators=(",", ":"))
        self._db.execute("INSERT INTO rounds (inquiry, number, data) VALUES (?, ?, ?)", (inquiry, made.number, data))

    def _keep(self, query: Query) -> None:
        for part in (*query.sketches, *query.photos):
            kind, data = _frozen(part.value)
            self._db.execute("INSERT OR IGNORE INTO pictures VALUES (?, ?, ?)", (digest(part.value), kind, data))

    def _sweep(self) -> None:
        used = set()
        for (data,) in self._db.execute("SELECT data FROM rounds"):
            query = json.loads(data)["query"]
            used |= {row["sha256"] for row in (*query["sketches"], *query["photos"])}
        held = [name for (name,) in self._db.execute("SELECT sha256 FROM pictures")]
        self._db.executemany("DELETE FROM pictures WHERE sha256 = ?", [(name,) for name in held if name not in used])

    def _number(self, name: str) -> int:
        row = self._db.execute("SELECT id FROM inquiries WHERE name = ?", (name,)).fetchone()
        if row is None:
            names = self.names()
            hint = nearest(name, names) if names else "there is none yet; begin one with descry inquiry new"
            raise UsageError(f"there is no inquiry {name!r}; {hint}")
        return int(row[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise Locked(f"{self.path} is being written by another process ({error}); try again") from None
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _frozen(picture: Any) -> tuple[str, bytes]:
    """How a picture is kept: a file's bytes, or an image or array as PNG, both with their digest unchanged."""
    if isinstance(picture, (str, Path)):
        return "file", Path(picture).read_bytes()
    if isinstance(picture, bytes):
        return "file", picture
    from PIL import Image

    buffer = io.BytesIO()
    kind = "image" if hasattr(picture, "mode") else "array"
    (picture if kind == "image" else Image.fromarray(picture)).save(buffer, "PNG")
    return kind, buffer.getvalue()


def _array(image: Any) -> Any:
    import numpy as np

    return np.asarray(image)
