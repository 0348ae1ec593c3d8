"""Pictures in and out: an upload is decoded and written anew, so that only pixels stay; what is shown is small."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import Any

from ..errors import ImageRejected
from ..gallery.contract import Item
from ..gallery.reading import as_indexed
from ..images import UPLOAD, read
from ..query import digest

HEIGHTS = (96, 192, 288, 384, 768)
KEPT = 64


class Least:
    """A dictionary that forgets what was used least lately. most: total bytes kept."""

    def __init__(self, most: int):
        self.most, self.bytes = most, 0
        self._rows: OrderedDict[Any, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Any) -> bytes | None:
        """What is kept under the key, or None."""
        with self._guard:
            found = self._rows.get(key)
            if found is not None:
                self._rows.move_to_end(key)
            return found

    def put(self, key: Any, data: bytes) -> None:
        """Keep it."""
        with self._guard:
            self.bytes += len(data) - len(self._rows.pop(key, b""))
            self._rows[key] = data
            while self.bytes > self.most and len(self._rows) > 1:
                self.bytes -= len(self._rows.popitem(last=False)[1])


def rewritten(data: bytes) -> tuple[str, bytes, tuple[int, int]]:
    """An upload as a fresh PNG: (SHA-256, bytes, (width, height)). Raises ImageRejected."""
    image = read(data, UPLOAD)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return digest(buffer.getvalue()), buffer.getvalue(), image.size


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
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return digest(buffer.getvalue()), buffer.getvalue(), image.size


__all__ = ["HEIGHTS", "ImageRejected", "Least", "as_upload", "nearest_height", "rewritten", "small"]
