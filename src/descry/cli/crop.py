"""descry crop."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..errors import SIDE, Bound
from ..escape import counted, path_text
from .index import stopping
from .machine import Flag, Json, Machine, Natural, OnMachine, OutFolder, Share, Threads, emit, refuse_unread
from .progress import several


def crop(
    sources: tyro.conf.Positional[tuple[str, ...]],
    /,
    out: OutFolder = Path("crops"),
    detector: str = "background",
    rate: Annotated[float, Bound(0, 1000)] = 10.0,
    keep: Natural = 4,
    least: Annotated[int, SIDE] = 64,
    lost: Annotated[float, Bound(0, 3600)] = 2.0,
    sure: Share = 0.0,
    start: str = "",
    time_from: str = "",
    camera_from: str = "",
    rotate: Literal[0, 90, 180, 270] | None = None,
    frame_rate: Annotated[float, Bound(0, 1000, above=True)] = 10.0,
    jobs: Threads = 0,
    again: Flag = False,
    strict: Flag = False,
    json_: Json = False,
    machine: OnMachine = Machine(),
) -> int:
    """Cut the people out of recorded video or full frames: a folder of crops with one table, for descry index. A run
    that was stopped goes on with the same command.

    Args:
        sources: video files, and folders of videos or of frames; at least one.
        out: the folder of crops; made where there is none.
        detector: background (fixed cameras, no weights), the folder of an object detection model of the transformers
            library, or boxes from elsewhere: a MOT or COCO file, or a folder with one for each source.
        rate: how many frames per second are analysed; 0 takes all.
        keep: best crops of each track; 0 keeps every box.
        least: smallest height of a person, in pixels of the frame.
        lost: how many seconds a person may be hidden and still keep the same track.
        sure: lowest detection score that starts a track; if omitted, 0.5, or 0.4 for background.
        start: clock time of the first frame, as 2026-01-31T14:05:09; for one source.
        time_from: a regular expression over the path with a group that holds that time, such as '([0-9]{8}_[0-9]{6})'.
        camera_from: dirname, or a regular expression over the path with a group; if omitted, the source's name.
        rotate: turn every frame counter-clockwise by 0, 90, 180 or 270 degrees, instead of what the file says.
        frame_rate: frames a second of folders of frames.
        jobs: sources at once; if omitted, one per core, at most 4.
        again: make the crops of these sources again.
        strict: exit with 3 when a source was skipped.
    """
    from ..footage import Settings
    from ..footage import crop as cut

    refuse_unread(crop, locals(), "machine.seed", "nothing of it is random")
    if machine.threads:
        machine.settle()
    if start:
        refuse_unread(crop, locals(), "time_from", "--start says the clock time")
    settings = Settings(
        rate, keep, least, lost, detector, sure, rotate, frame_rate, start, time_from, camera_from
    )  # fmt: skip
    with stopping() as stop, several(json_) as tick:

        def tell(step: Any) -> None:
            note = f"{counted(step.tracks, 'track')}, {counted(step.crops, 'crop')}"
            total = max(step.total, step.seconds) if step.total else None
            tick(f"{step.source}, seconds of footage", step.seconds, total, note)

        report = cut(
            sources,
            out,
            settings,
            jobs=jobs,
            again=again,
            device=machine.device,
            precision=machine.precision,
            batch=machine.batch_size,
            allow_download=machine.allow_download,
            progress=tell,
            stop=stop,
        )
    _tell(report, json_)
    if report.interrupted:
        print("descry: interrupted; what was written is kept. Go on with the same command", file=sys.stderr)
        return 130
    if report.sources and all(s.skipped for s in report.sources):
        return 1
    return 3 if strict and any(s.skipped for s in report.sources) else 0


def _tell(report: Any, as_json: bool) -> None:
    if as_json:
        about = {"out": report.out, "table": report.table, "tracks": report.tracks, "crops": report.crops}
        rows = [asdict(s) | {"path": path_text(s.path)} for s in report.sources]
        emit(True, about | {"interrupted": report.interrupted, "sources": rows})
        return
    for source in report.sources:
        path = path_text(source.path)
        if source.skipped:
            print(f"skipped {path}: {source.skipped}", file=sys.stderr)
            continue
        for note in source.notes:
            print(f"note: {path}: {note}", file=sys.stderr)
        left = ", ".join(f"{n} {_LEFT_OUT[kind]}" for kind, n in source.left_out.items() if n)
        print(
            f"{path}: {counted(source.tracks, 'track')}, {counted(source.crops, 'crop')}"
            f"{f' (left out: {left})' if left else ''}{', done before' if source.before else ''}"
        )
    skipped = sum(bool(s.skipped) for s in report.sources)
    print(
        f"{counted(report.tracks, 'track')}, {counted(report.crops, 'crop')} in {report.out}; "
        f"{counted(skipped, 'source')} skipped"
    )
    if report.crops and not report.interrupted:
        print(f"to search them: descry index {report.out} --table {report.table} --out GALLERY")
    elif not report.interrupted and skipped < len(report.sources):
        print(
            "nobody was found. Smaller people: --least 32. Crowds, moving cameras, single frames: a model, --detector "
            "FOLDER; docs/video.md names some",
            file=sys.stderr,
        )


_LEFT_OUT = {"short": "too short to be a pass", "still": "that never moved"}
