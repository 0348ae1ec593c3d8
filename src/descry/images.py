"""Reading pictures safely: limits are checked on the structure and the header, before a pixel is decoded.

Bytes and pixels do not bound the work of a decoder. A JPEG of 60 kB may hold a thousand scans over sixteen million
pixels, and a PNG a million empty chunks. `structure` reads the markers or chunks of a file in one bounded pass.
`Structure.refused` says why a file is not decoded at all; `Structure.ordinary` is false for one that may be sound but
is decoded in a process that can be ended (decoding.py).

The same reading and the same resize serve training, indexing and search, so that a picture has one set of pixels.
"""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from . import decoding
from .errors import ImageRejected, UsageError
from .safe_files import open_regular, unread, write_whole


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
LARGEST = replace(GALLERY, pixels=100_000_000)
"""The most that any picture of this machine may be. Indexing takes less unless it is asked for more (--max-mp)."""
UPLOAD = Limits(10_000_000, 16_000_000, 8_192, ("PNG", "JPEG", "WEBP"))
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".avif", ".heic", ".heif"),
)
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv",
    ".asf", ".flv", ".3gp", ".ogv", ".mxf", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".dav",
)  # fmt: skip


MOST_PARTS = 2_000
"""Markers, chunks or frames of a file before it is refused; a JPEG of 25 MB with full metadata has about 400."""
MOST_DATA_PARTS = 25_000
"""Chunks of pixels of a PNG, which some programs write 1 to 8 kB large."""
MOST_SCANS = 100
"""Scans of a JPEG; usual progressive files have 5 to 20."""
SCANNED = 1_000_000_000
"""Scans × pixels of a JPEG."""
ORDINARY_SCANNED = 300_000_000
ORDINARY_PIXELS = 12_000_000
"""Pixels of a file other than a JPEG that are decoded in this process."""
ORDINARY_METADATA, ORDINARY_EXIF = 1_000_000, 65_536
MOST_EXIFS = 8
"""Segments of EXIF of a JPEG, which decoders put together piece by piece; one is usual."""

MOST_TEXT = 1_000
"""Characters of a value of EXIF that are read."""
EXIF_TURN, EXIF_MODEL, EXIF_CHANGED, EXIF_SUB, EXIF_TIME = 274, 272, 306, 34665, 36867

_MARKER = re.compile(
    rb"\xff+[\x01-\xcf\xd8-\xfe]"
)  # in coded data a byte 0xff is followed by 0, or by a restart marker
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_HUFFMAN_SEQUENTIAL = (0xC0, 0xC1)


@dataclass(slots=True)
class Structure:
    """What a picture file consists of.

    Attributes:
        kind: JPEG, PNG, WEBP, BMP, or "" for anything else.
        width: pixels across, as the header says; 0 where it was not found.
        height: pixels down.
        parts: markers, chunks or frames beside those that hold pixels.
        data_parts: chunks that hold pixels.
        scans: passes over the pixels of a JPEG.
        metadata: bytes of segments and chunks that hold no pixels.
        exif: bytes of EXIF.
        exifs: segments or chunks of EXIF.
        slow: decoded by a slow path (run lengths of a BMP, arithmetic coding, animations).
    """

    kind: str = ""
    width: int = 0
    height: int = 0
    parts: int = 0
    data_parts: int = 0
    scans: int = 0
    metadata: int = 0
    exif: int = 0
    exifs: int = 0
    slow: bool = False

    @property
    def refused(self) -> str:
        """Why it is not decoded at all; "" where it may be."""
        if self.parts > MOST_PARTS or self.data_parts > MOST_DATA_PARTS:
            return f"consists of more than {MOST_PARTS if self.parts > MOST_PARTS else MOST_DATA_PARTS:,} parts"
        if self.exifs > MOST_EXIFS:
            return f"has its EXIF in more than {MOST_EXIFS} pieces"
        if self.scans > MOST_SCANS:
            return f"has more than {MOST_SCANS} scans"
        if self.scans * self.width * self.height > SCANNED:
            return f"has {self.scans} scans over {self.width}×{self.height} pixels"
        return ""

    @property
    def ordinary(self) -> bool:
        """Whether it is decoded here: nothing about it costs more than its bytes and pixels."""
        pixels = self.width * self.height
        return (
            not self.slow
            and self.metadata <= ORDINARY_METADATA
            and self.exif <= ORDINARY_EXIF
            and self.exifs <= 1
            and self.scans * pixels <= ORDINARY_SCANNED
            and (self.kind == "JPEG" or pixels <= ORDINARY_PIXELS)
        )


def structure(data: bytes) -> Structure:
    """The structure of a file, read in one pass that ends as soon as there is too much of anything."""
    found = Structure()
    with suppress(struct.error, IndexError):  # cut off: the decoder says so
        if data[:2] == b"\xff\xd8":
            _jpeg(data, found)
        elif data[:8] == b"\x89PNG\r\n\x1a\n":
            _png(data, found)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            _webp(data, found)
        elif data[:2] == b"BM":
            _bmp(data, found)
        elif data[4:8] == b"ftyp" or data[:4] in (b"II*\0", b"MM\0*", b"GIF8"):
            found.slow = True  # HEIC, AVIF, TIFF, GIF: what decoding costs stands nowhere in front
    return found


def _jpeg(data: bytes, found: Structure) -> None:
    found.kind, at, components, progressive = "JPEG", 2, 0, False
    while found.parts <= MOST_PARTS and found.scans <= MOST_SCANS:
        marker = _MARKER.search(data, at)
        if marker is None:
            return
        code, at = data[marker.end() - 1], marker.end()
        if code == 0xD9:
            return
        if code in (0xD8, 0x01):
            found.parts += 1
            continue
        length = struct.unpack_from(">H", data, at)[0]
        if code in _FRAMES:
            found.height, found.width = struct.unpack_from(">HH", data, at + 3)
            components = data[at + 7]
            found.slow |= code not in (*_HUFFMAN_SEQUENTIAL, 0xC2)
            progressive = code not in _HUFFMAN_SEQUENTIAL
        elif code == 0xDA:
            found.scans += 1
            if found.scans == 1 and components and data[at + 2] == components and not progressive:
                return  # one scan holds everything: decoders stop after it
        else:
            found.parts += 1
            if code == 0xFE or 0xE0 <= code <= 0xEF:
                found.metadata += length
            if code == 0xE1 and data[at + 2 : at + 6] == b"Exif":
                found.exif += length
                found.exifs += 1
        at += max(2, length)


def _png(data: bytes, found: Structure) -> None:
    found.kind, at = "PNG", 8
    found.width, found.height = struct.unpack_from(">II", data, 16)
    while at + 8 <= len(data) and found.parts <= MOST_PARTS and found.data_parts <= MOST_DATA_PARTS:
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":  # what follows is not read
            return
        if kind in (b"IDAT", b"fdAT"):
            found.data_parts += 1
        else:
            found.parts += 1
            found.metadata += length
            found.exif += length if kind == b"eXIf" else 0
            found.slow |= kind == b"acTL"
        at += 12 + length


def _webp(data: bytes, found: Structure) -> None:
    found.kind, at = "WEBP", 12
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while at + 8 <= end and found.parts <= MOST_PARTS:
        kind, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if kind == b"VP8X":
            found.width = 1 + int.from_bytes(data[body + 4 : body + 7], "little")
            found.height = 1 + int.from_bytes(data[body + 7 : body + 10], "little")
        elif kind == b"VP8 " and not found.width:
            width, height = struct.unpack_from("<HH", data, body + 6)
            found.width, found.height = width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L" and not found.width:
            bits = struct.unpack_from("<I", data, body + 1)[0]
            found.width, found.height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if kind not in (b"VP8 ", b"VP8L", b"ALPH", b"VP8X"):
            found.metadata += length if kind != b"ANMF" else 0
            found.exif += length if kind == b"EXIF" else 0
            found.slow |= kind in (b"ANIM", b"ANMF")
        found.parts += 1
        at = body + length + (length & 1)


def _bmp(data: bytes, found: Structure) -> None:
    found.kind = "BMP"
    if struct.unpack_from("<I", data, 14)[0] >= 40:
        found.width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
        found.width, found.height = abs(found.width), abs(height)
        found.slow = compression in (1, 2)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says of itself: pixels across and down as it is shown, and as EXIF has them the camera's model and
    the time, "" where they are not known."""

    width: int
    height: int
    camera: str = ""
    time: str = ""


def read(source: Any, limits: Limits = LARGEST, size: tuple[int, int] | None = None) -> Image.Image:
    """A picture as an upright RGB image; of an animation the first frame, transparency on white, 16 bits scaled to 8.

    source: path, bytes, binary file, PIL image or (H, W, 3) array (uint8, or float in [0, 1]). size: (H, W) to which a
    picture is squeezed that is decoded in another process. Raises ImageRejected, whose reason is missing, unreadable,
    too_many_bytes, format, too_many_pixels, too_small, too_complex, too_slow or corrupt.
    """
    if isinstance(source, Image.Image):
        if 0 in source.size:
            raise ImageRejected(f"a picture of {source.size[0]}×{source.size[1]} pixels holds none", "too_small")
        return _rgb(source)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    data, name, found = _examined(source, limits)
    if not found.ordinary:
        reply, pixels = _elsewhere(data, name, limits, size)
        return Image.frombytes("RGB", tuple(reply["size"]), pixels)
    return _decoded(data, name, limits)


def _decoded(data: bytes, name: str, limits: Limits) -> Image.Image:
    with _opened(data, name, limits) as image:
        return _rgb(image)


def header(source: Any, limits: Limits = LARGEST) -> Header:
    """What a picture says of itself, without its pixels. Raises ImageRejected, also for metadata that would be work."""
    data, name, found = _examined(source, limits)
    if found.exif > ORDINARY_EXIF:
        raise ImageRejected(f"{name} has more EXIF than a picture needs; it is not read", "too_complex")
    if found.ordinary:
        return _headed(data, name, limits)
    reply, _ = _elsewhere(data, name, limits, what="header")
    return Header(*reply["header"])


def _headed(data: bytes, name: str, limits: Limits) -> Header:
    with _opened(data, name, limits, sized=False) as image:
        size, camera, time, turn = image.size, "", "", 1
        with suppress(Exception):  # damaged EXIF raises nearly anything, and a crop without it is still a crop
            exif = image.getexif()
            turn, when = exif.get(EXIF_TURN, 1), exif.get_ifd(EXIF_SUB).get(EXIF_TIME) or exif.get(EXIF_CHANGED)
            camera, time = (str(value or "").strip("\0 ")[:MOST_TEXT] for value in (exif.get(EXIF_MODEL), when))
        lies = turn in range(5, 9) and image.format != "TIFF"  # whose size Pillow gives as it is shown
        return Header(*(size[::-1] if lies else size), camera, time)


def kept(data: bytes) -> Image.Image:
    """A PNG that `Image.save` wrote, in its own mode. Raises ImageRejected."""
    limits = replace(GALLERY, formats=("PNG",), bytes=len(data), least=1)
    data, name, found = _examined(data, limits, "a kept picture")
    if found.metadata > ORDINARY_METADATA or found.slow:
        raise ImageRejected(f"{name} holds more than pixels", "too_complex")
    with _opened(data, name, limits) as image:
        image.load()
    return image


@contextmanager
def _opened(data: bytes, name: str, limits: Limits, sized: bool = True) -> Iterator[Image.Image]:
    """A picture whose pixels were not decoded yet. sized: its width and height are held to the limits."""
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
                width, height = image.size
                if sized and (width * height > limits.pixels or max(width, height) > limits.side):
                    raise ImageRejected(
                        f"{name} is {width}×{height} pixels; at most {limits.pixels:,}, and {limits.side} along an "
                        "edge, are read",
                        "too_many_pixels",
                    )
                if sized and min(width, height) < limits.least:
                    raise ImageRejected(
                        f"{name} is {width}×{height} pixels; at least {limits.least} along each edge are needed",
                        "too_small",
                    )
                yield image
    except ImageRejected:
        raise
    except UnidentifiedImageError:
        allowed = ", ".join(limits.formats)
        raise ImageRejected(f"{name} is in no format that descry reads; allowed: {allowed}", "format") from None
    except Image.DecompressionBombError:
        raise ImageRejected(
            f"{name} has more than {limits.pixels / 1e6:g} million pixels; make it smaller", "too_many_pixels"
        ) from None
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes; all of it means the same
        if isinstance(error, ValueError) and "too large" in str(error).lower():
            raise ImageRejected(
                f"{name} holds more text or colour profile than is read (1 MB); save it again without them",
                "too_many_bytes",
            ) from None
        raise ImageRejected(f"{name} is damaged and cannot be decoded ({type(error).__name__})", "corrupt") from None


def _elsewhere(
    data: bytes, name: str, limits: Limits, size: tuple[int, int] | None = None, what: str = "pixels"
) -> tuple[dict[str, Any], bytes]:
    """What `_answer` says of it, in a process of its own."""
    asked = {"name": name, "limits": asdict(limits), "size": size, "what": what}
    try:
        reply, pixels = decoding.in_process("descry.images", asked, data)
    except decoding.TooSlow:
        raise ImageRejected(
            f"{name} takes more than {decoding.SECONDS:g} seconds or too much memory to decode; save it again as an "
            "ordinary picture",
            "too_slow",
        ) from None
    if "reason" in reply:
        raise ImageRejected(reply["message"], reply["reason"])
    return reply, pixels


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """What the other process does with a request of `_elsewhere`."""
    limits = Limits(**request["limits"] | {"formats": tuple(request["limits"]["formats"])})
    try:
        if request["what"] == "header":
            return {"header": astuple(_headed(data, request["name"], limits))}, b""
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


def load(source: Any, size: tuple[int, int], limits: Limits = LARGEST) -> np.ndarray:
    """`read`, then `resize`: (3, H, W) uint8."""
    return resize(read(source, limits, size), size)


def write(image: Image.Image, path: str | Path, **options: Any) -> None:
    """A picture as the end of the file's name says, whole or not at all. options: of Pillow. Raises OSError, and
    ValueError for a name of no format."""
    kind = Image.registered_extensions().get(Path(path).suffix.lower())
    if kind is None:
        raise ValueError(f"no format has names that end in {Path(path).suffix!r}")
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    write_whole(path, buffer.getvalue())


def decodes(path: str | Path, limits: Limits = LARGEST) -> str:
    """ "" for a picture that decodes to its end, else the reason of ImageRejected.

    A JPEG is decoded at an eighth of its size: every byte is still read, and it takes a third of the time.
    """
    try:
        data, name, found = _examined(path, limits)
        if found.kind == "JPEG" and found.ordinary:
            with _opened(data, name, limits) as image:
                image.draft("L", (image.size[0] // 8, image.size[1] // 8))
                image.load()
        else:
            read(data, limits, (8, 8))
    except ImageRejected as error:
        return error.reason
    return ""


def _examined(source: Any, limits: Limits, name: str = "") -> tuple[bytes, str, Structure]:
    """The bytes of a file, none of it read when it is too large; what it is called in errors; and its structure."""
    name = name or (str(source) if isinstance(source, (str, Path)) else "the picture")
    try:
        if isinstance(source, bytes):
            size, data = len(source), source
        elif isinstance(source, (str, Path)):
            with open_regular(source) as file:
                size = os.fstat(file.fileno()).st_size
                data = file.read(limits.bytes + 1) if size <= limits.bytes else b""
            size = max(size, len(data))
        elif hasattr(source, "read"):
            data = source.read(limits.bytes + 1)
            size = len(data)
        else:
            raise UsageError(
                f"a picture is a path, bytes, a file, a PIL image or an array; got {type(source).__name__}"
            )
    except (OSError, ValueError) as error:
        reason, why = unread(name, error)
        raise ImageRejected(f"the picture {name!r} cannot be read: {why}; check the path", reason) from None
    if size > limits.bytes:
        raise ImageRejected(f"{name} has {size:,} bytes; at most {limits.bytes:,} are read", "too_many_bytes")
    found = structure(data)
    if refused := found.refused:
        raise ImageRejected(f"{name} {refused}; save it again as an ordinary picture", "too_complex")
    return data, name, found


def _rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        values, clear = np.asarray(image, np.float32), image.info.get("transparency")
        deep = image.mode.startswith("I;16") or values.max(initial=0) > 255
        top = 65535.0 if deep else 255.0
        grey = (values.clip(0, top) * (255.0 / top)).astype(np.uint8)
        if isinstance(clear, int):  # of 16 bits, one grey that means white paper
            grey[values == clear] = 255
        image = Image.fromarray(grey)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UsageError(f"an array must be (H, W, 3) or (H, W); got {pixels.shape}")
    if 0 in pixels.shape:
        raise ImageRejected(f"an array of shape {pixels.shape} holds no pixel", "too_small")
    if pixels.dtype != np.uint8:
        if pixels.dtype.kind not in "fb":
            raise UsageError(f"an array of {pixels.dtype} was given; give uint8 for 0 … 255, or floats in [0, 1]")
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise UsageError("an array of floats must lie in [0, 1]; give uint8 for 0 … 255")
        pixels = np.round(pixels * 255).astype(np.uint8)
    return Image.fromarray(pixels)


if __name__ == "__main__":
    decoding.answer(_answer)
