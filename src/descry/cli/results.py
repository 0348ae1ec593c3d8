"""How a search is shown: lines or JSON, and copied pictures."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from ..escape import counted
from ..escape import path_text as shown

__all__ = ["copy_pictures", "shown", "tell"]


def tell(found: Any, as_json: bool, absence: str = "") -> None:
    """Print the leads, or JSON; what is not data goes to stderr. absence: what `Gallery.notice` says."""
    if as_json:
        print(json.dumps(found.to_json() | {"absence": absence}, indent=1))
        return
    for lead in found:
        print(lead)
    if not found:
        options = {"cameras": "camera"}
        by = [
            f"--{options.get(name, name)} excluded {'all' if n == found.total else n}"
            for name, n in found.removed.items()
        ]
        why = f": {', '.join(by)} of {found.total} items" if by else f" among {found.total} items"
        print(f"no results{why}", file=sys.stderr)
    else:
        absent = sum(not Path(lead.path).is_file() for lead in found)
        if absent:
            print(
                f"note: {counted(absent, 'file')} of these leads cannot be found any more; if the folder was moved, "
                "descry gallery relocate GALLERY OLD NEW follows it",
                file=sys.stderr,
            )
        said = f"{absence[:1].upper()}{absence[1:]}. " * bool(absence)
        print(f"{len(found)} leads of {found.considered} items. {said}Leads are not identifications.", file=sys.stderr)


def copy_pictures(folder: Path, found: Any) -> None:
    """Copy the pictures shown, named by rank and id."""
    folder.mkdir(parents=True, exist_ok=True)
    copied = 0
    for rank, item in enumerate(found.items, 1):
        source = Path(item.path)
        if source.is_file():
            copied += 1
            shutil.copyfile(source, folder / f"{rank:04d}_{item.id}{source.suffix.lower()}")
        else:
            print(f"rank {rank}: the file {shown(item.path)} is not there any more", file=sys.stderr)
    print(f"copied {counted(copied, 'picture')} to {folder}", file=sys.stderr)
