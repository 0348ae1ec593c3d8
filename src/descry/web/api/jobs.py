"""Indexing a folder: choose it, see how it is read, start, watch, pause, go on, and read what was left out.

Camera, time and track come from where a mapping says. A path pattern such as `{camera}/{time}_*` is read from the end
of the path: each placeholder takes everything up to the character that follows it, so that it is checked in one pass,
however hostile a pattern or a name is.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse

from ...errors import DataError, ImageRejected, UsageError, nearest
from ...gallery.contract import mtime_of
from ...gallery.local import LocalStore
from ...gallery.sources import FIELDS, Sources
from ...images import SUFFIXES, header
from ...listing import files_under
from ..desk import Desk
from ..folders import Folders, Place, shown
from ..indexing import ENDED
from ..problems import Refusal
from ..shapes import (
    FoldersOut,
    JobOut,
    Jobs,
    JobState,
    Mapping,
    NewJob,
    Preview,
    PreviewOut,
    PreviewRow,
    Skipped,
    SkippedRow,
)
from . import REFUSALS, Cursor, GalleryId, TheDesk, queued
from .items import checked

router = APIRouter(prefix="/api/v1", tags=["indexing"], responses=REFUSALS)
JobId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="an index job's id")]
LOOK, BEAT, LOADING = 0.2, 15.0, 300.0
TIME = r"\d{4}[-_:]?\d\d[-_:]?\d\d(?:[T _-]?\d\d[-_:.]?\d\d(?:[-_:.]?\d\d)?)?"
LOOKED_AT, ROWS = 2000, 12
TABLE_BYTES = 64_000_000


def _indexable(desk: Desk, gallery: str) -> None:
    checked(desk, gallery)
    if not isinstance(desk.gallery.store, LocalStore):
        raise Refusal(409, "remote", "this gallery lies on another machine; index into a folder, then descry migrate")


@router.get("/galleries/{gallery}/folders")
@queued("lookups")
def folders(
    desk: TheDesk, gallery: GalleryId, within: Annotated[str, Query(pattern="^([0-9a-f]{24})?$")] = ""
) -> FoldersOut:
    """Folders that may be indexed: those the server was started with, or what lies within one that was listed."""
    checked(desk, gallery)
    return desk.folders.listed(within)


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
    table = folders.place(mapping.table, os.path.isfile)
    if os.path.getsize(table.path) > TABLE_BYTES:
        raise Refusal(413, "too_many_bytes", f"the table is too large; at most {TABLE_BYTES:,} bytes are read")
    try:
        return Sources(**kinds, table=table.path)
    except DataError as error:
        raise Refusal(422, "table", str(error).replace(table.path, table.name)) from None


def _previewed(place: Place, sources: Sources) -> PreviewOut:
    """What is read for a dozen of the first files, spread evenly, and how many pictures were among those looked at."""
    found = [e for e in islice(files_under(place.path), LOOKED_AT) if e.name.lower().endswith(SUFFIXES)]
    count = min(ROWS, len(found))
    rows = []
    for entry in (found[i * len(found) // count] for i in range(count)):
        try:
            mtime = mtime_of(entry.stat())
        except OSError:
            continue
        said = None
        with suppress(ImageRejected):  # indexing says what is wrong with it
            said = header(entry.path) if sources.needs_exif else None
        fields = sources.fields(entry.path, mtime, said)
        when = fields["time"].isoformat() if fields["time"] else ""
        below = shown(os.path.relpath(entry.path, place.path))
        rows.append(PreviewRow(path=below, camera=fields["camera"], time=when, track=fields["track"]))
    return PreviewOut(rows=rows, looked_at=len(found))


@router.post("/galleries/{gallery}/index-preview")
@queued("lookups")
def look(desk: TheDesk, gallery: GalleryId, body: Preview) -> PreviewOut:
    """Camera, time and track of a dozen files, as the mapping reads them, or what is wrong with it. Writes nothing."""
    _indexable(desk, gallery)
    place = desk.folders.place(body.folder)
    try:
        return _previewed(place, sources_of(body.mapping, desk.folders))
    except (UsageError, Refusal) as error:
        if isinstance(error, Refusal) and error.status == 404:
            raise
        return PreviewOut(rows=[], looked_at=0, problem=str(error))


@router.post("/galleries/{gallery}/index-jobs", status_code=202)
async def start(
    desk: TheDesk,
    gallery: GalleryId,
    body: NewJob,
    response: Response,
    idempotency_key: Annotated[str, Header(max_length=100)] = "",
) -> JobOut:
    """Index a folder, or count what would be done. One job at a time; repeating it brings the gallery up to date."""
    _indexable(desk, gallery)
    place, sources = await desk.lookups.do(
        lambda: (desk.folders.place(body.folder), sources_of(body.mapping, desk.folders))
    )
    model = None if body.dry else await desk.do(lambda: desk.gallery.model, patience=LOADING)
    job = desk.indexing.start(place, sources, body.dry, idempotency_key, model)
    response.headers["Location"] = f"/api/v1/index-jobs/{job.id}"
    return job


@router.get("/index-jobs")
async def jobs(desk: TheDesk) -> Jobs:
    """The jobs of this server, newest first."""
    return Jobs(jobs=[desk.indexing.told(job) for job in reversed(list(desk.indexing.jobs))])


@router.get("/index-jobs/{job}")
async def one(desk: TheDesk, job: JobId) -> JobOut:
    """How a job stands."""
    return desk.indexing.told(job)


@router.put("/index-jobs/{job}/state")
async def wish(desk: TheDesk, job: JobId, body: JobState) -> JobOut:
    """Pause, or go on. What was indexed stays, and can be searched meanwhile."""
    return desk.indexing.wish(job, body.state)


@router.delete("/index-jobs/{job}")
async def stop(desk: TheDesk, job: JobId) -> JobOut:
    """Stop after the batch at hand. What was indexed stays."""
    return desk.indexing.wish(job, "stopped")


@router.get(
    "/index-jobs/{job}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "an event `job` (JobOut) for each change"}},
)
async def events(desk: TheDesk, job: JobId) -> StreamingResponse:
    """How a job stands, at once and whenever that changes, until its end."""
    desk.indexing.told(job)
    return StreamingResponse(_stream(desk, job), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _stream(desk: Desk, job: str) -> AsyncIterator[str]:
    said, spoke = -1, time.monotonic()
    while not desk.ending():
        now = desk.indexing.told(job)
        if now.version != said:
            said, spoke = now.version, time.monotonic()
            yield f"id: {now.version}\nevent: job\ndata: {now.model_dump_json()}\n\n"
        elif time.monotonic() - spoke > BEAT:
            spoke = time.monotonic()
            yield ": still here\n\n"
        if now.state in ENDED:
            return
        await asyncio.sleep(LOOK)


@router.get("/galleries/{gallery}/skipped")
@queued("lookups")
def skipped(
    desk: TheDesk, gallery: GalleryId, cursor: Cursor = "", limit: Annotated[int, Query(ge=1, le=500)] = 200
) -> Skipped:
    """Files of indexed folders that could not be read, with the reason, by path."""
    _indexable(desk, gallery)
    start = int(cursor or 0)
    rows = [(path, *said.partition(": ")) for path, said in desk.gallery.skipped()]
    reasons = Counter(reason for _, reason, _, _ in rows)
    page = [
        SkippedRow(path=desk.folders.within(path), reason=reason, detail=detail)
        for path, reason, _, detail in rows[start : start + limit]
    ]
    following = str(start + limit) if start + limit < len(rows) else ""
    return Skipped(total=len(rows), reasons=dict(sorted(reasons.items())), rows=page, cursor=following)
