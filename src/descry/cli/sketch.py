"""descry sketch compose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import Bound, UsageError
from ..safe_files import json_of
from ..tabular import read_text
from .machine import Flag, Json, OutFile, emit, refuse_unread


def compose(
    record: tyro.conf.Positional[str] = "",
    /,
    set_: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = (),
    out: OutFile | None = None,
    width: Annotated[int, Bound(8, 8192)] = 128,
    height: Annotated[int, Bound(8, 8192)] = 256,
    list_: Annotated[Flag, tyro.conf.arg(name="list")] = False,
    json_: Json = False,
) -> int:
    """Draw a person part by part, from what somebody remembers, and describe it in phrases; search with both.

    A part that is left out is not remembered and leaves no line.

    Args:
        record: a JSON file of parts and values, or - for standard input.
        set_: a part and its value, as top=jacket or top.colour=red; it overrides the file.
        out: the picture to write, a PNG file.
        width: width of the picture, in pixels.
        height: height of the picture, in pixels.
        list_: show every part and its values.
    """
    from .. import images
    from ..drawing.composing import PARTS, UNKNOWN, compose_sketch

    if list_:
        refuse_unread(compose, locals(), "record set_ out width height", "--list draws nothing")
        rows = {part: [*values, UNKNOWN] for part, values in PARTS.items()}
        return emit(json_, rows, *(f"{p:<16} {', '.join(v)}" for p, v in rows.items()))
    if not out:
        refuse_unread(compose, locals(), "width height", "without --out no picture is written")
    if out and out.suffix.lower() != ".png":
        raise UsageError(f"--out {out} was given; the picture is a PNG file, such as {out.with_suffix('.png')}")
    asked = (_read(record) if record else {}) | dict(map(_pair, set_))
    if not asked:
        raise UsageError("no part was given; give a JSON file or --set PART=VALUE (--list shows the parts and values)")
    made = compose_sketch(asked, (width, height))
    if out:
        images.write(made.sketch, out)
    found = {"sketch": str(out) if out else None, "phrases": made.phrases, "known": made.known, "blank": made.blank}
    emit(json_, found, *made.phrases)
    if out and not json_:
        words = " ".join(f'"{phrase}"' for phrase in made.phrases)
        print(f"drawn in {out}; search with it: descry search GALLERY --sketch {out} {words}", file=sys.stderr)
    return 0


def _pair(text: str) -> tuple[str, str]:
    part, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text} was given; write a part and its value, such as top=jacket")
    return part.strip(), value.strip()


def _read(name: str) -> dict[str, Any]:
    text = sys.stdin.read() if name == "-" else read_text(Path(name).expanduser())
    try:
        found = json_of(text)
    except ValueError as error:
        raise UsageError(f'{name} is not JSON ({error}); write parts and values, such as {{"top": "jacket"}}') from None
    if not isinstance(found, dict):
        raise UsageError(f'{name} holds a {type(found).__name__}; write parts and values, such as {{"top": "jacket"}}')
    return found
