"""Vectors on disk: append-only files of fixed-width float16 rows. Rows count only once the database says so.

A segment starts with 64 bytes (magic, dimension, number, checksum), then row after row. What lies beyond the rows that
count is the rest of an interrupted write and is overwritten.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import IndexCorrupt
from ..safe_files import open_own
from . import files

MAGIC = b"descry vectors 1"
HEADER = 64
SEGMENT_BYTES = 128 << 20


def name_of(number: int) -> str:
    """File name of a segment."""
    return f"vectors-{number:06d}.f16"


def capacity(dimension: int) -> int:
    """Rows of a full segment."""
    return max(256, SEGMENT_BYTES // (2 * dimension))


def _header(number: int, dimension: int) -> bytes:
    body = struct.pack("<16sQQ", MAGIC, dimension, number)
    return (body + struct.pack("<I", zlib.crc32(body))).ljust(HEADER, b"\0")


def append(folder: Path, number: int, start: int, vectors: np.ndarray) -> None:
    """Write (n, D) float16 rows from row `start` on, and wait until they are on the disk. OSError when they are not."""
    path = folder / name_of(number)
    fresh = start == 0
    fd = open_own(path)
    try:
        if fresh:
            files.write_at(fd, 0, _header(number, vectors.shape[1]))
        files.write_at(fd, HEADER + start * 2 * vectors.shape[1], np.ascontiguousarray(vectors).data)
        files.sync(fd)
    finally:
        os.close(fd)
    if fresh:
        files.sync_folder(folder)


def cut(folder: Path, number: int, rows: int, dimension: int) -> None:
    """Remove what lies beyond the rows that count."""
    path = folder / name_of(number)
    end = HEADER + rows * 2 * dimension
    if path.stat().st_size > end:
        os.truncate(path, end)


def view(folder: Path, number: int, rows: int, dimension: int) -> np.ndarray:
    """The first rows as an (n, D) float16 array over the file. Private to this process: writing to it changes no file.

    FileNotFoundError when the segment is gone (a compaction may have replaced it), IndexCorrupt when it is no segment
    or too short.
    """
    path = folder / name_of(number)
    size = path.stat().st_size
    if size < HEADER + rows * 2 * dimension:
        raise IndexCorrupt(
            f"{path} has been cut: {size:,} bytes do not hold {rows:,} rows; restore it from a copy, or index again"
        )
    with open(path, "rb") as file:
        if file.read(HEADER) != _header(number, dimension):
            raise IndexCorrupt(
                f"{path} does not begin like segment {number} of dimension {dimension}; restore it from "
                f"a copy, or index again"
            )
        return np.memmap(file, np.float16, "c", HEADER, (rows, dimension))
