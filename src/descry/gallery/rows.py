"""Rows of the gallery's tables: which columns they have, what may stand in them, how they become values, and the seal
that each carries.

SQLite stores any type in any column, and whoever made a gallery can also have computed its seals. So every row that is
read through a `Connection` is compared with `FORMS`, by the names of its columns.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from ..errors import IndexCorrupt
from .contract import EPOCH, Entry, Item, from_microseconds, microseconds

CHUNK = 500
ITEM = "id, path, sha, size, mtime, checked, camera, track, time, look, row, crc"
SKIP = "path, reason, detail, size, mtime, checked"
PUBLIC = "id, path, sha, size, mtime, camera, track, time, look"
ENTRY = "id, path, sha, size, mtime, checked, camera, track, time, look"


_Form = Callable[[Any], bool]
_FIRST, _LAST = ((moment - EPOCH) // timedelta(microseconds=1) for moment in (datetime.min, datetime.max))
_DATE = re.compile(r"[0-9T:.+Z-]{0,40}")
_HEX = re.compile(r"([0-9a-f]{64})?")


def _whole(value: Any) -> bool:
    return type(value) is int


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _text(most: int) -> _Form:
    return lambda value: type(value) is str and len(value) <= most


def _like(pattern: re.Pattern[str]) -> _Form:
    return lambda value: type(value) is str and pattern.fullmatch(value) is not None


def _path(value: Any) -> bool:
    return type(value) is bytes and 0 < len(value) <= 1 << 16 and 0 not in value


def _time(value: Any) -> bool:
    return value is None or (type(value) is int and _FIRST <= value <= _LAST)


_COUNTS = (
    *("id", "row", "rows", "number", "inquiry", "item", "round", "head", "size", "checked", "commits", "generation"),
    *("layout", "next_id", "count", "lines", "purging", "dimension", "version", "erased", "count(*)", "parts"),
)
FORMS: dict[str, _Form] = dict.fromkeys(_COUNTS, _count) | {
    **dict.fromkeys(("mtime", "look", "digest", "seal"), _whole),
    **dict.fromkeys(("time", "min(time)", "max(time)"), _time),
    **dict.fromkeys(("begun", "touched", "keep_until", "day", "at"), _like(_DATE)),
    **dict.fromkeys(("camera", "track", "reason", "kind", "verdict"), _text(1 << 16)),
    **dict.fromkeys(("name", "detail", "note"), _text(1 << 20)),
    **dict.fromkeys(("min(path)", "max(path)"), lambda value: value is None or _path(value)),
    "path": _path,
    "sha": lambda value: type(value) is bytes and len(value) == 32,
    "sha256": _like(_HEX),
    "key": lambda value: type(value) is bytes and len(value) == 32,
    "line": lambda value: type(value) is bytes and len(value) <= 1 << 24,
    "visited": _text(1 << 24),
    "data": lambda value: type(value) in (str, bytes),
    "crc": lambda value: value is None or _whole(value),  # None: of a block without one, which is then refused
    "last": lambda value: _count(value) or (type(value) is str and _HEX.fullmatch(value) is not None),
}
"""Name of a column → whether a value may stand there: type, range and form."""


class Cursor(sqlite3.Cursor):
    """Gives only rows whose values are of the form of their columns. Raises IndexCorrupt."""

    told: Any = None
    forms: Sequence[_Form | None] = ()


def _checked(cursor: Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
    if cursor.told is not cursor.description:
        cursor.told = cursor.description
        cursor.forms = [FORMS.get(column[0]) for column in cursor.description]
    for form, value in zip(cursor.forms, row, strict=True):
        if form is not None and not form(value):
            name = cursor.description[row.index(value)][0]
            said = repr(value)[:60]
            raise cursor.connection.corrupt(f"the column {name!r} holds {said}")  # type: ignore[attr-defined]
    return row


class Connection(sqlite3.Connection):
    """A connection to a gallery's database whose rows are compared with `FORMS`."""

    corrupt: Callable[[str], IndexCorrupt]
    """Makes the error for a value that cannot be meant."""

    def cursor(self, factory: Any = Cursor) -> Any:
        """A cursor that checks."""
        made = super().cursor(factory)
        made.row_factory = _checked
        return made

    def execute(self, *args: Any) -> Any:
        """A statement through such a cursor."""
        return self.cursor().execute(*args)


def seal_of(*values: Any) -> int:
    """A signed 64-bit hash of a row's values."""
    return int.from_bytes(blake2b(repr(values).encode(), digest_size=8).digest(), "little", signed=True)


def columns(entry: Entry) -> tuple[Any, ...]:
    """An entry's columns, path to look."""
    look = entry.look - (1 << 64) if entry.look >= 1 << 63 else entry.look
    when = microseconds(entry.time)
    return (
        os.fsencode(entry.path), entry.sha, entry.size, entry.mtime, entry.checked, entry.camera, entry.track, when,
        look
    )  # fmt: skip


def item_of(row: tuple[Any, ...]) -> Item:
    """A row of the public columns as an Item."""
    number, path, sha, size, mtime, camera, track, time, look = row
    return Item(
        number, os.fsdecode(path), sha.hex(), size, mtime, camera, track, from_microseconds(time), look % (1 << 64)
    )


def chunks(ids: Sequence[int]) -> Iterator[list[int]]:
    """Ids in parts that SQLite takes as parameters."""
    plain = [int(i) for i in ids]
    for i in range(0, len(plain), CHUNK):
        yield plain[i : i + CHUNK]


def entry_of(row: tuple[Any, ...]) -> tuple[int, Entry]:
    """A row of the columns of ENTRY: its id, and what was stored."""
    number, path, sha, size, mtime, checked, camera, track, time, look = row
    when = from_microseconds(time)
    return number, Entry(os.fsdecode(path), sha, size, mtime, camera, track, when, look % (1 << 64), checked)
