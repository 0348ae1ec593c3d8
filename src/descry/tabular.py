"""Tables as people have them: one reader of text files, CSV, JSON Lines, and the names and paths in their cells."""

from __future__ import annotations

import csv
import difflib
import functools
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import DataError, DataMissing
from .safe_files import read_regular, write_whole

NO_VALUE = ("nan", "null", "none", "<na>", "na", "n/a", "#n/a", "nat", "-", "--", "?", "unknown")
"""What programs and people write where a value is missing."""
EXACT = 2**53
"""From here on two whole numbers may be the same number with a decimal point."""
TABLE_BYTES = 1 << 30
"""Most bytes of a table or an annotation file."""
MOST_COLUMNS = 1_000
"""Most columns of a table; each is compared with the names that are read."""
MAX_CELL = 16 * 2**20
"""Most characters of one CSV cell."""


def write_rows(path: str | Path, rows: Iterable[Sequence[Any]]) -> None:
    """A CSV file, whole or not at all. Raises OSError."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_whole(path, text.getvalue())


def read_text(path: Path) -> str:
    """A UTF-8 text file (a byte-order mark is dropped), or DataError that says what is wrong with it."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; a file is needed there")
    try:
        return read_regular(path, TABLE_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataMissing(f"there is no file {path}; check the path") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check the path and its permissions") from None
    except ValueError as error:
        if not isinstance(error, UnicodeDecodeError):  # a path with a NUL
            raise DataError(f"{str(path)!r} is not a path ({error})") from None
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path.name}, line {line}: byte {error.start} is not UTF-8; save the file as UTF-8") from None


def lines_of(text: str) -> list[str]:
    """The lines of a text file, ended by LF, CR LF or CR only: U+2028, U+0085 and their kin are part of a line."""
    return re.split(r"\r\n|\r|\n", text)


def csv_rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The column names of a CSV file, without the spaces around them, and (line, row) of each row that is not empty.

    Raises DataError, naming the line, for another separator, a column that stands twice, and a row whose cells are
    not those of the header.
    """
    held = csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(read_text(path), newline=None), strict=True)  # a quote that is open swallows rows
    try:
        names = [name.strip() for name in next(reader, [])]
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {reader.line_num}: not CSV ({error}); quotation marks around a cell stand at both of "
            "its ends, and one inside it is written twice"
        ) from None
    finally:
        csv.field_size_limit(held)
    sign = next((s for s in ";\t|" if len(names) == 1 and s in names[0]), "")
    if sign:
        raise DataError(f"{path.name}: its columns are separated by {sign!r}; save it with commas")
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{path.name}: it has {len(names):,} columns; at most {MOST_COLUMNS:,} are read")
    if len(set(names)) < len(names):
        raise DataError(f"{path.name}: the column {_twice(names)!r:.80} is in it twice; remove one of them")
    for line, cells in rows:
        if len(cells) != len(names):
            raise DataError(f"{path.name}, line {line}: it has not the {len(names)} cells of the header")
    return names, [(line, dict(zip(names, cells, strict=True))) for line, cells in rows]


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of each line of a JSON Lines file that is not empty. Raises DataError, naming the line."""
    for number, line in enumerate(lines_of(read_text(path)), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise DataError(f"{path.name}, line {number}: not JSON ({error.msg} at column {error.colno})") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path.name}, line {number}: not JSON that is read here ({error})") from None
        if not isinstance(record, dict):
            raise DataError(
                f"{path.name}, line {number}: an object is needed on every line; got {type(record).__name__}"
            )
        if len(record) > MOST_COLUMNS:
            raise DataError(
                f"{path.name}, line {number}: it has {len(record):,} names; at most {MOST_COLUMNS:,} are read"
            )
        yield number, record


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError where a name is in it twice."""
    held = dict(pairs)
    if len(held) != len(pairs):
        raise ValueError(f"{_twice(name for name, _ in pairs)!r:.80} is in it twice")
    return held


def _twice(names: Iterable[str]) -> str:
    """The first name that is there a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def given(value: Any) -> Any:
    """A value, or "" where it is missing: null or not a number."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def name_of(value: Any, what: str) -> str:
    """A name as text, "" where it is missing. The number 7.0 is 7; DataError for a list, true, 7.5, infinity, or a
    number with a decimal point that may stand for several whole ones.
    """
    value = given(value)
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= EXACT:
            raise DataError(f"{what} is {value!r}, which may stand for several whole numbers; write it as text")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise DataError(f"{what} must be text or a whole number; got {value!r:.80}")
    try:
        text = str(value).strip()
    except ValueError:
        raise DataError(f"{what} is a number of too many digits; write it as text") from None
    return "" if text.lower() in NO_VALUE else unicode_of(text, what)


def unicode_of(text: str, what: str) -> str:
    """A text as it is. DataError where half of a character stands in it alone (a lone surrogate), which no file and no
    vocabulary can hold.
    """
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise DataError(f"{what} holds half of a character: {text!r:.80}; write the text or the name anew")
    return text


def sentence_of(value: Any, what: str) -> str:
    """One sentence without the spaces around it. DataError for what is no text, empty, or stands for a missing one."""
    if not isinstance(value, str):
        raise DataError(f"{what} must be text; got {type(value).__name__}")
    text = value.strip()
    if not text or text.lower() in NO_VALUE:
        held = f"{text!r}, which stands for a missing value" if text else "an empty text"
        raise DataError(f"{what} holds {held}; leave it out")
    return unicode_of(text, what)


def path_of(text: str) -> str:
    """A path as tables write it, with forward slashes and without what says nothing: " .\\cam1//a.png" is cam1/a.png.

    "" where it is missing.
    """
    text = re.sub(r"/(?:\./)*/*", "/", text.strip().replace("\\", "/"))
    while text.startswith("./"):
        text = text[2:]
    return "" if text in (".", "") or text.lower() in NO_VALUE else text


@functools.lru_cache(maxsize=1024)
def misspelt(names: tuple[str, ...], known: tuple[str, ...]) -> str:
    """One sentence on a column that is nearly one that is read, such as drawnfrom, and would be left out without a
    word; "" where there is none.
    """
    for name in names:
        close = difflib.get_close_matches(name.strip().lower().replace(" ", "_"), known, n=1, cutoff=0.8)
        if close and name not in known:
            return (
                f"there is no column {name!r}; did you mean {close[0]!r}? Rename it, or give it another name if it is "
                f"not to be read; read are {', '.join(known)}"
            )
    return ""
