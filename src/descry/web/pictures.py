"""Pictures in and out: an upload is decoded and written anew, so that only pixels stay; what is shown is small."""

from __future__ import annotations

import io

from PIL import Image

from ..gallery.contract import Item
from ..gallery.reading import as_indexed
from ..images import UPLOAD, read
from ..query import digest

HEIGHTS = (96, 192, 288, 384, 768)


def rewritten(data: bytes) -> tuple[str, bytes, tuple[int, int]]:
    """An upload as a fresh PNG: (SHA-256, bytes, (width, height)). Raises ImageRejected."""
    return _as_png(read(data, UPLOAD))


def small(item: Item, height: int) -> bytes:
    """A JPEG of the item, at most `height` pixels high. Raises ImageRejected, also for a file that is not what was
    indexed."""
    image = read(as_indexed(item))
    if image.height > height:
        image = image.resize((max(1, round(image.width * height / image.height)), height), reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def nearest_height(asked: int) -> int:
    """The smallest of the heights kept that is not below the one asked for."""
    return next((h for h in HEIGHTS if h >= asked), HEIGHTS[-1])


def as_upload(item: Item) -> tuple[str, bytes, tuple[int, int]]:
    """An item of the gallery as if it had been uploaded. Raises ImageRejected."""
    image = read(as_indexed(item))
    image.thumbnail((1024, 1024))
    return _as_png(image)


def _as_png(image: Image.Image) -> tuple[str, bytes, tuple[int, int]]:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return digest(buffer.getvalue()), buffer.getvalue(), image.size
