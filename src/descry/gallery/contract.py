"""The values that go into a store and come out of it. `LocalStore` has the methods of a store; one that is not
`complete` has some of them. One test suite holds all of them to it.

Letters: D dimension, N items.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from ..errors import IndexMismatch

EPOCH = datetime(1970, 1, 1)
EARLIEST, LATEST = -(2**63), 2**63 - 1


def mtime_of(found: os.stat_result) -> int:
    """When a file was last changed, in nanoseconds since 1970; what a database cannot hold (before 1678, after 2261) is
    the first or last that it can.
    """
    return max(EARLIEST, min(LATEST, found.st_mtime_ns))


@dataclass(frozen=True, slots=True)
class Entry:
    """One crop to be stored. path: as the file system knows it. sha: SHA-256 of the file (32 bytes). mtime: ns.

    camera, track: names, "" for unknown. time: naive local time of the camera. look: 64-bit hash of coarse brightness
    and colour, for near-duplicates. checked: when the file was read (ns), so that a change within the clock's grain
    is not missed.
    """

    path: str
    sha: bytes
    size: int
    mtime: int
    camera: str = ""
    track: str = ""
    time: datetime | None = None
    look: int = 0
    checked: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """One crop of a gallery, as a searcher sees it. sha256: of the file, hex."""

    id: int
    path: str
    sha256: str
    size: int
    mtime: int
    camera: str
    track: str
    time: datetime | None
    look: int


@dataclass(frozen=True, slots=True)
class Binding:
    """What a gallery is bound to: the model that made its vectors, and how pixels reached it.

    source: how to load the model again: "demo", a folder or a hub name. fingerprint: SHA-256 (hex) of the weights.
    """

    source: str
    fingerprint: str
    dimension: int
    preprocessing: dict[str, Any]

    def check(self, other: Binding, gallery: str) -> None:
        """IndexMismatch, with the command that rebuilds, when the other would give vectors that do not compare."""
        for name in ("fingerprint", "dimension", "preprocessing"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise IndexMismatch(
                    f"{gallery} was made by the model {self.source!r} ({name} {_short(mine)}); "
                    f"{other.source!r} has {_short(theirs)}. "
                    f"Search it with --model {self.source}, or rebuild: descry index DIR --model "
                    f"{other.source} --out NEW_FOLDER"
                )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else text[:12] + "…" if " " not in text else text[:90] + "…"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The rows that existed at one moment; searching it gives the same answer however much is written meanwhile.

    generation: counts commits. ids: (N,) int64, rising: the columns of every score array. blocks: (rows, D) float16
    arrays. rows: (N,) int64, where each column is stored, counted through all blocks; None when the i-th column is the
    i-th row.
    """

    generation: int
    layout: int
    ids: np.ndarray
    blocks: tuple[np.ndarray, ...]
    rows: np.ndarray | None

    def __len__(self) -> int:
        return len(self.ids)

    def columns(self, ids: Sequence[int]) -> np.ndarray:
        """Columns of ids; KeyError names those that are not in it."""
        wanted = np.asarray(ids, np.int64).reshape(-1)
        at = np.minimum(np.searchsorted(self.ids, wanted), max(len(self.ids) - 1, 0))
        missing = wanted[self.ids[at] != wanted] if len(self.ids) else wanted
        if len(missing):
            raise KeyError(f"no items with the ids {missing[:5].tolist()} in this gallery")
        return at

    def similarities(self, queries: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """`scan.similarities` of a snapshot without blocks: its store computes them."""
        raise NotImplementedError

    def vectors(self, columns: np.ndarray) -> np.ndarray:
        """(n, D) float16 vectors of columns."""
        rows = columns if self.rows is None else self.rows[columns]
        if len(self.blocks) == 1:
            only: np.ndarray = self.blocks[0].take(rows, axis=0)
            return only
        edges = np.cumsum([0, *(len(b) for b in self.blocks)])
        block = np.searchsorted(edges, rows, side="right") - 1
        out = np.empty((len(rows), self.blocks[0].shape[1] if self.blocks else 0), np.float16)
        for i in np.unique(block):
            chosen = block == i
            out[chosen] = self.blocks[i][rows[chosen] - edges[i]]
        return out


@dataclass(frozen=True, slots=True)
class Fault:
    """Something `verify` found. where: file, and item or row if known."""

    where: str
    what: str


def folded(path: str) -> str:
    """The name of a file as file systems compare it that know no case and no Unicode forms."""
    name = os.path.basename(path)
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def microseconds(time: datetime | None) -> int | None:
    """Naive local time as microseconds since 1970, as stores keep it."""
    return None if time is None else (time.replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int | None) -> datetime | None:
    """The inverse of `microseconds`."""
    return None if value is None else EPOCH + timedelta(microseconds=value)
