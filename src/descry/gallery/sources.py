"""Camera, time and track of a crop, from its path, its EXIF data or a table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError, nearest
from ..escape import path_text
from ..images import Header
from ..tabular import csv_rows, misspelt, name_of, path_of
from ..times import parse_time
from .contract import EARLIEST, LATEST

FIELDS = ("camera", "time", "track")
KINDS = {"camera": ("dirname", "exif", "csv"), "time": ("exif", "mtime", "csv"), "track": ("dirname", "csv")}


@dataclass(frozen=True)
class Sources:
    """Where each field comes from: "" (unknown), "dirname", "exif", "mtime", "csv", or a regular expression over the
    path.

    A regular expression gives its group of the field's name, or its first group. table: a CSV file with a column `path`
    (absolute, below the indexed folder, or a file name) and any of camera, time, track; naming one is enough to use it.
    """

    camera: str = ""
    time: str = ""
    track: str = ""
    table: str = ""
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        patterns: dict[str, re.Pattern[str]] = {}
        for name in FIELDS:
            kind = getattr(self, name)
            if kind == "csv" and not self.table:
                raise UsageError(f"{name} is to come from a table, and none was named; add --table FILE.csv")
            if kind and kind not in KINDS[name]:
                patterns[name] = _pattern(name, kind)
        rows = read_table(self.table) if self.table else {}
        for name in FIELDS:
            if getattr(self, name) == "csv" and name not in next(iter(rows.values()), {name: ""}):
                raise UsageError(f"{name} is to come from the table, and {self.table} has no column {name}")
        object.__setattr__(self, "patterns", patterns)
        object.__setattr__(self, "rows", rows)

    @property
    def named(self) -> bool:
        """Whether any source was named."""
        return bool(self.camera or self.time or self.track or self.table)

    @property
    def needs_exif(self) -> bool:
        """Whether the picture's own header is asked."""
        return "exif" in (self.camera, self.time)

    def fields(self, path: str, mtime: int, header: Header | None = None) -> dict[str, Any]:
        """camera, track ("" for unknown) and time (None for unknown) of a file."""
        row = self._row(path)
        out: dict[str, Any] = {}
        for name in FIELDS:
            text = row.get(name, "") or self._from(name, path, mtime, header)
            out[name] = parse_time(text) if name == "time" else path_text(text).strip()  # a name may be no UTF-8
        return out

    def unmatched(self, paths: Sequence[str], whole: bool = True) -> str:
        """One sentence for each source that says nothing of these paths; "" when there is none.

        paths: of all pictures in the folders. whole: False where they are only a part of them. Raises DataError for a
        table of which no row names a picture, of which a row names several, or several rows one with other values, and
        for one that holds nothing.
        """
        if self.table and not any(value for row in self.rows.values() for value in row.values()):
            raise DataError(f"{self.table} has no row with a camera, a time or a track; nothing is read of it")
        said = [*self._unfit(paths), *(self._unread(paths, whole) if self.rows else ())]
        return "; ".join(said) if paths else ""

    def _unfit(self, paths: Sequence[str]) -> Iterator[str]:
        """Of regular expressions that fit no path, or find what is no time."""
        for name, pattern in self.patterns.items():
            found = [text for path in paths if (text := self._from(name, path, 0))]
            if paths and not found:
                first = path_text(paths[0])
                yield f"--{name}-from '{pattern.pattern}' fits none of the {len(paths)} paths, such as {first}"
            odd = [text for text in found if parse_time(text) is None] if name == "time" else []
            if odd:
                yield f"--time-from finds no time in {len(odd)} of {len(paths)} paths, such as {path_text(odd[0])!r}"

    def _unread(self, paths: Sequence[str], whole: bool) -> Iterator[str]:
        """Of rows of the table that name no picture."""
        named: dict[str, str] = {}
        for path in paths:
            key = self._key(path)
            if key and key in named:
                raise DataError(
                    f"{self.table}: {key} names {path_text(named[key])} and {path_text(path)}; write there as much of "
                    "the path as tells them apart"
                )
            if key:
                named[key] = path
        short = {key: end for end in named for key in _ends(end) if key in self.rows and key != end}
        for key, end in short.items():
            if key not in named and self.rows[key] != self.rows[end]:
                raise DataError(
                    f"{self.table}: {path_text(key)} and {path_text(end)} are the same picture with other values; "
                    "remove one line"
                )
        left = [key for key in self.rows if key not in named and key not in short]
        if paths and not named and whole:
            raise DataError(
                f"{self.table}: none of its {len(self.rows)} rows names a picture in the folders, the first "
                f"{path_text(left[0])}; a picture there is {path_text(paths[0])}"
            )
        if left and whole:
            yield f"{self.table}: {len(left)} of {len(self.rows)} rows name no picture here, first {path_text(left[0])}"

    def _from(self, name: str, path: str, mtime: int, header: Header | None = None) -> str:
        kind = getattr(self, name)
        if name in self.patterns:
            found = self.patterns[name].search(path)
            if not found:
                return ""
            return (found.group(name) if name in found.re.groupindex else found.group(1)) or ""
        if kind == "dirname":
            return os.path.basename(os.path.dirname(path))
        if kind == "exif":
            return str(getattr(header, name, ""))
        if kind == "mtime":
            return "" if mtime in (EARLIEST, LATEST) else datetime.fromtimestamp(mtime // 1_000_000_000).isoformat()
        return ""

    def _row(self, path: str) -> Mapping[str, str]:
        key = self._key(path) if self.rows else ""
        return self.rows[key] if key else {}

    def _key(self, path: str) -> str:
        """The table's name for a file: its path, or the longest end of it that stands there; "" for none."""
        parts = Path(path).parts
        for i in range(len(parts)):
            end = "/".join(parts[i:]) if i else Path(path).as_posix()
            for key in (end, path_of(end)):
                if key in self.rows:
                    return key
        return ""


def _ends(path: str) -> list[str]:
    """The shorter names of a file that a table may give: "cam1/a.png" → ["a.png"]."""
    parts = path.split("/")
    return ["/".join(parts[i:]) for i in range(1, len(parts))]


def _pattern(name: str, kind: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(kind)
    except re.error as error:
        raise UsageError(
            f"{name}: {kind!r} is not a regular expression ({error}); {nearest(kind, KINDS[name])}, or an "
            f"expression with a group"
        ) from None
    if not pattern.groups:
        raise UsageError(
            f"{name}: {kind!r} has no group; {nearest(kind, KINDS[name])}, or an expression such as 'cam(\\d+)'"
        )
    return pattern


def read_table(table: str) -> dict[str, dict[str, str]]:
    """path → row of a CSV file. Raises DataError when it has no column `path` or none of the fields, and for a path
    that is in it twice with other values, a time that is none, and whatever `tabular.csv_rows` refuses.
    """
    columns, lines = csv_rows(Path(table))
    names = [name.lower() for name in columns]
    wrong = misspelt(tuple(names), ("path", *FIELDS))
    if wrong:
        raise DataError(f"{table}: {wrong}")
    if "path" not in names or not set(names) & set(FIELDS):
        raise DataError(f"{table} has the columns {names}; needed are path and at least one of {', '.join(FIELDS)}")
    rows: dict[str, dict[str, str]] = {}
    for line, cells in lines:
        cells = dict(zip(names, cells.values(), strict=True))
        row = {k: name_of(cells[k], f"{table}, line {line}: {k}") for k in FIELDS if k in cells}
        path = path_of(cells["path"])
        if not path:
            raise DataError(f"{table}, line {line}: there is no path; name the picture, or remove the line")
        if row.get("time") and parse_time(row["time"]) is None:
            raise DataError(
                f"{table}, line {line}: the time {row['time']!r} of {path} is not understood; write it as "
                "2026-01-31T14:05:09"
            )
        if rows.setdefault(path, row) != row:
            raise DataError(f"{table}, line {line}: {path} is in it twice with other values; remove one line")
    return rows
