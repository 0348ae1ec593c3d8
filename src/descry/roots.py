"""Folders that this user named: the only ones from which pictures and models are opened because a gallery says so.

A gallery that was received names paths, and whoever made it chose them. So what was given to `descry index`, `descry
gallery relocate` or `descry gallery allow` is noted for this user, a file each in DESCRY_ROOTS (descry/roots in the
user's data folder unless set), and a path of a gallery is followed only into these folders.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from .safe_files import FOLDER, write_private

_allowed: set[str] = set()


def _folder() -> Path:
    named = os.environ.get("DESCRY_ROOTS")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(named) if named else Path(data) / "descry" / "roots"


def allow(folder: str | Path) -> None:
    """Let galleries name what lies below a folder. Where this cannot be noted, it holds for this process."""
    root = os.path.realpath(folder)
    _allowed.add(root)
    with suppress(OSError):
        _folder().mkdir(mode=FOLDER, parents=True, exist_ok=True)
        write_private(_folder() / _name(root), os.fsencode(root))


def allowed(path: str | Path) -> bool:
    """Whether a file or folder really lies, all links followed, in a folder that was named."""
    try:
        place = os.path.realpath(path)
    except (OSError, ValueError):
        return False
    noted = _folder()
    while True:
        if place in _allowed:
            return True
        if os.path.isfile(noted / _name(place)):
            _allowed.add(place)
            return True
        above = os.path.dirname(place)
        if above == place:
            return False
        place = above


def _name(root: str) -> str:
    return hashlib.sha256(os.fsencode(root)).hexdigest()
