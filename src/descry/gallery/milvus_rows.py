"""Items as rows of a Milvus collection, and filters in the engine's language."""

from __future__ import annotations

import json
import os
import re
import zlib
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import numpy as np

from ..errors import UsageError
from ..query import Filters
from .contract import Entry, Item, from_microseconds, microseconds
from .filters import glob_of

NEVER = -(1 << 62)
BYTES = "\0"
UNKNOWN = "(unknown)"  # a field that divides a collection must not be empty
MOST_DAYS = 400
PUBLIC = ["id", "path", "sha", "size", "mtime", "camera", "track", "time", "look"]


def id_of(path: str) -> int:
    """A positive 63-bit id from a path: the same path, the same item, on any number of machines."""
    return int.from_bytes(blake2b(os.fsencode(path), digest_size=8).digest(), "big") >> 1


def crc_of(vector: np.ndarray) -> int:
    """Checksum of a vector's float16 bytes, as the local store keeps it."""
    return zlib.crc32(np.ascontiguousarray(vector, np.float16).tobytes())


def expression(filters: Filters | None, partition_by: str = "none") -> str:
    """Filters in the engine's language. Marks are the asker's: UsageError for a filter by them.

    Where items are divided by day, a time range also names its days: a server looks into partitions only for = and IN
    over the field that divides them. Cameras are asked by IN as they are.
    """
    if filters is None:
        return ""
    if filters.marked is not None:
        raise UsageError("a Milvus store knows no marks; filter by marks in a local gallery")
    parts = []
    if filters.cameras:
        parts.append(f"camera in {_quoted(c or UNKNOWN for c in filters.cameras)}")
    if filters.since:
        parts.append(f"time >= {microseconds(filters.since)}")
    if filters.until:
        parts.append(f"time <= {microseconds(filters.until)} and time > {NEVER}")
    days = _days(filters) if partition_by == "day" else []
    if days:
        parts.append(f"day in {_quoted(days)}")
    if filters.path:
        if re.search(r"[?\[\]]", filters.path):
            raise UsageError(f"the path pattern {filters.path!r} was given; a Milvus store understands only * in it")
        pattern = re.sub(r"([%_\\])", r"\\\1", glob_of(filters.path)).replace("*", "%")
        parts.append(f"path like {json.dumps(pattern, ensure_ascii=False)}")
    return " and ".join(parts)


def _days(filters: Filters) -> list[str]:
    """The days of a range with both ends; none for an open or a very long one, which touches most partitions anyway."""
    if not filters.since or not filters.until:
        return []
    first, count = filters.since.date(), (filters.until.date() - filters.since.date()).days + 1
    return [(first + timedelta(days=i)).isoformat() for i in range(count)] if 0 < count <= MOST_DAYS else []


def _quoted(values: Any) -> str:
    return json.dumps(list(values), ensure_ascii=False)


def row_of(number: int, entry: Entry, vector: np.ndarray) -> dict[str, Any]:
    """One item as the collection holds it. vector: (D,) float16."""
    time = microseconds(entry.time)
    look = entry.look - (1 << 64) if entry.look >= 1 << 63 else entry.look
    return {
        "id": int(number),
        "vector": vector.astype(np.float32).tolist(),
        "path": _text(entry.path),
        "sha": entry.sha.hex(),
        "camera": entry.camera or UNKNOWN,
        "track": entry.track,
        "day": entry.time.date().isoformat() if entry.time else UNKNOWN,
        "size": entry.size,
        "mtime": entry.mtime,
        "checked": entry.checked,
        "time": NEVER if time is None else time,
        "look": look,
        "crc": crc_of(vector),
    }


def item_of(row: dict[str, Any]) -> Item:
    """A row with the fields of PUBLIC as an Item."""
    time = None if row["time"] == NEVER else from_microseconds(row["time"])
    path, look, camera = _path(row["path"]), row["look"] % (1 << 64), known(row["camera"])
    return Item(row["id"], path, row["sha"], row["size"], row["mtime"], camera, row["track"], time, look)


def known(camera: str) -> str:
    """A camera's name as it was stored, "" for unknown."""
    return "" if camera == UNKNOWN else camera


def _text(path: str) -> str:
    """A path as text that any engine keeps; bytes that are no UTF-8 are kept one by one behind a mark."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return BYTES + os.fsencode(path).decode("latin-1")
    return path


def _path(text: str) -> str:
    return os.fsdecode(text[1:].encode("latin-1")) if text.startswith(BYTES) else text
