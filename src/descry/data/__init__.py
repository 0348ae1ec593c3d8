"""Every data set behind one schema: `read("cuhk-pedes", root)` gives rows for training and benchmarks for evaluation.

To add a data set: one file with CARD, `table(root, …)` and `read(root, …)`, one line in DATASETS, one writer in `miniature`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError, nearest
from ..records import Dataset

DATASETS: dict[str, str] = {
    "cuhk-pedes": "descry.data.cuhk_pedes",
    "icfg-pedes": "descry.data.icfg_pedes",
    "rstpreid": "descry.data.rstpreid",
    "tri-pedes": "descry.data.tri_pedes",
    "market-sketch-1k": "descry.data.market_sketch_1k",
    "pku-sketch": "descry.data.pku_sketch",
    "market-1501": "descry.data.market_1501",
    "table": "descry.data.own",
}
MARKERS = ("descry.json", "table.jsonl", "table.csv")


def module(name: str) -> Any:
    """The module of a data set: CARD, table(root, …), read(root, …). UsageError for an unknown name."""
    if name not in DATASETS:
        raise UsageError(f"there is no data set {name!r}; {nearest(name, tuple(DATASETS))}")
    return importlib.import_module(DATASETS[name])


def read(name: str, root: str | Path | None = None, **options: Any) -> Dataset:
    """A data set by name and folder, or by a folder alone that describes itself (`descry.json` or a table in it).

    options: what the reader of that set takes, for example variant=, split= (PKU-Sketch), parts= (Tri-PEDES).
    """
    if root is None:
        if name in DATASETS:
            raise UsageError(f"{name} needs the folder it lies in: read({name!r}, root)")
        if not recognised(name):
            where = "holds none of " + ", ".join(MARKERS) if Path(name).is_dir() else "is no folder"
            raise DataError(f"{name} {where}; name the data set and its folder, or write a table: {', '.join(DATASETS)}")
        name, root = "table", name
    dataset: Dataset = module(name).read(root, **options)
    return dataset


def recognised(folder: str | Path) -> bool:
    """Whether a folder describes itself."""
    return any((Path(folder) / marker).is_file() for marker in MARKERS)
