"""A ranked answer, and the limits beyond which one machine is no longer the place for a gallery."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import LimitExceeded
from ..query import Query
from .contract import Item

MANY, TOO_MANY = 2_000_000, 5_000_000


@dataclass(frozen=True, eq=False)
class Results:
    """A ranked answer: leads to look at, best first. Scores order items of one answer; they are no probabilities.

    ids, paths, scores: k of each. items: the same with metadata. cosines: (k,) of the query's first term. parts:
    (kind, label) of each part of the query; contributions: (parts, k), whose columns sum to the scores. considered:
    items that passed the filters, of total. removed: how many each filter keeps out by itself, when nothing was left.
    exact: whether every item was compared. generation: the commit that was searched. note: what must be said beside
    the answer. query: as it was understood, with negated words as NOT phrases.
    """

    ids: tuple[int, ...]
    paths: tuple[str, ...]
    scores: np.ndarray
    items: tuple[Item, ...] = ()
    cosines: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    parts: tuple[tuple[str, str], ...] = ()
    contributions: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    considered: int = 0
    total: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    exact: bool = True
    generation: int = 0
    note: str = ""
    query: Query = field(default_factory=Query)

    def __len__(self) -> int:
        return len(self.ids)


def check_size(gallery: str, items: int, large: bool) -> str:
    """What must be said about a gallery of that many items, "" for nothing. LimitExceeded above TOO_MANY unless large
    galleries were allowed.
    """
    command = f"descry migrate {gallery} --to milvus://HOST:PORT"
    if items > TOO_MANY and not large:
        raise LimitExceeded(
            f"{gallery} would hold {items:,} items; more than {TOO_MANY:,} are searched slowly by one machine. "
            f"Migrate to a distributed store ({command}), or allow it with --large"
        )
    if items > MANY:
        return (
            f"{items:,} items are more than the {MANY:,} that one machine searches comfortably: every search reads all "
            f"vectors. Consider a distributed store: {command}"
        )
    return ""
