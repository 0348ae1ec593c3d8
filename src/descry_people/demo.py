"""descry demo: from nothing to a ranked answer, with people nobody photographed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import tyro

from descry.cli.machine import Count, HowMany, Json, Machine, OnMachine
from descry.cli.progress import progress
from descry.cli.search import tell
from descry.errors import UsageError

FIRST = 3_000_000  # number of the first demo person: neither trained on nor in the benchmark
PERSON = 11  # whose sketch and sentence are asked with


def demo(
    out: tyro.conf.Positional[Path] = Path("demo"),
    /,
    identities: Count = 1000,
    k: HowMany = 10,
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
        browser: go on to the page, with a guided tour.
        json_: print JSON.
    """
    from .benchmark import MIXTURE
    from .folder import write_people
    from .read import read_people

    if identities <= PERSON:
        raise UsageError(f"{identities} people were asked for; the demo needs at least {PERSON + 1}")
    begun = time.monotonic()
    machine.settle()
    _say(f"drawing {identities} synthetic people, two photographs each, into {out / 'people'}/")
    with progress("drawing people", identities) as tick:
        folder = write_people(
            out / "people", identities, photos=2, sketches=1, captions=1, splits={"test": identities}, first=FIRST,
            processes=machine.threads or None, progress=lambda done, total: tick(done, total), mixture=MIXTURE,
        )  # fmt: skip
    _say(f"indexing {folder / 'photos'}/ with the demo model into {out / 'gallery'}/")
    probe = read_people(folder).test["sketch+text"].probes[PERSON]
    found, model = _search(folder / "photos", out / "gallery", probe.query, k, machine)
    sketch, words = str(probe.query.sketches[0].value), probe.query.wanted[0].value
    _say(f'asking with the sketch {sketch} and the words "{words}"')
    sheet = out / "leads.png"
    found.sheet(sheet)
    _say(f"contact sheet: {sheet}")
    if json_:
        about = {"sketch": sketch, "words": words, "sheet": str(sheet), "seconds": round(time.monotonic() - begun, 1)}
        rows = [{"rank": j + 1, "path": found.paths[j], "score": float(found.scores[j])} for j in range(len(found))]
        print(json.dumps(about | {"results": rows, "note": model.note}, indent=1))
        return 0
    tell(found, False)
    _say(f"the leads as a picture: {sheet}  ({time.monotonic() - begun:.0f} s in all; {model.note})")
    _say(
        "your own folder of crops:\n     descry index PHOTOS --out my-gallery\n"
        "     descry search my-gallery --sketch SKETCH.png --text 'a red jacket'"
    )
    _say(
        "from video (extra video):\n     descry people footage --videos 30 --identities 12\n"
        "     descry crop footage --out crops"
    )
    if browser and sys.stdin.isatty() and sys.stdout.isatty():
        return _page(out / "gallery", model, (sketch, words))
    _say(f"the page, with this gallery: descry serve {out / 'gallery'}")
    return 0


def _page(gallery: Path, model: Any, example: tuple[str, str]) -> int:
    """Serve the page until Ctrl-C; without the extra web, say how to get it."""
    from descry.web.serving import serve

    try:
        serve(gallery, model, tour=True, example=example, folders=[gallery.parent])
    except UsageError as error:
        _say(str(error))
    return 0


def _search(photos: Path, out: Path, query: Any, k: int, machine: Machine) -> tuple[Any, Any]:
    from descry.gallery import Gallery

    model = machine.load("demo")
    made = (out / "gallery.json").exists()
    with Gallery.open(out, model) if made else Gallery.create(out, model) as gallery:
        with progress("indexing") as tick:
            size = machine.batch_size or 64
            gallery.index((str(photos),), batch_size=size, progress=lambda s: tick(s.done, s.total))
        found = gallery.search(query, k)
        return found, model


def _say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)
