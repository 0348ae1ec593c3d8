"""When the folder of pictures moved: the items follow it, and nothing is encoded or read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .contract import Entry, changed
from .database import ENTRY, SKIP, Change, entry_of

if TYPE_CHECKING:
    from .local import LocalStore


@dataclass(frozen=True)
class RelocationReport:
    """moved: items whose file is at the new place. absent: items left as they were, their file is not there or has
    another size. joined: items that had been indexed at the new place meanwhile, now one with the old.
    """

    moved: int
    absent: int
    joined: int


def relocate(store: LocalStore, old: str | Path, new: str | Path) -> RelocationReport:
    """Give every item below the folder `old` its path below `new`, in one commit; ids and vectors stay.

    Raises UsageError when nothing lies below `old`, when none of the files is at the new place, or when another
    picture was indexed under a path that an item would get; then nothing is changed.
    """
    before, after = os.path.abspath(old), os.path.abspath(new)
    if before == after:
        raise UsageError(f"{before} was given twice; name the folder as it was and as it is now")
    # the root of a disk ends in the separator that paths below it begin with
    before, after = before.rstrip(os.sep), after.rstrip(os.sep)
    store.hold()
    found = list(_below(store, before))
    if not found:
        raise UsageError(f"no item of {store.folder} lies below {before or os.sep}; {_where(store)}")
    there, joined = [], []
    for number, entry in found:
        path = after + entry.path[len(before) :]
        if _same_size(path, entry.size):
            twin = _at(store, path)
            if twin and twin[1] != entry.sha:
                raise UsageError(
                    f"{path} is in {store.folder} already, with another content than {entry.path} had; "
                    f"remove one of them: descry gallery delete {store.folder} --item {twin[0]}"
                )
            joined += [twin[0]] if twin else []
            there.append((number, changed(entry, path=path)))
    there = [(number, entry) for number, entry in there if number not in joined]
    if not there:
        raise UsageError(
            f"none of the {len(found)} files is below {after or os.sep}; give the folder that holds them now"
        )
    with store.database.writing() as change:
        for number in joined:
            change.remove(number)
        for number, entry in there:
            change.update(number, entry)
        _skipped(change, before, after)
    return RelocationReport(len(there), len(found) - len(there), len(joined))


def _below(store: LocalStore, folder: str) -> Iterator[tuple[int, Entry]]:
    with store.database.reading() as connection:
        asked = f"SELECT {ENTRY} FROM items WHERE path >= ? AND path < ? ORDER BY id"
        for row in connection.execute(asked, _range(folder)).fetchall():
            yield entry_of(row)


def _range(folder: str) -> tuple[bytes, bytes]:
    prefix = os.fsencode(folder.rstrip(os.sep) + os.sep)
    return prefix, prefix[:-1] + bytes([prefix[-1] + 1])


def _same_size(path: str, size: int) -> bool:
    try:
        return os.stat(path).st_size == size
    except OSError:
        return False


def _at(store: LocalStore, path: str) -> tuple[int, bytes] | None:
    with store.database.reading() as connection:
        row = connection.execute("SELECT id, sha FROM items WHERE path = ?", (os.fsencode(path),)).fetchone()
    return (int(row[0]), row[1]) if row else None


def _where(store: LocalStore) -> str:
    """Where the pictures lie, to go on from: the folder that the first and the last path share, all share."""
    with store.database.reading() as connection:
        first, last = connection.execute("SELECT min(path), max(path) FROM items").fetchone()
    if first is None:
        return "it holds no items"
    shared = os.path.commonpath([os.path.dirname(os.fsdecode(p)) for p in (first, last)])
    return f"its pictures lie below {shared}"


def _skipped(change: Change, before: str, after: str) -> None:
    """Files that were not read are remembered under their new paths."""
    rows: list[Any] = change.connection.execute(
        f"SELECT {SKIP} FROM skipped WHERE path >= ? AND path < ?", _range(before)
    ).fetchall()
    for path, *rest in rows:
        name = os.fsdecode(path)
        change.unskip(name)
        change.skip(after + name[len(before) :], *rest)
