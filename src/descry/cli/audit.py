"""descry audit verify, export; and the lines of a search that belongs to no inquiry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import IndexCorrupt, UsageError
from ..escape import counted
from ..safe_files import address_of
from .machine import GalleryStore, Json, OutFile, emit
from .report import refuse_address, write


def verify(gallery: tyro.conf.Positional[str], /, head: str = "", json_: Json = False) -> int:
    """Check whether the account of a gallery was changed. Exit status 5 if it was.

    Args:
        gallery: a folder made by descry index, the address of a PostgreSQL store, or a file that descry audit export
            wrote.
        head: the head that an earlier export showed; only with it can a rewritten account be noticed.
    """
    verdict = _account(gallery).verify(head)
    if Path(gallery).is_file() and not verdict.lines and not verdict.faults:
        raise UsageError(f"{gallery} holds no line of an account; name a gallery, or a file of descry audit export")
    emit(json_, verdict.to_json(), *(f"line {fault.line} {fault.what}" for fault in verdict.faults))
    if json_:
        return 0 if verdict.ok else IndexCorrupt.exit_status
    if verdict.torn:
        print("the file ends in the middle of a line, which was not read; export the account again", file=sys.stderr)
    if verdict.ok:
        print(
            f"{counted(verdict.lines, 'line')}, each as it was written",
            f"head of the account: {verdict.head}",
            sep="\n",
        )
        if not head:
            print("whether all of it was written anew, only the --head of an export can tell", file=sys.stderr)
    return 0 if verdict.ok else IndexCorrupt.exit_status


def export(
    gallery: GalleryStore,
    /,
    out: Annotated[OutFile, tyro.conf.arg(aliases=["-o"])],
    json_: Json = False,
) -> int:
    """Copy the account of a gallery to a file and show its head. Keep the head somewhere else.

    Args:
        out: the file to write, JSON lines.
    """
    from ..gallery.gallery import outside

    account = _account(gallery)
    if account.exported:
        raise UsageError(f"{gallery} is an exported account already; name a gallery")
    outside(out, gallery)
    data, head = account.export()
    write(out, data)
    lines = data.count(b"\n")
    value = {"out": str(out), "lines": lines, "audit_head": head}
    return emit(json_, value, f"{out}: {counted(lines, 'line')}", f"head of the account: {head}")


def _account(gallery: str) -> Any:
    from ..gallery.account import Audit

    refuse_address(gallery)
    place = Path(gallery)
    if not address_of(gallery) and not place.is_file() and not (place / "gallery.json").is_file():
        raise UsageError(f"{gallery} is neither a gallery nor an exported account; name a folder made by descry index")
    return Audit(gallery)
