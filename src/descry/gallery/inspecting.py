"""What is in a gallery's folder, told without trusting it: for one that came from somebody else.

Nothing is written, followed or loaded. Files are judged by `lstat`; only regular files of this user are read, SQLite
runs read-only and never opens the folder's log, only tables that are word for word ours are counted, and every loop
has an end that the folder cannot choose.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import UsageError
from ..escape import counted, line, path_text
from ..safe_files import allowed, foreign, read_own, write_private
from .database import NAME, SCHEMA, foreign_schema
from .local import CONFIG, FORMAT, OWN

FILES, FOREIGN, ROOTS = 200, 20, 10
"""The most files, foreign parts of the schema, and folders of pictures that are told."""
CONFIG_BYTES, LOG_BYTES, PATH_BYTES = 1 << 20, 64 << 20, 64 << 20
PATHS, LONGEST, DEPTH = 50_000, 4096, 32
MOST = 1_000_000
"""Rows are counted up to it; a larger count is None."""
STEPS, ALL_STEPS = 10_000, 20_000_000
"""Instructions of SQLite: after so many it asks whether to go on, and after so many it does not."""
COUNTED = {
    "items": "items",
    "skipped files": "skipped",
    "account lines": "account",
    "inquiries": "inquiries",
    "rounds": "rounds",
    "findings": "findings",
    "searchers' pictures": "pictures",
}
CONVERT = " (descry gallery convert makes one of the other)"
OLD = ("items.db*", "vectors-*.f16")


def inspect(folder: str | Path) -> dict[str, Any]:
    """What a folder holds, as plain values; what speaks against it is in "warnings". UsageError when it is no folder.

    Every text in it can be printed on one line, whatever the folder says.
    """
    folder = Path(folder)
    try:
        about, top = folder.lstat(), folder.stat()
        with os.scandir(folder) as entries:
            found = list(islice(entries, FILES + 1))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{_line(folder)} cannot be inspected: {why}; name the folder of a gallery") from None
    warnings: list[str] = []
    if stat.S_ISLNK(about.st_mode):
        warnings.append(f"the folder itself is a symbolic link to {_line(os.readlink(folder))}")
    _private("the folder", top, warnings)
    files = [_file(entry, warnings) for entry in sorted(found[:FILES], key=lambda e: os.fsencode(e.name))]
    if len(found) > FILES:
        warnings.append(f"it holds more than {FILES} files; the others are not shown")
    facts: dict[str, Any] = {
        "folder": _line(folder),
        "mode": f"{stat.S_IMODE(top.st_mode):04o}",
        "owner": _owner(top),
        "files": files,
    }
    usable = {file["name"] for file in files if not file["refused"]}
    facts |= _config(folder, usable, warnings) | {"counts": {}, "foreign": [], "pictures": []}
    if NAME in usable:
        try:
            with _opened(folder, warnings) as database:
                _tables(database, facts, warnings)
        except (sqlite3.Error, OSError, UnicodeDecodeError, OverflowError, MemoryError) as error:
            warnings.append(f"{NAME} cannot be read: {_line(error)}")
    elif facts["format"] == FORMAT:
        warnings.append(f"{NAME} was not read: there is no regular file of yours with that name")
    return facts | {"warnings": warnings}


# ---------------------------------------------------------------------- files


def _file(entry: os.DirEntry[str], warnings: list[str]) -> dict[str, Any]:
    about, name = entry.stat(follow_symlinks=False), _line(entry.name)
    refused = foreign(about)
    ours = any(fnmatchcase(entry.name, pattern) for pattern in OWN)
    row = {"name": name, "bytes": about.st_size, "mode": f"{stat.S_IMODE(about.st_mode):04o}", "owner": _owner(about)}
    row |= {"ours": ours, "refused": refused, "to": ""}
    if stat.S_ISLNK(about.st_mode):
        row["to"] = _line(os.readlink(entry.path))
        warnings.append(f"{name} is a symbolic link to {row['to']}")
    elif refused and not stat.S_ISDIR(about.st_mode):
        warnings.append(f"{name} is {refused}")
    elif about.st_nlink > 1 and stat.S_ISREG(about.st_mode):
        warnings.append(f"{name} has {about.st_nlink} names: what is written to it shows elsewhere")
    if entry.name.endswith(".db-journal"):
        warnings.append(f"{name} could make SQLite change or delete files; descry leaves none")
    if not ours and not any(fnmatchcase(entry.name, pattern) for pattern in OLD):
        warnings.append(f"{name} is none of descry's files")
    if not stat.S_ISLNK(about.st_mode):
        _private(name, about, warnings)
    return row


def _private(name: str, about: os.stat_result, warnings: list[str]) -> None:
    if os.name != "nt" and stat.S_IMODE(about.st_mode) & 0o077:
        warnings.append(f"{name} is open to other users (mode {stat.S_IMODE(about.st_mode):04o})")


def _owner(about: os.stat_result) -> str:
    try:
        import pwd

        return _line(pwd.getpwuid(about.st_uid).pw_name)
    except (ImportError, KeyError):
        return str(about.st_uid)


def _line(text: object) -> str:
    """Text of others on one line, with an end."""
    said = line(path_text(str(text)))
    return said if len(said) <= 300 else f"{said[:300]}…"


# ---------------------------------------------------------------------- gallery.json


def _config(folder: Path, usable: set[str], warnings: list[str]) -> dict[str, Any]:
    """Format, date and model as gallery.json gives them."""
    facts: dict[str, Any] = {"format": None, "created": "", "descry": "", "model": None}
    if CONFIG not in usable:
        warnings.append(f"it is no gallery: there is no regular file {CONFIG} of yours")
        return facts
    try:
        raw = read_own(folder / CONFIG, CONFIG_BYTES + 1)
        body, _, seal = raw.decode("utf-8").rstrip("\n").rpartition("\ncrc32 ")
        config = json.loads(body)
        if len(raw) > CONFIG_BYTES or not isinstance(config, dict):
            raise ValueError("it is too long, or no object")
    except (OSError, ValueError, RecursionError) as error:
        warnings.append(f"{CONFIG} cannot be read: {_line(error)}")
        return facts
    if f"{zlib.crc32(body.encode()):08x}" != seal:
        warnings.append(f"{CONFIG} does not bear its checksum")
    facts |= {name: _line(config.get(name, "")) for name in ("created", "descry")}
    format_ = config.get("format")
    facts["format"] = format_ if type(format_) is int and abs(format_) < 1 << 53 else _line(format_)
    if facts["format"] != FORMAT:
        warnings.append(
            f"it has format {facts['format']}; this descry reads format {FORMAT}{CONVERT if format_ == 1 else ''}"
        )
    given = config.get("binding")
    binding: dict[str, Any] = given if isinstance(given, dict) else {}
    source = binding.get("source")
    if not isinstance(source, str):
        warnings.append(f"{CONFIG} names no model")
        return facts
    is_path = os.path.isabs(source) or source.startswith((".", "\\\\")) or _there(source)
    facts["model"] = {
        "source": _line(source),
        "fingerprint": _line(binding.get("fingerprint", "")),
        "dimension": _line(binding.get("dimension", "")),
        "path": is_path,
        "allowed": not is_path or _allowed(source),
    }
    if not facts["model"]["allowed"]:
        warnings.append(f"its model {_line(source)} lies in no folder that you named: it would not be loaded")
    return facts


def _there(path: str) -> bool:
    try:
        return len(path) <= LONGEST and os.path.lexists(path)
    except ValueError:
        return False


def _allowed(path: str) -> bool:
    """Whether a path lies below a folder that this user named. A share of another machine is not looked up."""
    return len(path) <= LONGEST and not path.startswith(("\\\\", "//")) and allowed(path)


# ---------------------------------------------------------------------- gallery.db


@contextmanager
def _opened(folder: Path, warnings: list[str]) -> Iterator[sqlite3.Connection]:
    """The database without its log, or, when both are small, a private copy of both: no file is made beside them."""
    log, path = folder / f"{NAME}-wal", folder / NAME
    pending = log.lstat().st_size if os.path.lexists(log) and not foreign(log.lstat()) else 0
    with ExitStack() as stack:
        place = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro&immutable=1"
        if pending and pending + path.lstat().st_size <= LOG_BYTES:
            copies = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="descry-")))
            for file in (path, log):
                write_private(copies / file.name, read_own(file, LOG_BYTES))
            place = f"file:{quote(os.fsencode(copies / NAME))}"
        elif pending:
            warnings.append(f"the last changes ({pending:,} bytes in {log.name}) were not read")
        with closing(sqlite3.connect(place, uri=True, isolation_level=None)) as database:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1 << 20)
            database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            left = iter(range(ALL_STEPS // STEPS))
            database.set_progress_handler(lambda: next(left, None) is None, STEPS)
            for pragma in ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "temp_store=MEMORY"):
                database.execute(f"PRAGMA {pragma}")
            yield database


def _tables(database: sqlite3.Connection, facts: dict[str, Any], warnings: list[str]) -> None:
    facts["foreign"] = [_line(what) for what in islice(foreign_schema(database, SCHEMA), FOREIGN + 1)]
    warnings += [f"{NAME} holds what descry did not make: {what}" for what in facts["foreign"][:FOREIGN]]
    with closing(sqlite3.connect(":memory:")) as own:
        own.executescript(SCHEMA)
        known = {sql for (sql,) in own.execute("SELECT sql FROM sqlite_master WHERE type = 'table'")}
    rows = islice(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"), 1000)
    ours = {name for name, sql in rows if sql in known}
    for title, table in COUNTED.items():
        if table not in ours:
            warnings.append(f"{NAME} has no table {table} like descry's")
            continue
        # in steps, between which it can be stopped; of more than `MOST` rows it says None
        count = database.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {MOST + 1})").fetchone()[0]
        facts["counts"][title] = int(count) if count <= MOST else None
    if "items" in ours:
        facts["pictures"] = _pictures(database, warnings)


def _pictures(database: sqlite3.Connection, warnings: list[str]) -> list[dict[str, Any]]:
    """The folders that the paths of items name: at most `ROOTS` whose pictures may be shown, and as many others."""
    folders: Counter[tuple[str, ...]] = Counter()
    read = seen = odd = 0
    # of a longer path not even the bytes are read
    paths = f"SELECT length(path), CASE WHEN length(path) <= {LONGEST} THEN path END FROM items LIMIT {PATHS + 1}"
    for size, path in database.execute(paths):
        read, seen = read + (size or 0), seen + 1
        if read > PATH_BYTES or seen > PATHS:
            warnings.append(f"only the paths of the first {seen - 1:,} items were read")
            break
        if isinstance(path, bytes) and path and b"\0" not in path:
            place = os.path.dirname(os.path.normpath(os.fsdecode(path))) or "."
            folders[tuple(place.rstrip(os.sep).split(os.sep, DEPTH)[:DEPTH])] += 1
            if len(folders) > 10 * FILES:
                folders = _joined(folders, FILES)
        else:
            odd += 1
    if odd:
        warnings.append(f"{counted(odd, 'item')} have no path that descry would write")
    folders = _joined(folders, FILES)
    yes = {parts for parts in folders if _allowed(_named(parts))}
    rows: list[dict[str, Any]] = [
        {"folder": _line(_named(parts)), "items": count, "allowed": answer}
        for answer in (True, False)
        for parts, count in _joined(Counter({p: n for p, n in folders.items() if (p in yes) is answer}), ROOTS).items()
    ]
    if outside := sum(row["items"] for row in rows if not row["allowed"]):
        warnings.append(f"the pictures of {counted(outside, 'item')} lie in no folder that you named: not shown")
    return rows


def _named(parts: tuple[str, ...]) -> str:
    return os.sep.join(parts) or os.sep


def _joined(folders: Counter[tuple[str, ...]], most: int) -> Counter[tuple[str, ...]]:
    """The deepest folders taken together in those above them, until there are few, and none lies in another."""
    while len(folders) > most and (deepest := max(map(len, folders))) > 1:
        above: Counter[tuple[str, ...]] = Counter()
        for parts, count in folders.items():
            above[parts[:-1] if len(parts) == deepest else parts] += count
        folders = above
    out: Counter[tuple[str, ...]] = Counter()
    for parts, count in folders.items():
        out[next((parts[:n] for n in range(1, len(parts)) if parts[:n] in folders), parts)] += count
    return Counter(dict(out.most_common(most)))
