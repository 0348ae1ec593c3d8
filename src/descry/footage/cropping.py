"""Footage → a folder of crops with one table, which `descry index` reads. Resumable, several sources at once.

A source is worked through in steps that end where nobody is being followed (or after `LONGEST` seconds): then its rows
and the place in the footage are written down, the tracker begins anew, and a run that was stopped goes on from there
and gives what an undisturbed run gives.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from .. import safe_files
from ..errors import DataError, DescryError, Locked, UsageError
from ..listing import TABLE
from ..lock import WriterLock
from ..safe_files import read_json, write_whole
from ..times import parse_time
from .detecting import Boxes, Detector, content_of, detector_of
from .reading import FootageError, Frame, Source, sources_of
from .tracking import Crop, Passes, Track

COLUMNS = (
    "path", "camera", "time", "track", "source", "frame", "video_time", "clock",
    "x", "y", "width", "height", "score",
)  # fmt: skip
STATE = ".crop"
OFTEN, LONGEST = 20.0, 600.0  # seconds of footage between two steps: at least, and at most
QUALITY = 92  # of JPEG
AHEAD = 8  # frames that are read ahead
FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """How footage is cropped.

    Attributes:
        rate: frames a second that are looked at; 0 for all.
        keep: best crops of each track; 0 for every box.
        least: smallest height of a person, in pixels of the frame.
        lost: how many seconds a person may be hidden and still keep the same track.
        detector: "background", the folder or hub name of a transformers model, or boxes from elsewhere.
        sure: least score that begins a track; 0 leaves it to the detector.
        rotate: degrees counter-clockwise for all sources; None follows the files.
        frame_rate: frames a second of folders of frames.
        start: clock time of the first frame, for all sources; "" for unknown.
        time_from: a regular expression over the path with a group that holds the clock time of the first frame.
        camera_from: dirname, or a regular expression over the path with a group; "" for the source's name.
    """

    rate: float = 10.0
    keep: int = 4
    least: int = 64
    lost: float = 2.0
    detector: str = "background"
    sure: float = 0.0
    rotate: int | None = None
    frame_rate: float = 10.0
    start: str = ""
    time_from: str = ""
    camera_from: str = ""

    def __post_init__(self) -> None:
        for name, low in (("rate", 0.0), ("keep", 0), ("least", 8), ("lost", 0.0), ("sure", 0.0)):
            value = getattr(self, name)
            if not low <= value < 1e6:
                raise UsageError(f"{name} = {value} was given; it must be {low:g} or more")
        if self.start and parse_time(self.start) is None:
            raise UsageError(f"start {self.start!r} is not understood; write it as 2026-01-31T14:05:09")
        for name in ("time_from", "camera_from"):
            _pattern(name, getattr(self, name))


@dataclass
class SourceReport:
    """What became of one source.

    Attributes:
        path: the file or folder.
        name: its folder among the crops, and the beginning of its tracks.
        tracks, crops: how many.
        frames: that were looked at.
        seconds: of footage that were read.
        left_out: tracks that were left out: "short" (fewer than 3 boxes), "still" (never moved; background only).
        notes: damage, gaps, where it ended, and what the detector says, one line each.
        skipped: why nothing was read; "" when something was.
        done: read to its end.
        before: it was done by an earlier run.
    """

    path: str
    name: str = ""
    tracks: int = 0
    crops: int = 0
    frames: int = 0
    seconds: float = 0.0
    left_out: dict[str, int] = field(default_factory=lambda: {"short": 0, "still": 0})
    notes: list[str] = field(default_factory=list)
    skipped: str = ""
    done: bool = False
    before: bool = False


@dataclass
class CropReport:
    """What `crop` did. out: the folder of crops. table: its table. sources: one report each. interrupted: it was asked
    to stop; the same call goes on."""

    out: str
    table: str
    sources: list[SourceReport]
    interrupted: bool = False

    @property
    def crops(self) -> int:
        """Crops in all."""
        return sum(s.crops for s in self.sources)

    @property
    def tracks(self) -> int:
        """Tracks in all."""
        return sum(s.tracks for s in self.sources)


@dataclass(frozen=True)
class Progress:
    """How far one source is: seconds of footage done and in all (0 for unknown), tracks and crops so far."""

    source: str
    seconds: float
    total: float
    tracks: int
    crops: int


def crop(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: Settings | None = None,
    *,
    jobs: int = 0,
    again: bool = False,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 0,
    allow_download: bool = False,
    detector: Callable[[Source], Detector] | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> CropReport:
    """Cut the people out of recorded footage: one folder of crops and `crops.csv`, which `descry index` reads.

    sources: video files, folders of videos or of frames. out: a folder; what an earlier call did there is kept and gone
    on with. jobs: sources at once; 0 for one per core, at most 4. again: make the crops of these sources again.
    detector: your own, instead of `settings.detector`: called with the source, it gives a `Detector`. progress: called
    about twice a second per source. stop: asked between frames; True ends the run, and the same call goes on.

    A source that cannot be read is reported in its `SourceReport.skipped`; the rest goes on. Raises UsageError for
    settings that differ from those of an earlier call, or when the extra `video` is missing.
    """
    settings = settings or Settings()
    if jobs < 0 or batch < 0:
        raise UsageError(f"jobs {jobs} and batch {batch} were given; both must be 0 or more")
    paths = [sources] if isinstance(sources, str | Path) else list(sources)
    if not paths:
        raise UsageError("no source was given; name video files, or folders of videos or of frames")
    make = detector or detector_of(
        settings.detector, settings.least, device, precision, batch, settings.sure, allow_download
    )
    place = _Place(Path(out), settings, again)
    opened = sources_of(paths, settings.rotate, settings.frame_rate)
    if settings.start and len(opened) > 1:
        raise UsageError(f"--start was given for {len(opened)} sources; give one source, or --time-from with a pattern")
    reports: list[SourceReport] = []
    work: list[_Work] = []
    names = place.names([s.path for s in opened if not isinstance(s, FootageError)])
    for path in paths:
        safe_files.allow(path)  # a table of crops may name them from now on
    for found in opened:
        if isinstance(found, FootageError):
            path, _, reason = str(found).partition(": ")
            reports.append(SourceReport(path, skipped=reason))
        else:
            name, halt = names[found.path], stop or (lambda: False)
            try:
                made_by = "your own" if detector else content_of(settings.detector, found)
                if settings.detector not in ("", "background") and precision != "fp32":
                    made_by += f" in {precision}"
            except DescryError as error:
                reports.append(SourceReport(found.path, name, skipped=str(error)))
                continue
            work.append(_Work(place, found, name, make, made_by, progress, halt))
            reports.append(work[-1].report)
    with _locked(place.states), ThreadPoolExecutor(jobs or min(4, os.cpu_count() or 1, max(1, len(work)))) as pool:
        write_whole(place.states / "settings.json", json.dumps(asdict(settings), indent=1))
        done = [pool.submit(w.run) for w in work]
        try:
            finished = [future.result() for future in done]
        except BaseException:
            for w in work:
                w.stop = lambda: True
            raise
        _write_table(place.table, place.states)
    return CropReport(str(out), str(place.table), reports, interrupted=not all(finished))


def _refuse_links(out: Path) -> None:
    """UsageError when the table of a folder of crops, or what is known about its sources, is no file of this user."""
    safe_files.refuse_links(out, (TABLE,), "folder of crops")
    if (out / STATE).is_symlink():
        raise UsageError(f"{out / STATE} is a symbolic link; remove it, or name another folder for the crops")
    safe_files.refuse_links(out / STATE, ("*",), "folder of crops")


@contextmanager
def _locked(states: Path) -> Iterator[None]:
    """One run at a time in a folder of crops; Locked, naming the process that is at it."""
    try:
        lock = WriterLock(states)
    except Locked as error:
        raise Locked(str(error).replace(str(states), str(states.parent)).partition(";")[0]) from None
    try:
        yield
    finally:
        lock.release()


class _Place:
    """The folder of crops: a folder per source, the table, and what is known about each source (`.crop/NAME.json` and
    the rows of finished steps, `.crop/NAME.csv`)."""

    def __init__(self, out: Path, settings: Settings, again: bool):
        self.out, self.again, self.table, self.states = out, again, out / TABLE, out / STATE
        self.settings = settings
        self.before: dict[str, Any] = {}  # settings of the earlier run, for sources that do not name theirs
        known = out / STATE / "settings.json"
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file; name a folder for the crops")
        if out.is_dir() and not known.exists() and any(not p.name.startswith(".") for p in out.iterdir()):
            raise UsageError(f"{out} holds something else than crops of descry; name another folder, or a new one")
        _refuse_links(out)
        mine = asdict(settings)
        if known.exists():
            theirs = self.before = _read(known, {})
            differ = [k for k in mine if theirs.get(k) != mine[k] and k != "start"]
            if differ and not again:
                said = ", ".join(f"{k} {theirs.get(k)!r}, now {mine[k]!r}" for k in differ)
                raise UsageError(f"the crops in {out} were made with {said}; name another folder, or add --again")
        self.states.mkdir(parents=True, exist_ok=True)

    def names(self, paths: Sequence[str]) -> dict[str, str]:
        """A name for each source, the one it had before where it was here before."""
        states = (state for state in sorted(self.states.glob("*.json")) if state.name != "settings.json")
        taken = {state.stem: _read(state)["path"] for state in states}
        out = {}
        for path in paths:
            full = os.path.abspath(path)
            stem = re.sub(r"[^\w.-]+", "_", Path(full).stem).strip("._") or "source"
            name, n = stem, 1
            while taken.get(name, full) != full:
                n += 1
                name = f"{stem}-{n}"
            taken[name] = full
            out[path] = name
        return out


def remove(out: str | Path, crops: Iterable[str]) -> int:
    """Delete crops and their rows from a folder that `crop` made; how many files there were.

    crops: paths below the folder, as the table names them; files that are gone already lose their rows. The footage
    stays: `crop` with `again` would cut them anew. The table changes last: killed before that, it still names them, and
    the same call goes on. Raises Locked while `crop` works there, with nothing deleted.
    """
    place, gone, count = Path(out), set(crops), 0
    _refuse_links(place)
    with _locked(place / STATE):
        for part in (*place.glob(f"{TABLE}.*.part"), *(place / STATE).glob("*.csv.*part*")):
            part.unlink()  # of a run that was killed; it may name them
        for name in gone:
            if Path(os.path.realpath((place / name).parent)).is_relative_to(os.path.realpath(place)):
                (place / name).unlink(missing_ok=True)
        for rows in sorted((place / STATE).glob("*.csv")):
            state = rows.with_suffix(".json")
            known = _read(state) if state.exists() else None
            data = rows.read_bytes()
            noted = data[: known["bytes"]] if known else b""  # what follows is of a run that was killed
            written = list(csv.reader(io.StringIO(noted.decode("utf-8"), newline="")))
            kept = [row for row in written if row[0] not in gone]
            count += len(written) - len(kept)
            if (text := _lines(kept)).encode() != data:
                write_whole(rows, text)
            if known and (known["bytes"], known["report"]["crops"]) != (rows.stat().st_size, len(kept)):
                known["bytes"], known["report"]["crops"] = rows.stat().st_size, len(kept)
                write_whole(state, json.dumps(known, indent=1))
        _write_table(place / TABLE, place / STATE)
    return count


_NOTED: dict[str, Any] = {"path": str, "stamp": (str, dict), "at": list, "bytes": int, "report": dict}
_COUNTED: dict[str, Any] = {"seconds": (int, float), "left_out": dict, "notes": list}
_COUNTED |= dict.fromkeys(("tracks", "crops", "frames"), int)


def _instead(path: Path) -> str:
    """What to do about a damaged note of `crop`: that of a source can be made anew, that of the folder cannot."""
    if path.name == "settings.json":
        return "name another folder for the crops"
    return f"remove it: descry crop --out {path.parent.parent} then makes the crops of this source anew"


def _read(path: Path, kinds: dict[str, Any] = _NOTED) -> dict[str, Any]:
    """What `crop` wrote down about its folder or, with the kinds of values, about a source. DataError else."""
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); {_instead(path)}") from None
    whole = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in kinds.items())
    if whole and kinds:
        counted = all(isinstance(found["report"].get(name), kind) for name, kind in _COUNTED.items())
        whole = counted and [type(v) in (int, float) for v in found["at"]] == [True] * 2 and found["bytes"] >= 0
    if not whole:
        raise DataError(f"{path} is not as crop writes it; {_instead(path)}")
    return dict(found)


def _digest(settings: dict[str, Any]) -> str:
    """Of what all sources of a folder are cropped with; each has a --start of its own."""
    plain = {k: float(v) if type(v) is int else v for k, v in settings.items()} | {"start": ""}
    return hashlib.sha256(repr(sorted(plain.items())).encode()).hexdigest()[:16]


def _lines(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write_table(table: Path, states: Path) -> None:
    """All rows of all sources, in the order of names."""
    rows = [path.read_text("utf-8") for path in sorted(states.glob("*.csv"))]
    write_whole(table, _lines([COLUMNS]) + "".join(rows))


class _Work:
    """One source, from where it was left to its end."""

    def __init__(
        self,
        place: _Place,
        source: Source,
        name: str,
        make: Callable[[Source], Detector],
        made_by: str,
        progress: Callable[[Progress], None] | None,
        stop: Callable[[], bool],
    ):
        self.place, self.source, self.name, self.make = place, source, name, make
        self.settings = settings = place.settings
        self.progress, self.stop, self.told = progress, stop, 0.0
        self.report = SourceReport(source.path, name)
        self.full = os.path.abspath(source.path)
        self.begins, self.clock = clock_of(source, settings)
        self.camera = camera_of(source, settings, name)
        self.made_by = made_by
        self.state = place.states / f"{name}.json"
        self.rows_file = place.states / f"{name}.csv"
        self.pending: list[list[Any]] = []
        self.at: tuple[float, int] = (0.0, 0)  # seconds and number of the frame to go on with

    def run(self) -> bool:
        """Work; whether it reached the end. What makes the source unreadable goes to the report."""
        try:
            if not self._resume():
                self.detector = self.make(self.source)
                self._begin()
                return self._through()
        except FootageError as error:
            self.report.skipped = str(error).partition(": ")[2]
        except DescryError as error:
            self.report.skipped = str(error)
        return True

    def _resume(self) -> bool:
        """Take up what an earlier run left; True when it was done."""
        self.report.notes = self.source.notes
        if not self.state.exists() or self.place.again:
            self.rows_file.unlink(missing_ok=True)
            return False
        known = _read(self.state)
        before = known["stamp"] if isinstance(known["stamp"], dict) else {"": known["stamp"]}  # a text until 0.1
        before.setdefault("settings", _digest(self.place.before))
        now = self._stamp()
        if differ := [what or "the footage" for what in now | before if now.get(what, "") != before.get(what, "")]:
            said = f"{' and '.join(differ)} changed since it was cropped, or it was not written down then"
            self.report.notes.append(f"{said}; its crops were made anew")
            self.rows_file.unlink(missing_ok=True)
            return False
        report, self.at = known["report"], tuple(known["at"])
        for key in ("tracks", "crops", "frames", "seconds", "left_out", "done"):
            setattr(self.report, key, report[key])
        self.report.notes += [n for n in report["notes"] if n not in self.report.notes]
        with open(self.rows_file, "ab") as file:
            if file.tell() > known["bytes"]:  # it is shorter when `remove` was killed before it noted so
                file.truncate(known["bytes"])
        self.report.before = self.report.done
        return self.report.done

    def _stamp(self) -> dict[str, str]:
        """What the crops depend on beside the settings, by name; "" is the footage itself."""
        files = getattr(self.source, "files", None) or [self.full]
        stats = [os.stat(f) for f in files]
        text = repr([(os.path.basename(f), s.st_size, s.st_mtime_ns) for f, s in zip(files, stats, strict=True)])
        footage = hashlib.sha256(text.encode()).hexdigest()
        mine = _digest(asdict(self.settings))
        return {"": footage, "--start": self.settings.start, "--detector": self.made_by, "settings": mine}

    def _begin(self) -> None:
        self.folder = self.place.out / self.name
        if self.folder.is_symlink():
            raise UsageError(f"{self.folder} is a symbolic link; remove it, or name another folder for the crops")
        self.folder.mkdir(exist_ok=True)
        rate = self.settings.rate or 25.0
        self.passes = Passes(
            rate,
            self.settings.lost,
            self.detector.sure,
            self.detector.moves,
            self.settings.least,
            every=self._write_at_once if not self.settings.keep else None,
        )
        self.passes.count = self.report.tracks + sum(self.report.left_out.values())
        self.passes.left_out = self.report.left_out
        self.written: dict[int, list[list[Any]]] = {}
        self.committed = self.at[0]
        self.stretch = -1

    def _through(self) -> bool:
        """Frame by frame to the end; False when it was asked to stop."""
        with (
            closing(_ahead(self.source.frames(self.settings.rate, self.at[0], self.at[1]))) as frames,
            closing(_ahead(self._detected(frames))) as detected,
        ):
            for frame, boxes in detected:
                self._step(frame)
                self._keep_all(self.passes.add(frame, boxes))
                self.report.frames += 1
                self.report.seconds = frame.time
                self._tell()
                if self.stop():
                    return False
        self._keep_all(self.passes.close())
        self.report.notes += [n for n in self.detector.notes() if n not in self.report.notes]
        self._commit(self.report.seconds, 0, done=True)
        self._sweep()
        self._tell(last=True)
        return True

    def _detected(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Boxes]]:
        """Frames with their boxes."""
        for batch in self._batches(frames):
            yield from zip(batch, self.detector.detect(batch), strict=True)

    def _batches(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """Frames in batches that end where the detector has to learn anew."""
        batch: list[Frame] = []
        long, source = self.detector.stretch, self.source
        for frame in frames:
            stretch = int(frame.time // long) if long else 0
            if stretch != self.stretch or len(batch) == self.detector.batch:
                if batch:
                    yield batch
                batch = []
            if stretch != self.stretch:
                self.stretch = stretch
                if long:
                    stop = (stretch + 1) * long
                    stop = min(stop, max(source.duration, frame.time + 1)) if source.duration else stop
                    begin = max(0.0, min(stretch * long, stop - long))
                    self.detector.learn(source.samples(begin, stop, self.detector.samples, self.detector.height))
            batch.append(frame)
        if batch:
            yield batch

    def _step(self, frame: Frame) -> None:
        """Write down how far it is, where that is possible before this frame."""
        since = frame.time - self.committed
        if since < OFTEN or not (self.passes.quiet or since >= LONGEST):
            return
        self._keep_all(self.passes.close())
        self.passes.reset()
        self._commit(frame.time, frame.number)

    def _commit(self, seconds: float, number: int, done: bool = False) -> None:
        with open(self.rows_file, "a", newline="", encoding="utf-8") as file:
            file.write(_lines(self.pending))
            file.flush()
            os.fsync(file.fileno())
        self.pending.clear()
        self.committed = seconds
        self.report.done = done
        known = {
            "format": FORMAT,
            "path": self.full,
            "stamp": self._stamp(),
            "at": [seconds, number],
            "bytes": self.rows_file.stat().st_size,
            "report": asdict(self.report),
        }
        write_whole(self.state, json.dumps(known, indent=1))

    def _keep_all(self, tracks: Iterable[Track]) -> None:
        """Tracks that are over: their best crops become files and rows."""
        for track in tracks:
            if self.settings.keep:
                rows = [self._save(track, crop) for crop in track.best(self.settings.keep)]
            else:
                rows = self.written.pop(track.number, [])
            self.pending += rows
            self.report.tracks += 1
            self.report.crops += len(rows)

    def _write_at_once(self, track: Track, crop: Crop) -> None:
        self.written.setdefault(track.number, []).append(self._save(track, crop))

    def _save(self, track: Track, crop: Crop) -> list[Any]:
        name = f"{self.name}/t{track.number:05d}_f{crop.frame:07d}.jpg"
        (self.place.out / name).unlink(missing_ok=True)  # never through a link
        Image.fromarray(crop.pixels).save(self.place.out / name, quality=QUALITY)
        at = self.begins + timedelta(seconds=crop.time) if self.begins else None
        left, top, right, bottom = crop.box
        box = [f"{v:.1f}" for v in (left, top, right - left, bottom - top)]
        when = at.isoformat(timespec="milliseconds") if at else ""
        track_name = f"{self.name}/{track.number}"
        return [
            name, self.camera, when, track_name, self.full, crop.frame, f"{crop.time:.3f}", self.clock, *box,
            f"{crop.score:.3f}",
        ]  # fmt: skip

    def _sweep(self) -> None:
        """Remove crops that no row names: of a run that was killed, or of tracks that were left out."""
        with open(self.rows_file, newline="", encoding="utf-8") as file:
            named = {row[0] for row in csv.reader(file)}
        for path in self.folder.iterdir():
            if f"{self.name}/{path.name}" not in named:
                path.unlink()

    def _tell(self, last: bool = False) -> None:
        now = time.monotonic()
        if self.progress and (last or now - self.told > 0.5):
            self.told, report = now, self.report
            total = report.seconds if last else self.source.duration
            self.progress(Progress(self.name, report.seconds, total, report.tracks, report.crops))


_END = object()


def _ahead(things: Iterator[Any]) -> Generator[Any, None, None]:
    """The same things in order, made by a thread of its own, a few ahead; its errors are raised here. To be closed."""
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(next, things, _END) for _ in range(AHEAD))
        try:
            while (thing := coming.popleft().result()) is not _END:
                coming.append(pool.submit(next, things, _END))
                yield thing
        finally:
            for waiting in coming:
                waiting.cancel()


def _pattern(name: str, text: str) -> re.Pattern[str] | None:
    """A regular expression with a group; UsageError for anything else."""
    if not text or (name == "camera_from" and text == "dirname"):
        return None
    option = f"--{name.replace('_', '-')}"
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} {text!r} is not a regular expression ({error})") from None
    if not pattern.groups:
        raise UsageError(f"{option} {text!r} has no group; write it as 'cam(\\d+)'")
    return pattern


def _group(pattern: re.Pattern[str] | None, path: str) -> str:
    found = pattern.search(Path(path).as_posix()) if pattern else None
    return (found.group(1) or "") if found else ""


def camera_of(source: Source, settings: Settings, name: str) -> str:
    """The camera of a source."""
    if settings.camera_from == "dirname":
        return Path(os.path.abspath(source.path)).parent.name
    return _group(_pattern("camera_from", settings.camera_from), source.path) or name


def clock_of(source: Source, settings: Settings) -> tuple[datetime | None, str]:
    """The clock time of the first frame, and where it comes from and how far it can be trusted."""
    if settings.start:
        return parse_time(settings.start), "given by --start"
    if settings.time_from:
        first = (getattr(source, "files", None) or [source.path])[0]
        found = _group(_pattern("time_from", settings.time_from), first)
        if found and (at := parse_time(found)):
            return at, "from the file name; as right as the clock of the recorder"
        source.notes.append("no clock time in its name by --time-from; " + (source.clock or "its time is unknown"))
    return source.begins, source.clock
