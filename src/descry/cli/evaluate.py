"""descry evaluate."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import UsageError, nearest
from .machine import Machine, OnMachine


def evaluate(
    run: tyro.conf.Positional[str],
    /,
    data: tuple[str, ...],
    split: str = "test",
    image_size: tuple[int, int] | None = None,
    allow_download: bool = False,
    json_: Annotated[bool, tyro.conf.arg(name="json")] = False,
    csv_: Annotated[Path | None, tyro.conf.arg(name="csv")] = None,
    machine: OnMachine = Machine(),
) -> int:
    """Rank metrics of a model: text, sketch, photo, and sketch or photo with text by early fusion, late fusion and
    pseudo-word.

    Args:
        run: a run folder, a CLIP folder or hub name, or demo.
        data: a data set folder, or NAME and its folder.
        split: test or val.
        image_size: height and width, for a plain CLIP; a run has its own.
        allow_download: a hub name may be fetched from the network.
        json_: print JSON.
        csv_: also write a table to this file.
    """
    from ..embed import load
    from ..evaluate import evaluate_all
    from .starting import read_data

    machine.settle()
    if split not in ("test", "val"):
        raise UsageError(f"there is no split {split!r}; {nearest(split, ['test', 'val'])}")
    dataset = read_data(data)
    benchmarks = dataset.test if split == "test" else dataset.val
    if not benchmarks:
        raise UsageError(f"{dataset.name} has no {split} split")
    model = load(run, machine.device, machine.precision, image_size, allow_download)
    results = evaluate_all(model, benchmarks, lambda line: print(line, file=sys.stderr, flush=True))
    rows = [r.as_row() for r in results]
    answer = {
        "model": run,
        "fingerprint": model.fingerprint,
        "pretrained_clip": model.pretrained,
        "data": dataset.name,
        "split": split,
        "selection": model.about.get("selection", "as the run folder's metrics.json says"),
        "note": model.note,
        "results": rows,
    }
    if csv_:
        with open(csv_, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    if json_:
        print(json.dumps(answer, indent=1))
        return 0
    _table(rows)
    print(f"{dataset.name}, {split} split; {'a' if model.pretrained else 'no'} pretrained CLIP. {model.note}".rstrip())
    return 0


def _table(rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in rows[0]:
        table.add_column(name, justify="left" if name in ("benchmark", "composition", "data") else "right")
    for row in rows:
        table.add_row(*(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=140).print(table)
