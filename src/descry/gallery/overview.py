"""What a gallery holds, in numbers a person reads."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from .contract import from_microseconds
from .local import LocalStore

MOST = 50


def overview(store: LocalStore) -> dict[str, Any]:
    """Items, cameras with counts (the fifty largest), times, skipped files by reason, size, model: plain values."""
    with store.database.reading() as connection:
        state = store.database.state()
        cameras = connection.execute(
            "SELECT camera, count(*) FROM items GROUP BY camera ORDER BY 2 DESC, 1 LIMIT ?", (MOST,)
        )
        first, last, tracks = connection.execute(
            "SELECT min(time), max(time), count(DISTINCT NULLIF(track, '')) FROM items"
        ).fetchone()
        reasons = connection.execute("SELECT reason, count(*) FROM skipped GROUP BY reason ORDER BY 2 DESC, 1")
        span = [t.isoformat() if t else "" for t in (from_microseconds(first), from_microseconds(last))]
        facts: dict[str, Any] = {
            "items": state.count,
            "cameras": {name: n for name, n in cameras.fetchall() if name or n < state.count},
            "tracks": tracks,
            "from": span[0],
            "to": span[1],
            "skipped": dict(reasons.fetchall()),
        }
    binding = store.binding
    return facts | {
        "bytes": store.size(),
        "commits": state.generation,
        "created": store.config["created"],
        "model": binding.source,
        "fingerprint": binding.fingerprint,
        "dimension": binding.dimension,
        "preprocessing": binding.preprocessing,
    }


def skipped(store: LocalStore) -> list[tuple[str, str]]:
    """(path, "reason: detail") of every file that was not read, by path."""
    with store.database.reading() as connection:
        rows = connection.execute("SELECT path, reason, detail FROM skipped ORDER BY path").fetchall()
    return [(os.fsdecode(path), f"{reason}: {detail}") for path, reason, detail in rows]


def content_digest(store: LocalStore) -> str:
    """SHA-256 (hex) over number, content, camera, track and time of every item: what a search was made among.

    Where the pictures lie does not count, and nothing of an item can be read from it.
    """
    made = hashlib.sha256()
    with store.database.reading() as connection:
        for row in connection.execute("SELECT id, sha, camera, track, time FROM items ORDER BY id"):
            made.update(repr(row).encode())
    return made.hexdigest()
