"""From an item back to the footage that it was cut from: the frame with the box, and the video itself."""

from __future__ import annotations

import io

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from ...footage.origin import Origin, origin_of
from ..desk import Desk
from ..problems import Refusal
from .depends import REFUSALS, GalleryId, ItemId, TheDesk
from .items import JPEG, one

router = APIRouter(prefix="/api/v1/galleries/{gallery}/items/{item}", tags=["footage"], responses=REFUSALS)


def _origin(desk: Desk, gallery: str, item: int) -> Origin:
    found = origin_of(one(desk, gallery, item).path)
    if found is None:
        raise Refusal(404, "not_found", f"item {item} was not cut from footage by descry crop")
    return found


def _still(desk: Desk, gallery: str, item: int) -> bytes:
    buffer = io.BytesIO()
    _origin(desk, gallery, item).still().save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@router.get("/still", response_class=Response, responses=JPEG)
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


@router.get(
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
