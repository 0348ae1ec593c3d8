"""Rows of the gallery's tables: which columns they have, how they become values, and the seal that each carries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from .contract import Entry, Item, from_microseconds, microseconds

CHUNK = 500
ITEM = "id, path, sha, size, mtime, checked, camera, track, time, look, row, crc"
SKIP = "path, reason, detail, size, mtime, checked"
PUBLIC = "id, path, sha, size, mtime, camera, track, time, look"
ENTRY = "id, path, sha, size, mtime, checked, camera, track, time, look"


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
