"""Joining galleries that were indexed in shards, on as many machines as there were shards; and sending a gallery into a
store beyond one machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import safe_files
from ..errors import IndexCorrupt, IndexMismatch, StoreUnavailable, UsageError
from .account import add_line, content
from .contract import Entry
from .database import ENTRY, entry_of
from .local import INEXACT, SEARCHES, Batch, LocalStore

STEP = 4096


def merge(parts: Sequence[str | Path], out: str | Path, progress: Callable[[int, int], None] | None = None) -> int:
    """A new gallery with the items of all parts, every vector compared with its part's; the number of items.

    The same path in two parts is taken once if its content is the same. Raises IndexMismatch when models differ,
    IndexCorrupt when a part does not verify, UsageError when two parts hold different content for a path or `out` is
    not empty; then nothing is left behind. It is built in `out`.partial and renamed when it is whole.
    """
    if not parts:
        raise UsageError("no gallery to merge was named; name the galleries of all shards")
    stores = [LocalStore(part) for part in parts]
    try:
        for store in stores:
            stores[0].binding.check(store.binding, str(stores[0].folder))
            ways = [str(one.config.get(INEXACT, "")) or "an exact one" for one in (stores[0], store)]
            if ways[0] != ways[1]:
                raise IndexMismatch(
                    f"{stores[0].folder} with {ways[0]} and {store.folder} with {ways[1]}: vectors of the two encoders "
                    "do not compare; index one of them anew"
                )
            faults = store.verify()
            if faults:
                raise IndexCorrupt(
                    f"{store.folder} is damaged ({faults[0].where}: {faults[0].what}); index that shard again"
                )
        place, partial = Path(out), Path(f"{Path(out)}.partial")
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise UsageError(f"{place} exists and is not empty; name a new folder for the gallery")
        shutil.rmtree(partial, ignore_errors=True)  # of a merge that was interrupted
        try:
            count = _made(stores, partial, progress)
            os.replace(partial, place)  # a gallery appears whole, or not at all
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        safe_files.sync_folder(place.resolve().parent)
        return count
    finally:
        for store in stores:
            store.close()


def _made(stores: Sequence[LocalStore], place: Path, progress: Callable[[int, int], None] | None) -> int:
    """The gallery of all parts in a new folder, with its line in the account; the number of items."""
    made = LocalStore.create(place, stores[0].binding)
    ways = {str(store.config.get(SEARCHES, "")) for store in stores}
    try:
        made.note_search(ways.pop() if len(ways) == 1 else "")
        made.note_encoder(str(stores[0].config.get(INEXACT, "")))
        total = sum(store.count() for store in stores)
        for store in stores:
            _take(store, made, total, progress)
        _compare(stores, made)
        add_line(made.database, "index", of="merge", parts=len(stores), gallery=content(made))
        return made.count()
    finally:
        made.close()


def stored(store: LocalStore, after: int = 0) -> Iterator[tuple[list[int], list[Entry], np.ndarray]]:
    """All items beyond an id, by rising id and in steps: ids, entries and (n, D) float16 vectors, of one moment."""
    sql = f"SELECT {ENTRY} FROM items WHERE id > ? ORDER BY id LIMIT ?"
    with store.reading() as rows:
        while True:
            with store.database.reading() as connection:
                found = connection.execute(sql, (after, STEP)).fetchall()
            if not found:
                return
            ids, made = [row[0] for row in found], [entry_of(row)[1] for row in found]
            yield ids, made, rows.vectors(rows.columns(ids))
            after = ids[-1]


def send(store: LocalStore, to: Any, progress: Callable[[int, int], None] | None = None) -> tuple[int, int, int]:
    """Make another store hold exactly the items of a local gallery, under the same ids; then compare their number and
    every vector. → how many items there are, were sent, and were removed there. StoreUnavailable when they differ.

    progress: (done, of how many); each item counts twice, when it is sent and when it is compared.
    """
    total, copied, wanted = store.count(), 0, set[int]()
    tell = progress or (lambda done, of: None)
    for ids, entries, vectors in stored(store):
        new = to.missing(ids, entries, vectors)
        if new:
            to.put([ids[i] for i in new], [entries[i] for i in new], vectors[new])
        copied += len(new)
        wanted.update(ids)
        tell(len(wanted), 2 * total)
    surplus = [number for part in to.matching() for number in part if number not in wanted]
    removed = to.delete(surplus) if surplus else 0
    if (found := to.count()) != total:
        raise StoreUnavailable(f"{to.address} holds {found} items where {total} were sent; run the same command again")
    compared = 0
    for ids, _, vectors in stored(store):
        if to.vectors(ids).tobytes() != vectors.tobytes():
            raise StoreUnavailable(f"vectors in {to.address} differ from those sent; run the same command again")
        compared += len(ids)
        tell(total + compared, 2 * total)
    return total, copied, removed


def _take(store: LocalStore, made: LocalStore, total: int, progress: Callable[[int, int], None] | None) -> None:
    for _, entries, vectors in stored(store):
        known = _held(made, [e.path for e in entries])
        for entry in entries:
            there = known.get(entry.path, fields := _fields(entry))
            if there[0] != entry.sha:
                raise UsageError(
                    f"{entry.path} has different content in two galleries; index the shards again from "
                    f"one state of the files"
                )
            if there != fields:
                raise UsageError(
                    f"{entry.path} has another camera, time or track in two galleries ({there[1:]} and {fields[1:]}); "
                    "index the shards again with one table"
                )
        fresh = [i for i, e in enumerate(entries) if e.path not in known]
        made.commit(Batch(added=[entries[i] for i in fresh], vectors=[vectors[i] for i in fresh]))
        if progress:
            progress(made.count(), total)
    with store.database.reading() as connection:
        skips = connection.execute("SELECT path, reason, detail, size, mtime, checked FROM skipped").fetchall()
    if skips:
        made.commit(Batch(skipped=[(os.fsdecode(s[0]), *s[1:]) for s in skips]))


def _fields(entry: Entry) -> tuple[Any, ...]:
    """What two galleries must agree on of one path: content, camera, track and time."""
    return entry.sha, entry.camera, entry.track, entry.time


def _held(store: LocalStore, paths: list[str]) -> dict[str, tuple[Any, ...]]:
    out: dict[str, tuple[Any, ...]] = {}
    with store.database.reading() as connection:
        for i in range(0, len(paths), 500):
            part = [os.fsencode(p) for p in paths[i : i + 500]]
            marks = ",".join("?" * len(part))
            rows = connection.execute(f"SELECT {ENTRY} FROM items WHERE path IN ({marks})", part)
            out |= {entry.path: _fields(entry) for entry in (entry_of(row)[1] for row in rows)}
    return out


def _compare(stores: Sequence[LocalStore], made: LocalStore) -> None:
    """Every vector of every part against the merged one, bit by bit."""
    for store in stores:
        for _, entries, vectors in stored(store):
            with made.reading() as rows, made.database.reading() as connection:
                paths = [os.fsencode(e.path) for e in entries]
                ids = [connection.execute("SELECT id FROM items WHERE path = ?", (p,)).fetchone()[0] for p in paths]
                if rows.vectors(rows.columns(ids)).tobytes() != vectors.tobytes():
                    raise IndexCorrupt(
                        f"vectors of {store.folder} did not arrive as they were; is the disk of {made.folder} sound?"
                    )
