"""Where camera, time and track come from, as the page says it, and what comes of that for a few files.

A path pattern such as `{camera}/{time}_*` is read from the end of the path: each placeholder takes everything up to the
character that follows it, so that it is checked in one pass, however hostile a pattern or a name is.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import islice

from ..errors import DataError, ImageRejected, UsageError, nearest
from ..gallery.contract import mtime_of
from ..gallery.sources import FIELDS, Sources
from ..images import SUFFIXES, Header, header
from ..listing import files_under
from .folders import Folders, Place
from .problems import Refusal
from .shapes import Mapping, PreviewRow

TIME = r"\d{4}[-_:]?\d\d[-_:]?\d\d(?:[T _-]?\d\d[-_:.]?\d\d(?:[-_:.]?\d\d)?)?"
LOOKED_AT, ROWS = 2000, 12
TABLE_BYTES = 64_000_000


def expression(pattern: str) -> str:
    """A path pattern as a regular expression with groups of the fields' names. Raises UsageError."""
    pieces = [p for p in re.split(r"(\{[^{}]*\}|\*)", pattern) if p]
    free = [p == "*" or (p.startswith("{") and p.endswith("}")) for p in pieces]
    fields = [p[1:-1] for p, open_ in zip(pieces, free, strict=True) if open_ and p != "*"]
    for name in fields:
        if name not in FIELDS:
            raise UsageError(f"the pattern has {{{name}}}; {nearest(name, FIELDS)}")
    if not fields or len(set(fields)) < len(fields):
        raise UsageError("a pattern needs {camera}, {time} or {track}, each at most once, such as {camera}/{time}_*")
    out = ""
    for piece, open_, after, next_open in zip(pieces, free, [*pieces[1:], ""], [*free[1:], False], strict=True):
        if open_ and next_open and piece != "{time}":
            raise UsageError(f"{piece} and {after} touch in the pattern; put between them what is there in the path")
        if not open_:
            if "{" in piece or "}" in piece:
                raise UsageError("the pattern has a brace without its other half; write placeholders as {camera}")
            out += re.escape(piece.replace("/", os.sep))
        elif piece == "{time}":
            out += f"(?P<time>{TIME})"
        else:
            end = re.escape(after[:1]) if after[:1] not in ("/", "") else ""
            kept = f"[^{re.escape(os.sep)}{end}]"
            out += f"{kept}*+" if piece == "*" else f"(?P<{piece[1:-1]}>{kept}++)"
    return f"(?:^|{re.escape(os.sep)}){out}$"


def sources_of(mapping: Mapping, folders: Folders) -> Sources:
    """The sources a mapping stands for. Raises UsageError for what is not allowed, Refusal for a table that is not
    there or not one."""
    kinds = {name: getattr(mapping, name) for name in FIELDS}
    if "pattern" in kinds.values():
        pattern = expression(mapping.pattern)
        for name, kind in kinds.items():
            if kind == "pattern" and f"{{{name}}}" not in mapping.pattern:
                raise UsageError(f"the pattern has no {{{name}}}; add it, or take the {name} from elsewhere")
        kinds = {name: pattern if kind == "pattern" else kind for name, kind in kinds.items()}
    if "csv" not in kinds.values():
        return Sources(**kinds)
    if not mapping.table:
        raise UsageError("no table was chosen; choose a CSV file with a column path")
    table = folders.table(mapping.table)
    if os.path.getsize(table.path) > TABLE_BYTES:
        raise Refusal(413, "too_many_bytes", f"the table is too large; at most {TABLE_BYTES:,} bytes are read")
    try:
        return Sources(**kinds, table=table.path)
    except DataError as error:
        raise Refusal(422, "table", str(error).replace(table.path, table.name)) from None


def preview(place: Place, sources: Sources) -> tuple[list[PreviewRow], int]:
    """What is read for a dozen of the first files, spread evenly, and how many pictures were among those looked at."""
    found = [e for e in islice(files_under(place.path), LOOKED_AT) if e.name.lower().endswith(SUFFIXES)]
    count = min(ROWS, len(found))
    rows = []
    for entry in (found[i * len(found) // count] for i in range(count)):
        said = _header(entry.path) if sources.needs_exif else None
        try:
            mtime = mtime_of(entry.stat())
        except OSError:
            continue
        fields = sources.fields(entry.path, mtime, said)
        when = fields["time"].isoformat() if fields["time"] else ""
        below = os.fsencode(os.path.relpath(entry.path, place.path)).decode("utf-8", "backslashreplace")
        rows.append(PreviewRow(path=below, camera=fields["camera"], time=when, track=fields["track"]))
    return rows, len(found)


def _header(path: str) -> Header | None:
    with suppress(ImageRejected):  # indexing says what is wrong with it
        return header(path)
    return None
