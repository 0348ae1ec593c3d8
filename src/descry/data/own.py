"""A user's own data set: a folder of pictures and one table (`table.jsonl` or `table.csv`), as `table` describes it.

Synthetic people are such a folder too; their own reader is taken, because it knows what each query expresses.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, DataMissing, UsageError
from ..records import Dataset
from ..safe_files import json_of, write_whole
from ..tabular import read_text
from .assemble import assemble
from .card import Card
from .faults import faults, natural
from .files import missing_files
from .table import UNSPLIT, Row, Table, read_table, unread_columns, write_table

TABLES = ("table.jsonl", "table.csv")
READERS = {"synthetic people": "descry_people.read:read_people"}
"""Beginning of the kind that `descry.json` names → module:function of another package that reads such a folder."""
FORMAT = 1

CARD = Card(
    "table",
    "Your own data set",
    "",
    ("text", "sketch", "sketch+text", "photo"),
    """root/
  table.jsonl | table.csv    one line per photograph or sketch: split, pid, path | sketch, and what is known of
                             style, camera, track, role, drawn_from, captions, back_translations
  …                          the pictures, under the paths of the table
  descry.json                written by descry data import (optional)""",
    "descry data import TABLE ROOT checks a table against its pictures and writes it here.",
    "Yours. Have the consent of the people in it, and a purpose.",
    ("jsonl", "csv"),
)


def table(root: str | Path, variant: str | None = None) -> Table:
    """The rows of the folder's table."""
    root = Path(root)
    if not root.is_dir():
        raise DataMissing(f"there is no folder {root}")
    names = [n for n in TABLES if (root / n).is_file() and variant in (None, n.rsplit(".", 1)[-1])]
    if not names:
        raise DataError(
            f"{root} holds neither {' nor '.join(TABLES)}; write one, or run: descry data import TABLE {root}"
        )
    about, rows = describe(root), read_table(root / names[0])
    notes = unread_columns(root / names[0])
    return Table(str(about.get("name") or "table"), root, rows, names[0].rsplit(".", 1)[-1], notes)


def describe(root: Path) -> dict[str, Any]:
    """The content of `descry.json`, {} where there is none. Raises DataError for another format."""
    file = root / "descry.json"
    if not file.exists():
        return {}
    try:
        about = json_of(read_text(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file.name}: not JSON ({error.msg} at line {error.lineno})") from None
    except ValueError as error:
        raise DataError(f"{file.name}: not JSON that is read here ({error})") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        held = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise DataError(f"{file.name}: format {held!r}; this version reads format {FORMAT}")
    return about


def read(root: str | Path, variant: str | None = None) -> Dataset:
    """Training rows and every benchmark that the table allows: "text", "sketch", "sketch+text", "photo"."""
    kind = str(describe(Path(root)).get("kind", ""))
    for begins, place in READERS.items():
        if kind.startswith(begins):
            module, _, name = place.partition(":")
            dataset: Dataset = getattr(importlib.import_module(module), name)(root)
            return dataset
    return assemble(table(root, variant))


def import_table(
    source: Path, root: Path, name: str = "", val_share: float = 0.0, test_share: float = 0.0, seed: int = 0
) -> Table:
    """Check a table against the pictures below root and write it there as `table.jsonl` with `descry.json`.

    Rows without a split get one by identity: a random val_share and test_share of the people, the rest train.
    Raises DataError with every fault; then nothing is written.
    """
    if not root.is_dir():
        raise DataMissing(f"there is no folder {root}; give the folder that the table's paths begin in")
    if (root / "table.jsonl").exists() and (root / "table.jsonl").resolve() != source.resolve():
        raise DataError(f"{root / 'table.jsonl'} exists; remove it to import another table")
    shared = val_share + test_share > 0.0
    rows = read_table(source, UNSPLIT if shared else "")
    if shared:
        rows = _shared_out(rows, val_share, test_share, seed)
    table = Table(name or root.resolve().name, root, rows, "jsonl", unread_columns(source))
    wrong = faults(table) or missing_files(table)
    if wrong:
        raise DataError(f"{source.name}: " + "; ".join(wrong) + "; nothing was written")
    write_table(root / "table.jsonl", rows)
    about = {"format": FORMAT, "kind": "table", "name": table.name, "made_from": source.name}
    write_whole(root / "descry.json", json.dumps(about, indent=2) + "\n")
    return table


def _shared_out(rows: tuple[Row, ...], val_share: float, test_share: float, seed: int) -> tuple[Row, ...]:
    """Splits by identity for the people whose rows name none."""
    if min(val_share, test_share) < 0.0 or val_share + test_share >= 1.0:
        raise UsageError(
            f"shares {val_share} and {test_share} were given; both are at least 0 and their sum is below 1"
        )
    people = sorted({r.pid for r in rows if r.split == UNSPLIT}, key=natural)
    order = np.random.default_rng(seed).permutation(len(people))
    val, test = round(val_share * len(people)), round(test_share * len(people))
    names = ["val"] * val + ["test"] * test + ["train"] * (len(people) - val - test)
    split = {people[i]: name for i, name in zip(order, names, strict=True)}
    return tuple(replace(r, split=split[r.pid]) if r.split == UNSPLIT else r for r in rows)
