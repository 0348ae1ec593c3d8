"""Pictures that cost more than they should: told by the structure of the file, and decoded in a process that can be
ended.

Bytes and pixels do not bound the work of a decoder. A JPEG of 60 kB may hold a thousand scans over sixteen million
pixels, and a PNG a million empty chunks. `structure` reads the markers or chunks of a file in one bounded pass.
`Structure.refused` says why a file is not decoded at all; `Structure.ordinary` is false for one that may be sound but
is decoded by `in_process`: a process of its own with limits on processor time and memory.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .safe_files import child_environment

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
SECONDS, WALL, MEMORY = 2.0, 15.0, 3 << 30
"""Processor time, time on the clock and address space of one picture in a process of its own."""
PROCESSES = 2

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


# ---------------------------------------------------------------------- in a process of its own


class TooSlow(Exception):
    """The process was ended: the picture took too long, or too much memory."""


class _Child:
    """A Python process that answers requests one by one: a line of JSON and bytes in, the same out."""

    def __init__(self, module: str):
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=child_environment(),
        )  # fmt: skip

    def ask(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        timer = threading.Timer(WALL, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            _send(self.process.stdin, request, data)
            return _receive(self.process.stdout)
        except (OSError, ValueError):
            raise TooSlow from None
        finally:
            timer.cancel()

    def end(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        self.process.wait()


_free: list[_Child] = []
_owner, _guard, _turn = os.getpid(), threading.Lock(), threading.BoundedSemaphore(PROCESSES)


def in_process(module: str, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """Let `module`, run as a program that calls `answer`, do it. Raises TooSlow; the process is ended then.

    At most PROCESSES run at once; they are kept for the next picture and end with this process.
    """
    with _turn:
        child = _taken() or _Child(module)
        try:
            answer = child.ask(request, data)
        except BaseException:
            child.end()
            raise
        with _guard:
            _free.append(child)
        return answer


def _taken() -> _Child | None:
    global _owner
    with _guard:
        if _owner != os.getpid():  # forked: those processes are our parent's
            _owner = os.getpid()
            _free.clear()
        return _free.pop() if _free else None


@atexit.register
def close() -> None:
    """End the processes that wait."""
    while (child := _taken()) is not None:
        child.end()


def answer(work: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]) -> None:
    """Be such a process: answer requests until there are no more. work: request and bytes → reply and bytes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us decides
    if os.name != "nt":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    with suppress(OSError, ValueError):
        while True:
            request, data = _receive(incoming)
            _alarm(SECONDS)
            reply = work(request, data)
            _alarm(0)
            _send(outgoing, *reply)


def _alarm(seconds: float) -> None:
    """Let the system end this process after so much processor time; its default action needs no cooperation."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _send(pipe: Any, head: dict[str, Any], data: bytes) -> None:
    line = json.dumps(head).encode()
    pipe.write(struct.pack("<IQ", len(line), len(data)) + line)
    pipe.write(data)
    pipe.flush()


def _receive(pipe: Any) -> tuple[dict[str, Any], bytes]:
    sizes = pipe.read(12)
    if len(sizes) < 12:
        raise ValueError("the other process has ended")
    line, length = struct.unpack("<IQ", sizes)
    head, data = json.loads(pipe.read(line)), pipe.read(length)
    if len(data) != length:
        raise ValueError("the other process has ended")
    return head, data
