"""Scores of any method: a matrix that somebody else's code wrote, judged by the same protocol as ours.

`write_order` says in which order queries and photographs must stand; the matrix is (queries, photographs), larger is
nearer, saved by `numpy.save`. It is read as a memory map, so it may be larger than the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.faults import DISTRACTORS
from ..errors import DataError
from ..query import Query
from ..records import Benchmark, Photo, Probe
from ..tabular import csv_rows, misspelt, name_of, write_rows

COLUMNS = ("role", "pid", "text", "picture", "camera", "group", "ignore")


def write_order(bench: Benchmark, path: Path) -> None:
    """A CSV with one line for each query and photograph in the benchmark's order: what a score matrix must follow.

    Columns: role (query or photo), pid, text, picture, camera, group, and ignore: the photographs (numbers from 0, with
    spaces between) which this query may not be compared with.
    """
    rows: list[Sequence[Any]] = [COLUMNS]
    for probe in bench.probes:
        pictures = [str(p.value) for p in (*probe.query.sketches, *probe.query.photos)]
        text = ", ".join(str(p.value) for p in probe.query.wanted)
        ignore = " ".join(map(str, probe.ignore))
        rows.append(["query", probe.pid, text, " ".join(pictures), "", probe.group, ignore])
    rows += (["photo", photo.pid, "", photo.path, photo.camera, "", ""] for photo in bench.photos)
    write_rows(path, rows)


def read_order(path: str | Path) -> Benchmark:
    """A benchmark from such a CSV; only role and pid are needed. Raises DataError, naming the line."""
    probes: list[Probe] = []
    photos: list[Photo] = []
    numbers: dict[str, int] = {}
    names, rows = csv_rows(Path(path))
    wrong = misspelt(tuple(names), COLUMNS)
    if wrong:
        raise DataError(f"{path}: {wrong}")
    for line, row in rows:
        role, name = row.get("role", "").strip(), name_of(row.get("pid"), f"{path}, line {line}: pid")
        if role not in ("query", "photo") or not name:
            raise DataError(
                f"{path}, line {line}: role must be query or photo, and pid be given; got {role!r}, {name!r}"
            )
        if role == "query" and name in DISTRACTORS:
            raise DataError(
                f"{path}, line {line}: a query of pid {name}, which stands for people that nobody knows; "
                "leave that row out, or give it the pid of its person"
            )
        pid = numbers.setdefault(name, len(numbers))
        if role == "photo":
            camera = name_of(row.get("camera"), f"{path}, line {line}: camera")
            photos.append(Photo(row.get("picture", "").strip() or f"photo {len(photos)}", pid, camera))
        else:
            asked = Query(wanted=row.get("text", "").strip() or f"query {len(probes)}")
            probes.append(Probe(asked, pid, _ignored(path, line, row.get("ignore", "")), row.get("group", "")))
    for what, held in (("query", probes), ("photo", photos)):
        if not held:
            raise DataError(f"{path} holds no line with the role {what}")
    most = max((max(p.ignore, default=-1) for p in probes), default=-1)
    if most >= len(photos):
        raise DataError(f"{path}: photograph {most} is to be ignored, but there are only {len(photos)}, from 0")
    shown = {photo.pid for photo in photos}
    if not any(probe.pid in shown for probe in probes):
        raise DataError(f"{path}: no query has the pid of a photograph; write the same identity the same way in both")
    return Benchmark(Path(path).stem, tuple(probes), tuple(photos))


def _ignored(path: str | Path, line: int, text: str) -> tuple[int, ...]:
    words = text.replace(";", " ").split()
    if not all(w.isascii() and w.isdecimal() and len(w) < 10 for w in words):
        raise DataError(f"{path}, line {line}: ignore must be numbers of photographs; got {text!r}")
    return tuple(sorted({int(w) for w in words}))


def read_scores(path: str | Path, bench: Benchmark) -> Any:
    """(probes, photographs) of a .npy file as a memory map. Raises DataError for another kind of file or shape."""
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as a NumPy array: {error}; write it with numpy.save") from None
    wanted = (len(bench.probes), len(bench.photos))
    if getattr(scores, "shape", None) != wanted:
        shape = getattr(scores, "shape", "several arrays")
        raise DataError(f"{path} is {shape}; {bench.name} needs (queries, photographs) = {wanted}, in that order")
    if scores.dtype.kind not in "fiu":
        raise DataError(f"{path} holds {scores.dtype}; scores must be numbers, larger for nearer")
    return scores
