"""What is known about a data set before a byte of it is read: tree, counts with their source, how to obtain it, terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Expected:
    """A published count and where it was published; number None: nobody published it, so none is asserted."""

    number: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Card:
    """One data set.

    name: as on the command line. tree: what the root must hold. variants: the circulating forms that are told apart.
    expected: by the keys of `check.counts` ("train ids", "test sketches", …).
    """

    name: str
    title: str
    paper: str
    asks: tuple[str, ...]
    tree: str
    obtain: str
    terms: str
    variants: tuple[str, ...] = ()
    expected: Mapping[str, Expected] = field(default_factory=dict)


def splits(source: str, **numbers: tuple[int | None, ...]) -> dict[str, Expected]:
    """Counts of ids, photos, captions per split: `splits("the paper", train=(11003, 34054, 68126))`."""
    kinds = ("ids", "photos", "captions", "sketches")
    return {
        f"{split} {kind}": Expected(number, source)
        for split, row in numbers.items()
        for kind, number in zip(kinds, row, strict=False)
    }
