"""`descry data check`: is this tree the data set it is taken for, whole, and readable?

Every fault is one sentence: what is wrong, where (the first three), what to do. Counts are compared with published
numbers, each with its source; where nobody published one, the number found is only shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..safe_files import json_of
from ..tabular import read_text
from . import module
from .card import Expected
from .faults import DISTRACTORS, faults, repeated, unlike
from .files import missing_files, unreadable
from .table import SPLITS, Table

MARKER = "descry-miniature.json"


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted, found and expected (None: unknown) and who published the expectation."""

    what: str
    found: int
    expected: int | None
    source: str

    @property
    def differs(self) -> bool:
        """Whether a known expectation is not met."""
        return self.expected is not None and self.found != self.expected


@dataclass(frozen=True)
class Report:
    """The outcome of a check. faults: one sentence each; none means that the tree may be trusted."""

    name: str
    root: str
    variant: str = ""
    miniature: bool = False
    counts: tuple[Count, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    obtain: str = ""
    terms: str = ""
    tree: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def check(
    name: str,
    root: str | Path,
    variant: str | None = None,
    pixels: bool = True,
    threads: int = 4,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Report:
    """Check one data set. options: of its reader; a miniature's own record holds for its defaults only.

    pixels: decode every picture, not only look whether it is there. progress: called with (done, total).

    Faults of an earlier kind hide those that follow from them: rows, then files, then pictures, then counts.
    """
    reader = module(name)
    card = reader.CARD
    about = {"name": name, "root": str(root), "obtain": card.obtain, "terms": card.terms, "tree": card.tree}
    try:
        marker = miniature_marker(Path(root), name)
        table: Table = reader.table(root, variant, **options)
    except DataError as error:
        return Report(faults=(str(error),), **about)
    found = counts(table)
    expected = _expected(reader, marker, variant, options)
    unknown = Expected(None, "unknown")
    named = [(what, expected.get(what, unknown)) for what in dict.fromkeys([*expected, *found])]
    compared = tuple(Count(what, found.get(what, 0), one.number, one.source) for what, one in named)
    wrong = faults(table)
    if not wrong:
        wrong = missing_files(table)
    if not wrong and pixels:
        wrong = unreadable(table, threads, progress)
    differing = [f"{c.what}: {c.found:,} found, {c.expected:,} expected" for c in compared if c.differs]
    if not wrong and differing:
        wrong = ["; ".join(differing) + f"; this is another release, or part of {card.title} is missing"]
    return Report(
        variant=table.variant,
        miniature=bool(marker),
        counts=compared,
        faults=tuple(wrong),
        notes=table.notes + repeated(table) + unlike(table),
        **about,
    )


def _expected(
    reader: Any, marker: Mapping[str, int], variant: str | None, options: Mapping[str, Any]
) -> Mapping[str, Expected]:
    if marker:
        return {} if options else {k: Expected(n, "the miniature's own record") for k, n in marker.items()}
    held: Mapping[str, Expected] = reader.CARD.expected
    return reader.expected(variant, **options) if hasattr(reader, "expected") else held


def miniature_marker(root: Path, name: str) -> dict[str, int]:
    """The counts of a miniature, {} for the real data set."""
    file = root / MARKER
    if not file.is_file():
        return {}
    try:
        marker = json_of(read_text(file))
        held = {str(k): int(v) for k, v in marker["counts"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise DataError(
            f"{MARKER} is damaged; write the miniature again: descry data miniature {name} {root}"
        ) from None
    if marker.get("name") != name:
        raise DataError(f"this is a miniature of {marker.get('name')}, not of {name}; check it under its own name")
    return held


def counts(table: Table) -> dict[str, int]:
    """Ids, photos, captions, sketches and queries of every split, sketches by style, and the sum of sketches."""
    ids: dict[str, set[str]] = defaultdict(set)
    out: dict[str, int] = defaultdict(int)
    for row in table.rows:
        if row.pid not in DISTRACTORS:
            ids[row.split].add(row.pid)
        kind = "sketches" if row.sketch else "queries" if row.role else "photos"
        out[f"{row.split} {kind}"] += 1
        if row.sketch:
            out["sketches"] += 1
            if row.style:
                out[f"{row.split} sketches {row.style}"] += 1
        else:
            out[f"{row.split} captions"] += len(row.captions)
    found = {f"{split} ids": len(ids[split]) for split in SPLITS if split in ids}
    found |= {what: n for what, n in out.items() if n}
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def _order(what: str) -> tuple[int, int, str]:
    split, _, rest = what.partition(" ")
    kinds = ("ids", "photos", "queries", "captions", "sketches")
    known = SPLITS.index(split) if split in SPLITS else len(SPLITS)
    return known, kinds.index(rest.split(" ")[0]) if rest.split(" ")[0] in kinds else len(kinds), rest


def as_json(report: Report) -> Mapping[str, Any]:
    """A report as plain values."""
    return {
        "name": report.name,
        "root": report.root,
        "variant": report.variant,
        "miniature": report.miniature,
        "ok": report.ok,
        "faults": list(report.faults),
        "notes": list(report.notes),
        "counts": [
            {"what": c.what, "found": c.found, "expected": c.expected, "source": c.source} for c in report.counts
        ],
        "obtain": report.obtain,
        "terms": report.terms,
    }


# --------------------------------------------------------------------- captions


@dataclass(frozen=True, slots=True)
class Captions:
    """Of one split: how many captions, how many different, words per caption, and, with a tokenizer, tokens.

    cut: captions longer than `limit` tokens, so that their end is never read; None without a tokenizer.
    """

    split: str
    count: int
    different: int
    mean_words: float
    most_words: int
    back_translated: int
    mean_tokens: float | None = None
    most_tokens: int | None = None
    limit: int | None = None
    cut: int | None = None


def caption_statistics(
    table: Table, tokens: Callable[[Sequence[str]], Sequence[int]] | None = None, limit: int = 77
) -> list[Captions]:
    """One line per split that has captions. tokens: captions → tokens of each, start and end included, uncut."""
    out = []
    for split in SPLITS:
        rows = [r for r in table.rows if r.split == split]
        captions = [c for r in rows for c in r.captions]
        if not captions:
            continue
        words = [len(c.split()) for c in captions]
        lengths = list(tokens(captions)) if tokens else []
        out.append(
            Captions(
                split,
                len(captions),
                len(set(captions)),
                sum(words) / len(words),
                max(words),
                sum(len(r.back_translations) for r in rows),
                *(
                    (sum(lengths) / len(lengths), max(lengths), limit, sum(n > limit for n in lengths))
                    if lengths
                    else ()
                ),
            )
        )
    return out


def commonest(table: Table, count: int = 10) -> list[tuple[str, int]]:
    """The captions that stand for most pictures: a sentence shared by many people cannot find one of them."""
    return Counter(c for r in table.rows for c in r.captions).most_common(count)
