"""CUHK-PEDES (Li et al., CVPR 2017): photographs from five older sets, two sentences each."""

from __future__ import annotations

from pathlib import Path

from ..records import Dataset
from .annotations import Family, read_annotations
from .assemble import assemble
from .card import Card, splits
from .table import Table

LAST_TRAIN, LAST_VAL, LAST_TEST = 11_003, 12_003, 13_003


def split_of(pid: int) -> str:
    """The published split by id: 1 to 11,003 train, the next 1,000 val, the last 1,000 test."""
    return "train" if pid <= LAST_TRAIN else "val" if pid <= LAST_VAL else "test"


FAMILY = Family(
    "cuhk-pedes",
    "CUHK-PEDES",
    {"reid_raw": ("reid_raw.json",), "caption_all": ("caption_all.json",)},
    ("train", "val", "test"),
    split_of,
)

CARD = Card(
    "cuhk-pedes",
    "CUHK-PEDES",
    "Li et al., Person Search with Natural Language Description, CVPR 2017",
    ("text",),
    """CUHK-PEDES/
  imgs/  cam_a  cam_b  CUHK01  CUHK03  Market  train_query  test_query
  reid_raw.json  |  caption_all.json  |  train_reid.json val_reid.json test_reid.json""",
    "Ask the authors of the paper (form in github.com/ShuangLI59/Person-Search-with-Natural-Language-Description). "
    "Their archive once lacked some of the seven image folders: the check names those that are missing.",
    "Academic research only, by the authors' agreement. It holds photographs of Market-1501, CUHK01 "
    "and CUHK03, whose terms apply too.",
    FAMILY.variants,
    splits(
        "paper (ids, photos); released IRRA loader and logs (captions)",
        train=(11_003, 34_054, 68_126),
        val=(1_000, 3_078, 6_158),
        test=(1_000, 3_074, 6_156),
    ),
)


def table(root: str | Path, variant: str | None = None) -> Table:
    """The rows of the tree at root. variant: reid_raw, caption_all or reid; None takes the first that is there."""
    return read_annotations(FAMILY, root, variant)


def read(root: str | Path, variant: str | None = None) -> Dataset:
    """Training rows, one per photograph and caption, and the benchmark "text"."""
    return assemble(table(root, variant))
