"""The SQLite file that inquiries are kept in: opened, read and written in transactions, its errors in plain words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ..errors import DataError
from ..gallery.transactions import refuse_foreign_schema, transaction, translated
from ..safe_files import refuse_links
from .schema import SCHEMA, VERSION, prepare

FILE = "inquiries.db"
PATIENCE = 10.0


class InquiryFile:
    """A connection to inquiries.db, for one thread. Everything raises Locked while another process holds the file for
    more than 10 s, and DescryError for a full or unwilling disk."""

    def __init__(self, path: str | Path):
        """path: the file, or a folder that holds (or will hold) inquiries.db. Raises DataError for another kind of
        file."""
        path = Path(path)
        self.path = path / FILE if path.is_dir() else path
        refuse_links(self.path.parent, [f"{self.path.name}*"], "gallery")
        with self._translated():
            self._db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
            try:
                self._db.execute("PRAGMA foreign_keys = ON")
                self._db.execute("PRAGMA secure_delete = ON")
                self._db.execute("PRAGMA temp_store = MEMORY")  # nothing of it goes to a file elsewhere
                self._db.execute("PRAGMA trusted_schema = OFF")
                self._db.execute("PRAGMA synchronous = EXTRA")  # an acknowledged round survives a power cut
                version = prepare(self._db, self.path)
                if version != VERSION:
                    raise DataError(
                        f"{self.path} has version {version}; this descry reads version {VERSION}; update descry"
                    )
                refuse_foreign_schema(self._db, self.path, SCHEMA, strict=False)
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One unchanging view of all tables. May be nested, also in `_writing`."""
        if self._db.in_transaction:
            yield
            return
        with self._translated(), transaction(self._db):
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All changes inside become durable together, or none of them."""
        with self._translated(), transaction(self._db, "BEGIN IMMEDIATE"):
            yield

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.path, self._damaged)

    def _damaged(self, what: str) -> DataError:
        if "not a database" in what:
            return DataError(f"{self.path} is not a file of inquiries ({what}); move it away and begin anew")
        return DataError(f"{self.path} is damaged, or no file of inquiries ({what}); restore it from a copy")
