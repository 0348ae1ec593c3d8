"""Near-duplicates: crops that look nearly the same, or belong to one track, so that a page can show one of them.

A look is a hash of 64 bits: 48 of brightness, and 16 of colour, without which a person in red and one in blue, in the
same pose, would be one. An item that version 0.1 indexed keeps its look, of brightness alone (`early_look_of`): it is
grouped with hardly any other, until it is indexed into a new gallery.

Letters: N items.
"""

from __future__ import annotations

import numpy as np

ROWS, COLUMNS = 8, 7
"""Patches of brightness; 8 × 6 differences of neighbours are 48 bits."""
STEP, LEVELS = 16.0, 16
"""Colour is compared in steps of 16 of 256, 4 bits each; a difference of one step is none."""
BANDS, WIDTH, WINDOW = 4, 12, 8


PLAIN = 6
"""A look with fewer bits of brightness is of a picture in one shade, such as an empty sketch, and says nothing."""


def look_of(pixels: np.ndarray) -> int:
    """(3, H, W) uint8 → 64 bits of brightness and colour.

    Brightness: whether each of 8 × 7 patches is brighter than its left neighbour (a difference hash). Colour: of the
    upper and the lower half, within the middle half of the width, mean red − green and mean blue − (red + green) / 2.
    """
    values = pixels.astype(np.float32)
    patches = _means(values.mean(axis=0), ROWS, COLUMNS)
    brightness = (patches[:, 1:] > patches[:, :-1]).ravel()
    edge = pixels.shape[2] // 4
    red, green, blue = (_means(c, 2, 1)[:, 0] for c in values[:, :, edge : pixels.shape[2] - edge])
    colour = np.stack([red - green, blue - (red + green) / 2])
    levels = np.clip(np.rint(colour / STEP) + LEVELS // 2, 0, LEVELS - 1).astype(np.uint8).ravel()
    bits = np.concatenate([brightness, *(np.unpackbits(level)[-4:] for level in levels[:, None])])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def early_look_of(pixels: np.ndarray) -> int:
    """(3, H, W) uint8 → 64 bits of brightness alone, as version 0.1 took them of 8 × 9 patches."""
    patches = _means(pixels.mean(axis=0, dtype=np.float32), 8, 9)
    return int.from_bytes(np.packbits(patches[:, 1:] > patches[:, :-1]).tobytes(), "big")


def near(looks: np.ndarray, pixels: np.ndarray, distance: int = 3) -> bool:
    """Whether any of (N,) uint64 looks is of a picture that looks nearly as (3, H, W) uint8 pixels do.

    Looks of version 0.1 are compared too, bit by bit. Those of one shade are nearly as no other.
    """
    looks = np.asarray(looks, np.uint64)
    looks = looks[np.bitwise_count(looks >> np.uint64(16)) >= PLAIN]
    early = np.bitwise_count(looks ^ np.uint64(early_look_of(pixels))) <= distance
    return bool((early | _alike(looks, np.full_like(looks, look_of(pixels)), distance)).any())


def _alike(a: np.ndarray, b: np.ndarray, distance: int) -> np.ndarray:
    """Of two (N,) uint64 arrays of looks, which are nearly the same: (N,) bool."""
    places = np.arange(0, 16, 4, dtype=np.uint64)
    one, other = (((looks[:, None] >> places) & np.uint64(LEVELS - 1)).astype(np.int8) for looks in (a, b))
    bits = np.bitwise_count((a ^ b) >> np.uint64(16))
    alike: np.ndarray = (bits <= distance) & (np.abs(one - other).max(axis=1, initial=0) <= 1)
    return alike


def _means(plane: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(H, W) → (rows, columns) means of its patches."""
    down = np.linspace(0, plane.shape[0], rows + 1).astype(int)
    across = np.linspace(0, plane.shape[1], columns + 1).astype(int)
    sums: np.ndarray = np.add.reduceat(np.add.reduceat(plane, down[:-1], axis=0), across[:-1], axis=1)
    means: np.ndarray = sums / np.outer(np.maximum(np.diff(down), 1), np.maximum(np.diff(across), 1))
    return means


def group(looks: np.ndarray, tracks: np.ndarray | None = None, distance: int = 3) -> np.ndarray:
    """(N,) uint64 looks → (N,) int64: the smallest position of each item's group.

    Two items are grouped when their looks differ in at most `distance` ≤ 3 bits of brightness (of four bands one is
    then equal, which is how pairs are found; within a band only items near in sorted order are compared) and in at most
    one step of every colour, or when they are on one track. tracks: (N,) strings, "" for none.
    """
    pairs = _pairs(np.asarray(looks, np.uint64), distance)
    if tracks is not None:
        names, first, owner = np.unique(np.asarray(tracks, str), return_index=True, return_inverse=True)
        tracked = np.flatnonzero(names[owner] != "")
        pairs = np.concatenate([pairs, [first[owner[tracked]], tracked]], axis=1)
    found = np.arange(len(looks))
    before = found - 1
    while not np.array_equal(found, before):  # the smallest position goes on from neighbour to neighbour
        before = found.copy()
        for one, other in (pairs, pairs[::-1]):
            np.minimum.at(found, before[one], before[other])
        found = found[found]
    return found


def _pairs(looks: np.ndarray, distance: int) -> np.ndarray:
    """(2, P) positions of items that look nearly the same."""
    found = [np.zeros((2, 0), np.int64)]
    brightness = looks >> np.uint64(16)
    for band in range(BANDS):
        keys = (brightness >> np.uint64(WIDTH * band)) & np.uint64((1 << WIDTH) - 1)
        order = np.lexsort((brightness, keys))
        for step in range(1, WINDOW + 1):
            a, b = order[:-step], order[step:]
            a, b = (side[keys[order[:-step]] == keys[order[step:]]] for side in (a, b))
            same = _alike(looks[a], looks[b], distance)
            found.append(np.stack([a[same], b[same]]))
    return np.concatenate(found, axis=1)
