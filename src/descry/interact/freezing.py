"""A searcher's picture as bytes that can be kept, and back, with its digest unchanged."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError, ImageRejected


def frozen(picture: Any) -> tuple[str, bytes]:
    """(kind, bytes): "file" with the bytes of a file, or "image" and "array" as PNG."""
    if isinstance(picture, (str, Path)):
        return "file", Path(picture).read_bytes()
    if isinstance(picture, bytes):
        return "file", picture
    from PIL import Image

    buffer = io.BytesIO()
    kind = "image" if hasattr(picture, "mode") else "array"
    (picture if kind == "image" else Image.fromarray(picture)).save(buffer, "PNG")
    return kind, buffer.getvalue()


def thawed(kind: str, data: bytes) -> Any:
    """What was frozen: the bytes of a file, a PIL image or an array. Raises ImageRejected."""
    if kind == "file":
        return bytes(data)
    if kind not in ("image", "array"):
        raise DataError(f"a kept picture is of the kind {kind[:40]!r}; this version knows file, image and array")
    import numpy as np

    from ..images import GALLERY, header

    with header(bytes(data), replace(GALLERY, formats=("PNG",))) as image:
        if image.width * image.height > GALLERY.pixels or max(image.size) > GALLERY.side:
            raise ImageRejected(f"a kept picture is {image.width}×{image.height} pixels", "too_many_pixels")
        image.load()
    return image if kind == "image" else np.asarray(image)
