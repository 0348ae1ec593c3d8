"""Every write of a gallery outside SQLite goes through here, so that a test can make the n-th one fail.

The rule behind it: bytes are on the disk (fsync) before anything says that they are there.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

from ..errors import IndexCorrupt
from ..safe_files import json_of, open_own, read_own

CONFIG_BYTES = 1 << 20
"""Most bytes of a sealed JSON file."""
os_write = os.write
os_fsync = os.fsync


def write_at(fd: int, offset: int, data: Any) -> None:
    """All of data at offset; OSError when the disk is full or broken."""
    os.lseek(fd, offset, os.SEEK_SET)
    view = memoryview(data).cast("B")
    while view:
        view = view[os_write(fd, view) :]


def sync(fd: int) -> None:
    """Wait until what was written is on the disk."""
    os_fsync(fd)


def sync_folder(folder: Path) -> None:
    """Make names created or replaced in a folder durable. Windows cannot, and does not need to."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os_fsync(fd)
    finally:
        os.close(fd)


def replace(path: Path, data: bytes) -> None:
    """Either the old file or the whole new one is there, also after a power cut."""
    partial = path.with_name(path.name + ".partial")
    fd = open_own(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        write_at(fd, 0, data)
        sync(fd)
    finally:
        os.close(fd)
    os.replace(partial, path)
    sync_folder(path.parent)


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """A JSON file that carries the checksum of its own content."""
    body = json.dumps(value, indent=1, sort_keys=True)
    replace(path, f"{body}\ncrc32 {zlib.crc32(body.encode()):08x}\n".encode())


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote; IndexCorrupt when a byte differs, FileNotFoundError when it is not there."""
    raw = read_own(path, CONFIG_BYTES)
    try:
        body, seal = raw.decode("utf-8").rstrip("\n").rsplit("\ncrc32 ", 1)
        if not raw.endswith(b"\n") or f"{zlib.crc32(body.encode()):08x}" != seal:
            raise ValueError("the checksum differs")
        value = json_of(body)
        if not isinstance(value, dict):
            raise ValueError("it holds no object")
        return value
    except ValueError as error:
        raise IndexCorrupt(
            f"{path} is damaged ({error}); restore it from a copy, or index again into a new folder"
        ) from None
