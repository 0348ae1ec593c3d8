"""Indexing a folder: choose it, see how it is read, start, watch, pause, go on, and read what was left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse

from ...errors import UsageError
from ...gallery.local import LocalStore
from ..desk import Desk
from ..folders import Listing
from ..indexing import ENDED, Job
from ..mapping import preview, sources_of
from ..problems import Refusal
from ..shapes import (
    FoldersOut,
    JobOut,
    Jobs,
    JobState,
    NewJob,
    Preview,
    PreviewOut,
    Skipped,
    SkippedRow,
)
from . import REFUSALS, Cursor, GalleryId, TheDesk
from .galleries import checked

router = APIRouter(prefix="/api/v1", tags=["indexing"], responses=REFUSALS)
JobId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="an index job's id")]
LOOK, BEAT, LOADING = 0.2, 15.0, 300.0


def _indexable(desk: Desk, gallery: str) -> None:
    checked(desk, gallery)
    if not isinstance(desk.gallery.store, LocalStore):
        raise Refusal(409, "remote", "this gallery lies on another machine; index into a folder, then descry migrate")


@router.get("/galleries/{gallery}/folders", response_model=FoldersOut)
async def folders(
    desk: TheDesk, gallery: GalleryId, within: Annotated[str, Query(pattern="^([0-9a-f]{24})?$")] = ""
) -> Listing:
    """Folders that may be indexed: those the server was started with, or what lies within one that was listed."""
    checked(desk, gallery)
    return await desk.lookups.do(desk.folders.listed, within)


@router.post("/galleries/{gallery}/index-preview")
async def look(desk: TheDesk, gallery: GalleryId, body: Preview) -> PreviewOut:
    """Camera, time and track of a dozen files, as the mapping reads them, or what is wrong with it. Writes nothing."""
    _indexable(desk, gallery)

    def work() -> PreviewOut:
        place = desk.folders.folder(body.folder)
        try:
            rows, count = preview(place, sources_of(body.mapping, desk.folders))
        except (UsageError, Refusal) as error:
            if isinstance(error, Refusal) and error.status == 404:
                raise
            return PreviewOut(rows=[], looked_at=0, problem=str(error))
        return PreviewOut(rows=rows, looked_at=count)

    return await desk.lookups.do(work)


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
    place = await desk.lookups.do(desk.folders.folder, body.folder)
    sources = await desk.lookups.do(sources_of, body.mapping, desk.folders)
    model = None if body.dry else await desk.do(lambda: desk.gallery.model, patience=LOADING)
    job = desk.indexing.start(place, sources, body.dry, idempotency_key, model)
    response.headers["Location"] = f"/api/v1/index-jobs/{job.id}"
    return desk.indexing.told(job)


@router.get("/index-jobs")
async def jobs(desk: TheDesk) -> Jobs:
    """The jobs of this server, newest first."""
    return Jobs(jobs=[desk.indexing.told(job) for job in reversed(list(desk.indexing.jobs.values()))])


@router.get("/index-jobs/{job}")
async def one(desk: TheDesk, job: JobId) -> JobOut:
    """How a job stands."""
    return desk.indexing.told(desk.indexing.job(job))


@router.put("/index-jobs/{job}/state")
async def wish(desk: TheDesk, job: JobId, body: JobState) -> JobOut:
    """Pause, or go on. What was indexed stays, and can be searched meanwhile."""
    found = desk.indexing.job(job)
    desk.indexing.wish(found, body.state)
    return desk.indexing.told(found)


@router.delete("/index-jobs/{job}")
async def stop(desk: TheDesk, job: JobId) -> JobOut:
    """Stop after the batch at hand. What was indexed stays."""
    found = desk.indexing.job(job)
    desk.indexing.wish(found, "stopped")
    return desk.indexing.told(found)


@router.get(
    "/index-jobs/{job}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "an event `job` (JobOut) for each change"}},
)
async def events(desk: TheDesk, job: JobId) -> StreamingResponse:
    """How a job stands, at once and whenever that changes, until its end."""
    found = desk.indexing.job(job)
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(_stream(desk, found), media_type="text/event-stream", headers=headers)


async def _stream(desk: Desk, job: Job) -> AsyncIterator[str]:
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


def _skipped(desk: Desk, start: int, limit: int) -> Skipped:
    rows = []
    reasons: dict[str, int] = {}
    for path, said in desk.gallery.skipped():
        reason, _, detail = said.partition(": ")
        reasons[reason] = reasons.get(reason, 0) + 1
        rows.append((path, reason, detail))
    shown = [
        SkippedRow(path=desk.folders.within(path), reason=reason, detail=detail)
        for path, reason, detail in rows[start : start + limit]
    ]
    cursor = str(start + limit) if start + limit < len(rows) else ""
    return Skipped(total=len(rows), reasons=dict(sorted(reasons.items())), rows=shown, cursor=cursor)


@router.get("/galleries/{gallery}/skipped")
async def skipped(
    desk: TheDesk, gallery: GalleryId, cursor: Cursor = "", limit: Annotated[int, Query(ge=1, le=500)] = 200
) -> Skipped:
    """Files of indexed folders that could not be read, with the reason, by path."""
    _indexable(desk, gallery)
    return await desk.lookups.do(_skipped, desk, int(cursor or 0), limit)
