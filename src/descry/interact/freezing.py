"""A searcher's picture as bytes that can be kept, and back, with its digest unchanged."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


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
    import numpy as np

    from ..images import GALLERY, header

    with header(data, GALLERY) as image:
        image.load()
    return image if kind == "image" else np.asarray(image)
