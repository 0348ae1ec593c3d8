"""Camera, time and track of a crop, from its path, its EXIF data or a table."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError, nearest
from ..escape import path_text
from ..times import parse_time

FIELDS = ("camera", "time", "track")
KINDS = {"camera": ("dirname", "exif", "csv"), "time": ("exif", "mtime", "csv"), "track": ("dirname", "csv")}
EXIF_TIME, EXIF_MODEL, EXIF_SUB = 36867, 272, 34665


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
        object.__setattr__(self, "patterns", patterns)
        object.__setattr__(self, "rows", read_table(self.table) if self.table else {})

    @property
    def named(self) -> bool:
        """Whether any source was named."""
        return bool(self.camera or self.time or self.track or self.table)

    @property
    def needs_exif(self) -> bool:
        """Whether the picture's own header is asked."""
        return "exif" in (self.camera, self.time)

    def fields(self, path: str, mtime: int, exif: Mapping[int, Any] | None = None) -> dict[str, Any]:
        """camera, track ("" for unknown) and time (None for unknown) of a file."""
        row = self._row(path)
        out: dict[str, Any] = {}
        for name in FIELDS:
            text = row.get(name, "") or self._from(name, path, mtime, exif or {})
            out[name] = parse_time(text) if name == "time" else text.strip()
        return out

    def unmatched(self, paths: Sequence[str]) -> str:
        """One sentence for each regular expression that fits none of the paths; "" when there are none."""
        said = [
            f"--{name}-from {pattern.pattern!r} fits none of the {len(paths)} paths, such as {path_text(paths[0])}"
            for name, pattern in self.patterns.items()
            if paths and not any(map(pattern.search, paths))
        ]
        return "; ".join(said)

    def _from(self, name: str, path: str, mtime: int, exif: Mapping[int, Any]) -> str:
        kind = getattr(self, name)
        if name in self.patterns:
            found = self.patterns[name].search(path)
            if not found:
                return ""
            return (found.group(name) if name in found.re.groupindex else found.group(1)) or ""
        if kind == "dirname":
            return os.path.basename(os.path.dirname(path))
        if kind == "exif":
            return str(exif.get(EXIF_MODEL if name == "camera" else EXIF_TIME, "")).strip("\0 ")
        if kind == "mtime":
            return datetime.fromtimestamp(mtime // 1_000_000_000).isoformat()
        return ""

    def _row(self, path: str) -> Mapping[str, str]:
        if not self.rows:
            return {}
        parts = Path(path).parts
        for i in range(len(parts)):
            found = self.rows.get("/".join(parts[i:]) if i else Path(path).as_posix())
            if found:
                return found
        return {}


def _pattern(name: str, kind: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(kind)
    except re.error as error:
        raise UsageError(
            f"{name}: {kind!r} is no regular expression ({error}); {nearest(kind, KINDS[name])}, or an "
            f"expression with a group"
        ) from None
    if not pattern.groups:
        raise UsageError(
            f"{name}: {kind!r} has no group; {nearest(kind, KINDS[name])}, or an expression such as 'cam(\\d+)'"
        )
    return pattern


def read_table(table: str) -> dict[str, dict[str, str]]:
    """path → row of a CSV file; DataError when it has no column `path` or none of the fields."""
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [n.strip().lower() for n in reader.fieldnames or []]
            if "path" not in names or not set(names) & set(FIELDS):
                raise DataError(
                    f"{table} has the columns {names}; needed are path and at least one of {', '.join(FIELDS)}"
                )
            reader.fieldnames = names
            rows = {
                Path(row["path"]).as_posix(): {k: row[k] or "" for k in FIELDS if k in row}
                for row in reader
                if row["path"]
            }
    except OSError as error:
        raise DataError(f"{table} cannot be read: {error.strerror}; name a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} is no CSV file in UTF-8 ({error}); save it again as such") from None
    for path, row in rows.items():
        if row.get("time") and parse_time(row["time"]) is None:
            raise DataError(
                f"{table}: the time {row['time']!r} of {path} is not understood; write it as 2026-01-31T14:05:09"
            )
    return rows


def exif_of(image: Any) -> dict[int, Any]:
    """The two EXIF values that are used, of an opened PIL image; empty when there are none or they are damaged."""
    try:
        exif = image.getexif()
        sub = exif.get_ifd(EXIF_SUB)
        found = {EXIF_MODEL: exif.get(EXIF_MODEL), EXIF_TIME: sub.get(EXIF_TIME) or exif.get(306)}
    except Exception:  # noqa: BLE001 - damaged EXIF raises nearly anything, and a crop without it is still a crop
        return {}
    return {k: v for k, v in found.items() if v}
