"""ITCPR (Liu et al., 2023): a photograph of a person and words on what is different now ask for photographs of that
person in other clothes. For testing only.

A photograph counts as found when it carries the query's instance, not merely the same person: that is who wears what
the words say. Every other photograph is ranked, the query's person in other clothes included; nothing is ignored.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..records import Benchmark, Dataset
from ..tabular import sentence_of
from .annotations import annotations_of
from .assemble import Split, assemble
from .card import Card, Expected
from .files import root_of
from .table import Row, Table, needed_path

FILES = {"query": "query.json", "gallery": "gallery.json"}

_PAGE = "the authors' page"
CARD = Card(
    "itcpr",
    "ITCPR",
    "Liu et al., Word for Person: Zero-shot Composed Person Retrieval, 2023; photographs of Celeb-reID, PRCC and LAST",
    ("photo+text", "photo", "text"),
    """ITCPR/
  Celeb-reID/  PRCC/  LAST/
  query.json  gallery.json""",
    "Annotations: link in github.com/Delong-liu-bupt/Composed_Person_Retrieval. Photographs: from the authors of "
    "Celeb-reID, PRCC (its folder rgb) and LAST.",
    "Research only; the terms of the three sets of photographs apply.",
    ("json",),
    {
        "test photos": Expected(20_510, _PAGE),
        "test queries": Expected(2_202, _PAGE),
        "test captions": Expected(2_202, _PAGE),
    },
)


def table(root: str | Path, variant: str | None = None) -> Table:
    """The rows of the tree at root. pid: the instance of a photograph, -1 for one that no query looks for; track: its
    person in the set that it comes from, such as "PRCC 12".
    """
    if variant not in (None, *CARD.variants):
        raise UsageError(f"ITCPR has no variant {variant!r}; allowed: {', '.join(CARD.variants)}")
    root = root_of("itcpr", root, ("ITCPR", "Com_ReID", "data"), FILES["query"])
    rows = [_row(kind, record, nth) for kind in FILES for nth, record in enumerate(annotations_of(root / FILES[kind]))]
    return Table("itcpr", root, tuple(rows), CARD.variants[0], instances=True)


def read(root: str | Path, variant: str | None = None) -> Dataset:
    """The benchmarks "photo+text", "photo" (the photograph alone) and "text" (the words alone); no training rows.

    The group of a probe is the set that its photograph comes from.
    """
    return assemble(table(root, variant), benchmarks=_benchmarks)


def _benchmarks(split: Split) -> dict[str, Benchmark]:
    asked = [r for r in split.rows if r.role]
    made = split.asked_with("photo+text", photo=True, words=True)
    made |= split.asked_with("photo", photo=True) | split.asked_with("text", words=True)
    sources = [row.track.rpartition(" ")[0] for row in asked]  # one caption, so one probe, for each
    return {
        name: replace(bench, probes=tuple(replace(p, group=s) for p, s in zip(bench.probes, sources, strict=True)))
        for name, bench in made.items()
    }


def _row(kind: str, record: Any, nth: int) -> Row:
    where = f"itcpr: {FILES[kind]}, row {nth}"
    if not isinstance(record, dict):
        raise DataError(f"{where}: an object is needed; got {type(record).__name__}")
    texts = ("file_path", "datasets", "caption") if kind == "query" else ("file_path", "datasets")
    for name in texts:
        if not isinstance(record.get(name), str) or not record[name].strip():
            raise DataError(f"{where}: {name!r} must be a text; got {record.get(name)!r:.80}")
    for name in ("person_id", "instance_id"):
        if not isinstance(record.get(name), int) or isinstance(record[name], bool):
            raise DataError(f"{where}: {name!r} must be a whole number; got {record.get(name)!r:.80}")
    instance = record["instance_id"]
    if instance < (0 if kind == "query" else -1):
        raise DataError(f"{where}: 'instance_id' is {instance}; a query needs 0 or more, and -1 looks for nobody")
    path, track = needed_path(record["file_path"], where), f"{record['datasets'].strip()} {record['person_id']}"
    if kind == "gallery":
        return Row("test", str(instance), path, track=track)
    return Row(
        "test",
        str(instance),
        path,
        track=track,
        role="query",
        captions=(sentence_of(record["caption"], f"{where}: 'caption'"),),
    )
