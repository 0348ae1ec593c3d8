"""What is allowed, in one place: shown by the API and the page's help, enforced before work is done. And what is held
in memory, within limits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..images import UPLOAD
from ..interact.rounds import MAX_MARKS, MAX_ROUNDS
from ..language import MAX_CHARACTERS, MAX_PARTS

Value = TypeVar("Value")


@dataclass(frozen=True)
class Limits:
    """upload_bytes, upload_pixels, upload_side: of a sketch or photograph. json_bytes: of any other body.

    characters, parts: of one text, of one query. marks, rounds: of one inquiry. page, page_most: results per answer.
    depth: deepest rank that can be reached. pictures: of one query. queue: searches that may wait, and pictures.
    decoding: pictures decoded at once. lookups: items looked up at once. connections: kept open; the one that was idle
    longest makes room for another. idle_seconds: without a request before a connection is closed. request_seconds: for
    sending a request, and for answering it. searches_per_minute, burst: rounds made; drawing with "search as I draw"
    makes about one a second, so more than a person clicking needs. token_hours: without use.
    """

    upload_bytes: int = UPLOAD.bytes
    upload_pixels: int = UPLOAD.pixels
    upload_side: int = UPLOAD.side
    json_bytes: int = 1_000_000
    characters: int = MAX_CHARACTERS
    parts: int = MAX_PARTS
    pictures: int = 8
    marks: int = MAX_MARKS
    rounds: int = MAX_ROUNDS
    page: int = 50
    page_most: int = 200
    depth: int = 2000
    queue: int = 32
    decoding: int = 2
    lookups: int = 4
    connections: int = 64
    idle_seconds: float = 30.0
    request_seconds: float = 30.0
    searches_per_minute: int = 120
    burst: int = 30
    token_hours: float = 12.0


LIMITS = Limits()


class Least:
    """A dictionary that forgets what was used least lately, but never the last value put into it. most: of all values
    together. size: what one counts."""

    def __init__(self, most: int, size: Callable[[Any], int] = lambda value: 1):
        self.most, self.size, self.held = most, size, 0
        self._rows: OrderedDict[Any, Any] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Any) -> Any:
        """What is kept under the key, or None."""
        with self._guard:
            if key in self._rows:
                self._rows.move_to_end(key)
            return self._rows.get(key)

    def put(self, key: Any, value: Value) -> Value:
        """Keep it; → it."""
        with self._guard:
            if key in self._rows:
                self.held -= self.size(self._rows.pop(key))
            self._rows[key] = value
            self.held += self.size(value)
            while self.held > self.most and len(self._rows) > 1:
                self.held -= self.size(self._rows.popitem(last=False)[1])
        return value

    def clear(self) -> None:
        """Forget everything."""
        with self._guard:
            self._rows.clear()
            self.held = 0
