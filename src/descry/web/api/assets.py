"""Uploads: a sketch or a photograph, decoded, stripped of all but its pixels, and known by its content from then on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Path, Response, UploadFile

from ..desk import Desk
from ..pictures import rewritten
from ..problems import Refusal
from ..shapes import Asset
from .depends import REFUSALS, TheDesk

router = APIRouter(prefix="/api/v1/assets", tags=["assets"], responses=REFUSALS)


def resolve(desk: Desk, name: str) -> bytes:
    """The bytes of an upload: held since, or kept with an inquiry. Raises Refusal 404."""
    held = desk.assets.get(name)
    if held is None:
        try:
            found = desk.store.picture(name)
        except Exception as error:
            raise Refusal(404, "asset_gone", "the picture is not held any more; upload it again") from error
        held = found if isinstance(found, bytes) else _png(found)
    return held


def _png(image: object) -> bytes:
    import io

    import numpy as np
    from PIL import Image

    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@router.post("", status_code=201)
async def upload(desk: TheDesk, file: Annotated[UploadFile, File(description="PNG, JPEG or WebP")]) -> Asset:
    """Take a picture. What it is called and what else the file holds is not kept."""
    name, data, (width, height) = await desk.pictures.do(lambda: rewritten(file.file.read()))
    desk.assets.put(name, data)
    return Asset(id=name, width=width, height=height)


@router.get(
    "/{asset}", response_class=Response, responses={200: {"content": {"image/png": {}}, "description": "a picture"}}
)
async def asset(desk: TheDesk, asset: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> Response:
    """The picture as it was kept. The browser keeps none: it is gone once the inquiry is."""
    data = await desk.do(resolve, desk, asset)
    return Response(data, media_type="image/png")
