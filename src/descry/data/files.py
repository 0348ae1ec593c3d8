"""Are the pictures of a table there, and can they be decoded to their end?"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias, TypeVar

from ..errors import DataError, DataMissing
from ..images import SUFFIXES, decodes
from .table import Table

CHUNK = 128
T = TypeVar("T")
Named: TypeAlias = tuple[str, "re.Match[str]"]
"""Path below the root of a data set, and what the name says."""


def root_of(name: str, root: str | Path, usual: Sequence[str] = (), holds: str = ".") -> Path:
    """The folder of a data set: the one given, or, unless that holds `holds`, the one of a usual name inside it.
    DataMissing where there is none."""
    root = Path(root)
    if not root.is_dir():
        raise DataMissing(f"{name}: there is no folder {root}")
    return next((root / u for u in usual if (root / u).is_dir() and not (root / holds).exists()), root)


def named_pictures(
    name: str, root: Path, folder: str, form: re.Pattern[str], like: str, notes: list[str]
) -> list[Named]:
    """The pictures of a folder with what the form of their names says. DataError for a folder that is not there or
    holds none, and for a name of another form. like: the end of the sentence that says so. notes: as in `pictures_in`.
    """
    if not (root / folder).is_dir():
        raise DataError(f"{name}: the folder {folder} is missing in {root}")
    out = []
    for file in pictures_in(root / folder, notes):
        found = form.match(file)
        if found is None:
            raise DataError(f"{name}: {folder}/{file} {like}")
        out.append((f"{folder}/{file}", found))
    if not out:
        raise DataError(f"{name}: the folder {folder} holds no pictures")
    return out


def pictures_in(folder: Path, notes: list[str]) -> list[str]:
    """The names of the picture files of a folder, in order; notes takes a sentence on the files that are none."""
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    held = [name for name in names if name.lower().endswith(SUFFIXES)]
    if left := [name for name in names if not name.lower().endswith(SUFFIXES)]:
        others = f", nor are {len(left) - 1} others" if left[1:] else ""
        notes.append(f"{folder.name}: {left[0]} is not a picture and was left out{others}")
    return held


def _pictures(table: Table) -> list[str]:
    return list(dict.fromkeys(row.path or row.sketch for row in table.rows))


def missing_files(table: Table) -> list[str]:
    """Folders that are missing (with how many pictures and the first three), then single pictures that are."""
    folders: dict[str, list[str]] = defaultdict(list)
    files: list[str] = []
    there: dict[Path, bool] = {}
    names: dict[Path, set[str]] = {}
    for path in _pictures(table):
        full = table.root / path
        gone = _highest_missing(full.parent, table.root, there)
        if gone is not None:
            folders[gone.relative_to(table.root).as_posix()].append(path)
            continue
        if full.parent not in names:
            names[full.parent] = {entry.name for entry in full.parent.iterdir()}
        if full.name not in names[full.parent]:
            files.append(path)
    out = [
        f"the folder {f} is missing: {len(p):,} pictures, first {', '.join(p[:3])}" for f, p in sorted(folders.items())
    ]
    if files:
        out.append(f"{len(files):,} pictures are missing, first {', '.join(files[:3])}")
    return out


def _highest_missing(folder: Path, root: Path, there: dict[Path, bool]) -> Path | None:
    chain = [folder, *folder.parents]
    gone = None
    for one in chain[: chain.index(root)]:
        if one not in there:
            there[one] = one.is_dir()
        if not there[one]:
            gone = one
    return gone


def unreadable(table: Table, threads: int = 4, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Pictures that cannot be decoded to the end, grouped by reason. Decoding releases the lock: threads share it."""
    paths = _pictures(table)
    bad: dict[str, list[str]] = defaultdict(list)
    done = 0
    for chunk, reasons in in_chunks(lambda path: decodes(table.root / path), paths, threads):
        for path, reason in zip(chunk, reasons, strict=True):
            if reason:
                bad[reason].append(path)
        done += len(chunk)
        if progress:
            progress(done, len(paths))
    return [
        f"{len(p):,} pictures are unreadable ({reason}), first {', '.join(p[:3])}" for reason, p in sorted(bad.items())
    ]


def in_chunks(
    work: Callable[[str], T], paths: list[str], threads: int, chunk: int = CHUNK
) -> Iterator[tuple[list[str], list[T]]]:
    """Work on pictures by threads, many at a time: handing over single ones would cost as much as decoding them."""
    chunks = [paths[i : i + chunk] for i in range(0, len(paths), chunk)]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        yield from zip(chunks, pool.map(lambda some: [work(p) for p in some], chunks), strict=True)
