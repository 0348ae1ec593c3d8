"""SQLite in words of descry: a transaction that ends in any case, and errors that say what to do next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..errors import DescryError, IndexCorrupt, Locked


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN") -> Iterator[None]:
    """All statements inside become durable together, or none of them. begin: "BEGIN IMMEDIATE" to write."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has taken it back by itself when the disk is full
            connection.execute("ROLLBACK")
        raise


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


def refuse_foreign_schema(connection: sqlite3.Connection, path: Path, schema: str) -> None:
    """IndexCorrupt when a database that may come from others holds a trigger, a view or a table that is not ours."""
    found = next(foreign_schema(connection, schema), "")
    if found:
        raise IndexCorrupt(f"{path} holds what descry did not make: {found}; do not trust this gallery")
