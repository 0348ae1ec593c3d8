"""Market-Sketch-1K (Lin et al., ACM MM 2023): up to six sketches of each person, each by another artist from another
witness.

The gallery is `photo/query`, a subset of Market-1501, as in both released code bases; there is no camera rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError, UsageError
from ..records import Benchmark, Dataset
from .assemble import Split, assemble, held_out
from .card import Card, Expected
from .files import Named, named_pictures, root_of
from .market_attributes import attribute_sentence, read_attributes
from .table import Row, Table

STYLES = "ABCDEF"
FOLDERS = {"train": "train", "test": "query"}
ATTRIBUTES = "market_attribute.mat"
ID = re.compile("[0-9]{4}")

_PAPER = "paper"
_ERRATUM = "erratum on the authors' page"
CARD = Card(
    "market-sketch-1k",
    "Market-Sketch-1K",
    "Lin et al., Beyond Domain Gap: Exploiting Subjectivity in Sketch-Based Person Retrieval, ACM MM 2023",
    ("sketch", "sketch+text", "text"),
    """Market-Sketch-1K/
  photo/   train/  query/
  sketch/  A/ … F/   each with train/ query/
  market_attribute.mat      (from the Market-1501 attribute annotations; for the feedback sentence)""",
    "Link in github.com/Lin-Kayla/subjectivity-sketch-reid; attributes: Lin et al., Improving Person Re-identification "
    "by Attribute and Identity Learning.",
    "Research only; the terms of Market-1501 apply to its photographs.",
    ("attributes", "no attributes"),
    {
        "train ids": Expected(498, _PAPER),
        "test ids": Expected(498, _PAPER),
        "train photos": Expected(None, "not published"),
        "test photos": Expected(None, "not published"),
        "sketches": Expected(4_763, _PAPER),
        "train sketches F": Expected(497, _ERRATUM),
        "test sketches F": Expected(493, _ERRATUM),
        **{f"{split} sketches {s}": Expected(None, "not published") for split in ("train", "test") for s in "ABCDE"},
    },
)


def table(root: str | Path, variant: str | None = None, wording: str = "interactreid") -> Table:
    """The rows of the tree at root; each test and training sketch carries the feedback sentence of its person.

    variant: "attributes" insists on the attribute file, "no attributes" leaves it; None uses it where it is.
    """
    if variant not in (None, *CARD.variants):
        raise UsageError(f"Market-Sketch-1K has no variant {variant!r}; allowed: {', '.join(CARD.variants)}")
    root = root_of("market-sketch-1k", root)
    with_words = variant == "attributes" or (variant is None and (root / ATTRIBUTES).exists())
    codes = read_attributes(root / ATTRIBUTES) if with_words else {}
    notes = [] if with_words else ["no attribute file: there is no sketch+text benchmark"]
    rows: list[Row] = []
    for split, folder in FOLDERS.items():
        rows += [Row(split, found[0], path) for path, found in _pictures(root, f"photo/{folder}", notes)]
        for style in STYLES:
            for path, found in _pictures(root, f"sketch/{style}/{folder}", notes):
                pid = found[0]
                if with_words and pid not in codes:
                    raise DataError(
                        f"market-sketch-1k: {ATTRIBUTES} has no codes for id {pid} ({path}); it may be another release"
                    )
                words = (attribute_sentence(codes[pid], wording),) if with_words else ()
                rows.append(Row(split, pid, sketch=path, style=style, captions=words))
    kept = _with_sketch(rows, notes)
    return Table("market-sketch-1k", root, kept, "attributes" if with_words else "no attributes", tuple(notes))


def _pictures(root: Path, folder: str, notes: list[str]) -> list[Named]:
    return named_pictures("market-sketch-1k", root, folder, ID, "does not begin with a four-digit id", notes)


def _with_sketch(rows: list[Row], notes: list[str]) -> tuple[Row, ...]:
    """Training photographs of people without a sketch are left out, as in the released code; the gallery keeps all."""
    drawn = {r.pid for r in rows if r.sketch and r.split == "train"}
    kept = tuple(r for r in rows if r.split != "train" or r.pid in drawn)
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} training photographs of people without a sketch were left out")
    return kept


def read(
    root: str | Path,
    variant: str | None = None,
    wording: str = "interactreid",
    train_styles: str = STYLES,
    test_styles: str = STYLES,
    hold_out: float = 0.0,
) -> Dataset:
    """One training row per sketch with all photographs of its person, and the three published protocols.

    "sketch": every sketch asks alone, styles pooled (single query); "sketch/A" …: one style; "sketch/all": all
    sketches of a person at once (multi-query); "sketch+text" likewise; "text": the sentence alone, once per person.
    train_styles, test_styles: such as "ABC" and "DEF" for the cross-style protocol. hold_out: share of the training
    people who become val.
    """
    for given in (train_styles, test_styles):
        if not given or set(given) - set(STYLES):
            raise UsageError(f"styles {given!r} were given; allowed are letters of {STYLES}")
    whole = table(root, variant, wording)
    allowed = {"train": train_styles, "test": test_styles}
    rows = tuple(r for r in whole.rows if not r.sketch or r.style in allowed[r.split])
    notes = whole.notes
    if train_styles + test_styles != STYLES * 2:
        notes += (f"trained on styles {train_styles}, tested on {test_styles}",)
    used = Table(whole.name, whole.root, _with_sketch(list(rows), []), whole.variant, notes)
    return assemble(held_out(used, hold_out), by="sketch", benchmarks=lambda split: _benchmarks(split, test_styles))


def _benchmarks(split: Split, styles: str) -> dict[str, Benchmark]:
    out = split.sketch() | split.both() | split.words_of_drawings()
    if len(styles) > 1:
        for style in styles:
            out |= split.sketch(f"sketch/{style}", _of(style)) | split.both(f"sketch+text/{style}", _of(style))
        out |= split.many("sketch/all") | split.many("sketch+text/all", words=True)
    return out


def _of(style: str) -> Callable[[Row], bool]:
    return lambda row: row.style == style
