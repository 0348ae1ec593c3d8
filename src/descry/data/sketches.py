"""`descry data sketch`: a sketch for every photograph below a folder, in a mirror tree; parallel and resumable.

So Tri-PEDES is made from photographs that the user is licensed to use: `imgs/…` is mirrored as `imgs-sketch/…` beside
it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from ..errors import DataError, ImageRejected, UsageError
from ..images import SUFFIXES
from ..listing import Missed, entries_of, files_under, unnamed
from ..safe_files import json_of, write_whole
from ..sketching import HEIGHT, sketch
from ..tabular import read_text

RECORD = "descry-sketches.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Drawing:
    """How sketches are made; recorded beside them, so that a folder never mixes two ways."""

    style: str = "xdog"
    dropout: float = 0.0
    distortion: float = 0.0
    seed: int = 0
    height: int = HEIGHT
    version: int = VERSION


@dataclass(frozen=True)
class Drawn:
    """What was done: folders written, sketches made, sketches that were there, and pictures skipped with the reason."""

    folders: tuple[str, ...]
    made: int
    kept: int
    skipped: tuple[tuple[str, str], ...]


def draw_sketches(
    root: str | Path,
    drawing: Drawing = Drawing(),
    photos: str = "imgs",
    sketches: str = "imgs-sketch",
    threads: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Drawn:
    """Draw the sketches of every folder named `photos` in root or one level below it. What is there already is kept.

    Raises DataError when there is no such folder, or when the sketches there were made in another way.
    """
    root = Path(root)
    missed: list[Missed] = []
    places = [str(root), *(entry.path for entry in entries_of(str(root), missed) if entry.is_dir())]
    for place in places[1:]:
        if os.path.basename(place) != photos:  # whose own reading is told below
            entries_of(place, missed)  # one that cannot be listed may hold photographs
    sources = [Path(place, photos) for place in places if os.path.isdir(os.path.join(place, photos))]
    if not sources:
        raise DataError(f"{root} holds no folder {photos!r}, and none of its folders does; name it with --photos")
    if photos == sketches:
        raise UsageError(f"photographs and sketches cannot share the folder {photos!r}")
    jobs: list[tuple[Path, Path, str]] = []
    kept = 0
    skipped = [(m.path, f"{m.reason}: {m.detail}") for m in missed]
    for source in sources:
        target = source.with_name(sketches)
        _record(target, drawing)
        for path in _photographs(source, skipped):
            inside = path.relative_to(source)
            drawn = target / inside
            if drawn.is_file() and drawn.stat().st_mtime_ns == path.stat().st_mtime_ns:
                kept += 1
            else:
                jobs.append((path, target / inside, inside.as_posix()))
    unread = len(skipped)
    for done, (name, reason) in enumerate(_run(jobs, drawing, threads), 1):
        if reason:
            skipped.append((name, reason))
        if progress:
            progress(done, len(jobs))
    folders = tuple(str(s.with_name(sketches)) for s in sources)
    return Drawn(folders, len(jobs) - len(skipped) + unread, kept, tuple(skipped))


def _photographs(folder: Path, skipped: list[tuple[str, str]]) -> list[Path]:
    """The pictures below a folder by their names, in order. skipped: takes what else lies there, with the reason."""
    missed: list[Missed] = []
    found: list[Path] = []
    for entry in files_under(str(folder), missed=missed):
        if entry.name.lower().endswith(SUFFIXES):
            found.append(Path(entry.path))
        elif entry.name != RECORD:
            missed.append(unnamed(entry.path))
    told = (m for m in missed if m.reason != "empty")
    skipped += [(Path(m.path).relative_to(folder).as_posix(), f"{m.reason}: {m.detail}") for m in told]
    return sorted(found)


KINDS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP",
    ".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF", ".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF",
}  # fmt: skip
"""Suffix of a photograph → how its sketch, which has the same name, is written."""


def _record(target: Path, drawing: Drawing) -> None:
    file = target / RECORD
    wanted = asdict(drawing)
    if file.is_file():
        try:
            held = json_of(read_text(file))
        except ValueError as error:
            raise DataError(f"{file} is damaged ({error}); choose another folder with --sketches") from None
        if held != wanted:
            held = held if isinstance(held, dict) else {}
            differing = ", ".join(f"{k} {held.get(k)!r}" for k, v in wanted.items() if held.get(k) != v)
            raise DataError(
                f"{target} was drawn with {differing}; ask for the same, or choose another folder with --sketches"
            )
        return
    if target.is_dir() and _photographs(target, []):
        raise DataError(f"{target} holds sketches of another origin; choose another folder with --sketches")
    target.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(wanted, indent=2) + "\n")


def _run(jobs: list[tuple[Path, Path, str]], drawing: Drawing, threads: int) -> Iterator[tuple[str, str]]:
    """Decoding and filtering release the lock, so threads share the work and no caller needs a guarded main module."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(partial(_one, drawing=drawing), jobs)


def _one(job: tuple[Path, Path, str], drawing: Drawing) -> tuple[str, str]:
    """Draw one sketch, seeded by the photograph's name, so that the order does not matter; (path, reason).

    It gets the date of its photograph, by which a photograph that was replaced is noticed, also by an older one.
    """
    source, target, name = job
    date = os.stat(source).st_mtime_ns
    seed = int.from_bytes(hashlib.sha256(f"{drawing.seed} {name}".encode()).digest()[:8], "big")
    try:
        pixels = sketch(source, drawing.style, seed, drawing.dropout, drawing.distortion, drawing.height)
    except ImageRejected as error:
        return str(source), error.reason
    target.parent.mkdir(parents=True, exist_ok=True)
    partial_file = target.with_name(target.name + ".partial")
    kind = KINDS[target.suffix.lower()]
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.fromarray(pixels).convert("RGB").save(partial_file, kind, quality=92)
    os.utime(partial_file, ns=(date, date))
    partial_file.replace(target)
    return str(source), ""
