"""RSTPReid (Zhu et al., ACM MM 2021): five photographs of each person by different cameras of MSMT17, two sentences
each.
"""

from __future__ import annotations

from pathlib import Path

from ..records import Dataset
from .annotations import Family, read_annotations
from .assemble import assemble
from .card import Card, splits
from .table import Table

FAMILY = Family("rstpreid", "RSTPReid", {"data_captions": ("data_captions.json",)}, ("train", "val", "test"))

CARD = Card(
    "rstpreid",
    "RSTPReid",
    "Zhu et al., DSSL: Deep Surroundings-person Separation Learning for Text-based Person Retrieval, ACM MM 2021",
    ("text",),
    """RSTPReid/
  imgs/                     (flat)
  data_captions.json  |  train_reid.json val_reid.json test_reid.json""",
    "Links in github.com/NjtechCVLab/RSTPReid-Dataset.",
    "Research only; the terms of MSMT17 apply to its photographs.",
    FAMILY.variants,
    splits(
        "paper and the authors' page (ids, photos); two sentences per photograph",
        train=(3_701, 18_505, 37_010),
        val=(200, 1_000, 2_000),
        test=(200, 1_000, 2_000),
    ),
)


def table(root: str | Path, variant: str | None = None) -> Table:
    """The rows of the tree at root. variant: data_captions or reid."""
    return read_annotations(FAMILY, root, variant)


def read(root: str | Path, variant: str | None = None) -> Dataset:
    """Training rows, one per photograph and caption, and the benchmark "text"."""
    return assemble(table(root, variant))
