"""What is known about a data set before a byte of it is read: tree, counts and their source, where to ask, terms."""

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


def as_markdown(card: Card) -> str:
    """A card as a section of docs/datasets.md."""
    rows = [
        f"| {what} | {f'{e.number:,}' if e.number is not None else 'unknown'} | {e.source} |"
        for what, e in card.expected.items()
    ]
    counts = ["| count | expected | source |", "|---|---:|---|", *rows, ""] if rows else []
    parts = [
        f"## {card.title} (`{card.name}`)",
        "",
        *([f"{card.paper}.", ""] if card.paper else []),
        f"Queries by {', '.join(card.asks)}. Variants: {', '.join(f'`{v}`' for v in card.variants)}.",
        "",
        "```text",
        card.tree,
        "```",
        "",
        *counts,
        f"How to obtain: {card.obtain}",
        "",
        f"Terms: {card.terms}",
    ]
    return "\n".join(parts) + "\n"
