"""descry gallery calibrate: when may it be said that a person is probably not in a gallery?"""

from __future__ import annotations

import itertools
import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from ..errors import Bound, DataError, UsageError
from ..safe_files import address_of
from ..tabular import json_lines, misspelt
from .machine import Count, GalleryFolder, Json, Machine, MovedModel, Seed
from .progress import progress


def calibrate(
    gallery: GalleryFolder,
    /,
    queries: Path | None = None,
    alpha: Annotated[float, Bound(0, 0.5, above=True, below=True)] = 0.05,
    limit: Count = 1000,
    model: MovedModel = "",
    seed: Seed = 0,
    json_: Json = False,
) -> int:
    """Fit the decision "probably not in this gallery" on a gallery of your own, with a stated rate of false alarms.

    Without --queries, each track with at least two pictures gives one query: one of its pictures is searched for among
    all others, and again with its whole track left out. That calibrates searches by photograph. Sketches and words
    need --queries.

    Args:
        queries: a JSONL file of queries whose answer is known, each with "text", "sketch" or "image",
            and "ids", the items that show the person; if omitted, the gallery's tracks give the queries.
        alpha: false-alarm rate, the share of people in the gallery who are reported absent; above 0, below 0.5. It is
            kept on average; the fewer people set the threshold, the farther one calibration can be from it, and the
            interval printed says how far.
        limit: most queries or tracks used.
        seed: of the split in two halves.
    """
    from ..gallery import Gallery
    from ..interact import absence

    if address := address_of(gallery):
        raise UsageError(f"{address} has no folder to keep a calibration in; calibrate the local gallery")
    Machine().settle()
    with Gallery.open(gallery, model or None) as opened:
        asked = _asked(opened, queries, limit, json_) if queries else _tracks(opened, limit)
        kinds: dict[str, absence.Calibration] = {}
        refused: list[DataError] = []
        for kind, rows in asked.items():
            present, absent, people = _profiles(opened, kind, rows, json_)
            source = "queries with known answers" if queries else "one picture of a track against the others"
            try:
                fitted = absence.calibrate(kind, present, absent, people, alpha, seed, source)
                made_with = opened.model.search_fingerprint
                kinds[kind] = replace(absence.useful(fitted), search_fingerprint=made_with)
            except DataError as error:
                refused.append(error)
    if kinds:
        absence.save(gallery, kinds)
    for kind, fitted in kinds.items():
        row = {"kind": kind, "queries": fitted.present + fitted.absent, "alpha": alpha, "found": fitted.found}
        row |= {"AUROC": fitted.auroc, "AUROC low": fitted.auroc_low, "AUROC high": fitted.auroc_high}
        row |= {"false alarms low": fitted.alarms_low, "false alarms high": fitted.alarms_high}
        print(json.dumps(row) if json_ else f"calibrated {kind} searches: {fitted.summary()}")
    for reason in refused[1:] if not kinds else refused:
        print(f"not calibrated: {reason}", file=sys.stderr)
    if not kinds:
        raise refused[0] if refused else DataError(f"{queries} holds no query; write one on each line")
    print("for queries and people like these only; calibrate again when the gallery changes", file=sys.stderr)
    return 0


def _tracks(gallery: Any, limit: int) -> dict[str, list[tuple[Any, list[int], list[int], str]]]:
    """Rows of (terms, items left out always, items of the person, who), one for each track."""
    from ..search import Term

    tracks: dict[str, list[int]] = defaultdict(list)
    for item in gallery.listed():
        if item.track:
            tracks[f"{item.camera}\0{item.track}"].append(item.id)
    whole = sorted((name, ids) for name, ids in tracks.items() if len(ids) > 1)[:limit]
    if not whole:
        raise DataError(
            "no track of this gallery has two pictures; index with --track-from, or give --queries with known answers"
        )
    if len(whole[0][1]) == len(gallery):
        raise DataError(
            f"all {len(gallery)} pictures of this gallery are of one track, so that nobody is left to search among "
            "without it; calibrate a gallery of more people"
        )
    vectors = gallery.vectors([ids[0] for _, ids in whole])
    return {
        "photo": [
            ([Term("photo", name, 1.0, vector)], ids[:1], ids, name)
            for (name, ids), vector in zip(whole, vectors, strict=True)
        ]
    }


QUERY = ("text", "sketch", "image", "ids")
"""What a line of a file of queries may hold."""


def _asked(gallery: Any, path: Path, limit: int, quiet: bool) -> dict[str, list[tuple[Any, list[int], list[int], str]]]:
    from ..interact.absence import wanted_only
    from ..query import Part, Query
    from ..search import missing, terms_of

    rows: dict[str, list[tuple[Any, list[int], list[int], str]]] = defaultdict(list)
    lines = list(itertools.islice(json_lines(path), limit))
    held = gallery.snapshot().ids
    with progress("encoding queries", len(lines), quiet) as tick:
        for done, (number, row) in enumerate(lines, 1):
            where = f"line {number} of {path}"
            wrong = misspelt(tuple(row), QUERY)
            if wrong:
                raise DataError(f"{where}: {wrong}")
            ids, asks = row.get("ids"), {name: row[name] for name in QUERY[:3] if name in row}
            if not isinstance(ids, list) or not ids or any(isinstance(i, bool) or not isinstance(i, int) for i in ids):
                raise DataError(f"{where}: ids must be a list of whole numbers, one or more; got {ids!r:.80}")
            if not asks or any(not isinstance(value, str) or not value.strip() for value in asks.values()):
                raise DataError(f"{where}: a row has text, sketch or image, each a text; got {asks!r:.80}")
            gone = missing(held, ids)
            if len(gone):
                raise DataError(f"{where}: the gallery holds no item {gone[0]}; ids are shown beside every result")
            if len(set(ids)) == len(held):
                raise DataError(
                    f"{where}: ids names all {len(held)} items of the gallery, so that nobody is left to search among "
                    "without them; name only those that show the person"
                )
            query = Query(
                sketches=tuple(Part(Path(asks[name])) for name in ("sketch",) if name in asks),
                photos=tuple(Part(Path(asks[name])) for name in ("image",) if name in asks),
                wanted=tuple(Part(asks[name]) for name in ("text",) if name in asks),
            )
            query = wanted_only(query)
            rows[query.kind].append((terms_of(gallery.model, [query])[0], [], ids, f"line {number} {ids}"))
            tick(done)
    return dict(rows)


def _profiles(
    gallery: Any, kind: str, rows: list[tuple[Any, list[int], list[int], str]], quiet: bool
) -> tuple[Any, Any, list[str]]:
    import numpy as np

    from ..gallery.scan import Rows
    from ..interact.absence import profile_of
    from ..ranking import ranking_of
    from ..search import positions, stack

    ranking = ranking_of(gallery.model)
    space = Rows(gallery.store, gallery.snapshot())
    present: list[Any] = []
    absent: list[Any] = []
    with progress(f"searching with and without, {kind}", len(rows), quiet) as tick:
        for done, (terms, left_out, ids, _) in enumerate(rows, 1):
            similarity = space.scores(stack(terms))
            for gone, into in ((left_out, present), (ids, absent)):
                seen = np.ones(len(space.ids), bool)
                seen[positions(space.ids, gone)] = False
                into.append(profile_of(terms, similarity[:, seen], ranking))
            tick(done)
    return np.array(present), np.array(absent), [who for *_, who in rows]
