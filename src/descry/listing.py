"""What lies in a folder: one way to list it, and one wording of what is not read in it and why."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from operator import attrgetter

OWN_FILES = ("gallery.json", "gallery.db")
"""What makes a folder a gallery, which is never read as a folder of pictures."""
TABLE = "crops.csv"
"""What `descry crop` writes beside its crops."""
LINKED = "a linked folder, which was not entered"


@dataclass(frozen=True, slots=True)
class Missed:
    """What a folder holds and is not read. folder: whether it stands for all that lies below it."""

    path: str
    reason: str
    detail: str
    folder: bool = False


def entries_of(folder: str, missed: list[Missed]) -> list[os.DirEntry[str]]:
    """The entries of one folder by name, hidden ones left out. missed: takes the folder when it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=attrgetter("name"))
    except OSError as error:
        missed.append(Missed(folder, "missing", f"the folder cannot be listed: {error.strerror}", True))
        return []


def files_under(
    folder: str,
    exclude: Sequence[str] = (),
    missed: list[Missed] | None = None,
    links: bool = False,
    _above: frozenset[tuple[int, int]] = frozenset(),
) -> Iterator[os.DirEntry[str]]:
    """Files below a folder in a fixed order; folders that are galleries, hidden entries and excluded globs left out.

    missed: takes what is no file or cannot be listed, with the reason. links: enter linked folders too, none of them
    inside itself.
    """
    left = missed if missed is not None else []
    before = len(left)
    listed = entries_of(folder, left)
    if len(left) > before:
        return
    try:
        stat = os.stat(folder)
    except OSError as error:
        left.append(Missed(folder, "missing", f"the folder cannot be listed: {error.strerror}", True))
        return
    above = _above | {(stat.st_dev, stat.st_ino)}
    if all(any(e.name == own for e in listed) for own in OWN_FILES):
        return
    if not listed and _above:
        left.append(
            Missed(
                folder,
                "empty",
                "the folder is empty; is its disk mounted? What was read in it is kept until it is removed too",
                True,
            )
        )
    for entry in listed:
        if exclude and any(fnmatch(entry.path, g) or fnmatch(entry.name, g) for g in exclude):
            continue
        try:
            linked, is_folder, is_file = entry.is_symlink(), entry.is_dir(), entry.is_file()
            inside_itself = False
            if linked and is_folder and links:
                target = entry.stat()
                inside_itself = (target.st_dev, target.st_ino) in above
        except OSError as error:
            left.append(Missed(entry.path, "missing", error.strerror or str(error), True))
            continue
        if is_folder and linked and (not links or inside_itself):
            left.append(Missed(entry.path, "link", "a link to a folder above it" if links else LINKED, True))
        elif is_folder:
            yield from files_under(entry.path, exclude, missed, links, above)
        elif is_file:
            yield entry
        elif linked:
            left.append(Missed(entry.path, "link", "a link to nothing that is there; is its disk mounted?", True))
        else:
            left.append(Missed(entry.path, "special", "no regular file", False))


def unnamed(path: str, what: str = "picture") -> Missed:
    """A file that its name says is none of those that are read. what: those."""
    return Missed(path, "format", f"no {what} by its name ({os.path.splitext(path)[1] or 'no suffix'})")
