"""Near-duplicates: crops that look nearly the same, or belong to one track, so that a page can show one of them.

Letters: N items.
"""

from __future__ import annotations

import numpy as np

BANDS, WINDOW = 4, 8


def look_of(pixels: np.ndarray) -> int:
    """(3, H, W) uint8 → 64 bits: whether each of 8 × 8 patches is brighter than its right neighbour (a difference
    hash).
    """
    grey = pixels.mean(axis=0, dtype=np.float32)
    rows = np.linspace(0, grey.shape[0], 9).astype(int)
    columns = np.linspace(0, grey.shape[1], 10).astype(int)
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=0), columns[:-1], axis=1)
    patches = sums / np.outer(np.maximum(np.diff(rows), 1), np.maximum(np.diff(columns), 1))
    return int.from_bytes(np.packbits(patches[:, 1:] > patches[:, :-1]).tobytes(), "big")


def group(looks: np.ndarray, tracks: np.ndarray | None = None, distance: int = 3) -> np.ndarray:
    """(N,) uint64 looks → (N,) int64: the smallest position of each item's group.

    Two items are grouped when their looks differ in at most `distance` ≤ 3 bits (of four bands one is then equal,
    which is how pairs are found; within a band only items near in sorted order are compared), or when they are on one
    track. tracks: (N,) strings, "" for none.
    """
    parent = np.arange(len(looks))
    for a, b in _pairs(np.asarray(looks, np.uint64), distance):
        _join(parent, a, b)
    if tracks is not None and len(looks):
        names, first, owner = np.unique(np.asarray(tracks, str), return_index=True, return_inverse=True)
        for i in np.flatnonzero(names[owner] != ""):
            _join(parent, int(first[owner[i]]), int(i))
    return np.array([_root(parent, i) for i in range(len(looks))], np.int64)


def _pairs(looks: np.ndarray, distance: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for band in range(BANDS):
        keys = (looks >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.lexsort((looks, keys))
        for step in range(1, WINDOW + 1):
            a, b = order[:-step], order[step:]
            near = np.bitwise_count(looks[a] ^ looks[b]) <= distance if len(a) else np.zeros(0, bool)
            near &= keys[a] == keys[b]
            found += list(zip(a[near].tolist(), b[near].tolist(), strict=True))
    return found


def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = int(parent[i])
    return i


def _join(parent: np.ndarray, a: int, b: int) -> None:
    a, b = _root(parent, a), _root(parent, b)
    parent[max(a, b)] = min(a, b)
