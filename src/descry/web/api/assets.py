"""Uploads: a sketch or a photograph, decoded, stripped of all but its pixels, and known by its content from then on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Path, Response, UploadFile

from ..pictures import rewritten
from ..shapes import Asset
from . import REFUSALS, TheDesk

router = APIRouter(prefix="/api/v1/assets", tags=["assets"], responses=REFUSALS)


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
    data = await desk.do(desk.picture, asset)
    return Response(data, media_type="image/png")
