"""Reading pictures safely: limits are checked on the structure and the header, before a pixel is decoded.

Files that cost more than their bytes and pixels say are refused, or decoded in a process that can be ended (see
decoding.py).

The same reading and the same resize serve training, indexing and search, so that a picture has one set of pixels.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from . import decoding
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


GALLERY = Limits(25_000_000, 40_000_000, 40_000, ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF"))
UPLOAD = Limits(10_000_000, 16_000_000, 8_192, ("PNG", "JPEG", "WEBP"))
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".avif", ".heic", ".heif"),
)
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv",
    ".asf", ".flv", ".3gp", ".ogv", ".mxf", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".dav",
)  # fmt: skip


def read(source: Any, limits: Limits = GALLERY) -> Image.Image:
    """A picture as an upright RGB image; of an animation the first frame, transparency on white, 16 bits scaled to 8.

    source: path, bytes, binary file, PIL image or (H, W, 3) array (uint8, or float in [0, 1]). Raises ImageRejected,
    whose reason is missing, too_many_bytes, format, too_many_pixels, too_small, too_complex, too_slow or corrupt.
    """
    return _read(source, limits, None)


def _read(source: Any, limits: Limits, size: tuple[int, int] | None) -> Image.Image:
    """`read`; a picture that is decoded in another process is squeezed there to size (H, W), where one is given."""
    if isinstance(source, Image.Image):
        return _rgb(source)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    name = str(source) if isinstance(source, (str, Path)) else "the picture"
    data = _bytes(source, name, limits)
    found = _structure(data, name)
    if not found.ordinary:
        return _elsewhere(data, name, limits, size)
    return _decoded(data, name, limits)


def _decoded(data: bytes, name: str, limits: Limits) -> Image.Image:
    with _opened(data, name, limits) as image:
        _check_header(image, name, limits)
        return _rgb(image)


@contextmanager
def header(source: Any, limits: Limits = GALLERY) -> Iterator[Image.Image]:
    """A picture that was opened for its size and EXIF, of which no pixel is decoded. Raises ImageRejected, also for a
    file whose metadata alone would be work."""
    name = str(source) if isinstance(source, (str, Path)) else "the picture"
    data = _bytes(source, name, limits)
    if _structure(data, name).exif > decoding.ORDINARY_EXIF:
        raise ImageRejected(f"{name} has more EXIF than a picture needs; it is not read", "too_complex")
    with _opened(data, name, limits) as image:
        yield image


@contextmanager
def _opened(data: bytes, name: str, limits: Limits) -> Iterator[Image.Image]:
    formats = limits.formats
    if data[4:8] == b"ftyp" and "HEIF" in formats:
        import pillow_heif

        pillow_heif.register_heif_opener()
    else:  # Pillow knows that name only then
        formats = tuple(f for f in formats if f != "HEIF")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=formats) as image:
                yield image
    except ImageRejected:
        raise
    except UnidentifiedImageError:
        allowed = ", ".join(limits.formats)
        raise ImageRejected(f"{name} is not a picture that is read here; allowed: {allowed}", "format") from None
    except Image.DecompressionBombError:
        raise ImageRejected(
            f"{name} has more than {limits.pixels / 1e6:g} million pixels; make it smaller", "too_many_pixels"
        ) from None
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes; all of it means the same
        if isinstance(error, ValueError) and "too large" in str(error).lower():
            raise ImageRejected(
                f"{name} holds more text or colour profile than is read (1 MB); save it again without them", "corrupt"
            ) from None
        raise ImageRejected(f"{name} is damaged and cannot be decoded ({type(error).__name__})", "corrupt") from None


def _structure(data: bytes, name: str) -> decoding.Structure:
    found = decoding.structure(data)
    if found.refused:
        raise ImageRejected(f"{name} {found.refused}; save it again as an ordinary picture", "too_complex")
    return found


def _elsewhere(data: bytes, name: str, limits: Limits, size: tuple[int, int] | None) -> Image.Image:
    """Decoded in a process of its own."""
    try:
        reply, pixels = decoding.in_process(
            "descry.images", {"name": name, "limits": asdict(limits), "size": size}, data
        )
    except decoding.TooSlow:
        raise ImageRejected(
            f"{name} takes more than {decoding.SECONDS:g} seconds or too much memory to decode; save it again as an "
            "ordinary picture",
            "too_slow",
        ) from None
    if "reason" in reply:
        raise ImageRejected(reply["message"], reply["reason"])
    return Image.frombytes("RGB", tuple(reply["size"]), pixels)


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """What the other process does with a request of `_elsewhere`."""
    limits = Limits(**request["limits"] | {"formats": tuple(request["limits"]["formats"])})
    try:
        image = _decoded(data, request["name"], limits)
    except ImageRejected as error:
        return {"reason": error.reason, "message": str(error)}, b""
    if request["size"]:
        height, width = request["size"]
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return {"size": image.size}, image.tobytes()


def resize(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """An RGB image → (3, H, W) uint8, squeezed to size (H, W) as the field does; Pillow's bicubic with antialias."""
    pixels = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def load(source: Any, size: tuple[int, int], limits: Limits = GALLERY) -> np.ndarray:
    """`read`, then `resize`: (3, H, W) uint8."""
    return resize(_read(source, limits, size), size)


def decodes(path: str | Path, limits: Limits = GALLERY) -> str:
    """ "" for a picture that decodes to its end, else the reason of ImageRejected.

    A JPEG is decoded at an eighth of its size: every byte is still read, and it takes a third of the time.
    """
    try:
        data = _bytes(path, str(path), limits)
        found = _structure(data, str(path))
        if found.kind == "JPEG" and found.ordinary:
            with _opened(data, str(path), limits) as image:
                _check_header(image, str(path), limits)
                image.draft("L", (image.size[0] // 8, image.size[1] // 8))
                image.load()
        else:
            _read(data, limits, (8, 8))
    except ImageRejected as error:
        return error.reason
    return ""


def _bytes(source: Any, name: str, limits: Limits) -> bytes:
    """The bytes of a file, none of it read when it is too large."""
    try:
        if isinstance(source, bytes):
            size, data = len(source), source
        elif isinstance(source, (str, Path)):
            if not os.path.isfile(source):
                raise ImageRejected(
                    f"the picture {name!r} cannot be read: there is no such file; check the path", "missing"
                )
            size = os.path.getsize(source)
            if size <= limits.bytes:
                with open(source, "rb") as file:
                    data = file.read(limits.bytes + 1)
                size = len(data)
        elif hasattr(source, "read"):
            data = source.read(limits.bytes + 1)
            size = len(data)
        else:
            raise UsageError(
                f"a picture is a path, bytes, a file, a PIL image or an array; got {type(source).__name__}"
            )
    except OSError as error:
        raise ImageRejected(
            f"the picture {name!r} cannot be read: {error.strerror}; check the path", "missing"
        ) from None
    if size > limits.bytes:
        raise ImageRejected(f"{name} has {size:,} bytes; at most {limits.bytes:,} are read", "too_many_bytes")
    return data


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


if __name__ == "__main__":
    decoding.answer(_answer)
