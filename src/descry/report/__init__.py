"""The report of an inquiry: every round with its query, its first leads and what changed; the findings, and the
runners-up.

The same inquiry gives the same bytes, but for the one block that says when it was written. A report is about leads: it
always shows the query, the ranks and the runners-up beside a finding, because a finding alone looks like an answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .. import __version__
from ..errors import UsageError, nearest
from ..gallery import Gallery
from ..gallery.account import Audit, add_line, commitment, ref_of
from ..interact.store import InquiryStore
from . import page, table
from .build import NOTICE, Crops, gather

__all__ = ["FORMATS", "MEDIA", "NOTICE", "Exported", "export", "preview"]

FORMATS = ("html", "json", "csv")
MEDIA = {"html": "text/html; charset=utf-8", "json": "application/json", "csv": "text/csv; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Exported:
    """A report as a file. head: of the account after this export ("number:hash"): write it down elsewhere; with it, a
    cut or rewritten account shows (`descry audit verify --head`)."""

    data: bytes
    media_type: str
    head: str


def preview(
    gallery: Gallery, store: InquiryStore, name: str, blur_others: bool = False, redact_paths: bool = False
) -> dict[str, Any]:
    """The report as plain values, to be shown on the spot; the account does not mention it. Raises UsageError for an
    unknown inquiry."""
    made = gather(gallery, store, name, blur_others, redact_paths)
    moment, head = datetime.now(UTC), Audit(gallery.store.database).head()
    written = {  # the one block in which two reports of the same inquiry differ
        "utc": moment.isoformat(timespec="seconds"),
        "local": moment.astimezone().isoformat(timespec="seconds"),
        "descry": __version__,
        "audit_lines": int(head.partition(":")[0]),
        "audit_head": head,
    }
    return made | {"written": written}


def export(
    gallery: Gallery,
    store: InquiryStore,
    name: str,
    format: str,  # noqa: A002 - what people call it
    blur_others: bool = False,
    redact_paths: bool = False,
) -> Exported:
    """The report as a file that needs nothing else, and a line in the account that it was exported.

    format: one of FORMATS. blur_others: in pictures, everyone not in a finding is blurred beyond recovery.
    redact_paths: items are named by number, and paths are left out of notes. Raises UsageError for an unknown inquiry
    or format, DescryError when the account cannot be written: then there is no report either.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no report as {format!r}; {nearest(format, FORMATS)}")
    made = preview(gallery, store, name, blur_others, redact_paths)
    if format == "html":
        data = page.to_html(made, Crops(gallery), store)
    elif format == "csv":
        data = table.to_csv(made)
    else:
        data = (json.dumps(made, indent=1, ensure_ascii=True) + "\n").encode()
    key = store.key(name)
    options = {"blur_others": blur_others, "redact_paths": redact_paths}
    file = commitment(key, "report", data)
    facts = {"of": "inquiry", "inquiry": ref_of(key), "format": format, **options, "file": file}
    line = add_line(gallery.store.database, "export", **facts)
    return Exported(data, MEDIA[format], line.head)
