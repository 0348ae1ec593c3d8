"""How a search is shown: lines or JSON, and copied pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..escape import counted, plain
from ..escape import path_text as shown
from ..safe_files import write_whole

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
        level = f" above the level: {found.left_out} left out" if found.left_out else ""
        why = f": {', '.join(by)} of {found.total} items" if by else f" among {found.total} items"
        print(f"no results{level}{why}", file=sys.stderr)
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
    """Copy the pictures shown, named by rank and id: those that are what was ranked, and nothing but pictures."""
    from ..errors import ImageRejected
    from ..gallery.reading import as_indexed
    from ..images import SUFFIXES, header

    folder.mkdir(parents=True, exist_ok=True)
    copied = 0
    for rank, item in enumerate(found.items, 1):
        suffix = Path(item.path).suffix.lower()
        try:
            data = as_indexed(item)
            with header(data):
                pass
        except ImageRejected as error:
            print(f"rank {rank} is not copied: {shown(plain(error))}", file=sys.stderr)
            continue
        write_whole(folder / f"{rank:04d}_{item.id}{suffix if suffix in SUFFIXES else '.jpg'}", data)
        copied += 1
    print(f"copied {counted(copied, 'picture')} to {folder}", file=sys.stderr)
