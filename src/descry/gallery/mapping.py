"""Snapshots of a local store: its segments mapped into memory, and which of their rows are alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IndexCorrupt
from . import segments
from .changes import State
from .contract import Snapshot

if TYPE_CHECKING:
    from .local import LocalStore

EMPTY = np.zeros(0, np.int64)


def mapped(store: LocalStore, state: State) -> Snapshot:
    """The rows of the database's current state, read anew."""
    with store.database.reading() as connection:
        blocks, starts, total = _blocks(store, connection)
        found = connection.execute("SELECT segment, row, id FROM items INDEXED BY items_place ORDER BY segment, row")
        table = _table(found, 3)
    if not len(table):
        return Snapshot(state.generation, state.layout, EMPTY, blocks, EMPTY, tuple(starts))
    numbers = np.array(sorted(starts) or [0])
    at = np.minimum(np.searchsorted(numbers, table[:, 0]), len(numbers) - 1)
    place = np.array([starts.get(int(n), total) for n in numbers])[at] + table[:, 1]
    if (numbers[at] != table[:, 0]).any() or place.max() >= total or place.min() < 0:
        raise IndexCorrupt(f"{store.folder}: items point outside the vectors; run descry verify")
    ids, order = table[:, 2].copy(), np.argsort(table[:, 2], kind="stable")
    straight = len(ids) == total and bool((np.diff(ids) > 0).all())
    rows = None if straight else place[order]
    return Snapshot(state.generation, state.layout, ids[order], blocks, rows, tuple(starts))


def grown(store: LocalStore, old: Snapshot, state: State) -> Snapshot:
    """The old snapshot with the rows that were appended since; nothing died or moved (the layout is the same)."""
    with store.database.reading() as connection:
        last = int(old.ids[-1]) if len(old) else 0
        found = connection.execute("SELECT id FROM items WHERE id > ? ORDER BY id", (last,))
        new = np.fromiter((row[0] for row in found), np.int64)
        blocks, starts, total = _blocks(store, connection, dict(zip(old.segments, old.blocks, strict=True)))
    rows = None
    if old.rows is not None:
        rows = np.concatenate([old.rows, np.arange(total - len(new), total)])
    return Snapshot(state.generation, old.layout, np.concatenate([old.ids, new]), blocks, rows, tuple(starts))


def _blocks(
    store: LocalStore, connection: Any, kept: Mapping[int, np.ndarray] = MappingProxyType({})
) -> tuple[tuple[np.ndarray, ...], dict[int, int], int]:
    """Segments as arrays, where each begins by its number, and the rows of all. kept: arrays at hand, by number."""
    blocks, starts, total = [], {}, 0
    for number, rows in connection.execute("SELECT id, rows FROM segments ORDER BY id"):
        block = kept.get(number)
        if block is None or len(block) != rows:
            block = segments.view(store.folder, number, rows, store.binding.dimension)
        blocks.append(block)
        starts[number] = total
        total += rows
    return tuple(blocks), starts, total


def _table(rows: Iterable[tuple[int, ...]], width: int) -> np.ndarray:
    flat = np.fromiter((value for row in rows for value in row), np.int64)
    return flat.reshape(-1, width)
