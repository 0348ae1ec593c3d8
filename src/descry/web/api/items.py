"""Galleries: their facets, their items, pictures of these and the footage they were cut from, by id and never by path;
and uploads: a sketch or a photograph, decoded and written anew, so that only pixels stay.

One gallery is served at a time; its id is the name of its folder.
"""

from __future__ import annotations

import io
import os
from typing import Annotated, Any

from fastapi import APIRouter, File, Path, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from PIL import Image

from ...footage.origin import Origin, origin_of
from ...gallery.contract import Item, from_microseconds, microseconds, mtime_of
from ...gallery.reading import as_indexed
from ...images import UPLOAD, read
from ...query import digest
from ..desk import Desk
from ..problems import PLAIN, Refusal
from ..shapes import Asset, Count, Facets, Footage, Galleries, GalleryOut, ItemDetail, ItemOut, Items, Near
from . import REFUSALS, Cursor, GalleryId, ItemId, TheDesk, queued

galleries_router = APIRouter(prefix="/api/v1/galleries", tags=["galleries"], responses=REFUSALS)
router = APIRouter(prefix="/api/v1/galleries/{gallery}/items", tags=["items"], responses=REFUSALS)
assets_router = APIRouter(prefix="/api/v1/assets", tags=["assets"], responses=REFUSALS)
footage_router = APIRouter(prefix="/api/v1/galleries/{gallery}/items/{item}", tags=["footage"], responses=REFUSALS)
JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "a picture"},
    304: {"description": "unchanged"},
}
DAY = 86_400_000_000
READ_ONLY = "this gallery is read-only: rounds end with the server, and no line is written to the account"
HEIGHTS = (96, 192, 288, 384, 768)
"""Of pictures that are kept in memory."""


def checked(desk: Desk, gallery: str) -> None:
    """Raises Refusal 404 for a gallery that is not served here."""
    if gallery != desk.name:
        raise Refusal(404, "not_found", "there is no such gallery here; /api/v1/galleries lists what there is")


def told(desk: Desk) -> GalleryOut:
    """The gallery as the API tells of it."""
    model = desk.gallery.model if desk.loaded else None
    trouble = desk.trouble
    notes = [desk.gallery.note()] if model else []
    notes += [READ_ONLY] if desk.gallery.read_only else []
    return GalleryOut(
        id=desk.name,
        items=len(desk.gallery),
        model=desk.gallery.binding.fingerprint[:12],
        answers=sorted(model.answers) if model else [],
        pretrained=bool(getattr(model, "pretrained", False)),
        note=". ".join(filter(None, notes)),
        read_only=desk.gallery.read_only,
        ready=desk.loaded,
        trouble=PLAIN.get(trouble.code, PLAIN["failed"]) if trouble else "",
        trouble_code=trouble.code if trouble else "",
    )


@galleries_router.get("")
@queued()
def galleries(desk: TheDesk) -> Galleries:
    """What is served."""
    return Galleries(galleries=[told(desk)])


@galleries_router.get("/{gallery}")
@queued()
def gallery(desk: TheDesk, gallery: GalleryId) -> GalleryOut:
    """One gallery: how large it is, what its model can be asked, and what must be said beside its results."""
    checked(desk, gallery)
    return told(desk)


@galleries_router.get("/{gallery}/facets")
@queued()
def facets(desk: TheDesk, gallery: GalleryId) -> Facets:
    """Cameras and days with counts, for the filters."""
    checked(desk, gallery)
    with desk.gallery.store.database.reading() as connection:
        cameras = connection.execute(
            "SELECT camera, count(*) FROM items GROUP BY camera ORDER BY camera LIMIT 200"
        ).fetchall()
        days = connection.execute(
            f"SELECT time / {DAY} AS time, count(*) FROM items WHERE time IS NOT NULL GROUP BY 1 ORDER BY 1 LIMIT 1000"
        ).fetchall()
        total = connection.execute("SELECT count(*) FROM items").fetchone()[0]
    named = [(str(from_microseconds(day * DAY))[:10], n) for day, n in days]
    return Facets(
        total=total,
        cameras=[Count(name=name, count=n) for name, n in cameras if name],
        days=[Count(name=name, count=n) for name, n in named],
        untimed=total - sum(n for _, n in days),
    )


# ---------------------------------------------------------------------- items


def one(desk: Desk, gallery: str, item: int) -> Item:
    """An item, or Refusal 404."""
    checked(desk, gallery)
    found = desk.gallery.items([item])
    if not found:
        raise Refusal(404, "not_found", f"the gallery holds no item {item}")
    return found[0]


@router.get("")
@queued()
def items(
    desk: TheDesk, gallery: GalleryId, cursor: Cursor = "", limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Items:
    """All items, by rising id."""
    checked(desk, gallery)
    with desk.gallery.store.database.reading() as connection:
        rows = connection.execute(
            "SELECT id FROM items WHERE id > ? ORDER BY id LIMIT ?", (int(cursor or 0), limit)
        ).fetchall()
    found = desk.gallery.items([row[0] for row in rows])
    return Items(items=[ItemOut.of(i) for i in found], cursor=str(rows[-1][0]) if len(rows) == limit else "")


@router.get("/{item}")
@queued("lookups")
def item(desk: TheDesk, gallery: GalleryId, item: ItemId) -> ItemDetail:
    """One item."""
    found = one(desk, gallery, item)
    try:
        state = os.stat(found.path)
        missing, stale = False, state.st_size != found.size or mtime_of(state) != found.mtime
    except (OSError, ValueError):
        missing, stale = True, False
    told = ItemOut.of(found).model_dump()
    origin = origin_of(found.path)
    footage = None if origin is None else Footage(
        source=origin.name, frame=origin.frame, seconds=origin.seconds, clock=origin.clock, box=origin.box,
        playable=bool(origin.media_type),
    )  # fmt: skip
    return ItemDetail(**told, sha256=found.sha256, bytes=found.size, missing=missing, stale=stale, footage=footage)


@router.get("/{item}/near")
@queued("lookups")
def near(desk: TheDesk, gallery: GalleryId, item: ItemId, count: Annotated[int, Query(ge=1, le=20)] = 4) -> Near:
    """What the same camera saw just before and after, and the rest of the same track. An unknown camera is no camera:
    nothing is known to have been seen by it."""
    seen = one(desk, gallery, item)
    with desk.gallery.store.database.reading() as connection:

        def ids(where: str, order: str, *values: object) -> list[int]:
            sql = f"SELECT id FROM items WHERE {where} ORDER BY {order} LIMIT {count}"
            return [row[0] for row in connection.execute(sql, values)]

        at, track = microseconds(seen.time), []
        before: list[int] = []
        after: list[int] = []
        if at is not None and seen.camera:
            here = (seen.camera, at, item)
            before = ids("camera = ? AND (time, id) < (?, ?)", "time DESC, id DESC", *here)
            after = ids("camera = ? AND (time, id) > (?, ?)", "time, id", *here)
        if seen.track:
            track = ids("camera = ? AND track = ? AND id <> ?", "time, id", seen.camera, seen.track, item)
    shelves = [[ItemOut.of(i) for i in desk.gallery.items(found)] for found in (before[::-1], after, track)]
    return Near(before=shelves[0], after=shelves[1], track=shelves[2])


def _state(item: Item) -> tuple[int, ...]:
    """What tells a file from the one it was when its picture was made; a picture of another file is not shown."""
    try:
        found = os.stat(item.path)
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _small(item: Item, height: int) -> bytes:
    """A JPEG of the item, at most `height` pixels high. Raises ImageRejected, also for a file that is not what was
    indexed."""
    image = read(as_indexed(item))
    if image.height > height:
        image = image.resize((max(1, round(image.width * height / image.height)), height), reducing_gap=2.0)
    return _jpeg(image)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


async def _picture(desk: Desk, request: Request, gallery: str, number: int, height: int) -> Response:
    found: Item = await desk.lookups.do(one, desk, gallery, number)
    tag = f'"{found.sha256[:20]}-{height}"'
    headers = {"ETag": tag}
    state = await desk.lookups.do(_state, found)
    data = desk.thumbs.get((found.id, found.sha256, state, height))
    if data is None:
        data = await desk.pictures.do(_small, found, height)
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
    height = next((height for height in HEIGHTS if height >= h), HEIGHTS[-1])
    return await _picture(desk, request, gallery, item, height)


# ---------------------------------------------------------------------- pictures to search with: known by their content


def kept(desk: Desk, image: Image.Image) -> Asset:
    """Keep a picture as a fresh PNG, by its SHA-256."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    name = digest(buffer.getvalue())
    desk.assets.put(name, buffer.getvalue())
    return Asset(id=name, width=image.width, height=image.height)


@router.post("/{item}/asset", status_code=201)
@queued("pictures")
def as_asset(desk: TheDesk, gallery: GalleryId, item: ItemId) -> Asset:
    """Make the item a picture that a query can use as an example."""
    image = read(as_indexed(one(desk, gallery, item)))
    image.thumbnail((1024, 1024))
    return kept(desk, image)


@assets_router.post("", status_code=201)
@queued("pictures")
def upload(desk: TheDesk, file: Annotated[UploadFile, File(description="PNG, JPEG or WebP")]) -> Asset:
    """Take a picture. What it is called and what else the file holds is not kept."""
    return kept(desk, read(file.file.read(), UPLOAD))


@assets_router.get(
    "/{asset}", response_class=Response, responses={200: {"content": {"image/png": {}}, "description": "a picture"}}
)
@queued()
def asset(desk: TheDesk, asset: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> Response:
    """The picture as it was kept. The browser keeps none: it is gone once the inquiry is."""
    return Response(desk.picture(asset), media_type="image/png")


# ---------------------------------------------------------------------- footage


def _origin(desk: Desk, gallery: str, item: int) -> Origin:
    found = origin_of(one(desk, gallery, item).path)
    if found is None:
        raise Refusal(404, "not_found", f"item {item} was not cut from footage by descry crop")
    return found


@footage_router.get("/still", response_class=Response, responses=JPEG)
@queued("pictures")
def still(desk: TheDesk, gallery: GalleryId, item: ItemId) -> Response:
    """The whole frame with the item's box drawn in it."""
    return Response(_jpeg(_origin(desk, gallery, item).still()), media_type="image/jpeg")


@footage_router.get(
    "/video",
    response_class=Response,
    responses={
        200: {"content": {"video/mp4": {}}, "description": "the file"},
        206: {"description": "the range asked for"},
    },
)
@queued()
def video(desk: TheDesk, gallery: GalleryId, item: ItemId) -> Response:
    """The video that the item was cut from, as it is; answers ranges, so that a player begins at `seconds`."""
    from ...footage import Video

    found = _origin(desk, gallery, item)
    if not found.media_type:
        raise Refusal(404, "not_found", f"{found.name} is not there, or is no video that browsers play; see still")
    Video(found.source)  # nothing but a video is given out
    return FileResponse(found.source, media_type=found.media_type)
