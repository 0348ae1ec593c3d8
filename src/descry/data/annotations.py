"""The JSON annotations of the text data sets, in every form in which they circulate.

One list of objects with an id, a path and captions. The forms differ in the file's name, in the key of the path
(`file_path` or `img_path`), in whether the split is a field or a file, and in what the path begins with.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError, nearest
from ..safe_files import json_of
from ..tabular import read_text, sentence_of
from .files import root_of
from .table import SPLITS, Row, Table, needed_path

PATH_KEYS = ("file_path", "img_path")
IMAGES = "imgs"
BY_SPLIT = {"train": "train_reid.json", "val": "val_reid.json", "test": "test_reid.json"}


@dataclass(frozen=True, slots=True)
class Family:
    """How one text data set circulates.

    single: variant → file that holds all splits. needs: splits that must be there. split_of: from an id to its split,
    for files that lack the field; None where there is no such rule.
    """

    name: str
    folder: str
    single: Mapping[str, tuple[str, ...]]
    needs: tuple[str, ...]
    split_of: Callable[[int], str] | None = None

    @property
    def variants(self) -> tuple[str, ...]:
        return (*self.single, "reid")


def read_annotations(family: Family, root: str | Path, variant: str | None = None) -> Table:
    """The table of a text data set. variant: None takes the first form found. Raises DataError with file and row."""
    if variant is not None and variant not in family.variants:
        raise UsageError(f"{family.name} has no variant {variant!r}; {nearest(variant, family.variants)}")
    folder = root_of(family.name, root, (family.folder,), IMAGES)
    found = _files(folder, family)
    if not found:
        names = [n for names in family.single.values() for n in names] + [BY_SPLIT[s] for s in family.needs]
        raise DataError(f"{family.name}: no annotations in {folder}; expected one of {', '.join(names)}")
    if variant is not None and variant not in found:
        raise DataError(f"{family.name}: variant {variant} is not in {folder}; found: {', '.join(found)}")
    chosen = variant or next(iter(found))
    notes = [] if len(found) == 1 or variant else [f"of {', '.join(found)} the first was read"]
    rows: list[Row] = []
    for file, split in found[chosen]:
        rows += _rows(folder / file, split, family, notes)
    variant = f"{chosen} ({', '.join(file for file, _ in found[chosen])})"
    rows = _apart(rows, notes)
    return Table(family.name, folder, tuple(rows), variant, tuple(dict.fromkeys(notes)))


def _apart(rows: list[Row], notes: list[str]) -> list[Row]:
    """Some releases number every split anew. Then equal numbers are other people, and get other names.

    Taken to be so only when all ids of a split run without a gap from where the ids of train begin.
    """
    ids = {split: {int(r.pid) for r in rows if r.split == split} for split in SPLITS}
    first = min(ids["train"], default=0)
    anew = [
        s
        for s in ("val", "test")
        if ids[s] & ids["train"] and ids[s] == set(range(first, first + len(ids[s]))) and len(ids[s]) > 1
    ]
    if not anew:
        return rows
    notes.append(f"the ids of {' and '.join(anew)} begin anew: taken as other people than those of train")
    return [dataclasses.replace(r, pid=f"{r.split}-{r.pid}") if r.split in anew else r for r in rows]


def _files(folder: Path, family: Family) -> dict[str, list[tuple[str, str]]]:
    """Variant → its files with the split each stands for ("" where the rows say)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for variant, names in family.single.items():
        here = [name for name in names if (folder / name).exists()]
        if here:
            found[variant] = [(here[0], "")]
    split_files = {s: f for s, f in BY_SPLIT.items() if (folder / f).exists() and (s in family.needs or s == "val")}
    if split_files:
        absent = [BY_SPLIT[s] for s in family.needs if s not in split_files]
        if not absent:
            found["reid"] = [(f, s) for s, f in split_files.items() if s in family.needs]
        elif not found:
            raise DataError(f"{family.name}: {', '.join(absent)} is missing beside {', '.join(split_files.values())}")
    return found


def _rows(path: Path, split: str, family: Family, notes: list[str]) -> list[Row]:
    return [_row(r, f"{path.name}, row {i}", split, family, notes) for i, r in enumerate(annotations_of(path))]


def annotations_of(path: Path) -> list[Any]:
    """The list of annotations in a JSON file, at least one. Raises DataError for anything else."""
    text = read_text(path)
    try:
        records = json_of(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path.name}: not JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    except ValueError as error:
        raise DataError(f"{path.name}: not JSON that is read here ({error})") from None
    if not isinstance(records, list):
        raise DataError(f"{path.name}: a list of annotations is needed; got {type(records).__name__}")
    if not records:
        raise DataError(f"{path.name}: the list of annotations is empty")
    return records


def _row(record: Any, where: str, split: str, family: Family, notes: list[str]) -> Row:
    if not isinstance(record, dict):
        raise DataError(f"{where}: an object is needed; got {type(record).__name__}")
    key = next((k for k in PATH_KEYS if k in record), None)
    if key is None:
        raise DataError(f"{where}: neither 'file_path' nor 'img_path'; its keys are {', '.join(map(str, record))}")
    pid = record.get("id")
    if not isinstance(pid, int) or isinstance(pid, bool):
        raise DataError(f"{where}: 'id' must be a whole number; got {pid!r}")
    if not isinstance(record[key], str) or not record[key].strip():
        raise DataError(f"{where}: '{key}' must be a path; got {record[key]!r}")
    captions = texts(record, "captions", where)
    back: tuple[str, ...] = ()
    if "captions_bt" in record:
        back = texts(record, "captions_bt", where)
        if len(back) != len(captions):
            raise DataError(
                f"{where}: {len(captions)} captions but {len(back)} in 'captions_bt'; they must be parallel"
            )
    which = split or _split(record, pid, where, family, notes)
    return Row(which, str(pid), _below_images(record[key], where, family), captions=captions, back_translations=back)


def _split(record: Mapping[str, Any], pid: int, where: str, family: Family, notes: list[str]) -> str:
    given = record.get("split")
    if given is None:
        if family.split_of is None:
            raise DataError(f"{where}: there is no 'split'; this form of {family.name} needs it (train, val or test)")
        notes.append("the annotations have no 'split': it was taken from the id")
        return family.split_of(pid)
    if not isinstance(given, str) or given.strip().lower() not in SPLITS:
        raise DataError(f"{where}: split {given!r} is unknown; allowed: {', '.join(SPLITS)}")
    return given.strip().lower()


def texts(record: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """A list of texts that are not empty, or DataError."""
    given = record.get(key)
    if given is None:
        raise DataError(f"{where}: there is no '{key}'; its keys are {', '.join(map(str, record))}")
    if not isinstance(given, Sequence) or isinstance(given, str) or any(not isinstance(t, str) for t in given):
        raise DataError(f"{where}: '{key}' must be a list of texts; got {type(given).__name__}")
    if not given:
        raise DataError(f"{where}: '{key}' is an empty list; every photograph needs at least one")
    return tuple(sentence_of(text, f"{where}: '{key}'") for text in given)


def _below_images(given: str, where: str, family: Family) -> str:
    path = needed_path(given, where)
    for prefix in (f"{family.folder}/", f"{IMAGES}/"):
        path = path.removeprefix(prefix)
    return f"{IMAGES}/{path}"
