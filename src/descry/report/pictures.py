"""Pictures of a report: small, written anew from their pixels, and blurred where nobody need be seen."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from .. import images
from ..errors import DescryError
from ..footage.origin import Origin

CELLS = 5  # across, of a blurred picture: what is left of a face is less than one of them


def crop(data: bytes, height: int, blur: bool) -> str:
    """A picture of the gallery as a data address; "" when it cannot be read."""
    try:
        image = images.read(data)
    except DescryError:
        return ""
    return _address(_blurred(_fitted(image, height)) if blur else _fitted(image, height), "JPEG")


def frame(origin: Origin, height: int, blur: bool) -> str:
    """The frame that a crop was cut from, with its box, as a data address; "" when it cannot be read any more. blur:
    all but the box, so that nobody else can be seen."""
    try:
        image = origin.still()
    except DescryError:
        return ""
    if blur:
        left, top, wide, high = (round(v) for v in origin.box)
        inside = image.crop((left, top, left + wide, top + high))
        image = _blurred(image)
        image.paste(inside, (left, top))
    return _address(_fitted(image, height), "JPEG")


def drawing(picture: Any, height: int, blur: bool = False) -> str:
    """A picture that was searched with, as a data address; "" when it cannot be read."""
    try:
        image = _fitted(images.read(picture, images.UPLOAD), height)
    except DescryError:
        return ""
    return _address(_blurred(image), "JPEG") if blur else _address(image, "PNG")


def _fitted(image: Image.Image, height: int) -> Image.Image:
    if image.height <= height:
        return image
    return image.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.LANCZOS)


def _blurred(image: Image.Image) -> Image.Image:
    """The mean colours of a few cells, drawn softly: nothing finer is in the file, so nothing can be brought back."""
    rows = max(1, round(CELLS * image.height / image.width))
    few = image.resize((CELLS, min(rows, 4 * CELLS)), Image.Resampling.BOX)
    return few.resize(image.size, Image.Resampling.BICUBIC)


def _address(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 80} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
