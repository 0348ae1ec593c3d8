"""Reading footage: video files of any container and codec that FFmpeg knows, and folders of frames.

Both give the same: frames with their number, their time in seconds from the beginning, and their pixels. Damage is
survived where it can be: what was readable is given, and `Source.notes` says what was wrong and where.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from .. import images
from ..errors import DataError, ImageRejected, UsageError, install_hint
from ..listing import LINKED, Missed, entries_of, files_under, unnamed

VIDEOS = images.VIDEO_SUFFIXES
PICTURES = tuple(s for s in images.SUFFIXES if s not in images.VIDEO_SUFFIXES)
BESIDE = (".txt", ".csv", ".json")
"""Tables of boxes, times and cameras, which may lie beside footage."""
GAP = 10.0  # seconds between two frames that are told as a gap
BEHIND = 1.0  # seconds by which a video may end before its stated end without a word
ROTATIONS = (0, 90, 180, 270)


class FootageError(DataError):
    """A source that gives no frame at all; the message is one line and names the reason."""

    code = "footage"


class Frame:
    """One frame. number: from 0, in the order of showing. time: seconds from the beginning of the source.

    width, height: in pixels, as shown (after rotation).
    """

    __slots__ = ("_picture", "_rotation", "height", "number", "time", "width")

    def __init__(self, number: int, time: float, picture: Any, rotation: int = 0):
        self.number, self.time, self._picture, self._rotation = number, time, picture, rotation
        self.width, self.height = (picture.width, picture.height)[:: -1 if rotation % 180 else 1]

    def pixels(self, height: int | None = None) -> np.ndarray:
        """RGB, uint8, (H, W, 3); reduced to the given height in pixels where one is given and the frame is higher."""
        wide, high = self.width, self.height
        if height and height < high:
            wide, high = max(2, 2 * round(wide * height / high / 2)), height  # even widths are faster
        if self._rotation % 180:
            wide, high = high, wide
        if isinstance(self._picture, Image.Image):
            picture = self._picture
            if (wide, high) != picture.size:
                picture = picture.resize((wide, high), Image.Resampling.BILINEAR)
            array = np.asarray(picture)
        else:
            picture = _converter().reformat(self._picture, wide, high, "rgb24", interpolation="AREA")
            array = picture.to_ndarray()
        return np.ascontiguousarray(np.rot90(array, self._rotation // 90)) if self._rotation else array


_LOCAL = threading.local()


def _converter() -> Any:
    """One per thread: it sets itself up for a size once, and is not safe to share."""
    if not hasattr(_LOCAL, "converter"):
        _LOCAL.converter = library("av.video.reformatter").VideoReformatter()
    return _LOCAL.converter


class Source(Protocol):
    """Something that gives frames.

    Attributes:
        path: the file or folder, as it was given.
        duration: seconds; 0 where it is not stated.
        begins: clock time of the first frame, or None.
        clock: where `begins` comes from and how far it can be trusted; "" where it is None.
        notes: what was wrong while reading, one line each.
    """

    path: str
    duration: float
    begins: datetime | None
    clock: str
    notes: list[str]

    def frames(self, rate: float = 0.0, start: float = 0.0, number: int = 0) -> Iterator[Frame]:
        """Frames from a time on, at most `rate` a second (0: all). number: of the first frame at or after `start`."""

    def samples(self, start: float, stop: float, most: int, height: int) -> list[np.ndarray]:
        """At most `most` frames spread over a stretch of time, reduced to a height, for `Detector.learn`."""


@dataclass
class Video:
    """A video file. rotate: degrees counter-clockwise instead of what the file says; None follows the file."""

    path: str
    rotate: int | None = None
    duration: float = 0.0
    begins: datetime | None = None
    clock: str = ""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        with _opened(self.path) as (container, stream):
            self.duration = _duration(container, stream)
            self.begins = _created({**stream.metadata, **container.metadata})
        if self.begins:
            self.clock = (
                "creation time in the file, in UTC; it may be the time of an export, and the clock may be wrong"
            )

    def frames(self, rate: float = 0.0, start: float = 0.0, number: int = 0) -> Iterator[Frame]:
        """See `Source.frames`."""
        due, last, given, damaged = start, -1.0, 0, 0
        with _opened(self.path) as (container, stream):
            clock = _Clock(stream, self.notes)
            if start:
                container.seek(clock.stamp(start), stream=stream)
            count = number
            for picture in _decoded(container, stream):
                if picture is None:
                    damaged += 1
                    continue
                time = clock.time(picture)
                if time < start - 1e-6:
                    continue
                last, at, count = time, count, count + 1
                if time >= due - 1e-6:
                    due = max(due + 1 / rate, time + 0.5 / rate) if rate else 0.0
                    given += 1
                    yield Frame(at, time, picture, _rotation(picture, self.rotate))
        if damaged:
            self.notes.append(f"{damaged} damaged packet{'s' * (damaged > 1)} left out")
        if not given and not start:
            raise FootageError(f"{self.path}: no frame can be decoded; {_REPAIR}")
        if self.duration - last > max(BEHIND, 2 / (float(stream.average_rate or 1))) and last >= 0:
            self.notes.append(f"ends at {last:.1f} s; the file says {self.duration:.1f} s (it was cut off or damaged)")

    def samples(self, start: float, stop: float, most: int, height: int) -> list[np.ndarray]:
        """See `Source.samples`. Only key frames are decoded where the file has enough of them."""
        found = self._thinned(start, stop, most, height, keys=True)
        return found if len(found) >= most // 3 else self._thinned(start, stop, most, height, keys=False)

    def _thinned(self, start: float, stop: float, most: int, height: int, keys: bool) -> list[np.ndarray]:
        """Frames at even distances, which double whenever there are too many: the file may be shorter than it says."""
        out: list[tuple[float, np.ndarray]] = []
        step, due = 0.1, start
        with _opened(self.path) as (container, stream):
            clock = _Clock(stream, [])
            if keys:
                stream.codec_context.skip_frame = "NONKEY"
            if start:
                container.seek(clock.stamp(start), stream=stream)
            for picture in _decoded(container, stream):
                if picture is None:
                    continue
                time = clock.time(picture)
                if time >= stop:
                    break
                if time >= due - 1e-6:
                    out.append((time, Frame(0, time, picture, _rotation(picture, self.rotate)).pixels(height)))
                    if len(out) > most:
                        out, step = out[::2], 2 * step
                    due = out[-1][0] + step
        return [pixels for _, pixels in out]


_REPAIR = "copy it again from where it came, or repair it with FFmpeg (ffmpeg -i IN -c copy OUT)"


@contextmanager
def _opened(path: str) -> Iterator[tuple[Any, Any]]:
    """A container and its first video stream; FootageError where there is none that can be decoded."""
    av = library("av")
    if not os.path.exists(path):
        raise FootageError(f"{path}: there is no such file")
    if not os.path.getsize(path):
        raise FootageError(f"{path}: the file is empty (0 bytes)")
    try:
        # a play list must not make FFmpeg open an address
        container = av.open(path, metadata_errors="replace", options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError) as error:
        raise FootageError(f"{path}: not readable as a video ({_said(error)}); {_REPAIR}") from None
    with container:
        if not container.streams.video:
            kinds = sorted({s.type for s in container.streams if s.type})
            only = f"only {' and '.join(kinds)}" if kinds else "no stream at all"
            raise FootageError(f"{path}: no video stream ({only})")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise FootageError(
                f"{path}: its codec is unknown to this FFmpeg; convert it (for example to H.264) where it was recorded"
            )
        wide, high, most = stream.codec_context.width, stream.codec_context.height, images.LARGEST.pixels
        if wide * high > most:
            raise FootageError(f"{path}: its frames have {wide}×{high} pixels; at most {most:,} are read")
        stream.codec_context.options = {"max_pixels": str(most)}  # also of frames that grow on the way
        stream.thread_type = "AUTO"
        yield container, stream


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error).strip().rstrip(".")


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in the order of showing, without comb artefacts; None for a packet that could not be decoded."""
    av = library("av")
    straighten: Any = None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            pictures = packet.decode() if packet is not None else []
        except av.FFmpegError:  # this packet is damaged; at an error of reading itself the next one is the end
            yield None
            continue
        if packet is None:
            return
        for picture in pictures:
            if straighten is None and picture.interlaced_frame:
                straighten = _deinterlacer(picture)
            if straighten is None:
                yield picture
            else:
                straighten.push(picture)
                yield from _pulled(straighten)


def _deinterlacer(picture: Any) -> Any:
    """FFmpeg's yadif, one frame for each frame."""
    av = library("av")
    graph = av.filter.Graph()
    base = picture.time_base or 1
    entry = graph.add_buffer(width=picture.width, height=picture.height, format=picture.format, time_base=base)
    graph.link_nodes(entry, graph.add("yadif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Any) -> Iterator[Any]:
    av = library("av")
    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


class _Clock:
    """Time stamps to seconds from the beginning, never backwards; jumps are told."""

    def __init__(self, stream: Any, notes: list[str]):
        self.notes, self.base = notes, float(stream.time_base or 0.001)
        self.zero = stream.start_time or 0
        self.step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        self.shift, self.last = 0.0, -1.0

    def stamp(self, time: float) -> int:
        return self.zero + int(time / self.base)

    def time(self, picture: Any) -> float:
        first = self.last < 0
        if picture.pts is None:
            now = 0.0 if first else self.last + self.step
        else:
            now = (picture.pts - self.zero) * float(picture.time_base or self.base) + self.shift
        if not first and now <= self.last:
            if self.last - now > self.step:
                self._note(f"time stamps jump back at {self.last:.1f} s; times after it follow the frames")
            self.shift += self.last + self.step - now
            now = self.last + self.step
        elif not first and now - self.last > GAP:
            self._note(f"gap of {now - self.last:.0f} s in the time stamps at {self.last:.1f} s")
        self.last = max(now, 0.0)
        return self.last

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _rotation(picture: Any, given: int | None) -> int:
    """Degrees counter-clockwise, a multiple of 90."""
    return (round((picture.rotation if given is None else given) / 90) * 90) % 360


def _duration(container: Any, stream: Any) -> float:
    """The longest that the file says, in seconds; 0 where it says nothing."""
    said = [0.0, (container.duration or 0) / 1e6]
    if stream.duration and stream.time_base:
        said.append(float(stream.duration * stream.time_base))
    if stream.frames and stream.average_rate:
        said.append(stream.frames / float(stream.average_rate))
    return max(said)


def _created(metadata: dict[str, str]) -> datetime | None:
    try:
        found = datetime.fromisoformat(metadata.get("creation_time", ""))
    except ValueError:
        return None
    if found.tzinfo:
        found = found.astimezone(UTC).replace(tzinfo=None)
    return found if found.year > 1980 else None  # a camera without a clock writes 1904 or 1970


@dataclass
class Frames:
    """A folder of frames, in the order of the numbers in their names. rate: frames a second that they were taken at."""

    path: str
    rate: float = 10.0
    rotate: int | None = None
    duration: float = 0.0
    begins: datetime | None = None
    clock: str = ""
    notes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.files:
            folder = Path(self.path)
            missed: list[Missed] = []
            names = [entry.path for entry in entries_of(self.path, missed)] if folder.is_dir() else [self.path]
            if missed:
                raise FootageError(f"{self.path}: {missed[0].detail}")
            self.files = sorted((name for name in names if name.lower().endswith(PICTURES)), key=_natural)
        if not self.files:
            raise FootageError(f"{self.path}: no pictures ({', '.join(PICTURES)})")
        self.duration = len(self.files) / self.rate

    def frames(self, rate: float = 0.0, start: float = 0.0, number: int = 0) -> Iterator[Frame]:
        """See `Source.frames`. A file that is no picture is told in the notes and left out."""
        given, due = 0, start
        for i in range(max(number, 0), len(self.files)):
            time = i / self.rate
            if time < due - 1e-6:
                continue
            picture = self._read(i)
            if picture is not None:
                due = max(due + 1 / rate, time + 0.5 / rate) if rate else 0.0
                given += 1
                yield Frame(i, time, picture, (self.rotate or 0) % 360)
        if not given and not start:
            raise FootageError(f"{self.path}: none of its {len(self.files)} pictures can be read")

    def samples(self, start: float, stop: float, most: int, height: int) -> list[np.ndarray]:
        """See `Source.samples`."""
        first, last = int(start * self.rate), min(len(self.files), int(stop * self.rate) + 1)
        chosen = sorted({int(i) for i in np.linspace(first, last - 1, most)}) if last > first else []
        pictures = [(i, self._read(i)) for i in chosen]
        frames = [Frame(i, 0.0, p, (self.rotate or 0) % 360).pixels(height) for i, p in pictures if p is not None]
        return [f for f in frames if f.shape == frames[0].shape]

    def _read(self, i: int) -> Image.Image | None:
        try:
            return images.read(self.files[i])
        except ImageRejected as error:
            if str(error) not in self.notes:
                self.notes.append(str(error))
            return None


def _natural(path: str) -> list[tuple[int, str]]:
    """frame_9 before frame_10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path) if part]


def library(name: str) -> Any:
    """av or cv2; UsageError with what to install where it is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        if "lib" in str(error) and ".so" in str(error):
            raise UsageError(
                f"{name} is installed but a library of the system is missing ({error}). On Debian and Ubuntu: "
                "sudo apt install libgl1 libglib2.0-0"
            ) from None
        raise UsageError(f"descry crop needs the extra video: {install_hint('video')}") from None


def sources_of(
    paths: Sequence[str | Path], rotate: int | None = None, rate: float = 10.0
) -> list[Source | FootageError]:
    """What a list of files and folders holds: every video below a folder, and every folder that holds pictures as
    frames. What cannot be opened stands in its place as an error.

    rotate: degrees counter-clockwise for all; None follows the files. rate: frames a second of folders of frames.
    """
    if rotate is not None and rotate not in ROTATIONS:
        raise UsageError(f"a rotation of {rotate} was given; allowed: {', '.join(map(str, ROTATIONS))}")
    if not rate > 0:
        raise UsageError(f"a frame rate of {rate} was given; it must be above 0 frames a second")
    out: list[Source | FootageError] = []
    for kind, path in (found for given in paths for found in _listed(str(given))):
        try:
            if kind not in ("frames", "video"):
                raise FootageError(f"{path}: {kind}")
            out.append(Frames(path, rate, rotate) if kind == "frames" else Video(path, rotate))
        except FootageError as error:
            out.append(error)
    return out


def _listed(path: str) -> Iterator[tuple[str, str]]:
    """("video" or "frames", path) of each source, and (why not, path) of all else that is not hidden."""
    if not os.path.isdir(path):
        yield ("frames" if path.lower().endswith(PICTURES) else "video"), path
        return
    found, missed, held = False, list[Missed](), dict[str, list[str]]()
    for entry in files_under(path, missed=missed):
        held.setdefault(os.path.dirname(entry.path), []).append(entry.name)
    for folder in sorted(held, key=lambda name: Path(name).parts):
        pictures = False
        for name in sorted(held[folder], key=_natural):
            lower = name.lower()
            pictures |= lower.endswith(PICTURES)
            if lower.endswith(VIDEOS):
                found = True
                yield "video", os.path.join(folder, name)
            elif not lower.endswith((*PICTURES, *BESIDE)):
                missed.append(unnamed(os.path.join(folder, name), "video or picture"))
        if pictures:
            found = True
            yield "frames", folder
    for one in missed:
        advice = f"; name {os.path.realpath(one.path)} too" if one.detail == LINKED else ""
        if one.reason != "empty":
            yield one.detail + advice, one.path
    if not found:
        yield "frames", path  # which says that there is none
