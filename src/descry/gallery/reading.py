"""Files into pixels, on several threads, a little ahead of the encoder: checked, hashed, decoded, or refused with a
reason.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import images, safe_files
from ..errors import ImageRejected
from ..escape import path_text
from .contract import Entry, Item, mtime_of
from .groups import look_of
from .sources import Sources
from .walk import Found


@dataclass(slots=True)
class Loaded:
    """A file that was read: its entry, and pixels unless its content is known already; or why it was not."""

    found: Found
    entry: Entry | None = None
    pixels: np.ndarray | None = None
    reason: str = ""
    detail: str = ""


def as_indexed(item: Item) -> bytes:
    """The file of an item, byte for byte as it was indexed: what is shown is what was ranked.

    Raises ImageRejected: "outside" for a path out of the folders that this user named, "missing", "unreadable" (rights,
    or a disk that is away: it may pass), or "changed".
    """
    name = path_text(os.path.basename(item.path))
    if not safe_files.allowed(item.path):
        raise ImageRejected(
            f"{name} lies outside the folders that were indexed here; to show it: descry gallery allow FOLDER",
            "outside",
        )
    try:
        with safe_files.open_regular(item.path) as file:
            data = file.read(min(item.size, images.GALLERY.bytes) + 1)
    except (OSError, ValueError) as error:
        reason, why = safe_files.unread(item.path, error)
        said = "is not there any more" if reason == "missing" else f"cannot be read: {why}"
        raise ImageRejected(f"the file {name} {said}", reason) from None
    if hashlib.sha256(data).hexdigest() != item.sha256:
        raise ImageRejected(f"the file {name} has changed since it was indexed; index its folder again", "changed")
    return data


class Reader:
    """Reads files for an encoder. size: (H, W). known: contents that need no pixels, since a vector stands for them; it
    may grow meanwhile.
    """

    def __init__(self, size: tuple[int, int], limits: images.Limits, sources: Sources, known: Mapping[bytes, int]):
        self.size, self.limits, self.sources, self.known = size, limits, sources, known

    def ahead(self, fresh: Sequence[Found], most: int) -> Iterator[Loaded]:
        """Files in order, read by several threads up to `most` ahead of who takes them."""
        ahead: deque[Future[Loaded]] = deque()
        with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1)), "decode") as pool:
            try:
                for found in fresh:
                    ahead.append(pool.submit(self.read, found))
                    if len(ahead) > most:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def read(self, found: Found) -> Loaded:
        """One file; never raises for what is wrong with it."""
        checked = time.time_ns()
        try:
            if found.size > self.limits.bytes:
                message = f"it has {found.size:,} bytes; at most {self.limits.bytes:,} are read"
                raise ImageRejected(message, "too_many_bytes")
            with safe_files.open_regular(found.path) as file:
                stat = os.fstat(file.fileno())
                data = file.read(self.limits.bytes + 1)
            sha = hashlib.sha256(data).digest()
            entry = Entry(found.path, sha, stat.st_size, mtime_of(stat), checked=checked)
            entry = replace(entry, **self.sources.fields(found.path, entry.mtime, self._header(data)))
            if sha in self.known:
                return Loaded(found, entry)
            pixels = images.load(data, self.size, self.limits)
            return Loaded(found, replace(entry, look=look_of(pixels)), pixels)
        except ImageRejected as error:
            return Loaded(found, reason=error.reason, detail=str(error))
        except OSError as error:
            return Loaded(found, reason="missing", detail=error.strerror or str(error))

    def fields(self, found: Found, held: Mapping[str, Any]) -> dict[str, Any]:
        """camera, time and track of a file as the sources say now; those that no source is named for stay as held."""
        try:
            data = b""
            if self.sources.needs_exif:
                with safe_files.open_regular(found.path) as file:
                    data = file.read(self.limits.bytes + 1)
            said = self.sources.fields(found.path, found.mtime, self._header(data))
        except OSError:
            return dict(held)
        return {k: said[k] if getattr(self.sources, k) or said[k] else v for k, v in held.items()}

    def _header(self, data: bytes) -> images.Header | None:
        with suppress(ImageRejected):  # images.load says what is wrong with this file
            return images.header(data, self.limits) if self.sources.needs_exif else None
        return None
