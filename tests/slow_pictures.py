"""Small files that take a decoder minutes, hours or all of the memory."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int = 8, colour: int = 2, before: bytes = b"", after: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = 1 + (width * depth * channels + 7) // 8
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(bytes(row * min(64, height - y))) for y in range(0, height, 64)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", body) + after + chunk(b"IEND")


def progressive(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    whole = encoded(Image.new("RGB", (side, side), "red"), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * scans + b"\xff\xd9"


def segments(marker: int, body: bytes, count: int) -> bytes:
    """A JPEG with many segments after its beginning."""
    whole = encoded(Image.new("RGB", (64, 64), "red"), "JPEG")
    return whole[:2] + (struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body) * count + whole[2:]


def many_values(count: int, size: int) -> bytes:
    """EXIF of many entries which all hold the same long value."""
    table = b"".join(struct.pack("<HHII", i, 7, size, 8 + 6 + 12 * count) for i in range(count))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + table + bytes(4 + size)


def webp_chunks(kind: bytes, body: bytes, count: int) -> bytes:
    whole = encoded(Image.new("RGB", (64, 64), "red"), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    more = (kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)) * count
    return b"RIFF" + struct.pack("<I", len(whole) - 8 + len(more)) + whole[8:] + more


def run_lengths(side: int) -> bytes:
    """A BMP of run lengths, one pixel each."""
    palette = b"".join(struct.pack("<BBBB", i, i, i, 0) for i in range(256))
    body = b"\x01\x05" * (side * side)
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 256)
    offset = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + head + palette + body


def tiff_tags(count: int, size: int) -> bytes:
    """A TIFF of many tags which all hold the same long value."""
    known = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 64, 279: 4096}
    at = 8 + 4096
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in known.items())
    values = at + 2 + len(tags) + 12 * count + 4
    tags += b"".join(struct.pack("<HHII", 40_000 + i, 7, size, values) for i in range(count))
    table = struct.pack("<H", len(known) + count) + tags + bytes(4)
    return b"II*\0" + struct.pack("<I", at) + bytes(4096) + table + bytes(size)


def gif_frames(side: int, count: int) -> bytes:
    """A large GIF whose frames follow one another."""
    frames = [Image.new("P", (side, side), i) for i in range(count)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def heic(side: int) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return encoded(Image.new("RGB", (side, side)), "HEIF", quality=1, enc_params={"preset": "ultrafast"})


def slow_pictures() -> Iterator[tuple[str, bytes, bool]]:
    """(name with suffix, bytes, whether it is refused by its structure alone)."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"
    yield "scans.jpg", progressive(4000, 2000), True
    yield "scans-few-large.jpg", progressive(6000, 60), True
    yield "scans-behind-tables.jpg", _tables_between(progressive(2000, 400)), True
    yield "scans-no-end.jpg", progressive(4000, 1000)[:-2], True
    yield "exif-pieces.jpg", segments(0xE1, exif, 300_000), True
    yield "exif-large-pieces.jpg", segments(0xE1, exif + bytes(60_000), 300), True
    yield "comments.jpg", segments(0xFE, b"", 2_000_000), True
    yield "profiles.jpg", segments(0xE2, b"ICC_PROFILE\0\x01\x01", 500_000), True
    yield "photoshop.jpg", segments(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\0" * 5000, 300), False
    yield "chunks.png", png(64, 64, before=chunk(b"teXt") * 500_000), True
    yield "chunks-after.png", png(64, 64, after=chunk(b"teXt") * 500_000), True
    yield "empty-data.png", png(64, 64, after=chunk(b"IDAT") * 500_000), True
    yield "texts.png", png(64, 64, before=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000), 9)) * 1500), False
    yield "exif-values.png", png(64, 64, before=chunk(b"eXIf", many_values(60_000, 1_000_000)[6:])), False
    yield "sixteen-bits.png", png(6300, 6300, 16, 6), False
    palette = chunk(b"PLTE", bytes(range(256)) * 3) + chunk(b"tRNS", bytes(range(256)))
    yield "palette.png", png(6300, 6300, 8, 3, palette), False
    yield "one-bit-palette.png", png(6300, 6300, 1, 3, chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", b"\0\1")), False
    frames = chunk(b"acTL", struct.pack(">II", 1 << 30, 0))
    yield "frames.png", png(64, 64, before=frames + chunk(b"fcTL", bytes(26)) * 500_000), True
    yield "pieces.webp", webp_chunks(b"ANMF", b"", 500_000), True
    yield "exif.webp", webp_chunks(b"EXIF", many_values(60_000, 1_000_000), 4), False
    noise = np.random.default_rng(0).integers(0, 40, (3400, 3400, 4), np.uint8)
    still = Image.fromarray(noise)
    animation = encoded(still, "WEBP", save_all=True, append_images=[still.rotate(90)], quality=1, method=0)
    yield "animation.webp", animation, False
    yield "run-lengths.bmp", run_lengths(3400), False
    yield "tags.tif", tiff_tags(20_000, 1_000_000), False
    yield "strips.tif", encoded(Image.new("RGB", (6300, 6300)), "TIFF", compression="tiff_adobe_deflate"), False
    yield "frames.gif", gif_frames(6000, 3), False
    yield "square.avif", encoded(Image.new("RGB", (6000, 6000)), "AVIF", speed=10, quality=1), False
    yield "square.heic", heic(6000), False


def _tables_between(data: bytes) -> bytes:
    """Segments that hold what looks like the end of the picture, between the scans."""
    return data.replace(b"\xff\xda", b"\xff\xfe\x00\x06\xff\xd9\xff\xd9\xff\xda")
