"""ICFG-PEDES (Ding et al., 2021): photographs of MSMT17, one long sentence each, no validation split."""

from __future__ import annotations

from pathlib import Path

from ..records import Dataset
from .annotations import Family, read_annotations
from .assemble import assemble, held_out
from .card import Card, splits
from .table import Table

FAMILY = Family(
    "icfg-pedes", "ICFG-PEDES", {"hyphen": ("ICFG-PEDES.json",), "underscore": ("ICFG_PEDES.json",)}, ("train", "test")
)

CARD = Card(
    "icfg-pedes",
    "ICFG-PEDES",
    "Ding et al., Semantically Self-Aligned Network for Text-to-Image Part-aware Person Re-identification, 2021",
    ("text",),
    """ICFG-PEDES/
  imgs/  train  test        (folders of MSMT17, not the split)
  ICFG-PEDES.json  |  ICFG_PEDES.json  |  train_reid.json test_reid.json""",
    "Ask the authors by e-mail (address in github.com/zifyloo/SSAN).",
    "Academic research only, by the authors' agreement; the terms of MSMT17 apply to its photographs.",
    FAMILY.variants,
    splits("paper; released IRRA loader", train=(3_102, 34_674, 34_674), test=(1_000, 19_848, 19_848)),
)


def table(root: str | Path, variant: str | None = None) -> Table:
    """The rows of the tree at root. variant: hyphen, underscore or reid. There is no val, whatever files say."""
    return read_annotations(FAMILY, root, variant)


def read(root: str | Path, variant: str | None = None, hold_out: float = 0.0) -> Dataset:
    """Training rows, one per photograph, and the benchmark "text". hold_out: share of training people for val."""
    return assemble(held_out(table(root, variant), hold_out))
