"""What is allowed, in one place: shown by the API and the page's help, enforced before work is done."""

from __future__ import annotations

from dataclasses import dataclass

from ..images import UPLOAD
from ..interact.rounds import MAX_MARKS, MAX_ROUNDS
from ..language import MAX_CHARACTERS, MAX_PARTS


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
