"""From a crop back to the footage: source, time and box, from the table that `descry crop` wrote beside the crops."""

from __future__ import annotations

import csv
import functools
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from .. import safe_files
from ..escape import path_text
from ..listing import TABLE
from ..tabular import TABLE_BYTES
from .cropping import COLUMNS
from .reading import FootageError, Frames, Video

PLAYABLE = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/mp4"}
"""Suffixes of what browsers may play, with their media types."""
LONGEST = 10**9
"""Most seconds and frames of a source: thirty years."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a crop was cut.

    Attributes:
        source: the video file or folder of frames.
        frame: number of the frame, from 0.
        seconds: from the beginning of the source.
        clock: where the clock time comes from and how far it can be trusted; "" where it is unknown.
        box: left, top, width, height in pixels of the frame.
        score: of the detector.
    """

    source: str
    frame: int
    seconds: float
    clock: str
    box: tuple[float, float, float, float]
    score: float

    @property
    def name(self) -> str:
        """The source without the folders above it, as text that can be shown."""
        return path_text(os.path.basename(self.source))

    @property
    def told(self) -> str:
        """`lobby.mp4, 0:01:23.4 (frame 834)`."""
        minutes, seconds = divmod(round(self.seconds, 1), 60)
        hours, minutes = divmod(int(minutes), 60)
        return f"{self.name}, {hours}:{minutes:02d}:{seconds:04.1f} (frame {self.frame})"

    @property
    def media_type(self) -> str:
        """Of a video that browsers may play; "" for anything else, and for one that this user never named."""
        there = os.path.isfile(self.source) and safe_files.allowed(self.source)
        return PLAYABLE.get(Path(self.source).suffix.lower(), "") if there else ""

    def still(self) -> Image.Image:
        """The whole frame with the box drawn in it. Raises FootageError when the source cannot be read any more, or
        lies outside the folders that this user named."""
        if not safe_files.allowed(self.source):
            raise FootageError(
                f"{self.name}: the footage lies outside the folders that were cropped here; to show it: "
                "descry gallery allow FOLDER"
            )
        folder = os.path.isdir(self.source)
        source = Frames(self.source) if folder else Video(self.source)
        start = self.frame / source.rate if isinstance(source, Frames) else max(0.0, self.seconds - 0.0005)
        frame = next(source.frames(start=start, number=self.frame), None)
        if frame is None:
            raise FootageError(f"{self.source}: it has no frame at {self.seconds:.1f} s any more")
        image = Image.fromarray(frame.pixels())
        x, y, w, h = self.box
        line = max(2, image.height // 200)
        ImageDraw.Draw(image).rectangle(
            (x - line, y - line, x + w + line, y + h + line), outline=(255, 40, 40), width=line
        )
        return image


def origin_of(path: str) -> Origin | None:
    """Where a crop was cut, by the nearest crops.csv in the folders above it; None for any other picture."""
    crop = Path(path)
    for above in list(crop.parents)[:3]:
        table = above / TABLE
        try:
            stat = table.stat()
        except (OSError, ValueError):
            continue
        return _rows(str(table), stat.st_mtime_ns, stat.st_size).get(crop.relative_to(above).as_posix())
    return None


@functools.lru_cache(maxsize=8)
def _rows(table: str, changed: int, size: int) -> dict[str, Origin]:
    """path → origin; empty for a table that `descry crop` did not write. changed, size: so that a new table is read."""
    out = {}
    try:
        text = safe_files.read_regular(table, TABLE_BYTES).decode("utf-8")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if tuple(reader.fieldnames or ()) != COLUMNS:
            return {}
        for row in reader:
            x, y, width, height, seconds, score = (
                float(row[name]) for name in ("x", "y", "width", "height", "video_time", "score")
            )
            frame = int(row["frame"])
            within = 0 <= seconds <= LONGEST and 0 <= frame <= LONGEST
            if not within or not all(map(math.isfinite, (x, y, width, height, score))):
                return {}
            out[row["path"]] = Origin(row["source"], frame, seconds, row["clock"], (x, y, width, height), score)
    except (OSError, ValueError, TypeError, csv.Error):
        return {}
    return out
