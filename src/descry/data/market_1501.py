"""Market-1501 (Zheng et al., ICCV 2015): a photograph asks, the same person seen by other cameras is looked for.

The protocol: photographs of the same person by the same camera are ignored; junk (id −1) counts for nobody, so it is
left out of the gallery; distractors (id 0000) stay in.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ..errors import DataError, UsageError
from ..records import Dataset
from .assemble import assemble, held_out
from .card import Card, Expected
from .files import named_pictures, root_of
from .market_attributes import attribute_sentence, read_attributes
from .table import Row, Table

FOLDERS = {"bounding_box_train": "train", "query": "test", "bounding_box_test": "test"}
ATTRIBUTES = "market_attribute.mat"
NAME = re.compile(r"^(-1|\d{4})_c(\d)s(\d)_(\d+)")
UNLIKE = "is not named like 0002_c1s1_000451_03.jpg"

_PAPER = "paper"
CARD = Card(
    "market-1501",
    "Market-1501",
    "Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015",
    ("photo",),
    """Market-1501-v15.09.15/
  bounding_box_train/  query/  bounding_box_test/      0002_c1s1_000451_03.jpg (id, camera, sequence, frame, box)
  market_attribute.mat     (optional: training photographs then carry the sentence made from it)""",
    "Links on the authors' page (zheng-lab.cecs.anu.edu.au/Project/project_reid.html).",
    "Research only.",
    ("photographs", "attributes"),
    {
        "train ids": Expected(751, _PAPER),
        "train photos": Expected(12_936, _PAPER),
        "test ids": Expected(750, _PAPER),
        "test photos": Expected(15_913, "paper: 19,732 with 3,819 junk boxes"),
        "test queries": Expected(3_368, _PAPER),
    },
)


def table(root: str | Path, variant: str | None = None) -> Table:
    """The rows of the tree at root. variant: None takes the attribute sentence where the file is."""
    if variant not in (None, *CARD.variants):
        raise UsageError(f"Market-1501 has no variant {variant!r}; allowed: {', '.join(CARD.variants)}")
    root = root_of("market-1501", root, ("Market-1501-v15.09.15", "Market-1501", "market1501"), "query")
    with_words = variant == "attributes" or (variant is None and (root / ATTRIBUTES).exists())
    codes = read_attributes(root / ATTRIBUTES) if with_words else {}
    rows: list[Row] = []
    notes: list[str] = []
    junk = 0
    for folder, split in FOLDERS.items():
        for path, found in named_pictures("market-1501", root, folder, NAME, UNLIKE, notes):
            if found[1] == "-1":
                junk += 1
                continue
            words: tuple[str, ...] = ()
            if with_words and split == "train":
                if found[1] not in codes:
                    raise DataError(f"market-1501: {ATTRIBUTES} has no codes for id {found[1]} ({path})")
                words = (attribute_sentence(codes[found[1]]),)
            pid = "-1" if found[1] == "0000" else found[1]
            role = "query" if folder == "query" else ""
            rows.append(Row(split, pid, path, "", "", f"c{found[2]}", f"s{found[3]}", role, captions=words))
    notes += [f"{junk} junk boxes left out"] if junk else []
    return Table("market-1501", root, tuple(rows), CARD.variants[1] if with_words else CARD.variants[0], tuple(notes))


def read(root: str | Path, variant: str | None = None, hold_out: float = 0.0) -> Dataset:
    """One training row per photograph, and the benchmark "photo". hold_out: share of training people who become val.

    Of every one of those, the first photograph asks.
    """
    whole = held_out(table(root, variant), hold_out)
    asked = {r.pid: r.path for r in reversed(whole.rows) if r.split == "val"}
    rows = tuple(replace(r, role="query") if asked.get(r.pid) == r.path else r for r in whole.rows)
    return assemble(replace(whole, rows=rows))
