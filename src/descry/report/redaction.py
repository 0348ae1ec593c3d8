"""Paths in what people wrote: notes, names and phrases, of which a report without paths must leave them out too."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

GONE = "(path)"
_LOOKS = re.compile(
    r"""(?<![\w/\\])(?:[A-Za-z]:[\\/]|file:/+|\\\\|~/|\.{1,2}[\\/]|/(?=\w))[^\s"'<>|“”]+  # begins like a path
    |[^\s"'<>|“”]+\.(?:jpe?g|png|webp|bmp|gif|tiff?|mp4|avi|mkv|mov)\b                     # ends like a file's name
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Redactor:
    """Leaves out of texts the paths and file names of these files, their folders, and all that looks like a path."""

    def __init__(self, paths: Iterable[str]):
        known = sorted({name for path in paths for name in _names(path)}, key=lambda name: (-len(name), name))
        self._known = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, known))})(?!\w)") if known else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        return _LOOKS.sub(GONE, self._known.sub(GONE, text) if self._known else text)

    def within(self, value: Any) -> Any:
        """Plain values with every text in them redacted."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.within(v) for v in value]
        if isinstance(value, dict):
            return {k: self.within(v) for k, v in value.items()}
        return value


def _names(path: str) -> Iterator[str]:
    """The path, its file's name, and the folders around it with a blank in them, whose end no pattern can know."""
    yield path
    yield os.path.basename(path)
    folder = os.path.dirname(path)
    while len(folder) > 1 and folder != os.path.dirname(folder):
        if " " in folder:
            yield folder
        folder = os.path.dirname(folder)
