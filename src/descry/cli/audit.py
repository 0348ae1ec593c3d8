"""descry audit verify, export; and the lines of a search that belongs to no inquiry."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import IndexCorrupt, UsageError
from ..safe_files import address_of
from .machine import Json
from .report import check_place, refuse_address, write


def verify(gallery: tyro.conf.Positional[Path], /, head: str = "", json_: Json = False) -> int:
    """Look whether the account of a gallery was changed. Exit status 5 when it is not.

    Args:
        gallery: a folder made by descry index, or a file that descry audit export wrote.
        head: one that an export showed; an account written anew is found only with it.
        json_: print JSON.
    """
    verdict = _account(gallery).verify(head)
    if gallery.is_file() and not verdict.lines and not verdict.faults:
        raise UsageError(f"{gallery} holds no line of an account; name a gallery, or a file of descry audit export")
    if json_:
        print(json.dumps(verdict.to_json(), indent=1))
        return 0 if verdict.ok else IndexCorrupt.exit_status
    for fault in verdict.faults:
        print(f"line {fault.line} {fault.what}")
    if verdict.torn:
        print("the end of an interrupted write follows the last line; the next writer removes it", file=sys.stderr)
    if verdict.ok:
        print(f"{verdict.lines} lines, each as it was written\nhead of the account: {verdict.head}")
        if not head:
            print("whether all of it was written anew, only the --head of an export can tell", file=sys.stderr)
    return 0 if verdict.ok else IndexCorrupt.exit_status


def export(
    gallery: tyro.conf.Positional[Path],
    /,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    json_: Json = False,
) -> int:
    """Copy the account of a gallery to a file and show its head, which is to be kept apart from it.

    Args:
        gallery: a folder made by descry index.
        out: the file to write, JSON lines.
        json_: print JSON.
    """
    account = _account(gallery)
    if account.exported:
        raise UsageError(f"{gallery} is an exported account already; name a gallery")
    check_place(out, gallery)
    data, head = account.export()
    write(out, data)
    lines = data.count(b"\n")
    if json_:
        print(json.dumps({"out": str(out), "lines": lines, "audit_head": head}, indent=1))
    else:
        print(f"{out}: {lines} lines\nhead of the account: {head}")
    return 0


def _account(gallery: Path) -> Any:
    from ..audit import Audit

    refuse_address(gallery)
    if not address_of(gallery) and not gallery.is_file() and not (gallery / "gallery.json").is_file():
        raise UsageError(f"{gallery} is neither a gallery nor an exported account; name a folder made by descry index")
    return Audit(gallery)
