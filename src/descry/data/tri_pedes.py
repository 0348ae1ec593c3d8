"""Tri-PEDES (UNIReID, InteractReID): the three text data sets joined, with a sketch made from every photograph.

The sketches lie beside the photographs, under the same names, in `imgs-sketch` (InteractReID) or `imgs-sketch2`
(UNIReID).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError, UsageError, nearest
from ..records import Benchmark, Dataset, validate
from . import cuhk_pedes, icfg_pedes, rstpreid
from .annotations import IMAGES, read_annotations
from .assemble import Split, train_rows
from .card import Card, Expected
from .faults import faults, repeated
from .files import root_of
from .table import Row, Table

SKETCHES = ("imgs-sketch", "imgs-sketch2")
MODULES = {"CUHK": cuhk_pedes, "ICFG": icfg_pedes, "RSTP": rstpreid}
PARTS = {part: module.FAMILY for part, module in MODULES.items()}


def expected(variant: str | None = None, parts: Sequence[str] | None = None) -> dict[str, Expected]:
    """Published counts of the parts, added up; every photograph has one sketch."""
    del variant
    held: dict[str, int] = {}
    wanted = tuple(parts or PARTS)
    for part in wanted:
        for what, count in MODULES[part].CARD.expected.items():
            held[what] = held.get(what, 0) + (count.number or 0)
    source = f"sum of {', '.join(wanted)}"
    out = {what: Expected(number, source) for what, number in held.items()}
    for split in ("train", "val", "test"):
        if f"{split} photos" in held:
            out[f"{split} sketches"] = Expected(held[f"{split} photos"], "one per photograph")
    if wanted == tuple(PARTS):
        out["train captions"] = Expected(held["train captions"], "InteractReID: 139,810 training pairs")
    return out


CARD = Card(
    "tri-pedes",
    "Tri-PEDES",
    "Chen et al., Towards Modality-Agnostic Person Re-identification with Descriptive Query (UNIReID), CVPR 2023",
    ("text", "sketch", "sketch+text"),
    """root/
  CUHK-PEDES/  imgs/  imgs-sketch/ | imgs-sketch2/  and its annotations
  ICFG-PEDES/  imgs/  imgs-sketch/ | imgs-sketch2/  and its annotations
  RSTPReid/    imgs/  imgs-sketch/ | imgs-sketch2/  and its annotations""",
    "Obtain the three sets; the sketches from the page of UNIReID, or make your own: descry data sketch ROOT.",
    "The terms of all three sets apply. Sketches made here are your own derivative of licensed photographs.",
    ("imgs-sketch", "imgs-sketch2"),
    expected(),
)


def tables(root: str | Path, variant: str | None = None, parts: Sequence[str] | None = None) -> dict[str, Table]:
    """One table per part, ids and paths prefixed. parts: of CUHK, ICFG, RSTP; None needs all three."""
    root = root_of("tri-pedes", root)
    wanted = tuple(parts or PARTS)
    for part in wanted:
        if part not in PARTS:
            raise UsageError(f"Tri-PEDES has no part {part!r}; {nearest(part, tuple(PARTS))}")
    absent = [PARTS[p].folder for p in wanted if not (root / PARTS[p].folder).is_dir()]
    if absent:
        there = [p for p in PARTS if (root / PARTS[p].folder).is_dir()]
        hint = f"; to read only what is there: parts={'+'.join(there)}" if there else ""
        raise DataError(f"tri-pedes: {', '.join(absent)} is missing in {root}{hint}")
    return {part: _part(root, part, variant) for part in wanted}


def _part(root: Path, part: str, variant: str | None) -> Table:
    family = PARTS[part]
    inner = read_annotations(family, root / family.folder)
    sketches = sketch_folder(inner.root, variant)
    rows: list[Row] = []
    for row in inner.rows:
        path = f"{family.folder}/{row.path}"
        drawn = f"{family.folder}/{sketches}/{row.path.removeprefix(IMAGES + '/')}"
        pid = f"{part}-{row.pid}"
        rows.append(dataclasses.replace(row, pid=pid, path=path))
        rows.append(Row(row.split, pid, sketch=drawn, drawn_from=path))
    notes = tuple(f"{part}: {note}" for note in inner.notes)
    return Table("tri-pedes", root, tuple(rows), f"{part}: {inner.variant}, {sketches}", notes)


def sketch_folder(root: Path, variant: str | None = None) -> str:
    """The folder of sketches beside `imgs`. Raises DataError when it is not there, UsageError for an unknown name."""
    if variant is not None and variant not in SKETCHES:
        raise UsageError(f"Tri-PEDES has no sketch folder {variant!r}; {nearest(variant, SKETCHES)}")
    found = [name for name in ((variant,) if variant else SKETCHES) if (root / name).is_dir()]
    if not found:
        wanted = variant or " or ".join(SKETCHES)
        raise DataError(f"tri-pedes: {root.name} has no folder {wanted}; make it: descry data sketch {root}")
    return found[0]


def table(root: str | Path, variant: str | None = None, parts: Sequence[str] | None = None) -> Table:
    """All parts in one table."""
    return _join(Path(root), tables(root, variant, parts))


def _join(root: Path, made: dict[str, Table]) -> Table:
    rows = tuple(row for t in made.values() for row in t.rows)
    notes = tuple(note for t in made.values() for note in t.notes)
    return Table("tri-pedes", root, rows, "; ".join(t.variant for t in made.values()), notes)


def read(
    root: str | Path, variant: str | None = None, parts: Sequence[str] | None = None, sketch_per_caption: bool = False
) -> Dataset:
    """Training rows of all parts with ids 0 … N−1, and benchmarks by part ("sketch/CUHK"; plain names for one part).

    A sketch probe ignores exactly the photograph it was drawn from. sketch_per_caption: one sketch probe per caption,
    as in the released InteractReID; otherwise every sketch asks once, as in UNIReID.
    """
    made = tables(root, variant, parts)
    joined = _join(Path(root), made)
    found = faults(joined)
    if found:
        raise DataError("tri-pedes: " + "; ".join(found) + f"; run: descry data check tri-pedes {root}")
    splits: dict[str, dict[str, Benchmark]] = {"val": {}, "test": {}}
    for part, one in made.items():
        suffix = f"/{part}" if len(made) > 1 else ""
        for split, into in splits.items():
            if any(r.split == split for r in one.rows):
                rows = Split.of(one, split)
                into |= rows.text(f"text{suffix}")
                into |= rows.sketch(f"sketch{suffix}", repeat=sketch_per_caption)
                into |= rows.both(f"sketch+text{suffix}")
    notes = (*joined.notes, *repeated(joined))
    source = "; ".join((str(root), joined.variant, *notes))
    return validate(Dataset("tri-pedes", train_rows(joined), splits["val"], splits["test"], source, notes))
