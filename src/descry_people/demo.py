"""descry demo: from nothing to a ranked answer, with people nobody photographed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import tyro

from descry.cli.machine import Count, Flag, HowMany, Json, Machine, OnMachine, OutFolder, emit, refuse_unread
from descry.cli.progress import progress
from descry.cli.search import tell
from descry.errors import UsageError
from descry.escape import counted
from descry.footage.origin import origin_of
from descry.tabular import json_lines

FIRST = 3_000_000  # number of the first demo person: neither trained on nor in the benchmark
PERSON = 11  # whose sketch and sentence are asked with


def demo(
    out: tyro.conf.Positional[OutFolder] = Path("demo"),
    /,
    identities: Count = 1000,
    k: HowMany = 10,
    video: Flag = False,
    browser: bool = True,
    json_: Json = False,
    machine: OnMachine = Machine(),
) -> int:
    """Draw synthetic people, index their photographs, ask for one of them with a sketch and words, and open the page.

    Repeat it freely: what is already there is not made again. In a script (no terminal, --no-browser or --json) it ends
    with the ranked answer.

    Args:
        out: folder for the pictures and the gallery.
        identities: how many people; each is photographed twice.
        k: how many leads to show.
        video: begin with videos instead of photographs: at most 12 of the people pass three fixed cameras, are cut out,
            and the first lead is shown in its frame. Needs the extra video.
        browser: go on to the page, with a guided tour.
    """
    if identities <= PERSON:
        raise UsageError(f"{identities} people were asked for; the demo needs at least {PERSON + 1}")
    refuse_unread(demo, locals(), "machine.seed", "the demo draws the same people always")
    begun = time.monotonic()
    machine.settle()
    if video:
        query, gallery, found, model = _from_video(out, min(identities, 12), k, machine)
    else:
        query, gallery, found, model = _from_photographs(out, identities, k, machine)
    words = query.wanted[0].value
    sketch = str(query.sketches[0].value) if query.sketches else ""
    _say(f'asking with {f"the sketch {sketch} and " if sketch else ""}the words "{words}"')
    sheet = out / "leads.png"
    found.sheet(sheet)
    _say(f"contact sheet: {sheet}")
    if json_:
        about = {"sketch": sketch, "words": words, "sheet": str(sheet), "seconds": round(time.monotonic() - begun, 1)}
        rows = [{"rank": j + 1, "path": found.paths[j], "score": float(found.scores[j])} for j in range(len(found))]
        emit(True, about | {"results": rows, "note": model.note})
        return 0
    tell(found, False)
    if video:
        frame = out / "frame.jpg"
        origin = origin_of(found.paths[0])
        assert origin is not None
        origin.still().save(frame)
        _say(f"the first lead in its footage: {origin.told}, {frame}")
    _say(f"the leads as a picture: {sheet}  ({time.monotonic() - begun:.0f} s in all; {model.note})")
    _say(
        "your own folder of crops:",
        "descry index PHOTOS --out my-gallery",
        "descry search my-gallery --sketch SKETCH.png --text 'a red jacket'",
    )
    if not video:
        _say(f"from video to leads (extra video): descry demo {out} --video")
    if browser and sys.stdin.isatty() and sys.stdout.isatty():
        return _page(gallery, model, (sketch, words))
    _say(f"the page, with this gallery: descry serve {gallery}")
    return 0


def _from_photographs(out: Path, identities: int, k: int, machine: Machine) -> tuple[Any, Path, Any, Any]:
    """Draw people, index their photographs and ask for one of them: query, gallery, leads, model."""
    from .benchmark import MIXTURE
    from .folder import write_people
    from .read import read_people

    _say(f"drawing {identities} synthetic people, two photographs each, into {out / 'people'}/")
    with progress("drawing people", identities) as tick:
        folder = write_people(
            out / "people", identities, photos=2, sketches=1, captions=1, splits={"test": identities}, first=FIRST,
            processes=machine.threads or None, progress=lambda done, total: tick(done, total), mixture=MIXTURE,
        )  # fmt: skip
    query = read_people(folder).test["sketch+text"].probes[PERSON].query
    return query, out / "gallery", *_search(folder / "photos", out / "gallery", query, k, machine)


def _from_video(out: Path, identities: int, k: int, machine: Machine) -> tuple[Any, Path, Any, Any]:
    """Draw videos, cut the people out, index the crops and ask for one of them: query, gallery, leads, model."""
    from descry import Query
    from descry.footage import Settings, crop
    from descry.gallery.sources import Sources

    from .video import write_videos

    videos, crops, gallery = (out / f"video-{name}" for name in ("recordings", "crops", "gallery"))
    if not (videos / "passes.jsonl").exists():
        _say(f"drawing videos of {identities} synthetic people under three cameras into {videos}/")
        with progress("drawing frames") as tick:
            write_videos(videos, identities, 30.0, first=FIRST, progress=lambda done, total: tick(done, total))
    _say(f"cutting the people out of {videos}/ into {crops}/")
    report = crop(videos, crops, Settings(time_from="([0-9]{8}_[0-9]{6})", camera_from="([a-z]+)_[0-9]{8}"))
    _say(f"{counted(report.tracks, 'track')}, {counted(report.crops, 'crop')}")
    first = next(json_lines(videos / "passes.jsonl"))[1]
    query, sources = Query(wanted=first["text"]), Sources(table=report.table, time="csv")
    return query, gallery, *_search(crops, gallery, query, k, machine, sources)


def _page(gallery: Path, model: Any, example: tuple[str, str]) -> int:
    """Serve the page until Ctrl-C; without the extra web, say how to get it."""
    from descry.web.serving import serve

    try:
        serve(gallery, model, tour=True, example=example, folders=[gallery.parent])
    except UsageError as error:
        _say(str(error))
    return 0


def _search(photos: Path, out: Path, query: Any, k: int, machine: Machine, sources: Any = None) -> tuple[Any, Any]:
    from descry.gallery import Gallery

    _say(f"indexing {photos}/ with the demo model into {out}/")
    model = machine.load("demo")
    made = (out / "gallery.json").exists()
    with Gallery.open(out, model) if made else Gallery.create(out, model) as gallery:
        with progress("indexing") as tick:
            size = machine.batch_size or 64
            gallery.index((str(photos),), sources=sources, batch_size=size, progress=lambda s: tick(s.done, s.total))
        found = gallery.search(query, k)
        return found, model


def _say(text: str, *below: str) -> None:
    print(f"== {text}", *(f"     {line}" for line in below), sep="\n", file=sys.stderr, flush=True)
