"""The plain table: what every data set becomes before it becomes rows, and how a user's own data set is written down.

One row is one photograph or one sketch. As a file it is JSON Lines (one object per line) or CSV (one header line;
several captions in one cell are separated by " | ").
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError, nearest
from ..safe_files import write_whole
from ..tabular import NO_VALUE, csv_rows, given, json_lines, misspelt, name_of, path_of, sentence_of, unicode_of

SPLITS = ("train", "val", "test")
UNSPLIT = "?"
"""The split of a row that will be given one at import; no reader returns it."""
ROLES = ("", "query")
SEPARATOR = " | "
LONGEST = 4096
"""Most characters of a path in a table."""


@dataclass(frozen=True, slots=True)
class Row:
    """One photograph (`path`) or one sketch (`sketch`), as paths below the root of the data set.

    split: train, val or test. pid: the identity as the data set writes it. role "query": a photograph that is asked
    with and not searched among. drawn_from: the photograph a sketch was made from, "" where it was drawn from memory
    or unknown. back_translations: parallel to captions, or empty. A sketch's own captions are feedback on that sketch.
    """

    split: str
    pid: str
    path: str = ""
    sketch: str = ""
    style: str = ""
    camera: str = ""
    track: str = ""
    role: str = ""
    drawn_from: str = ""
    captions: tuple[str, ...] = ()
    back_translations: tuple[str, ...] = ()


COLUMNS = tuple(f.name for f in dataclasses.fields(Row))
LISTS = ("captions", "back_translations")


@dataclass(frozen=True)
class Table:
    """A data set as rows whose paths begin at root. notes: what the reader assumed, for the record.

    instances: pid is what a query looks for, finer than a person, so that a photograph may ask for one and be another.
    """

    name: str
    root: Path
    rows: tuple[Row, ...]
    variant: str = ""
    notes: tuple[str, ...] = ()
    instances: bool = False

    def where(self, path: str) -> str:
        """The full path of a row's photograph or sketch."""
        return (self.root / path).as_posix()


def read_table(path: Path, split: str = "") -> tuple[Row, ...]:
    """The rows of a .jsonl or .csv file. split: for rows that name none. Raises DataError with file and line."""
    rows = [
        row for line, record in _records(path) for row in rows_of(_with(record, split), f"{path.name}, line {line}")
    ]
    if not rows:
        raise DataError(f"{path.name} holds no rows; write one line for each photograph and each sketch")
    if split != UNSPLIT and any(row.split == UNSPLIT for row in rows):
        raise DataError(f"{path.name}: rows without a split; give them one by descry data import with --test-share")
    return tuple(rows)


def unread_columns(path: Path) -> tuple[str, ...]:
    """A note on the columns of a table that hold something and are not read; none where there are none."""
    held = (name for _, record in _records(path) for name, value in record.items() if name and given(value))
    left = [repr(name) for name in dict.fromkeys(held) if name not in (*COLUMNS, "caption")]
    note = (
        f"{path.name} has columns that are not read: {', '.join(left)}; sentences belong into 'caption' or 'captions'"
    )
    return (note,) if left else ()


def _records(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    if path.suffix.lower() == ".csv":
        return csv_rows(path)[1]
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return json_lines(path)
    raise DataError(f"{path.name} is not a table that is read here; allowed: .jsonl and .csv")


def _with(record: dict[str, Any], split: str) -> dict[str, Any]:
    return record if record.get("split") or not split else record | {"split": split}


def rows_of(record: Mapping[str, Any], where: str) -> list[Row]:
    """The rows of one record: a photograph, a sketch, or both when it names both. Other columns are left alone.

    `caption` is read like `captions`. where: file and line, for the message of DataError.
    """
    for name in ("split", "pid"):
        if name in record and record[name] in (None, ""):
            what = "null" if record[name] is None else "empty"
            raise DataError(f"{where}: {name!r} is {what}; every row needs one")
        if name not in record:
            others = [k for k in record if k]
            close = [k for k in others if difflib.get_close_matches(name, [k.strip().lower()], cutoff=0.75)]
            hint = (
                f"rename {close[0]!r}" if close else f"its columns are {', '.join(others)}" if others else "it is empty"
            )
            raise DataError(f"{where}: there is no {name!r}; {hint}")
    wrong = misspelt(tuple(record), (*COLUMNS, "caption"))
    if wrong:
        raise DataError(f"{where}: {wrong}")
    split = str(record["split"]).strip().lower()
    if split not in (*SPLITS, UNSPLIT):
        raise DataError(f"{where}: split {record['split']!r} is unknown; {nearest(split, SPLITS)}")
    role = name_of(record.get("role"), f"{where}: role")
    if role not in ROLES:
        raise DataError(f"{where}: role {role!r} is unknown; it is 'query' or empty")
    pid = name_of(record["pid"], f"{where}: pid")
    if not pid:
        raise DataError(f"{where}: pid {record['pid']!r} stands for a missing value; every row needs an identity")
    fields = {name: name_of(record.get(name), f"{where}: {name}") for name in ("camera", "track", "style")}
    paths = {name: clean_path(given(record.get(name)), where) for name in ("path", "sketch", "drawn_from")}
    if given(record.get("captions")) and given(record.get("caption")):
        raise DataError(f"{where}: it has 'caption' and 'captions'; give one of them")
    captions = _texts(given(record.get("captions")) or given(record.get("caption")) or (), f"{where}: captions")
    back = _texts(given(record.get("back_translations")) or (), f"{where}: back_translations")
    if back and len(back) != len(captions):
        raise DataError(
            f"{where}: {len(captions)} captions but {len(back)} back-translations; "
            "each caption needs its partner or none has one"
        )
    if not paths["path"] and not paths["sketch"]:
        raise DataError(f"{where}: it names neither a photograph ('path') nor a sketch ('sketch')")
    if paths["drawn_from"] and not paths["sketch"]:
        raise DataError(
            f"{where}: drawn_from names {paths['drawn_from']}, but the row has no sketch; "
            "a drawing stands in the column 'sketch'"
        )
    common: dict[str, Any] = {"split": split, "pid": pid, "track": fields["track"]}
    texts: dict[str, Any] = {"captions": captions, "back_translations": back}
    sketch: dict[str, Any] = {"sketch": paths["sketch"], "style": fields["style"], "drawn_from": paths["drawn_from"]}
    if not paths["path"]:
        return [Row(**common, **sketch, **texts)]
    photo = Row(**common, path=paths["path"], camera=fields["camera"], role=role, **texts)
    return [photo, Row(**common, **sketch)] if paths["sketch"] else [photo]


def clean_path(text: Any, where: str) -> str:
    """A path below the root, with forward slashes; "" where it is missing. DataError for one that leaves the root."""
    if not isinstance(text, str):
        raise DataError(f"{where}: a path must be text; got {type(text).__name__}")
    path = PurePosixPath(path_of(text))
    if path.is_absolute() or ".." in path.parts or (text.strip()[1:2] == ":"):
        raise DataError(f"{where}: {text!r} leaves the data set's folder; paths are relative to it")
    if "\0" in text or len(text) > LONGEST:
        raise DataError(f"{where}: {text[:40]!r} is not a path; it holds NUL or more than {LONGEST:,} characters")
    return "" if str(path) == "." else unicode_of(str(path), f"{where}: a path")


def needed_path(text: Any, where: str) -> str:
    """`clean_path` of what must name a file. DataError where it names none."""
    path = clean_path(text, where)
    if not path:
        raise DataError(f"{where}: {text!r} names no file; every photograph needs its path")
    return path


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = () if value.strip().lower() in NO_VALUE else value.split(SEPARATOR)
    if not isinstance(value, (list, tuple)) or any(not isinstance(t, str) for t in value):
        raise DataError(f"{where} must be a list of texts; got {value!r:.80}")
    return tuple(sentence_of(text, where) for text in value)


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Rows as .jsonl or .csv, written whole or not at all."""
    rows = tuple(rows)
    text = io.StringIO(newline="\n")
    if path.suffix.lower() == ".csv":
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_cells(row) for row in rows)
    else:
        for row in rows:
            held = {k: v for k, v in dataclasses.asdict(row).items() if v}
            text.write(json.dumps(held, ensure_ascii=False) + "\n")
    write_whole(path, text.getvalue())


def _cells(row: Row) -> dict[str, str]:
    for name in LISTS:
        if any(SEPARATOR in text for text in getattr(row, name)):
            raise DataError(
                f"a caption of {row.path or row.sketch} holds {SEPARATOR!r}, "
                "which separates captions in CSV; write .jsonl"
            )
    return {k: SEPARATOR.join(v) if k in LISTS else v for k, v in dataclasses.asdict(row).items()}
