"""The plain table: what every data set becomes before it becomes rows, and how a user's own data set is written down.

One row is one photograph or one sketch. As a file it is JSON Lines (one object per line) or CSV (one header line;
several captions in one cell are separated by " | ").
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError, nearest
from ..safe_files import write_whole

SPLITS = ("train", "val", "test")
UNSPLIT = "?"
"""The split of a row that will be given one at import; no reader returns it."""
ROLES = ("", "query")
SEPARATOR = " | "
NO_VALUE = ("nan", "null", "none", "<na>")
"""What programs write where a value is missing."""
MAX_CELL = 16 * 2**20
"""Most characters of one CSV cell."""


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
    """A data set as rows whose paths begin at root. notes: what the reader assumed, for the record."""

    name: str
    root: Path
    rows: tuple[Row, ...]
    variant: str = ""
    notes: tuple[str, ...] = ()

    def where(self, path: str) -> str:
        """The full path of a row's photograph or sketch."""
        return (self.root / path).as_posix()


def read_table(path: Path, split: str = "") -> tuple[Row, ...]:
    """The rows of a .jsonl or .csv file. split: for rows that name none. Raises DataError with file and line."""
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        records = _csv_records(path, text)
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        records = _json_records(path, text)
    else:
        raise DataError(f"{path.name} is no table that is read here; allowed: .jsonl and .csv")
    rows = [row for line, record in records for row in rows_of(_with(record, split), f"{path.name}, line {line}")]
    if not rows:
        raise DataError(f"{path.name} holds no rows; write one line for each photograph and each sketch")
    return tuple(rows)


def _with(record: dict[str, Any], split: str) -> dict[str, Any]:
    return record if record.get("split") or not split else record | {"split": split}


def read_text(path: Path) -> str:
    """A UTF-8 text file (a byte-order mark is dropped), or DataError that says what is wrong with it."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; a file is needed there") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path.name}, line {line}: byte {error.start} is not UTF-8; save the file as UTF-8") from None


def _csv_records(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    held = csv.field_size_limit(MAX_CELL)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=None), restkey="")
        named, records = reader.fieldnames or (), [(reader.line_num, record) for record in reader]
    except csv.Error as error:
        raise DataError(f"{path.name}, line {reader.line_num}: not CSV ({error})") from None
    finally:
        csv.field_size_limit(held)
    sign = next((s for s in ";\t|" if len(named) == 1 and s in named[0]), "")
    if sign:
        raise DataError(f"{path.name}: its columns are separated by {sign!r}; save it with commas")
    for number, record in records:
        if "" in record or None in record.values():
            raise DataError(f"{path.name}, line {number}: it has not the {len(named)} cells of the header")
        yield number, dict(record)


def lines_of(text: str) -> list[str]:
    """The lines of a text file, ended by LF, CR LF or CR only: U+2028, U+0085 and their kin are part of a line."""
    return re.split(r"\r\n|\r|\n", text)


def _json_records(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines_of(text), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path.name}, line {number}: not JSON ({error.msg} at column {error.colno})") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path.name}, line {number}: not JSON that is read here ({error})") from None
        if not isinstance(record, dict):
            raise DataError(
                f"{path.name}, line {number}: an object is needed on every line; got {type(record).__name__}"
            )
        yield number, record


def rows_of(record: Mapping[str, Any], where: str) -> list[Row]:
    """The rows of one record: a photograph, a sketch, or both when it names both. Other columns are left alone.

    `caption` is read like `captions`. where: file and line, for the message of DataError.
    """
    for name in ("split", "pid"):
        if name in record and record[name] is None:
            raise DataError(f"{where}: {name!r} is null; every row needs one")
        if record.get(name, "") == "":
            others = [k for k in record if k]
            raise DataError(f"{where}: there is no {name!r}; {nearest(name, others) if others else 'the row is empty'}")
    split = str(record["split"]).strip().lower()
    if split not in (*SPLITS, UNSPLIT):
        raise DataError(f"{where}: split {record['split']!r} is unknown; {nearest(split, SPLITS)}")
    role = _word(record.get("role"), f"{where}: role")
    if role not in ROLES:
        raise DataError(f"{where}: role {role!r} is unknown; it is 'query' or empty")
    pid = _word(record["pid"], f"{where}: pid")
    if not pid:
        raise DataError(f"{where}: pid {record['pid']!r} stands for a missing value; every row needs an identity")
    fields = {name: _word(record.get(name), f"{where}: {name}") for name in ("camera", "track", "style")}
    paths = {name: clean_path(_given(record.get(name)), where) for name in ("path", "sketch", "drawn_from")}
    captions = _texts(record.get("captions") or record.get("caption") or (), f"{where}: captions")
    back = _texts(record.get("back_translations") or (), f"{where}: back_translations")
    if back and len(back) != len(captions):
        raise DataError(
            f"{where}: {len(captions)} captions but {len(back)} back-translations; "
            "each caption needs its partner or none has one"
        )
    if not paths["path"] and not paths["sketch"]:
        raise DataError(f"{where}: it names neither a photograph ('path') nor a sketch ('sketch')")
    common: dict[str, Any] = {"split": split, "pid": pid, "track": fields["track"]}
    texts: dict[str, Any] = {"captions": captions, "back_translations": back}
    sketch: dict[str, Any] = {"sketch": paths["sketch"], "style": fields["style"], "drawn_from": paths["drawn_from"]}
    if not paths["path"]:
        return [Row(**common, **sketch, **texts)]
    photo = Row(**common, path=paths["path"], camera=fields["camera"], role=role, **texts)
    return [photo, Row(**common, **sketch)] if paths["sketch"] else [photo]


def _given(value: Any) -> Any:
    """A value, or "" where it is missing: null or not a number."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _word(value: Any, what: str) -> str:
    """A name as text, "" where it is missing. The number 7.0 is 7; DataError for a list, true, 7.5 or infinity."""
    value = _given(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise DataError(f"{what} must be text or a whole number; got {value!r:.80}")
    try:
        text = str(value).strip()
    except ValueError:
        raise DataError(f"{what} is a number of too many digits; write it as text") from None
    return "" if text.lower() in NO_VALUE else text


def clean_path(given: Any, where: str) -> str:
    """A path below the root, with forward slashes; DataError for one that leaves it."""
    if not isinstance(given, str):
        raise DataError(f"{where}: a path must be text; got {type(given).__name__}")
    path = PurePosixPath(given.strip().replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (given.strip()[1:2] == ":"):
        raise DataError(f"{where}: {given!r} leaves the data set's folder; paths are relative to it")
    return "" if str(path) == "." else str(path)


def _texts(given: Any, where: str) -> tuple[str, ...]:
    texts = given.split(SEPARATOR) if isinstance(given, str) else given
    if not isinstance(texts, (list, tuple)) or any(not isinstance(t, str) for t in texts):
        raise DataError(f"{where} must be a list of texts; got {given!r:.80}")
    if any(not t.strip() for t in texts):
        raise DataError(f"{where} hold an empty text; leave it out")
    return tuple(t.strip() for t in texts)


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
