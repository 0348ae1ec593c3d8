"""Items of a gallery, their pictures and the footage they were cut from, by id and never by path; and uploads: a
sketch or a photograph, decoded and stripped of all but its pixels."""

from __future__ import annotations

import io
import os
from typing import Annotated, Any

from fastapi import APIRouter, File, Path, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse

from ...footage.origin import Origin, origin_of
from ...gallery.contract import Item, microseconds, mtime_of
from ..desk import Desk
from ..pictures import as_upload, nearest_height, rewritten, small
from ..problems import Refusal
from ..shapes import Asset, Footage, ItemDetail, ItemOut, Items, Near
from . import REFUSALS, Cursor, GalleryId, ItemId, TheDesk
from .galleries import checked

router = APIRouter(prefix="/api/v1/galleries/{gallery}/items", tags=["items"], responses=REFUSALS)
assets_router = APIRouter(prefix="/api/v1/assets", tags=["assets"], responses=REFUSALS)
footage_router = APIRouter(prefix="/api/v1/galleries/{gallery}/items/{item}", tags=["footage"], responses=REFUSALS)
JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "a picture"},
    304: {"description": "unchanged"},
}


def one(desk: Desk, gallery: str, item: int) -> Item:
    """An item, or Refusal 404."""
    checked(desk, gallery)
    found = desk.gallery.items([item])
    if not found:
        raise Refusal(404, "not_found", f"the gallery holds no item {item}")
    return found[0]


def _detail(desk: Desk, gallery: str, number: int) -> ItemDetail:
    item = one(desk, gallery, number)
    try:
        state = os.stat(item.path)
        missing, stale = False, state.st_size != item.size or mtime_of(state) != item.mtime
    except (OSError, ValueError):
        missing, stale = True, False
    told = ItemOut.of(item).model_dump()
    origin = origin_of(item.path)
    footage = None if origin is None else Footage(
        source=origin.name, frame=origin.frame, seconds=origin.seconds, clock=origin.clock, box=origin.box,
        playable=bool(origin.media_type),
    )  # fmt: skip
    return ItemDetail(**told, sha256=item.sha256, bytes=item.size, missing=missing, stale=stale, footage=footage)


def _near(desk: Desk, gallery: str, number: int, count: int) -> Near:
    item = one(desk, gallery, number)
    with desk.gallery.store.database.reading() as connection:

        def ids(where: str, order: str, *values: object) -> list[int]:
            sql = f"SELECT id FROM items WHERE {where} ORDER BY {order} LIMIT {count}"
            return [row[0] for row in connection.execute(sql, values)]

        at, track = microseconds(item.time), []
        before: list[int] = []
        after: list[int] = []
        if at is not None and item.camera:
            here = (item.camera, at, number)
            before = ids("camera = ? AND (time, id) < (?, ?)", "time DESC, id DESC", *here)
            after = ids("camera = ? AND (time, id) > (?, ?)", "time, id", *here)
        if item.track:
            track = ids("camera = ? AND track = ? AND id <> ?", "time, id", item.camera, item.track, number)
    shelves = [[ItemOut.of(i) for i in desk.gallery.items(found)] for found in (before[::-1], after, track)]
    return Near(before=shelves[0], after=shelves[1], track=shelves[2])


def _listed(desk: Desk, gallery: str, after: int, limit: int) -> Items:
    checked(desk, gallery)
    with desk.gallery.store.database.reading() as connection:
        rows = connection.execute("SELECT id FROM items WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()
    found = desk.gallery.items([row[0] for row in rows])
    return Items(items=[ItemOut.of(i) for i in found], cursor=str(rows[-1][0]) if len(rows) == limit else "")


@router.get("")
async def items(
    desk: TheDesk, gallery: GalleryId, cursor: Cursor = "", limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Items:
    """All items, by rising id."""
    return await desk.do(_listed, desk, gallery, int(cursor or 0), limit)


@router.get("/{item}")
async def item(desk: TheDesk, gallery: GalleryId, item: ItemId) -> ItemDetail:
    """One item."""
    return await desk.lookups.do(_detail, desk, gallery, item)


@router.get("/{item}/near")
async def near(desk: TheDesk, gallery: GalleryId, item: ItemId, count: Annotated[int, Query(ge=1, le=20)] = 4) -> Near:
    """What the same camera saw just before and after, and the rest of the same track. An unknown camera is no camera:
    nothing is known to have been seen by it."""
    return await desk.lookups.do(_near, desk, gallery, item, count)


def _state(item: Item) -> tuple[int, ...]:
    """What tells a file from the one it was when its picture was made; a picture of another file is not shown."""
    try:
        found = os.stat(item.path)
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


async def _picture(desk: Desk, request: Request, gallery: str, number: int, height: int) -> Response:
    found: Item = await desk.lookups.do(one, desk, gallery, number)
    tag = f'"{found.sha256[:20]}-{height}"'
    headers = {"ETag": tag}
    state = await desk.lookups.do(_state, found)
    data = desk.thumbs.get((found.id, found.sha256, state, height))
    if data is None:
        data = await desk.pictures.do(small, found, height)
        desk.thumbs.put((found.id, found.sha256, state, height), data)
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)


@router.get("/{item}/image", response_class=Response, responses=JPEG)
async def image(desk: TheDesk, request: Request, gallery: GalleryId, item: ItemId) -> Response:
    """The whole crop, written anew as JPEG: without metadata of the file."""
    return await _picture(desk, request, gallery, item, 4096)


@router.get("/{item}/thumb", response_class=Response, responses=JPEG)
async def thumb(
    desk: TheDesk, request: Request, gallery: GalleryId, item: ItemId, h: Annotated[int, Query(ge=1, le=2048)] = 192
) -> Response:
    """A small picture, h pixels high or the next size that is kept."""
    return await _picture(desk, request, gallery, item, nearest_height(h))


# ---------------------------------------------------------------------- pictures to search with: known by their content


def _kept(desk: Desk, name: str, data: bytes, size: tuple[int, int]) -> Asset:
    desk.assets.put(name, data)
    return Asset(id=name, width=size[0], height=size[1])


@router.post("/{item}/asset", status_code=201)
async def as_asset(desk: TheDesk, gallery: GalleryId, item: ItemId) -> Asset:
    """Make the item a picture that a query can use as an example."""
    found = await desk.lookups.do(one, desk, gallery, item)
    return _kept(desk, *await desk.pictures.do(as_upload, found))


@assets_router.post("", status_code=201)
async def upload(desk: TheDesk, file: Annotated[UploadFile, File(description="PNG, JPEG or WebP")]) -> Asset:
    """Take a picture. What it is called and what else the file holds is not kept."""
    return _kept(desk, *await desk.pictures.do(lambda: rewritten(file.file.read())))


@assets_router.get(
    "/{asset}", response_class=Response, responses={200: {"content": {"image/png": {}}, "description": "a picture"}}
)
async def asset(desk: TheDesk, asset: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> Response:
    """The picture as it was kept. The browser keeps none: it is gone once the inquiry is."""
    data = await desk.do(desk.picture, asset)
    return Response(data, media_type="image/png")


# ---------------------------------------------------------------------- footage


def _origin(desk: Desk, gallery: str, item: int) -> Origin:
    found = origin_of(one(desk, gallery, item).path)
    if found is None:
        raise Refusal(404, "not_found", f"item {item} was not cut from footage by descry crop")
    return found


def _still(desk: Desk, gallery: str, item: int) -> bytes:
    buffer = io.BytesIO()
    _origin(desk, gallery, item).still().save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@footage_router.get("/still", response_class=Response, responses=JPEG)
async def still(desk: TheDesk, gallery: GalleryId, item: ItemId) -> Response:
    """The whole frame with the item's box drawn in it."""
    data: bytes = await desk.pictures.do(_still, desk, gallery, item)
    return Response(data, media_type="image/jpeg")


def _video(desk: Desk, gallery: str, item: int) -> Origin:
    from ...footage import Video

    found = _origin(desk, gallery, item)
    if not found.media_type:
        raise Refusal(404, "not_found", f"{found.name} is not there, or is no video that browsers play; see still")
    Video(found.source)  # nothing but a video is given out
    return found


@footage_router.get(
    "/video",
    response_class=Response,
    responses={
        200: {"content": {"video/mp4": {}}, "description": "the file"},
        206: {"description": "the range asked for"},
    },
)
async def video(desk: TheDesk, gallery: GalleryId, item: ItemId) -> Response:
    """The video that the item was cut from, as it is; answers ranges, so that a player begins at `seconds`."""
    found: Origin = await desk.do(_video, desk, gallery, item)
    return FileResponse(found.source, media_type=found.media_type)
