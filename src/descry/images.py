"""Reading pictures safely: limits are checked on the header, before a pixel is decoded.

The same reading and the same resize serve training, indexing and search, so that a picture has one set of pixels.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .errors import ImageRejected, UsageError


@dataclass(frozen=True)
class Limits:
    """What a picture may be. bytes: of the file. pixels: width × height. side: longest edge. least: shortest edge
    allowed.
    """

    bytes: int
    pixels: int
    side: int
    formats: tuple[str, ...]
    least: int = 8


GALLERY = Limits(25_000_000, 40_000_000, 40_000, ("JPEG", "PNG", "WEBP", "BMP"))
UPLOAD = Limits(10_000_000, 16_000_000, 8_192, ("PNG", "JPEG", "WEBP"))
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv",
    ".asf", ".flv", ".3gp", ".ogv", ".mxf", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".dav",
)  # fmt: skip


def read(source: Any, limits: Limits = GALLERY) -> Image.Image:
    """A picture as an upright RGB image; of an animation the first frame, transparency on white, 16 bits scaled to 8.

    source: path, bytes, binary file, PIL image or (H, W, 3) array (uint8, or float in [0, 1]). Raises ImageRejected,
    whose reason is missing, too_many_bytes, format, too_many_pixels, too_small or corrupt.
    """
    if isinstance(source, Image.Image):
        return _rgb(source)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    name = str(source) if isinstance(source, (str, Path)) else "the picture"
    file = _open(source, name, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=limits.formats) as image:
                _check_header(image, name, limits)
                return _rgb(image)
    except ImageRejected:
        raise
    except Image.UnidentifiedImageError:
        allowed = ", ".join(limits.formats)
        raise ImageRejected(f"{name} is not a picture that is read here; allowed: {allowed}", "format") from None
    except Image.DecompressionBombError:
        raise ImageRejected(
            f"{name} has more than {limits.pixels / 1e6:g} million pixels; make it smaller", "too_many_pixels"
        ) from None
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes; all of it means the same
        raise ImageRejected(f"{name} is damaged and cannot be decoded ({type(error).__name__})", "corrupt") from None
    finally:
        if file is not source:
            file.close()


def resize(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """An RGB image → (3, H, W) uint8, squeezed to size (H, W) as the field does; Pillow's bicubic with antialias."""
    pixels = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def load(source: Any, size: tuple[int, int], limits: Limits = GALLERY) -> np.ndarray:
    """`read`, then `resize`: (3, H, W) uint8."""
    return resize(read(source, limits), size)


def _open(source: Any, name: str, limits: Limits) -> Any:
    file: Any
    if isinstance(source, bytes):
        size, file = len(source), io.BytesIO(source)
    elif isinstance(source, (str, Path)):
        if not os.path.isfile(source):
            raise ImageRejected(f"there is no picture file {name}", "missing")
        try:
            size, file = os.path.getsize(source), open(source, "rb")  # noqa: SIM115 - closed by the caller
        except OSError as error:
            raise ImageRejected(f"{name} cannot be opened: {error.strerror}", "missing") from None
    elif hasattr(source, "read"):
        size, file = 0, source
    else:
        raise UsageError(f"a picture is a path, bytes, a file, a PIL image or an array; got {type(source).__name__}")
    if size > limits.bytes:
        if file is not source:
            file.close()
        raise ImageRejected(f"{name} has {size:,} bytes; at most {limits.bytes:,} are read", "too_many_bytes")
    return file


def _check_header(image: Image.Image, name: str, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise ImageRejected(
            f"{name} is {width}×{height} pixels; at most {limits.pixels:,}, and {limits.side} along an edge, are read",
            "too_many_pixels",
        )
    if min(width, height) < limits.least:
        raise ImageRejected(
            f"{name} is {width}×{height} pixels; at least {limits.least} along each edge are needed", "too_small"
        )


def _rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float32)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        image = Image.fromarray((values.clip(0, top) * (255.0 / top)).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UsageError(f"an array must be (H, W, 3) or (H, W); got {pixels.shape}")
    if pixels.dtype != np.uint8:
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise UsageError("an array of floats must lie in [0, 1]; give uint8 for 0 … 255")
        pixels = np.round(pixels * 255).astype(np.uint8)
    return Image.fromarray(pixels)
