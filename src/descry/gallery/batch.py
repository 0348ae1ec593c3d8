"""What one commit of a gallery changes, and the form its vectors have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import UsageError
from .contract import Entry


@dataclass
class Batch:
    """What one commit changes: all of it or nothing. updated: (id, entry) of moved files or other metadata."""

    added: list[Entry] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    updated: list[tuple[int, Entry]] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    skipped: list[tuple[str, str, str, int, int, int]] = field(default_factory=list)
    unskipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(part) for part in (self.added, self.updated, self.removed, self.skipped, self.unskipped))


def as_half(vectors: Sequence[np.ndarray], dimension: int) -> np.ndarray:
    """(n, D) vectors rounded to float16; UsageError for another dimension or values that are not finite."""
    rows = np.stack(list(vectors)) if len(vectors) else np.zeros((0, dimension), np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise UsageError(f"vectors of shape {rows.shape} were given; this gallery holds (n, {dimension})")
    half = rows.astype(np.float16)
    if not np.isfinite(half).all():
        raise UsageError(
            "the model gave values that are not finite numbers; check its weights with descry doctor --model"
        )
    lengths = np.linalg.norm(half.astype(np.float32), axis=1)
    if len(half) and np.abs(lengths - 1).max() > 0.01:
        raise UsageError(
            f"vectors must have length 1, and one has {lengths[np.abs(lengths - 1).argmax()]:.3g}; "
            f"divide each by its length"
        )
    return half
